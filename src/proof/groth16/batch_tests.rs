//! Batches: whatever is in them, each proof gets the verdict that it gets alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::OnceLock;

use bellman::groth16::{Parameters, create_random_proof};
use blstrs::{Bls12, G1Projective, G2Affine, G2Projective};
use group::{Group, GroupEncoding};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, SeedableRng};

use super::super::generator::{ToxicValues, generate};
use super::super::progress::KeygenProgress;
use super::super::synthetic::Synthetic;
use super::super::verify::PreparedKey;
use super::*;

type Proven = (ProofBytes, Vec<Bytes32>);

/// A key for a circuit of this many inputs, ours and bellman's, and eight honest proofs.
struct Fixture {
    fast: FastKey,
    reference: PreparedKey<Bls12>,
    independent: PreparedKey<bls12_381::Bls12>,
    proofs: Vec<Proven>,
}

fn fixture(inputs: usize) -> Fixture {
    let circuit = Synthetic { inputs, steps: 5, unconstrained: 0, seed: 1 };
    let mut rng = ChaCha20Rng::seed_from_u64(inputs as u64);
    let generators = (G1Projective::generator(), G2Projective::generator());
    let toxic = ToxicValues::random(&mut rng);
    let parameters: Parameters<Bls12> =
        generate(circuit.clone(), generators, &toxic, &KeygenProgress::default()).unwrap();
    let mut key = Vec::new();
    parameters.vk.write(&mut key).unwrap();
    let public: Vec<Bytes32> = circuit.public_inputs().iter().map(Bytes32::from_scalar).collect();
    let prove = |_| {
        let proof = create_random_proof(circuit.clone(), &parameters, &mut rng).unwrap();
        (ProofBytes::from_proof(&proof).unwrap(), public.clone())
    };
    let proofs = (0..8).map(prove).collect();
    Fixture {
        fast: FastKey::from_bytes(&key).unwrap(),
        reference: PreparedKey::from_bytes(&key).unwrap(),
        independent: PreparedKey::from_bytes(&key).unwrap(),
        proofs,
    }
}

fn shared() -> &'static Fixture {
    static SHARED: OnceLock<Fixture> = OnceLock::new();
    SHARED.get_or_init(|| fixture(2))
}

/// Asks for the batch, for each proof alone, and bellman for each, and sees that all say the same.
fn verdicts(fixture: &Fixture, proofs: &[Proven]) -> Vec<Result<bool, VerifyError>> {
    let together = fixture.fast.verify_batch(proofs, &mut OsRng);
    let alone: Vec<_> = proofs.iter().map(|(proof, inputs)| fixture.fast.verify(proof, inputs)).collect();
    let bellman: Vec<_> =
        proofs.iter().map(|(proof, inputs)| fixture.reference.verify(proof, inputs)).collect();
    assert_eq!(together, alone);
    assert_eq!(alone, bellman);
    together
}

/// The ways in which a proof is spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoiled {
    NotAtAll,
    OtherInput,
    InputMissing,
    InputNotCanonical,
    SwappedAandC,
    NegatedA,
    IdentityInB,
    OutsideSubgroup,
    OffCurve,
}

const WAYS: [Spoiled; 8] = [
    Spoiled::OtherInput,
    Spoiled::InputMissing,
    Spoiled::InputNotCanonical,
    Spoiled::SwappedAandC,
    Spoiled::NegatedA,
    Spoiled::IdentityInB,
    Spoiled::OutsideSubgroup,
    Spoiled::OffCurve,
];

/// The first compressed point of G1, counting x up, that is on the curve and not in the subgroup, or not on the curve.
fn bad_g1(is_on_curve: bool) -> [u8; 48] {
    for x in 0u8..=255 {
        let mut bytes = [0; 48];
        (bytes[0], bytes[47]) = (0x80, x);
        let point: Option<G1Affine> = G1Affine::from_compressed_unchecked(&bytes).into();
        let found = match point {
            Some(point) => is_on_curve && bool::from(point.is_on_curve() & !point.is_torsion_free()),
            None => !is_on_curve,
        };
        if found {
            return bytes;
        }
    }
    unreachable!("half of all x are on the curve, and few of those in the subgroup")
}

