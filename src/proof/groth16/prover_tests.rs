//! The prover against bellman's: the same key, witness and randomness give the same bytes, and nothing else gives a proof.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering};

use bellman::groth16::{create_proof, generate_random_parameters};
use bellman::{ConstraintSystem, LinearCombination, SynthesisError, Variable};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::proof::circuits::{AnyCircuit, CircuitInput, MerkleWitness};
use crate::proof::field::Bytes32;
use crate::proof::keys::tests::shared_key;

/// A circuit that has a bit of everything: products, sums with all kinds of coefficients, booleans, inputs in every
/// matrix, a constraint of nothing, terms of coefficient zero, variables that only C has, and an input that none has.
#[derive(Clone)]
struct Motley {
    constraints: usize,
    /// Without the constant 1.
    inputs: usize,
    /// Seed of the witness; a blank circuit has none.
    seed: Option<u64>,
    /// The constraint that the witness breaks.
    broken: Option<usize>,
}

impl Motley {
    fn new(constraints: usize, inputs: usize) -> Motley {
        Motley { constraints, inputs, seed: Some(1), broken: None }
    }

    fn blank(&self) -> Motley {
        Motley { seed: None, broken: None, ..self.clone() }
    }
}

impl Circuit<Scalar> for Motley {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut rng = self.seed.map(ChaCha20Rng::seed_from_u64);
        let mut draw = || rng.as_mut().map(Scalar::random);
        let given = |value: Option<Scalar>| move || value.ok_or(SynthesisError::AssignmentMissing);
        let one = (CS::one(), Some(Scalar::ONE));
        let mut inputs = vec![one];
        for _ in 0..self.inputs {
            let value = draw();
            inputs.push((cs.alloc_input(|| "input", given(value))?, value));
        }
        let mut last = *inputs.last().unwrap();
        for place in 0..self.constraints {
            let input = inputs[place % inputs.len()];
            let (big, small) = (Scalar::from(0x1234_5678).square(), Scalar::from(3));
            // Linear combinations of (variable, coefficient), and the value of C's own variable.
            let (a, b, constant) = match place % 6 {
                0 => (vec![(last, Scalar::ONE)], vec![(last, Scalar::ONE)], false),
                1 => {
                    (vec![(last, small), (input, -Scalar::ONE), (one, big)], vec![(one, Scalar::ONE)], false)
                }
                2 => (vec![], vec![], true),
                3 => (vec![(input, big), (last, Scalar::ZERO)], vec![(last, -Scalar::ONE)], false),
                4 => (vec![(last, small), (last, small)], vec![(input, Scalar::ONE), (one, small)], false),
                _ => (vec![(one, Scalar::ONE)], vec![(input, big), (one, Scalar::ONE)], false),
            };
            type Terms = Vec<((Variable, Option<Scalar>), Scalar)>;
            let value = |terms: &Terms| {
                terms
                    .iter()
                    .try_fold(Scalar::ZERO, |sum, ((_, value), factor)| Some(sum + (*value)? * factor))
            };
            let combination = |terms: &Terms| {
                terms.iter().fold(LinearCombination::zero(), |sum, ((variable, _), factor)| {
                    sum + (*factor, *variable)
                })
            };
            let mut product = value(&a).zip(value(&b)).map(|(a, b)| a * b);
            if self.broken == Some(place) {
                product = product.map(|product| product + Scalar::ONE);
            }
            if constant {
                cs.enforce(|| "nothing", |lc| lc, |lc| lc, |lc| lc);
            } else {
                let result = cs.alloc(|| "result", given(product))?;
                cs.enforce(
                    || format!("motley {place}"),
                    |_| combination(&a),
                    |_| combination(&b),
                    |lc| lc + result,
                );
                last = (result, product);
            }
        }
        Ok(())
    }
}

fn key(circuit: &Motley, seed: u64) -> Parameters<Bls12> {
    generate_random_parameters(circuit.blank(), &mut ChaCha20Rng::seed_from_u64(seed)).unwrap()
}

fn bytes(proof: &Proof<Bls12>) -> Vec<u8> {
    let mut bytes = Vec::new();
    proof.write(&mut bytes).unwrap();
    bytes
}

fn still() -> Duration {
    Duration::ZERO
}

