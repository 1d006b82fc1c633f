//! Trees against vectors made by an independent implementation, and against a slow one of another shape.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

/// Made by `tests/fixtures/merkle/generate.py`, which shares no code with this crate.
const VECTORS: &str = include_str!("../../tests/fixtures/merkle/vectors.json");

#[derive(Deserialize)]
struct Vectors {
    permutation_of_0_1_2: Vec<Bytes32>,
    trees: Vec<TreeVector>,
}

#[derive(Deserialize)]
struct TreeVector {
    leaves: Vec<Bytes32>,
    root: Bytes32,
    paths: Vec<Vec<Bytes32>>,
}

fn vectors() -> Vectors {
    serde_json::from_str(VECTORS).unwrap()
}

/// The root by the definition alone: recursion over all 2^height places, absent ones included.
fn slow_root(leaves: &[Bytes32], height: u32) -> Scalar {
    if height == 0 {
        return leaves.first().map_or(Scalar::ZERO, leaf_node);
    }
    let (left, right) = leaves.split_at(leaves.len().min(1 << (height - 1)));
    inner_node(slow_root(left, height - 1), slow_root(right, height - 1))
}

fn numbered(count: usize) -> Vec<Bytes32> {
    (0..count).map(|i| format!("0x{i:x}").parse().unwrap()).collect()
}

#[test]
fn trees_agree_with_the_committed_vectors() {
    let vectors = vectors();
    let mut state = [Scalar::ZERO, Scalar::ONE, Scalar::from(2)];
    crate::proof::poseidon::permute(&mut state);
    assert!(vectors.permutation_of_0_1_2 == state.map(|element| Bytes32::from_scalar(&element)));
    let sizes: Vec<usize> = vectors.trees.iter().map(|tree| tree.leaves.len()).collect();
    assert_eq!(sizes, [1, 2, 3, 5, 8, 9, 33, 2, 2]);
    for vector in &vectors.trees {
        let size = vector.leaves.len();
        let tree = MerkleTree::new(&vector.leaves).unwrap();
        assert_eq!(tree.root().to_string(), vector.root.to_string(), "root of {size} leaves");
        assert_eq!(vector.paths.len(), size);
        for (index, path) in (0u64..).zip(&vector.paths) {
            assert!(tree.path(index).unwrap() == *path, "path {index} of {size} leaves");
            let leaf = &vector.leaves[index as usize];
            assert_eq!(verify_path(leaf, index, path, &vector.root), Ok(true), "leaf {index} of {size}");
        }
    }
}

#[test]
fn both_engines_hash_to_the_same_nodes() {
    let leaf = Bytes32::new([0xff; 32]);
    let ours = inner_node(leaf_node::<Scalar>(&leaf), Scalar::ZERO);
    let theirs = inner_node(leaf_node::<bls12_381::Scalar>(&leaf), bls12_381::Scalar::zero());
    assert_eq!(Bytes32::from_scalar(&ours).to_string(), Bytes32::from_scalar(&theirs).to_string());
}

#[test]
fn a_value_and_the_same_value_plus_the_modulus_have_different_leaf_nodes() {
    let zero = Bytes32::ZERO;
    let modulus: Bytes32 =
        "0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001".parse().unwrap();
    assert_ne!(leaf_node::<Scalar>(&zero), leaf_node::<Scalar>(&modulus));
}

#[test]
fn one_leaf_is_a_tree_of_depth_zero_whose_root_is_its_node() {
    let leaf = Bytes32::new([0xff; 32]);
    let tree = MerkleTree::new(&[leaf]).unwrap();
    assert_eq!((tree.depth(), tree.leaves()), (0, 1));
    assert!(tree.root() == Bytes32::from_scalar(&leaf_node::<Scalar>(&leaf)));
    assert_eq!(verify_path(&leaf, 0, &[], &tree.root()), Ok(true));
}

#[test]
fn an_absent_leaf_is_not_the_leaf_zero() {
    let one = [Bytes32::new([1; 32])];
    let padded = [one[0], one[0], one[0], Bytes32::ZERO];
    assert!(MerkleTree::new(&padded).unwrap().root() != MerkleTree::new(&padded[..3]).unwrap().root());
}

#[test]
fn a_tree_of_no_leaves_or_too_many_is_refused() {
    assert_eq!(MerkleTree::new(&[]).err(), Some(MerkleError::NoLeaves));
    let leaves = LEAVES_MAX + 1;
    let too_many = vec![Bytes32::ZERO; leaves];
    assert_eq!(MerkleTree::new(&too_many).err(), Some(MerkleError::TooManyLeaves { leaves }));
}

