//! Proofs: honest ones verify on both engines, and everything else is `false` or an error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use bellman::groth16::Parameters;
use bls12_381::Bls12 as Other;
use blstrs::{Bls12, G1Affine, G2Affine, Scalar};
use ff::{Field, PrimeField};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::encoding::G1_BYTES;
use super::verify::{VK_FIXED_BYTES, VK_IC_BYTES};
use super::*;
use crate::proof::circuits::{AnyCircuit, CircuitInput, MerkleWitness, catalog};
use crate::proof::field::Bytes32;
use crate::proof::keys::tests::shared_key;
use crate::proof::memory::MemoryBound;

/// bellman's proof, from which ours must not differ. On any engine.
fn oracle<E: ProofEngine>(
    parameters: &Parameters<E>,
    circuit: AnyCircuit<E::Fr>,
    r: E::Fr,
    s: E::Fr,
) -> ProofBytes {
    let proof = bellman::groth16::create_proof(circuit, parameters, r, s).unwrap();
    ProofBytes::from_proof(&proof).unwrap()
}

fn input(count: u8, index: u64) -> CircuitInput {
    let leaves: Vec<Bytes32> = (0..count).map(|i| Bytes32::new([0xf0 ^ i; 32])).collect();
    CircuitInput::MerklePoseidon(MerkleWitness::open(&leaves, index).unwrap())
}

/// One proof for all tests of bad ones.
fn honest() -> (ProofBytes, Vec<Bytes32>) {
    static HONEST: std::sync::OnceLock<(ProofBytes, Vec<Bytes32>)> = std::sync::OnceLock::new();
    let make = || {
        let input = input(3, 2);
        (shared_key().prove(&input).unwrap(), input.public_inputs().unwrap())
    };
    HONEST.get_or_init(make).clone()
}

fn verify(proof: &ProofBytes, inputs: &[Bytes32]) -> Result<bool, VerifyError> {
    let key = shared_key().verifying_key();
    let ours = key.verify(proof, inputs);
    // Both engines must agree on everything, the errors included.
    assert_eq!(ours, verify_independently(key, proof, inputs));
    ours
}

#[test]
fn a_proof_of_every_tree_size_verifies_on_both_engines() {
    for (count, index) in [(1, 0), (2, 1), (5, 4), (16, 15)] {
        let input = input(count, index);
        let proof = shared_key().prove(&input).unwrap();
        assert_eq!(verify(&proof, &input.public_inputs().unwrap()), Ok(true), "leaf {index} of {count}");
    }
}

#[test]
fn two_proofs_of_one_input_differ_and_both_verify() {
    let input = input(3, 2);
    let (first, inputs) = honest();
    let second = shared_key().prove(&input).unwrap();
    assert_ne!(first, second);
    assert_eq!(verify(&second, &inputs), Ok(true));
}

#[test]
fn both_engines_and_our_prover_make_the_same_bytes_from_the_same_randomness_and_key() {
    let circuit = catalog::find("merkle-poseidon-4").unwrap();
    let mut key_bytes = Vec::new();
    shared_key().write(&mut key_bytes).unwrap();
    let ours = Parameters::<Bls12>::read(&key_bytes[..], true).unwrap();
    let theirs = Parameters::<Other>::read(&key_bytes[..], true).unwrap();

    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (r, s) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
    let convert = |x: Scalar| bls12_381::Scalar::from_repr(x.to_repr()).unwrap();
    let input = input(5, 4);
    let our_circuit = AnyCircuit::with_input(circuit, &input).unwrap();
    let their_circuit = AnyCircuit::with_input(circuit, &input).unwrap();
    let our_proof = oracle(&ours, our_circuit.clone(), r, s);
    let their_proof = oracle(&theirs, their_circuit, convert(r), convert(s));
    assert_eq!(our_proof, their_proof);
    let prover = shared_key().prover().unwrap();
    let proven =
        prover.prove_with(our_circuit, &r, &s, &MemoryBound::ANY, &Stop::new(), &|| Duration::ZERO).unwrap();
    assert_eq!(ProofBytes::from_proof(&proven.proof).unwrap(), their_proof);
    assert_eq!(verify(&their_proof, &input.public_inputs().unwrap()), Ok(true));
}

#[test]
fn a_proof_does_not_verify_for_another_root() {
    let (proof, _) = honest();
    let other = input(4, 2).public_inputs().unwrap();
    assert_eq!(verify(&proof, &other), Ok(false));
    assert_eq!(verify(&proof, &[Bytes32::ZERO]), Ok(false));
}

#[test]
fn a_proof_does_not_verify_under_another_key() {
    let (proof, inputs) = honest();
    let circuit = shared_key().circuit();
    let other = crate::proof::ProvingKey::generate(circuit, &mut ChaCha20Rng::seed_from_u64(6)).unwrap();
    assert_eq!(other.verifying_key().verify(&proof, &inputs), Ok(false));
}