/// Panics unless our proof of the circuit is bellman's, with the processor's vectors and without.
fn assert_bellmans<C: Circuit<Scalar> + Clone + Sync>(
    name: &str,
    circuit: C,
    blank: C,
    parameters: &Parameters<Bls12>,
) {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let best = Prover::new(blank.clone(), parameters).unwrap();
    let portable = Prover::with_instructions(blank, parameters, Instructions::Portable).unwrap();
    let (zero, one) = (Scalar::ZERO, Scalar::ONE);
    for (prover, tables, r, s) in [
        (&best, false, Scalar::random(&mut rng), Scalar::random(&mut rng)),
        (&best, true, zero, one),
        (&best, false, -one, zero),
        (&portable, false, Scalar::random(&mut rng), Scalar::random(&mut rng)),
        (&portable, true, one, -one),
    ] {
        if tables {
            prover.make_tables(parameters, 16 << 20);
        } else {
            prover.drop_tables();
        }
        let expected = create_proof(circuit.clone(), parameters, r, s).unwrap();
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let proven = pool
                .install(|| {
                    prover.prove_with(circuit.clone(), &r, &s, &MemoryBound::ANY, &Stop::new(), &still)
                })
                .unwrap();
            let how = (prover.instructions, threads, tables);
            assert_eq!(
                bytes(&proven.proof),
                bytes(&expected),
                "{name}: instructions, threads, tables {how:?}"
            );
        }
    }
}

#[test]
fn proofs_of_motley_circuits_are_bellmans() {
    // From no constraint at all to domains that are exactly full, one row short of it, and one above.
    let sizes = [
        (0, 0),
        (0, 1),
        (0, 3),
        (1, 0),
        (1, 2),
        (2, 1),
        (3, 0),
        (5, 2),
        (13, 2),
        (14, 2),
        (12, 4),
        (60, 3),
        (61, 3),
        (127, 0),
        (128, 0),
        (500, 11),
        (512, 511),
    ];
    for (constraints, inputs) in sizes {
        let circuit = Motley::new(constraints, inputs);
        let name = format!("{constraints} constraints, {inputs} inputs");
        assert_bellmans(&name, circuit.clone(), circuit.blank(), &key(&circuit, 3));
    }
}

#[test]
fn proofs_of_merkle_paths_are_bellmans() {
    let spec = shared_key().circuit();
    let leaves: Vec<Bytes32> = (0..5).map(|i| Bytes32::new([0xf0 ^ i; 32])).collect();
    let mut bytes = Vec::new();
    shared_key().write(&mut bytes).unwrap();
    let parameters = Parameters::read(&bytes[..], false).unwrap();
    for index in [0, 4] {
        let input = CircuitInput::MerklePoseidon(MerkleWitness::open(&leaves, index).unwrap());
        let circuit = AnyCircuit::with_input(spec, &input).unwrap();
        assert_bellmans("a Merkle path", circuit, AnyCircuit::blank(spec), &parameters);
    }
}

#[test]
fn the_first_constraint_that_a_witness_breaks_is_named() {
    let honest = Motley::new(30, 2);
    let prover = Prover::new(honest.blank(), &key(&honest, 4)).unwrap();
    for broken in [0, 1, 7, 16, 29] {
        let circuit = Motley { broken: Some(broken), ..honest.clone() };
        let refused = prover.prove(circuit, &mut ChaCha20Rng::seed_from_u64(5), &Stop::new()).unwrap_err();
        let expected = format!("the witness does not satisfy constraint motley {broken}");
        assert_eq!(refused.to_string(), expected);
    }
}

#[test]
fn a_witness_without_values_is_an_error() {
    let circuit = Motley::new(10, 1);
    let prover = Prover::new(circuit.blank(), &key(&circuit, 6)).unwrap();
    let refused = prover.prove(circuit.blank(), &mut ChaCha20Rng::seed_from_u64(7), &Stop::new());
    assert!(matches!(refused, Err(ProveError::Synthesis(SynthesisError::AssignmentMissing))));
}

#[test]
fn a_circuit_with_other_variables_than_the_keys_is_refused() {
    let circuit = Motley::new(10, 2);
    let prover = Prover::new(circuit.blank(), &key(&circuit, 8)).unwrap();
    for other in
        [Motley::new(9, 2), Motley::new(12, 2), Motley::new(10, 1), Motley::new(10, 3), Motley::new(0, 0)]
    {
        let refused = prover.prove(other, &mut ChaCha20Rng::seed_from_u64(9), &Stop::new());
        assert!(matches!(refused, Err(ProveError::OtherCircuit)));
    }
}

