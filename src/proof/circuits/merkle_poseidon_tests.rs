//! The circuit: its pinned size and identity, and that nothing but an honest witness satisfies it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use blstrs::Scalar;
use ff::Field;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::proof::circuits::catalog;
use crate::proof::circuits::constraints::{Shape, first_unsatisfied};
use crate::proof::circuits::recording::Recording;
use crate::proof::merkle::MerkleTree;

const DEPTH: usize = 4;
/// Private variables before the first level: the leaf's bits, and three for each S-box of its node.
const BEFORE_LEVELS: usize = 256 + gadget::CONSTRAINTS;
/// Private variables of a level: present, right, sibling, order, S-boxes, above.
const PER_LEVEL: usize = 4 + gadget::CONSTRAINTS + 1;

fn leaves(count: u8) -> Vec<Bytes32> {
    (0..count).map(|i| Bytes32::new([0xf0 ^ i; 32])).collect()
}

fn circuit(count: u8, index: u64) -> MerklePoseidon<Scalar> {
    let witness = MerkleWitness::open(&leaves(count), index).unwrap();
    MerklePoseidon::with_witness(DEPTH, &witness).unwrap()
}

fn recorded(circuit: MerklePoseidon<Scalar>) -> Recording<Scalar> {
    let mut cs = Recording::default();
    circuit.synthesize(&mut cs).unwrap();
    cs
}

/// Name, constraints, private variables, digest.
const PINNED: [(&str, u64, u64, &str); 7] = [
    ("merkle-poseidon-4", 1472, 1475, "c2835ea9a866bd85543b4fb7bb1ba6824a84e25e9f9fe347b562515c6803acf2"),
    ("merkle-poseidon-8", 2448, 2455, "af3db1baefbeab8d0326560466c06f772a35eac14465760e3e95b390dfb25295"),
    ("merkle-poseidon-12", 3424, 3435, "abd9b153724658ebf7d9ed43ae97b766343a3f547f4ccf632c08f31a3dd7f118"),
    ("merkle-poseidon-16", 4400, 4415, "bf13c052e9ff887224bb355bd8481d613fa415a7324fe355864abfe6966803af"),
    ("merkle-poseidon-20", 5376, 5395, "37cd2d0854da45fba7108fdac51ac6fe3c0558850d5e4b3b5c79b2cb88f04c5a"),
    ("merkle-poseidon-24", 6352, 6375, "84dd25295d84efeadd2752cebdc23e41cf56c7bace16d1353968a10e5930ad10"),
    ("merkle-poseidon-32", 8304, 8335, "0e4bf5c09e633821b54e3881c18e4c54a68ac6913f33b8f06d7d273cc92f22be"),
];

/// A change here makes every key of the circuit useless. If it is meant, pin the new numbers and say so in the
/// release notes.
#[test]
fn sizes_and_digests_are_the_pinned_ones() {
    let found: Vec<_> = catalog::all()
        .iter()
        .map(|circuit| {
            let shape = circuit.shape();
            assert_eq!(shape.public_inputs, 1);
            (circuit.name, shape.constraints, shape.private_variables, shape.digest.to_string())
        })
        .collect();
    assert_eq!(
        found,
        PINNED
            .map(|(name, constraints, private, digest)| { (name, constraints, private, digest.to_owned()) })
    );
}

#[test]
fn each_part_costs_what_the_documentation_says() {
    for circuit in catalog::all() {
        assert_eq!(circuit.shape().constraints, 256 + 240 + 244 * u64::from(circuit.depth));
    }
}

#[test]
fn the_witness_and_the_engine_do_not_change_the_constraints() {
    let blank = Shape::of(MerklePoseidon::<Scalar>::blank(DEPTH));
    assert_eq!(Shape::of(circuit(9, 3)), blank);
    assert_eq!(Shape::of(MerklePoseidon::<bls12_381::Scalar>::blank(DEPTH)), blank);
    assert_ne!(Shape::of(MerklePoseidon::<Scalar>::blank(DEPTH + 1)).digest, blank.digest);
}

#[test]
fn every_leaf_of_every_tree_that_fits_satisfies_the_circuit_with_the_trees_root() {
    for count in [1, 2, 3, 5, 8, 9, 16] {
        let root = MerkleTree::new(&leaves(count)).unwrap().root();
        for index in 0..u64::from(count) {
            let cs = recorded(circuit(count, index));
            assert!(cs.is_satisfied(), "leaf {index} of {count}");
            assert_eq!(cs.inputs.len(), 2);
            assert!(Bytes32::from_scalar(&cs.inputs[1]) == root, "leaf {index} of {count}");
        }
    }
}

