//! Keys: what is stored is what is loaded, and damage is an error that names the file.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::sync::OnceLock;

use group::Curve;
use group::prime::PrimeCurveAffine;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::Arc;
use tempfile::TempDir;

use super::*;
use crate::proof::circuits::MerkleWitness;
use crate::proof::circuits::catalog;

/// The one key of the tests: generating takes longer than most of them.
pub(crate) fn shared_key() -> &'static ProvingKey {
    static KEY: OnceLock<ProvingKey> = OnceLock::new();
    let circuit = catalog::find("merkle-poseidon-4").unwrap();
    KEY.get_or_init(|| ProvingKey::generate(circuit, &mut ChaCha20Rng::seed_from_u64(0)).unwrap())
}

fn store() -> (TempDir, KeyStore) {
    let folder = TempDir::new().unwrap();
    let store = KeyStore::open(folder.path().join("keys")).unwrap();
    (folder, store)
}

fn filled() -> (TempDir, KeyStore, KeyManifest) {
    let (folder, store) = store();
    let manifest = store.store(shared_key()).unwrap();
    (folder, store, manifest)
}

fn file(folder: &TempDir, digest: &Digest32, extension: &str) -> std::path::PathBuf {
    folder.path().join("keys").join(format!("{digest}.{extension}"))
}

#[test]
fn a_stored_key_is_found_loaded_and_proves_for_the_same_verifying_key() {
    let (_folder, store, manifest) = filled();
    assert_eq!(manifest.origin, KeyOrigin::Dev);
    assert_eq!(store.find(shared_key().circuit()).unwrap(), Some(manifest.clone()));
    let loaded = store.load(&manifest.proving_key).unwrap();
    assert_eq!(loaded.digest(), shared_key().digest());
    assert_eq!(loaded.manifest(), manifest);

    let witness = MerkleWitness::open(&[Bytes32::new([0xff; 32])], 0).unwrap();
    let input = CircuitInput::MerklePoseidon(witness);
    let proof = loaded.prove(&input).unwrap();
    let verifying_key = manifest.read_verifying_key().unwrap();
    assert_eq!(verifying_key.verify(&proof, &input.public_inputs().unwrap()), Ok(true));
}

#[test]
fn a_key_file_is_named_by_the_digest_of_its_content() {
    let (folder, _store, manifest) = filled();
    let bytes = fs::read(file(&folder, &manifest.proving_key, "params")).unwrap();
    assert_eq!(Digest32::of(&bytes), manifest.proving_key);
    assert_eq!(bytes.len() as u64, manifest.proving_key_bytes);
}

#[test]
fn the_same_randomness_makes_the_same_key_and_other_randomness_another() {
    let circuit = shared_key().circuit();
    let digest =
        |seed| ProvingKey::generate(circuit, &mut ChaCha20Rng::seed_from_u64(seed)).unwrap().digest();
    assert_eq!(digest(0), shared_key().digest());
    assert_ne!(digest(1), shared_key().digest());
}

#[test]
fn storing_leaves_no_temporary_files_and_storing_again_changes_nothing() {
    let (folder, store, manifest) = filled();
    assert_eq!(store.store(shared_key()).unwrap(), manifest);
    assert_eq!(fs::read_dir(folder.path().join("keys")).unwrap().count(), 2);
    assert_eq!(store.list().unwrap(), [manifest]);
}