#[test]
fn a_key_without_the_points_of_the_circuit_is_refused_by_the_name_of_the_query() {
    let circuit = Motley::new(10, 2);
    let made = key(&circuit, 10);
    type Change = fn(&mut Parameters<Bls12>);
    fn shorten<T: Clone>(points: &mut std::sync::Arc<Vec<T>>) {
        std::sync::Arc::make_mut(points).pop();
    }
    let changes: [(&str, Change); 6] = [
        ("ic", |key| key.vk.ic.truncate(2)),
        ("h", |key| shorten(&mut key.h)),
        ("l", |key| shorten(&mut key.l)),
        ("a", |key| shorten(&mut key.a)),
        ("b_g1", |key| shorten(&mut key.b_g1)),
        ("b_g2", |key| shorten(&mut key.b_g2)),
    ];
    for (name, change) in changes {
        let mut changed = made.clone();
        change(&mut changed);
        match Prover::new(circuit.blank(), &changed) {
            Err(PrepareError::OtherCircuit { query, found, expected }) => {
                assert_eq!((query, found + 1), (name, expected));
            }
            _ => panic!("{name} is not refused"),
        }
    }
}

#[test]
fn a_key_whose_delta_is_the_identity_is_refused() {
    let circuit = Motley::new(3, 1);
    let mut made = key(&circuit, 11);
    made.vk.delta_g1 = G1Affine::identity();
    assert!(matches!(Prover::new(circuit.blank(), &made), Err(PrepareError::Identity { point: "delta_g1" })));
}

#[test]
fn a_proof_can_be_given_up_before_every_phase_and_not_after_the_last() {
    let circuit = Motley::new(40, 2);
    let prover = Prover::new(circuit.blank(), &key(&circuit, 12)).unwrap();
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    // The clock is asked at the beginning and the end of each of nine stretches of work.
    let stopped_at = |wanted: usize| {
        let (stop, asked) = (Stop::new(), AtomicUsize::new(0));
        let clock = || {
            if asked.fetch_add(1, Ordering::Relaxed) == wanted {
                stop.stop();
            }
            Duration::ZERO
        };
        let mut rng = ChaCha20Rng::seed_from_u64(13);
        let result = one_thread.install(|| prover.prove_timed(circuit.clone(), &mut rng, &stop, &clock));
        (matches!(result, Err(ProveError::Stopped)), result.is_ok(), asked.into_inner())
    };
    let (_, finished, all) = stopped_at(usize::MAX);
    assert!(finished);
    let (stop, mut rng) = (Stop::new(), ChaCha20Rng::seed_from_u64(13));
    stop.stop();
    let never_asked = || -> Duration { panic!("the first phase was begun") };
    let result = one_thread.install(|| prover.prove_timed(circuit.clone(), &mut rng, &stop, &never_asked));
    assert!(matches!(result, Err(ProveError::Stopped)));
    for wanted in 0..all {
        let (stopped, finished, asked) = stopped_at(wanted);
        let in_the_last_phase = wanted + 2 >= all;
        assert_eq!(
            (stopped, finished),
            (!in_the_last_phase, in_the_last_phase),
            "stopped at {wanted} of {all}"
        );
        assert!(asked <= all);
    }
}

#[test]
fn the_times_of_all_phases_are_those_of_the_callers_clock() {
    let circuit = Motley::new(40, 2);
    let prover = Prover::new(circuit.blank(), &key(&circuit, 14)).unwrap();
    let asked = AtomicUsize::new(0);
    let clock = || Duration::from_secs(asked.fetch_add(1, Ordering::Relaxed) as u64);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut rng = ChaCha20Rng::seed_from_u64(15);
    let proven = one_thread.install(|| prover.prove_timed(circuit, &mut rng, &Stop::new(), &clock)).unwrap();
    let second = Duration::from_secs(1);
    let PhaseTimes { synthesis, products, fft, msm_a, msm_b_g1, msm_b_g2, msm_l, msm_h } = proven.times;
    assert_eq!([synthesis, fft, msm_a, msm_b_g1, msm_b_g2, msm_l, msm_h], [second; 7]);
    assert_eq!(products, 2 * second);
}