fn spoil((proof, inputs): &Proven, way: Spoiled) -> Proven {
    let (mut bytes, mut inputs) = (*proof.as_bytes(), inputs.clone());
    match way {
        Spoiled::NotAtAll => {}
        Spoiled::OtherInput => inputs[0] = Bytes32::from_scalar(&Scalar::from(1234)),
        Spoiled::InputMissing => inputs.truncate(1),
        Spoiled::InputNotCanonical => inputs[1] = Bytes32::new([0xff; 32]),
        Spoiled::SwappedAandC => {
            let a: [u8; 48] = bytes[..48].try_into().unwrap();
            bytes.copy_within(144.., 0);
            bytes[144..].copy_from_slice(&a);
        }
        Spoiled::NegatedA => bytes[0] ^= 0x20,
        Spoiled::IdentityInB => {
            bytes[48..144].fill(0);
            bytes[48] = 0xc0;
        }
        Spoiled::OutsideSubgroup => bytes[..48].copy_from_slice(&bad_g1(true)),
        Spoiled::OffCurve => bytes[144..].copy_from_slice(&bad_g1(false)),
    }
    (ProofBytes::new(bytes), inputs)
}

#[test]
fn honest_proofs_hold_in_batches_of_every_size() {
    let fixture = shared();
    for len in 0..=fixture.proofs.len() {
        assert_eq!(verdicts(fixture, &fixture.proofs[..len]), vec![Ok(true); len]);
    }
}

#[test]
fn one_bad_proof_is_found_at_every_place_and_spoils_no_other() {
    let fixture = shared();
    for place in 0..fixture.proofs.len() {
        for way in WAYS {
            let mut proofs = fixture.proofs.clone();
            proofs[place] = spoil(&proofs[place], way);
            let verdicts = verdicts(fixture, &proofs);
            for (other, verdict) in verdicts.iter().enumerate() {
                assert_eq!(
                    *verdict == Ok(true),
                    other != place,
                    "{way:?} at {place}: {other} is {verdict:?}"
                );
            }
        }
    }
}

#[test]
fn errors_name_what_is_wrong_as_a_single_check_names_it() {
    let fixture = shared();
    let verdict = |way| {
        let mut proofs = fixture.proofs[..4].to_vec();
        proofs[2] = spoil(&proofs[2], way);
        verdicts(fixture, &proofs).remove(2)
    };
    assert_eq!(verdict(Spoiled::NegatedA), Ok(false));
    assert_eq!(verdict(Spoiled::SwappedAandC), Ok(false));
    assert_eq!(verdict(Spoiled::InputMissing), Err(VerifyError::InputCount { expected: 2, got: 1 }));
    assert_eq!(verdict(Spoiled::InputNotCanonical), Err(VerifyError::InputNotCanonical { position: 1 }));
    assert_eq!(verdict(Spoiled::IdentityInB), Err(VerifyError::Identity { point: "b" }));
    assert_eq!(verdict(Spoiled::OutsideSubgroup), Err(VerifyError::Point { point: "a" }));
    assert_eq!(verdict(Spoiled::OffCurve), Err(VerifyError::Point { point: "c" }));
}

/// Two false proofs whose errors cancel in a sum without random factors.
#[test]
fn false_proofs_that_make_up_for_each_other_are_both_found() {
    let fixture = shared();
    let mut proofs = fixture.proofs.clone();
    for (place, sign) in [(1, Scalar::ONE), (6, -Scalar::ONE)] {
        let bytes = *proofs[place].0.as_bytes();
        let c = G1Affine::from_compressed(bytes[144..].try_into().unwrap()).unwrap();
        let moved = (c + G1Projective::generator() * sign).to_affine();
        let mut spoiled = bytes;
        spoiled[144..].copy_from_slice(moved.to_bytes().as_ref());
        proofs[place].0 = ProofBytes::new(spoiled);
    }
    let found: Vec<usize> = verdicts(fixture, &proofs)
        .iter()
        .enumerate()
        .filter_map(|(place, verdict)| (*verdict != Ok(true)).then_some(place))
        .collect();
    assert_eq!(found, [1, 6]);
}