#[test]
fn a_proof_with_any_one_bit_flipped_is_false_or_an_error() {
    let (proof, inputs) = honest();
    let key = shared_key().verifying_key();
    let mut refused = 0;
    for bit in 0..8 * PROOF_BYTES {
        let mut bytes = *proof.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match key.verify(&ProofBytes::new(bytes), &inputs) {
            Ok(true) => panic!("bit {bit} does not matter"),
            Ok(false) => {}
            Err(_) => refused += 1,
        }
    }
    // Flipping a sign bit negates the point, which stays one of the subgroup: three proofs are merely false.
    assert_eq!(refused, 8 * PROOF_BYTES - 3);
}

/// The documentation says so, and nobody should take proof bytes for an identity.
#[test]
fn negating_a_and_b_gives_other_bytes_that_verify() {
    let (proof, inputs) = honest();
    let mut bytes = *proof.as_bytes();
    // The third bit of a compressed point is the sign of y.
    bytes[0] ^= 0x20;
    bytes[G1_BYTES] ^= 0x20;
    assert_eq!(verify(&ProofBytes::new(bytes), &inputs), Ok(true));
}

/// The first compressed point of G1, counting x up, for which `choose` says yes.
fn g1_where(choose: impl Fn(Option<G1Affine>) -> bool) -> [u8; G1_BYTES] {
    for x in 0u16.. {
        let mut bytes = [0u8; G1_BYTES];
        bytes[0] = 0x80;
        bytes[G1_BYTES - 2..].copy_from_slice(&x.to_be_bytes());
        if choose(Option::from(G1Affine::from_compressed_unchecked(&bytes))) {
            return bytes;
        }
    }
    unreachable!("half of all x are on the curve")
}

/// As [`g1_where`], for G2.
fn g2_where(choose: impl Fn(Option<G2Affine>) -> bool) -> [u8; 2 * G1_BYTES] {
    for x in 0u16.. {
        let mut bytes = [0u8; 2 * G1_BYTES];
        bytes[0] = 0x80;
        bytes[2 * G1_BYTES - 2..].copy_from_slice(&x.to_be_bytes());
        if choose(Option::from(G2Affine::from_compressed_unchecked(&bytes))) {
            return bytes;
        }
    }
    unreachable!("half of all x are on the curve")
}