#[test]
fn an_empty_store_finds_nothing_and_says_what_it_lacks() {
    let (folder, store) = store();
    assert_eq!(store.find(shared_key().circuit()).unwrap(), None);
    let error = store.load(&shared_key().digest()).unwrap_err();
    let expected = format!(
        "no key {} in {}: fetch it from a node that has it",
        shared_key().digest(),
        folder.path().join("keys").display()
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn files_that_are_no_manifests_are_left_alone() {
    let (folder, store, manifest) = filled();
    for name in ["README.md", "notes.json", "0123.json", &format!("{}.tmp-1-1", manifest.proving_key)] {
        fs::write(folder.path().join("keys").join(name), "anything").unwrap();
    }
    assert_eq!(store.list().unwrap(), [manifest]);
}

#[test]
fn a_truncated_extended_or_altered_key_file_is_an_error_that_names_it_and_the_remedy() {
    let (folder, store, manifest) = filled();
    let path = file(&folder, &manifest.proving_key, "params");
    let whole = fs::read(&path).unwrap();
    let mut altered = whole.clone();
    altered[whole.len() / 2] ^= 1;
    let extended = [&whole[..], b"x"].concat();
    for damaged in [&whole[..whole.len() - 1], &whole[..0], &altered[..], &extended[..]] {
        fs::write(&path, damaged).unwrap();
        let message = store.load(&manifest.proving_key).unwrap_err().to_string();
        assert!(message.starts_with(&format!("{} is truncated or altered", path.display())), "{message}");
        assert!(message.contains("delete it"), "{message}");
    }
    fs::remove_file(&path).unwrap();
    assert!(matches!(store.load(&manifest.proving_key), Err(KeyError::NotFound { .. })));
    store.store(shared_key()).unwrap();
    store.load(&manifest.proving_key).unwrap();
}

#[test]
fn an_unreadable_manifest_hides_no_key_that_can_be_read_and_lets_no_missing_key_pass_for_absent() {
    let (folder, store, manifest) = filled();
    let damaged = file(&folder, &Digest32::of(b"another key"), "json");
    fs::write(&damaged, "{").unwrap();
    assert_eq!(store.find(shared_key().circuit()).unwrap(), Some(manifest));
    // The damaged one may be this circuit's: a second key for it must not be made on that account.
    let other = catalog::find("merkle-poseidon-8").unwrap();
    assert!(matches!(store.find(other), Err(KeyError::Manifest { path, .. }) if path == damaged));
}

#[test]
fn a_manifest_that_cannot_be_used_is_an_error_that_names_it() {
    let (folder, store, manifest) = filled();
    let path = file(&folder, &manifest.proving_key, "json");
    let text = fs::read_to_string(&path).unwrap();
    let verifying_key = manifest.verifying_key.to_string();
    let damaged = [
        String::new(),
        text[..text.len() / 2].to_owned(),
        text.replace("\"format\": 1", "\"format\": 2"),
        text.replace("\"origin\": \"dev\"", "\"origin\": \"ceremony\""),
        text.replace(&manifest.proving_key.to_string(), &Digest32::of(b"").to_string()),
        text.replace(&verifying_key, &Digest32::of(b"").to_string()),
        text.replace("\"verifying_key_hex\": \"", "\"verifying_key_hex\": \"00"),
    ];
    for (which, damaged) in damaged.iter().enumerate() {
        assert_ne!(*damaged, text, "case {which} changes nothing");
        fs::write(&path, damaged).unwrap();
        for error in [store.load(&manifest.proving_key).unwrap_err(), store.list().unwrap_err()] {
            let message = error.to_string();
            assert!(message.starts_with(&path.display().to_string()), "case {which}: {message}");
            assert!(message.contains("delete it"), "case {which}: {message}");
        }
    }
}

#[test]
fn a_key_for_other_constraints_is_not_found_and_not_loaded() {
    let (folder, store, manifest) = filled();
    let path = file(&folder, &manifest.proving_key, "json");
    let text = fs::read_to_string(&path).unwrap();
    let other = Digest32::of(b"other constraints").to_string();
    for changed in [
        text.replace(&manifest.constraint_digest.to_string(), &other),
        text.replace("merkle-poseidon-4", "merkle-poseidon-8"),
        text.replace("merkle-poseidon-4", "merkle-poseidon-5"),
    ] {
        fs::write(&path, changed).unwrap();
        assert_eq!(store.find(shared_key().circuit()).unwrap(), None);
        let error = store.load(&manifest.proving_key).unwrap_err();
        assert!(matches!(error, KeyError::OtherConstraints { .. }), "{error}");
    }
}

#[test]
fn a_key_of_another_circuit_under_this_ones_name_is_refused() {
    // Its digest is honest; its manifest claims the circuit that it is not for.
    let (folder, store, manifest) = filled();
    let claimed = catalog::find("merkle-poseidon-8").unwrap();
    let path = file(&folder, &manifest.proving_key, "json");
    let text = fs::read_to_string(&path).unwrap();
    let text = text
        .replace("merkle-poseidon-4", "merkle-poseidon-8")
        .replace(&manifest.constraint_digest.to_string(), &claimed.shape().digest.to_string());
    fs::write(&path, text).unwrap();
    let error = store.load(&manifest.proving_key).unwrap_err();
    assert!(matches!(error, KeyError::NotAKey { .. }), "{error}");
}

#[test]
fn an_imported_key_is_checked_point_by_point() {
    let (_folder, store) = store();
    let mut bytes = Vec::new();
    shared_key().write(&mut bytes).unwrap();
    let manifest = shared_key().manifest();
    store.import(&manifest, &bytes).unwrap();
    store.load(&manifest.proving_key).unwrap();

    // A point of the `h` query, replaced by one on the curve and outside the subgroup, under an honest digest.
    let query_starts = shared_key().verifying_key().as_bytes().len() + 4;
    bytes[query_starts..query_starts + 96].copy_from_slice(&outside_subgroup());
    let digest = Digest32::of(&bytes);
    let forged = KeyManifest { proving_key: digest, ..manifest.clone() };
    assert!(matches!(store.import(&forged, &bytes), Err(KeyError::NotAKey { .. })));
    assert!(matches!(store.import(&manifest, &bytes), Err(KeyError::Content { .. })));
    assert!(matches!(store.load(&digest), Err(KeyError::NotFound { .. })));
}

fn outside_subgroup() -> [u8; 96] {
    let candidate = |x: u8| {
        let mut bytes = [0u8; 48];
        (bytes[0], bytes[47]) = (0x80, x);
        Option::<blstrs::G1Affine>::from(blstrs::G1Affine::from_compressed_unchecked(&bytes))
    };
    let outside = |point: &blstrs::G1Affine| !bool::from(point.is_torsion_free());
    (0..u8::MAX).filter_map(candidate).find(outside).unwrap().to_uncompressed()
}

#[test]
fn trailing_bytes_are_refused_even_under_an_honest_digest() {
    let (folder, store, manifest) = filled();
    let mut bytes = fs::read(file(&folder, &manifest.proving_key, "params")).unwrap();
    bytes.push(0);
    let digest = place_by_hand(&folder, &manifest, &bytes);
    let message = store.load(&digest).unwrap_err().to_string();
    assert!(message.contains("1 bytes are left over"), "{message}");
    let claimed = store.manifest(&digest).unwrap();
    assert!(matches!(store.import(&claimed, &bytes), Err(KeyError::NotAKey { .. })));
}

#[test]
fn a_second_spelling_of_a_key_is_refused_even_under_an_honest_digest() {
    // A compressed point in an uncompressed one's place, which blst's decoder takes.
    let (folder, store, manifest) = filled();
    let mut bytes = fs::read(file(&folder, &manifest.proving_key, "params")).unwrap();
    let query_starts = shared_key().verifying_key().as_bytes().len() + 4;
    let point = &mut bytes[query_starts..query_starts + 96];
    let decoded = blstrs::G1Affine::from_uncompressed((&*point).try_into().unwrap()).unwrap();
    point[..48].copy_from_slice(&decoded.to_compressed());
    let digest = place_by_hand(&folder, &manifest, &bytes);
    let message = store.load(&digest).unwrap_err().to_string();
    assert!(message.contains("not canonically encoded"), "{message}");
}

/// Writes a key file and a manifest that agree with each other; returns their name.
fn place_by_hand(folder: &TempDir, manifest: &KeyManifest, bytes: &[u8]) -> Digest32 {
    let digest = Digest32::of(bytes);
    let proving_key_bytes = bytes.len() as u64;
    let manifest = KeyManifest { proving_key: digest, proving_key_bytes, ..manifest.clone() };
    fs::write(file(folder, &digest, "params"), bytes).unwrap();
    fs::write(file(folder, &digest, "json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    digest
}

#[test]
fn debug_names_a_key_and_does_not_print_it() {
    let key = shared_key();
    assert_eq!(format!("{key:?}"), format!("ProvingKey(merkle-poseidon-4 {})", key.digest()));
    assert!(format!("{:?}", key.verifying_key()).len() < 100);
}

fn bundle_in_pieces(store: &KeyStore, digest: &Digest32, piece_bytes: usize) -> Vec<u8> {
    let mut bundle = Vec::new();
    loop {
        let (piece, total) = store.read_piece(digest, bundle.len() as u64, piece_bytes).unwrap();
        assert!(piece.len() <= piece_bytes);
        if piece.is_empty() {
            assert_eq!(bundle.len() as u64, total);
            return bundle;
        }
        bundle.extend(piece);
    }
}

#[test]
fn a_key_travels_in_pieces_of_any_size() {
    let (_folder, sender, manifest) = filled();
    let digest = manifest.proving_key;
    let whole = bundle_in_pieces(&sender, &digest, usize::MAX >> 1);
    for piece_bytes in [1000, 4096, 1 << 20] {
        assert!(bundle_in_pieces(&sender, &digest, piece_bytes) == whole, "pieces of {piece_bytes}");
    }
    let (_other_folder, receiver) = store();
    assert_eq!(receiver.import_bundle(&digest, &whole).unwrap().manifest(), manifest);
    assert_eq!(receiver.manifest(&digest).unwrap(), manifest);
}

#[test]
fn a_bundle_that_is_not_what_was_asked_for_is_refused_and_not_stored() {
    let (_folder, sender, manifest) = filled();
    let digest = manifest.proving_key;
    let whole = bundle_in_pieces(&sender, &digest, 1 << 20);
    let (_other_folder, receiver) = store();
    let mut altered = whole.clone();
    *altered.last_mut().unwrap() ^= 1;
    let huge_manifest = [&u32::MAX.to_le_bytes(), &whole[4..]].concat();
    for bad in [&whole[..whole.len() - 1], &altered, &whole[..3], &[], &huge_manifest] {
        assert!(receiver.import_bundle(&digest, bad).is_err());
    }
    assert!(receiver.import_bundle(&Digest32::of(b"another"), &whole).is_err());
    assert_eq!(receiver.list().unwrap(), []);
}

/// A key whose verifying key is what it should be, and one of whose points is another than that: the last of a query, or the first.
fn altered(change: impl FnOnce(&mut Parameters<Bls12>)) -> ProvingKey {
    let mut parameters = shared_key().parameters.clone();
    change(&mut parameters);
    ProvingKey::new(shared_key().circuit(), KeyOrigin::Dev, parameters).unwrap()
}

#[test]
fn a_proof_that_came_out_false_is_never_given_out() {
    fn alter<P: PrimeCurveAffine<Curve: Curve<AffineRepr = P>>>(points: &mut Arc<Vec<P>>, place: usize) {
        let point = &mut Arc::make_mut(points)[place];
        *point = (point.to_curve() + P::generator()).to_affine();
    }
    fn alter_last<P: PrimeCurveAffine<Curve: Curve<AffineRepr = P>>>(points: &mut Arc<Vec<P>>) {
        let last = points.len() - 1;
        alter(points, last);
    }
    type Change = fn(&mut Parameters<Bls12>);
    let changes: [(&str, Change); 5] = [
        ("the constant's in A", |key| alter(&mut key.a, 0)),
        ("B in G1", |key| alter_last(&mut key.b_g1)),
        ("B in G2", |key| alter_last(&mut key.b_g2)),
        ("H", |key| alter(&mut key.h, 0)),
        ("L", |key| alter_last(&mut key.l)),
    ];
    let leaves: Vec<Bytes32> = (1..=16).map(|i| Bytes32::new([i; 32])).collect();
    let input = CircuitInput::MerklePoseidon(MerkleWitness::open(&leaves, 9).unwrap());
    assert!(altered(|_| {}).prove(&input).is_ok());
    for (name, change) in changes {
        let key = altered(change);
        assert_eq!(key.verifying_key().digest(), shared_key().verifying_key().digest());
        assert!(matches!(key.prove(&input), Err(ProveError::WrongProof)), "{name}");
    }
}
