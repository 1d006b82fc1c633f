//! Poseidon against the published vector, and the constraints against the clear form.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bellman::ConstraintSystem;
use blstrs::Scalar;
use ff::Field;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::gadget::{self, Num};
use super::*;
use crate::proof::circuits::recording::Recording;
use crate::proof::field::Bytes32;

/// From the reference implementation's `test_vectors.txt`, instance poseidonperm_x5_255_3.
const PUBLISHED: [&str; 3] = [
    "0x28ce19420fc246a05553ad1e8c98f5c9d67166be2c18e9e4cb4b4e317dd2a78a",
    "0x51f3e312c95343a896cfd8945ea82ba956c1118ce9b9859b6ea56637b4b1ddc4",
    "0x3b2b69139b235626a0bfb56c9527ae66a7bf486ad8c11c14d1da0c69bbe0f79a",
];

fn published_vector_holds<F: ProofField>() {
    let mut state = [F::ZERO, F::ONE, F::from(2)];
    permute(&mut state);
    assert_eq!(state.map(|element| Bytes32::from_scalar(&element).to_string()), PUBLISHED);
}

#[test]
fn the_permutation_agrees_with_the_published_vector_on_both_engines() {
    published_vector_holds::<Scalar>();
    published_vector_holds::<bls12_381::Scalar>();
}

/// The permutation as the paper defines it, round by round with the whole matrix.
fn permute_by_definition<F: ProofField>(state: &mut [F; WIDTH]) {
    let constants = F::poseidon();
    for (round, added) in constants.round_constants.iter().enumerate() {
        for (element, constant) in state.iter_mut().zip(added) {
            *element += constant;
        }
        let full = !(FULL_ROUNDS / 2..FULL_ROUNDS / 2 + PARTIAL_ROUNDS).contains(&round);
        let through_sbox = if full { WIDTH } else { 1 };
        state[..through_sbox].iter_mut().for_each(|element| *element = quintic(*element));
        *state = mix(&constants.matrix, state);
    }
}

#[test]
fn sparse_partial_rounds_compute_what_the_definition_says() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    for _ in 0..50 {
        let mut quick: [Scalar; WIDTH] = std::array::from_fn(|_| Scalar::random(&mut rng));
        let mut by_definition = quick;
        permute(&mut quick);
        permute_by_definition(&mut by_definition);
        assert_eq!(quick, by_definition);
    }
}

/// Elements at which carries and reductions end, and some that anything may do with.
fn elements(rng: &mut ChaCha20Rng) -> Vec<Scalar> {
    let mut elements = vec![Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::from(u64::MAX)];
    for bits in [51, 52, 53, 64, 104, 127, 128, 156, 208, 254] {
        let power = Scalar::from(2).pow_vartime([bits]);
        elements.extend([power, power - Scalar::ONE, -power]);
    }
    elements.extend((0..200).map(|_| Scalar::random(&mut *rng)));
    elements
}

#[test]
fn pairs_hashed_together_give_what_each_gives_alone() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    let elements = elements(&mut rng);
    for tag in [0, 1, 2, u64::MAX] {
        for distance in 0..3 {
            let pairs: Vec<[Scalar; 2]> = (0..elements.len())
                .map(|i| [elements[i], elements[(i + distance) % elements.len()]])
                .collect();
            let alone: Vec<Scalar> = pairs.iter().map(|&[left, right]| hash_pair(tag, left, right)).collect();
            assert_eq!(hash_pairs(tag, &pairs)[..], alone, "tag {tag}");
        }
    }
}

#[test]
fn any_number_of_pairs_can_be_hashed_together() {
    let pairs: Vec<[Scalar; 2]> = (0..18).map(|i| [Scalar::from(i), Scalar::from(i * i)]).collect();
    let all = hash_pairs(1, &pairs);
    for count in 0..pairs.len() {
        assert_eq!(hash_pairs(1, &pairs[..count])[..], all[..count]);
    }
}

#[test]
fn the_round_constants_are_all_different() {
    let constants = Scalar::poseidon().round_constants;
    let distinct: std::collections::HashSet<[u8; 32]> =
        constants.as_flattened().iter().map(Scalar::to_bytes_be).collect();
    assert_eq!(distinct.len(), CONSTANTS);
}

#[test]
fn the_gadget_computes_what_the_clear_form_does_in_240_constraints() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for tag in [0, 1, 2, u64::MAX] {
        let (left, right) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
        let mut cs = Recording::<Scalar>::default();
        let inputs = [left, right].map(|value| {
            let variable = cs.alloc(|| "input", || Ok(value)).unwrap();
            Num::variable(variable, Some(value))
        });
        let output = gadget::hash_pair(&mut cs, tag, &inputs[0], &inputs[1]).unwrap();
        assert_eq!(output.value(), Some(hash_pair(tag, left, right)));
        assert_eq!(cs.constraints(), gadget::CONSTRAINTS);
        assert_eq!(gadget::CONSTRAINTS, 240);
        assert!(cs.is_satisfied());
        // The combination, not only the value that travels beside it, must come to the output.
        let lc = output.add_to(Recording::<Scalar>::one(), bellman::LinearCombination::zero());
        assert_eq!(Some(cs.evaluate(&lc)), output.value());
    }
}

#[test]
fn no_assigned_variable_of_the_gadget_can_be_changed() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let mut cs = Recording::<Scalar>::default();
    let inputs = [(); 2].map(|()| {
        let value = Scalar::random(&mut rng);
        Num::variable(cs.alloc(|| "input", || Ok(value)).unwrap(), Some(value))
    });
    gadget::hash_pair(&mut cs, 2, &inputs[0], &inputs[1]).unwrap();
    assert_eq!(cs.unbound_by_changes(&mut rng), Vec::<usize>::new());
}