#[test]
fn equal_proofs_and_proofs_with_opposite_points_are_judged_one_by_one() {
    let fixture = shared();
    let honest = fixture.proofs[0].clone();
    let mut both_negated = *honest.0.as_bytes();
    both_negated[0] ^= 0x20;
    both_negated[48] ^= 0x20;
    let also_true = (ProofBytes::new(both_negated), honest.1.clone());
    let false_one = spoil(&honest, Spoiled::NegatedA);
    let proofs = vec![honest.clone(), also_true, honest.clone(), false_one.clone(), honest, false_one];
    assert_eq!(verdicts(fixture, &proofs), [Ok(true), Ok(true), Ok(true), Ok(false), Ok(true), Ok(false)]);
}

#[test]
fn a_batch_of_only_false_proofs_is_all_false() {
    let fixture = shared();
    let proofs: Vec<Proven> = fixture.proofs.iter().map(|proof| spoil(proof, Spoiled::OtherInput)).collect();
    assert_eq!(verdicts(fixture, &proofs), vec![Ok(false); proofs.len()]);
}

#[test]
fn a_pool_of_threads_says_the_same() {
    let fixture = shared();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let mut proofs = [&fixture.proofs[..], &fixture.proofs[..], &fixture.proofs[..]].concat();
    proofs[19] = spoil(&proofs[19], Spoiled::OtherInput);
    proofs[3] = spoil(&proofs[3], Spoiled::OffCurve);
    let in_pool = pool.install(|| fixture.fast.verify_batch(&proofs, &mut OsRng));
    assert_eq!(in_pool, verdicts(fixture, &proofs));
    assert_eq!(in_pool.iter().filter(|verdict| **verdict == Ok(true)).count(), 22);
}

#[test]
fn keys_of_any_number_of_inputs_say_what_both_other_verifiers_say() {
    // No inputs, one, as many as have tables, and more.
    for inputs in [0, 1, 4, 5, 9] {
        let fixture = fixture(inputs);
        assert_eq!(fixture.fast.public_inputs(), inputs);
        assert_eq!(verdicts(&fixture, &fixture.proofs), vec![Ok(true); 8], "{inputs} inputs");
        let (proof, public) = &fixture.proofs[0];
        assert_eq!(fixture.independent.verify(proof, public), Ok(true));
        for place in 0..inputs {
            let mut proofs = fixture.proofs.clone();
            proofs[4].1[place] = Bytes32::ZERO;
            assert_eq!(verdicts(&fixture, &proofs)[4], Ok(false), "input {place} of {inputs}");
        }
    }
}

#[test]
fn factors_are_the_numbers_that_they_are_drawn_as() {
    for number in [1, u128::from(u64::MAX), 1 << 64, u128::MAX] {
        let mut bytes = to_scalar(number).to_bytes_le();
        assert_eq!(u128::from_le_bytes(bytes[..16].try_into().unwrap()), number);
        bytes[..16].fill(0);
        assert_eq!(bytes, [0; 32]);
    }
}

#[test]
fn the_point_of_b_is_taken_from_its_own_proof() {
    let fixture = shared();
    let mut proofs = fixture.proofs[..4].to_vec();
    let other = *proofs[3].0.as_bytes();
    let mut bytes = *proofs[0].0.as_bytes();
    bytes[48..144].copy_from_slice(&other[48..144]);
    assert!(bool::from(G2Affine::from_compressed(other[48..144].try_into().unwrap()).is_some()));
    proofs[0].0 = ProofBytes::new(bytes);
    assert_eq!(verdicts(fixture, &proofs), [Ok(false), Ok(true), Ok(true), Ok(true)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_batch_says_of_each_what_a_single_check_says(ways in proptest::collection::vec(0usize..16, 0..12)) {
        let fixture = shared();
        let proofs: Vec<Proven> = ways
            .iter()
            .enumerate()
            .map(|(place, way)| {
                let honest = &fixture.proofs[place % fixture.proofs.len()];
                spoil(honest, WAYS.get(*way).copied().unwrap_or(Spoiled::NotAtAll))
            })
            .collect();
        let verdicts = verdicts(fixture, &proofs);
        for (way, verdict) in ways.iter().zip(verdicts) {
            prop_assert_eq!(verdict == Ok(true), *way >= WAYS.len());
        }
    }
}