#[test]
fn the_root_cannot_be_another() {
    let mut cs = recorded(circuit(9, 3));
    for other in [cs.inputs[1] + Scalar::ONE, Scalar::ZERO, merkle::leaf_node(&leaves(9)[3])] {
        cs.inputs[1] = other;
        assert!(!cs.is_satisfied());
    }
}

#[test]
fn no_private_variable_of_a_full_path_can_be_changed() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    assert_eq!(recorded(circuit(16, 5)).unbound_by_changes(&mut rng), Vec::<usize>::new());
}

#[test]
fn no_private_variable_of_a_short_path_can_be_changed() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    for count in [1, 3] {
        assert_eq!(recorded(circuit(count, 0)).unbound_by_changes(&mut rng), Vec::<usize>::new());
    }
}

/// A circuit whose witness was tampered with before synthesis, so that every variable that follows is consistent.
fn tampered(count: u8, index: u64, tamper: impl FnOnce(&mut Assignment<Scalar>)) -> MerklePoseidon<Scalar> {
    let mut circuit = circuit(count, index);
    tamper(circuit.witness.as_mut().unwrap());
    circuit
}

#[test]
fn a_wrong_leaf_index_path_or_length_does_not_lead_to_the_root() {
    let tampered = [
        tampered(9, 3, |w| w.leaf = Bytes32::ZERO),
        tampered(9, 3, |w| w.index ^= 1),
        tampered(9, 3, |w| w.index ^= 8),
        tampered(9, 3, |w| w.siblings[0] += Scalar::ONE),
        tampered(9, 3, |w| w.siblings[3] = Scalar::ZERO),
        tampered(9, 3, |w| w.siblings = Wiped::of(w.siblings[..3].to_vec(), Scalar::ZERO)),
        tampered(3, 1, |w| w.siblings = Wiped::of([&w.siblings, &[Scalar::ZERO][..]].concat(), Scalar::ZERO)),
        tampered(9, 3, |w| w.root = Scalar::ZERO),
    ];
    for (which, circuit) in tampered.into_iter().enumerate() {
        let failed = first_unsatisfied(&circuit).unwrap();
        let expected = "level 3/a present level hashes and an absent one passes";
        assert_eq!(failed.as_deref(), Some(expected), "case {which}");
    }
    assert_eq!(first_unsatisfied(&circuit(9, 3)).unwrap(), None);
}

#[test]
fn an_index_bit_of_an_absent_level_must_be_zero() {
    let circuit = tampered(3, 1, |w| w.index |= 4);
    let failed = first_unsatisfied(&circuit).unwrap();
    assert_eq!(failed.as_deref(), Some("level 2/right is a bit, set only in a present level"));
}

#[test]
fn present_levels_are_a_prefix() {
    // Level 2 is absent in a tree of three leaves; setting level 3 alone breaks the prefix whatever follows.
    let mut cs = recorded(circuit(3, 1));
    let present = |level: usize| BEFORE_LEVELS + level * PER_LEVEL;
    assert_eq!([0, 1, 2, 3].map(|level| cs.aux[present(level)]), [1, 1, 0, 0].map(Scalar::from));
    cs.aux[present(3)] = Scalar::ONE;
    assert_eq!(cs.first_broken(), Some("present is a bit, set only above present levels"));
}

#[test]
fn a_half_of_129_bits_has_no_assignment() {
    let mut cs = recorded(circuit(2, 0));
    // The top bit of the high half, at twice its weight: the number would be what 2^128 is.
    cs.aux[HALF_BITS - 1] = Scalar::from(2);
    assert_eq!(cs.first_broken(), Some("is a bit"));
}

#[test]
fn a_circuit_without_a_witness_cannot_be_checked() {
    assert!(first_unsatisfied(&MerklePoseidon::<Scalar>::blank(DEPTH)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_opening_satisfies_the_circuit_with_its_own_root(
        leaf: [u8; 32],
        path in prop::collection::vec(any::<[u8; 32]>(), 0..=8),
        index: u64,
    ) {
        // Cleared top bits keep the elements below the modulus.
        let canonical = |mut bytes: [u8; 32]| { bytes[0] &= 0x3f; Bytes32::new(bytes) };
        let path: Vec<Bytes32> = path.into_iter().map(canonical).collect();
        let index = index & ((1 << path.len()) - 1);
        let witness = MerkleWitness { leaf: Bytes32::new(leaf), index, path };
        let cs = recorded(MerklePoseidon::with_witness(8, &witness).unwrap());
        prop_assert!(cs.is_satisfied());
        prop_assert!(Bytes32::from_scalar(&cs.inputs[1]) == witness.root().unwrap());
    }
}