/// The honest proof with the given points in the places of A, B and C in turn.
fn with_points(g1: [u8; G1_BYTES], g2: [u8; 2 * G1_BYTES]) -> [(ProofBytes, &'static str); 3] {
    let honest = *honest().0.as_bytes();
    let replaced = |from: usize, point: &[u8]| {
        let mut bytes = honest;
        bytes[from..from + point.len()].copy_from_slice(point);
        ProofBytes::new(bytes)
    };
    [(replaced(0, &g1), "a"), (replaced(48, &g2), "b"), (replaced(144, &g1), "c")]
}

#[test]
fn a_point_off_the_curve_is_refused_by_name() {
    let off_curve = with_points(g1_where(|p| p.is_none()), g2_where(|p| p.is_none()));
    for (proof, point) in off_curve {
        assert_eq!(verify(&proof, &honest().1), Err(VerifyError::Point { point }));
    }
}

#[test]
fn a_point_on_the_curve_but_outside_the_subgroup_is_refused_by_name() {
    let g1 = g1_where(|p| p.is_some_and(|p| bool::from(p.is_on_curve() & !p.is_torsion_free())));
    let g2 = g2_where(|p| p.is_some_and(|p| bool::from(p.is_on_curve() & !p.is_torsion_free())));
    for (proof, point) in with_points(g1, g2) {
        let refused = verify(&proof, &honest().1).unwrap_err();
        assert_eq!(refused, VerifyError::Point { point });
        assert_eq!(refused.to_string(), format!("point {point} is not on the curve or not in the subgroup"));
    }
}

#[test]
fn a_coordinate_at_or_above_the_base_fields_modulus_is_refused() {
    let mut g1 = [0xff; G1_BYTES];
    g1[0] = 0x9f;
    let mut g2 = [0xff; 2 * G1_BYTES];
    g2[0] = 0x9f;
    for (proof, point) in with_points(g1, g2) {
        assert_eq!(verify(&proof, &honest().1), Err(VerifyError::Point { point }));
    }
}

#[test]
fn the_identity_is_refused_by_name() {
    let mut g1 = [0; G1_BYTES];
    g1[0] = 0xc0;
    let mut g2 = [0; 2 * G1_BYTES];
    g2[0] = 0xc0;
    for (proof, point) in with_points(g1, g2) {
        assert_eq!(verify(&proof, &honest().1), Err(VerifyError::Identity { point }));
    }
}

#[test]
fn zeros_and_ones_are_no_proof() {
    for byte in [0, 0xff] {
        let proof = ProofBytes::new([byte; PROOF_BYTES]);
        assert_eq!(verify(&proof, &honest().1), Err(VerifyError::Point { point: "a" }));
    }
}

#[test]
fn a_wrong_number_of_inputs_is_refused_with_both_numbers() {
    let (proof, inputs) = honest();
    for got in [0, 2, 3] {
        let inputs = vec![inputs[0]; got];
        let refused = verify(&proof, &inputs).unwrap_err();
        assert_eq!(refused, VerifyError::InputCount { expected: 1, got });
        assert_eq!(refused.to_string(), format!("expected 1 public inputs, got {got}"));
    }
}

#[test]
fn an_input_plus_the_modulus_is_refused_although_it_is_congruent() {
    let modulus: Bytes32 = Scalar::MODULUS.parse().unwrap();
    let (proof, _) = honest();
    for input in [modulus, Bytes32::new([0xff; 32])] {
        let refused = verify(&proof, &[input]).unwrap_err();
        assert_eq!(refused, VerifyError::InputNotCanonical { position: 0 });
        assert_eq!(refused.to_string(), "public input 0 is not below the field's modulus");
    }
}

#[test]
fn a_witness_that_breaks_a_constraint_is_an_error_and_no_proof() {
    // A circuit of the right shape whose witness claims another root, as a bug in the builder would.
    let circuit = catalog::find("merkle-poseidon-4").unwrap();
    let AnyCircuit::MerklePoseidon(honest) = AnyCircuit::with_input(circuit, &input(3, 2)).unwrap();
    let lying = AnyCircuit::MerklePoseidon(honest.claiming_root(Scalar::ONE));
    let prover = shared_key().prover().unwrap();
    let refused = prover.prove(lying, &mut ChaCha20Rng::seed_from_u64(7), &Stop::new()).unwrap_err();
    let expected =
        "the witness does not satisfy constraint level 3/a present level hashes and an absent one passes";
    assert_eq!(refused.to_string(), expected);
}

#[test]
fn a_proofs_text_and_binary_forms_read_back() {
    let (proof, _) = honest();
    assert_eq!(proof.to_string().len(), 384);
    assert_eq!(proof.to_string().parse(), Ok(proof));
    let json = serde_json::to_string(&proof).unwrap();
    assert_eq!(serde_json::from_str::<ProofBytes>(&json).unwrap(), proof);
    let config = bincode::config::standard();
    let binary = bincode::serde::encode_to_vec(proof, config).unwrap();
    let (again, _): (ProofBytes, usize) = bincode::serde::decode_from_slice(&binary, config).unwrap();
    assert_eq!(again, proof);
    assert_eq!("ab".parse::<ProofBytes>(), Err(ProofFormatError::NotHex { got: 2 }));
    assert_eq!("z".repeat(384).parse::<ProofBytes>(), Err(ProofFormatError::NotHex { got: 384 }));
    assert_eq!(ProofBytes::try_from(&[0u8; 191][..]), Err(ProofFormatError::Length { got: 191 }));
}

fn key_error(change: impl FnOnce(&mut Vec<u8>)) -> Option<VerifyingKeyError> {
    let mut bytes = shared_key().verifying_key().as_bytes().to_vec();
    change(&mut bytes);
    let ours = FastKey::from_bytes(&bytes).err();
    assert_eq!(ours, PreparedKey::<Bls12>::from_bytes(&bytes).err());
    assert_eq!(ours, PreparedKey::<Other>::from_bytes(&bytes).err());
    ours
}

#[test]
fn a_verifying_key_of_the_wrong_length_is_refused() {
    assert_eq!(key_error(|_| {}), None);
    let len = shared_key().verifying_key().as_bytes().len();
    for got in [0, 100, VK_FIXED_BYTES, len - 1, len + 1, len + VK_IC_BYTES] {
        assert_eq!(key_error(|bytes| bytes.resize(got, 0)), Some(VerifyingKeyError::Length { got }));
    }
    let counted = key_error(|bytes| bytes[VK_FIXED_BYTES - 4..VK_FIXED_BYTES].fill(0xff));
    assert_eq!(counted, Some(VerifyingKeyError::Length { got: len }));
}

#[test]
fn a_verifying_key_with_an_identity_point_is_refused_by_name() {
    let places = [("alpha_g1", 0, 96), ("beta_g2", 192, 192), ("gamma_g2", 384, 192), ("delta_g2", 672, 192)];
    for (point, from, len) in places {
        let found = key_error(|bytes| {
            bytes[from..from + len].fill(0);
            bytes[from] = 0x40;
        });
        assert_eq!(found, Some(VerifyingKeyError::Identity { point }));
    }
}

#[test]
fn a_second_spelling_of_a_verifying_keys_point_is_refused() {
    // blst's decoder of uncompressed points also takes a compressed one followed by anything.
    let found = key_error(|bytes| {
        let alpha: [u8; 96] = bytes[..96].try_into().unwrap();
        let alpha = G1Affine::from_uncompressed(&alpha).unwrap();
        bytes[..48].copy_from_slice(&alpha.to_compressed());
    });
    assert_eq!(found, Some(VerifyingKeyError::Point));
}

#[test]
fn a_verifying_key_with_any_changed_byte_is_refused() {
    let len = shared_key().verifying_key().as_bytes().len();
    for place in (0..len).step_by(13) {
        assert!(key_error(|bytes| bytes[place] ^= 1).is_some(), "byte {place}");
    }
}