#[test]
fn an_index_out_of_range_is_refused() {
    let tree = MerkleTree::new(&numbered(3)).unwrap();
    for index in [3, 4, u64::MAX] {
        assert_eq!(tree.path(index), Err(MerkleError::IndexOutOfRange { index, leaves: 3 }));
    }
    let path = tree.path(0).unwrap();
    for index in [4, 1 << 32, u64::MAX] {
        let refused = MerkleError::IndexBeyondPath { index, len: 2 };
        assert_eq!(root_of(&Bytes32::ZERO, index, &path), Err(refused));
    }
    assert_eq!(root_of(&Bytes32::ZERO, 1, &[]), Err(MerkleError::IndexBeyondPath { index: 1, len: 0 }));
}

#[test]
fn a_path_of_33_elements_is_refused_and_one_of_32_is_not() {
    let leaf = Bytes32::new([9; 32]);
    assert!(root_of(&leaf, u64::from(u32::MAX), &[Bytes32::ZERO; 32]).is_ok());
    let refused = Err(MerkleError::PathTooLong { len: 33 });
    assert_eq!(root_of(&leaf, 0, &[Bytes32::ZERO; 33]), refused);
    assert_eq!(root_of(&leaf, u64::MAX, &[Bytes32::ZERO; 64]), Err(MerkleError::PathTooLong { len: 64 }));
}

#[test]
fn a_path_element_above_the_modulus_is_refused() {
    let path = [Bytes32::ZERO, Bytes32::new([0xff; 32])];
    let refused = Err(MerkleError::PathElementNotCanonical { position: 1 });
    assert_eq!(root_of(&Bytes32::ZERO, 0, &path), refused);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_quick_tree_is_the_slow_one(leaves in prop::collection::vec(any::<[u8; 32]>(), 1..40)) {
        let leaves: Vec<Bytes32> = leaves.into_iter().map(Bytes32::new).collect();
        let height = leaves.len().next_power_of_two().trailing_zeros();
        let tree = MerkleTree::new(&leaves).unwrap();
        prop_assert_eq!(tree.depth(), height as usize);
        prop_assert!(tree.root() == Bytes32::from_scalar(&slow_root(&leaves, height)));
    }

    #[test]
    fn every_leaf_opens_at_its_own_place_only(count in 1usize..40, seed: u64) {
        let leaves = numbered(count);
        let tree = MerkleTree::new(&leaves).unwrap();
        let place = seed % count as u64;
        let path = tree.path(place).unwrap();
        let root = tree.root();
        for index in 0..1u64 << tree.depth() {
            let leads_to_root = verify_path(&leaves[place as usize], index, &path, &root).unwrap();
            prop_assert_eq!(leads_to_root, index == place);
        }
    }

    #[test]
    fn a_changed_path_leaf_or_root_does_not_verify(count in 2usize..40, seed: u64, bit in 0usize..128) {
        let leaves = numbered(count);
        let tree = MerkleTree::new(&leaves).unwrap();
        let place = seed % count as u64;
        let (leaf, root) = (leaves[place as usize], tree.root());
        // Only low bytes change, so that the element stays below the modulus.
        let flip = |value: &Bytes32| {
            let mut bytes = *value.as_bytes();
            bytes[31 - bit / 8] ^= 1 << (bit % 8);
            Bytes32::new(bytes)
        };
        let path = tree.path(place).unwrap();
        for height in 0..path.len() {
            let mut path = path.clone();
            path[height] = flip(&path[height]);
            prop_assert!(!verify_path(&leaf, place, &path, &root).unwrap_or(false));
        }
        prop_assert_eq!(verify_path(&flip(&leaf), place, &path, &root), Ok(false));
        prop_assert_eq!(verify_path(&leaf, place, &path, &flip(&root)), Ok(false));
    }
}

#[test]
fn trees_built_together_are_those_that_each_set_of_leaves_gives_alone() {
    let leaves: Vec<Bytes32> = (0..40).map(|byte| Bytes32::new([byte; 32])).collect();
    let sets: Vec<&[Bytes32]> = [2, 1, 0, 7, 33, 8, 2, 5].iter().map(|count| &leaves[..*count]).collect();
    let together = MerkleTree::new_all(&sets);
    assert_eq!(together.len(), sets.len());
    for (tree, leaves) in together.into_iter().zip(sets) {
        match (tree, MerkleTree::new(leaves)) {
            (Ok(tree), Ok(alone)) => {
                assert_eq!((tree.root(), tree.depth()), (alone.root(), alone.depth()));
                for index in 0..leaves.len() as u64 {
                    assert_eq!(tree.path(index), alone.path(index));
                    assert!(
                        verify_path(&leaves[index as usize], index, &tree.path(index).unwrap(), &tree.root())
                            .unwrap()
                    );
                }
            }
            (tree, alone) => assert_eq!(tree.err(), alone.err()),
        }
    }
}
