//! Key generation against bellman's: the same bytes for the same toxic values, or the same error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bellman::groth16::generate_parameters;
use ff::PrimeField;
use group::Group;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::super::synthetic::Synthetic;
use super::*;
use crate::proof::circuits::{AnyCircuit, catalog};

fn generators() -> (G1Projective, G2Projective) {
    (G1Projective::generator(), G2Projective::generator())
}

fn toxic(seed: u64) -> ToxicValues {
    ToxicValues::random(&mut ChaCha20Rng::seed_from_u64(seed))
}

fn bytes(made: Result<Parameters<Bls12>, SynthesisError>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    made.map_err(|error| error.to_string())?.write(&mut bytes).unwrap();
    Ok(bytes)
}

/// What both make of it, having seen that they make the same.
fn both(
    circuit: impl Circuit<Scalar> + Clone,
    (g1, g2): (G1Projective, G2Projective),
    toxic: &ToxicValues,
) -> Result<Vec<u8>, String> {
    let [alpha, beta, gamma, delta, tau] = toxic.scalars;
    let ours = bytes(generate(circuit.clone(), (g1, g2), toxic, &KeygenProgress::default()));
    let theirs = bytes(generate_parameters(circuit, g1, g2, alpha, beta, gamma, delta, tau));
    assert_eq!(
        ours.is_ok(),
        theirs.is_ok(),
        "ours: {:?}, theirs: {:?}",
        ours.as_ref().err(),
        theirs.as_ref().err()
    );
    assert!(ours == theirs, "the keys differ");
    ours
}

fn synthetic(inputs: usize, steps: usize) -> Synthetic {
    Synthetic { inputs, steps, unconstrained: 0, seed: 7 }
}

#[test]
fn the_key_of_a_merkle_circuit_is_bellmans_byte_for_byte() {
    let circuit = AnyCircuit::<Scalar>::blank(catalog::find("merkle-poseidon-4").unwrap());
    assert!(both(circuit, generators(), &toxic(1)).unwrap().len() > 100_000);
}

#[test]
fn small_circuits_have_bellmans_keys_around_every_domain_boundary() {
    // Steps, inputs and the constant make the constraints: 2, 3 and 4 of them; 7 to 9; 31 to 33.
    for (inputs, steps) in [(0, 1), (1, 0), (1, 1), (2, 1), (0, 6), (3, 4), (1, 7), (0, 30), (5, 26), (2, 30)]
    {
        assert!(
            both(synthetic(inputs, steps), generators(), &toxic(2)).is_ok(),
            "{inputs} inputs, {steps} steps"
        );
    }
}

#[test]
fn other_generators_have_bellmans_key_too() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let random = (G1Projective::random(&mut rng), G2Projective::random(&mut rng));
    assert!(both(synthetic(2, 20), random, &toxic(3)).is_ok());
    let none = (G1Projective::identity(), G2Projective::identity());
    assert!(both(synthetic(2, 20), none, &toxic(3)).is_err());
}

#[test]
fn an_unconstrained_variable_is_refused_as_bellman_refuses_it() {
    let circuit = Synthetic { unconstrained: 1, ..synthetic(1, 5) };
    assert_eq!(
        both(circuit, generators(), &toxic(4)),
        Err(SynthesisError::UnconstrainedVariable.to_string())
    );
}

#[test]
fn a_gamma_or_delta_of_zero_is_refused_and_other_zeros_are_not() {
    for (place, refused) in [(0, false), (1, false), (2, true), (3, true)] {
        let mut toxic = toxic(5);
        toxic.scalars[place] = Scalar::ZERO;
        assert_eq!(both(synthetic(1, 6), generators(), &toxic).is_err(), refused, "toxic value {place}");
    }
}

#[test]
fn a_secret_point_inside_the_domain_makes_what_bellman_makes() {
    // 5 steps, 2 inputs and the constant: a domain of exactly 8.
    let root = Scalar::ROOT_OF_UNITY.pow_vartime([1u64 << (Scalar::S - 3)]);
    for power in 0..8 {
        let mut toxic = toxic(6);
        toxic.scalars[4] = root.pow_vartime([power]);
        let _ = both(synthetic(2, 5), generators(), &toxic);
    }
    let mut toxic = toxic(6);
    toxic.scalars[4] = Scalar::ZERO;
    let _ = both(synthetic(2, 5), generators(), &toxic);
}

#[test]
fn the_lagrange_polynomials_at_a_point_interpolate_the_powers_of_the_roots() {
    let tau = Scalar::random(ChaCha20Rng::seed_from_u64(7));
    for bits in [0, 1, 5, 13] {
        let values = lagrange(tau, bits);
        let root = Scalar::ROOT_OF_UNITY.pow_vartime([1u64 << (Scalar::S - bits)]);
        // The polynomial x is interpolated by its values, and so is 1.
        let ones: Scalar = values.iter().sum();
        assert_eq!(ones, Scalar::ONE);
        if bits > 0 {
            let roots = powers(Scalar::ONE, root, 1 << bits);
            let sum: Scalar = values.iter().zip(&*roots).map(|(value, root)| value * root).sum();
            assert_eq!(sum, tau, "domain of 2^{bits}");
        }
    }
}

#[test]
fn progress_counts_every_point_and_ends() {
    let progress = KeygenProgress::default();
    assert_eq!(progress.status().phase, KeygenPhase::Constraints);
    generate(synthetic(2, 2_000), generators(), &toxic(8), &progress).unwrap();
    let status = progress.status();
    assert_eq!(status.phase, KeygenPhase::Finished);
    assert_eq!(status.done, status.total);
    assert!(status.total > 4_000, "{status:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_small_circuit_has_bellmans_key_or_error(
        inputs in 0usize..5,
        steps in 0usize..40,
        unconstrained in 0usize..8,
        seed in any::<u64>(),
    ) {
        // Mostly without, for one unconstrained variable is enough for an error.
        let circuit = Synthetic { inputs, steps, unconstrained: unconstrained.saturating_sub(6), seed };
        let _ = both(circuit, generators(), &toxic(seed));
    }
}
