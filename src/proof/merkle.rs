//! Merkle trees of Poseidon: building them, opening a leaf, checking an opening.
//!
//! Owns the tree's definition. A leaf node is the hash of the leaf's two 128-bit halves under tag 1, so that every
//! 32-byte value is a leaf and no two share a node; an inner node is the hash of two nodes under tag 2. An absent
//! leaf has node 0, an absent subtree is the inner node of two absent ones, and the root is that of the smallest
//! depth that holds the leaves: one leaf is a tree of depth 0.
//!
//! Absent halves are never hashed: there are as many of them as levels, and they are known in advance. Refuses a
//! path element at or above the modulus, which would be a second spelling of another path.

use std::sync::OnceLock;

use blstrs::Scalar;
use ff::Field;
use thiserror::Error;

use super::field::Bytes32;
use super::poseidon::{ProofField, hash_pair, hash_pairs};
use super::wiped::Wiped;

/// Most leaves that one request may bring: with it a tree is built in seconds, not minutes.
pub const LEAVES_MAX: usize = 100_000;
/// Longest path: the depth of the largest circuit.
pub const PATH_LEN_MAX: usize = 32;
/// Tag of a leaf node.
pub const TAG_LEAF: u64 = 1;
/// Tag of an inner node.
pub const TAG_INNER: u64 = 2;

/// Why something is no tree, or no opening of one. Positions are named, leaves and nodes are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MerkleError {
    /// A tree has at least one leaf.
    #[error("a tree needs at least one leaf")]
    NoLeaves,
    /// More leaves than one request may bring.
    #[error("{leaves} leaves are more than the limit of {LEAVES_MAX}")]
    TooManyLeaves {
        /// Number of leaves that came.
        leaves: usize,
    },
    /// No leaf has this index.
    #[error("index {index} is out of range for {leaves} leaves")]
    IndexOutOfRange {
        /// The index that was asked for.
        index: u64,
        /// Number of leaves in the tree.
        leaves: usize,
    },
    /// The path has more elements than any tree has levels.
    #[error("a path of {len} elements is longer than the limit of {PATH_LEN_MAX}")]
    PathTooLong {
        /// Number of path elements that came.
        len: usize,
    },
    /// A tree as deep as the path is long has no such leaf.
    #[error("index {index} is out of range for a path of {len} elements")]
    IndexBeyondPath {
        /// The index that was asked for.
        index: u64,
        /// Number of path elements.
        len: usize,
    },
    /// A path element is not a node.
    #[error("path element {position} is not below the field's modulus")]
    PathElementNotCanonical {
        /// Place in the path, counted from 0 at the leaf's side.
        position: usize,
    },
}

/// The node of a leaf.
pub fn leaf_node<F: ProofField>(leaf: &Bytes32) -> F {
    let [high, low] = halves(leaf);
    hash_pair(TAG_LEAF, high, low)
}

fn halves<F: ProofField>(leaf: &Bytes32) -> [F; 2] {
    // `ff` makes an element of 128 bits by 64 doublings; its encoding is read much faster.
    let element = |half: u128| {
        let mut repr = [0; 32];
        repr[..16].copy_from_slice(&half.to_le_bytes());
        Option::from(F::from_repr(repr)).unwrap_or_else(|| F::from_u128(half))
    };
    let (high, low) = leaf.halves();
    [element(high), element(low)]
}

/// The node above two nodes.
pub fn inner_node<F: ProofField>(left: F, right: F) -> F {
    hash_pair(TAG_INNER, left, right)
}

/// Root of an absent subtree of each height, 0 to [`PATH_LEN_MAX`].
fn absent() -> &'static [Scalar; PATH_LEN_MAX + 1] {
    static ABSENT: OnceLock<[Scalar; PATH_LEN_MAX + 1]> = OnceLock::new();
    ABSENT.get_or_init(|| {
        let mut nodes = [Scalar::ZERO; PATH_LEN_MAX + 1];
        for height in 1..nodes.len() {
            nodes[height] = inner_node(nodes[height - 1], nodes[height - 1]);
        }
        nodes
    })
}

/// A tree with all its nodes, from which any leaf can be opened.
///
/// The nodes tell of the leaves (a guessed leaf can be confirmed), so there is no `Debug`, and they are wiped when they are dropped.
pub struct MerkleTree {
    /// Present nodes, level by level: the leaves' nodes first, the root alone last.
    levels: Vec<Wiped>,
}

impl MerkleTree {
    /// Builds the tree: about two permutations a leaf, on this thread.
    ///
    /// # Errors
    /// No leaves, or more than [`LEAVES_MAX`].
    pub fn new(leaves: &[Bytes32]) -> Result<MerkleTree, MerkleError> {
        check_count(leaves)?;
        let mut trees = Self::build(&[leaves]);
        trees.pop().ok_or(MerkleError::NoLeaves)
    }

    /// Builds several trees side by side: where the processor hashes eight pairs at a time, small trees fill its lanes together.
    ///
    /// # Errors
    /// Those of [`Self::new`], for each tree by itself.
    pub fn new_all(all: &[&[Bytes32]]) -> Vec<Result<MerkleTree, MerkleError>> {
        let good: Vec<&[Bytes32]> =
            all.iter().copied().filter(|leaves| check_count(leaves).is_ok()).collect();
        let mut trees = Self::build(&good).into_iter();
        let tree = |leaves: &&[Bytes32]| {
            check_count(leaves).and_then(|()| trees.next().ok_or(MerkleError::NoLeaves))
        };
        all.iter().map(tree).collect()
    }

    /// The trees of these leaves, none of which are too few or too many, level by level.
    fn build(all: &[&[Bytes32]]) -> Vec<MerkleTree> {
        let mut pairs = pairs_for(all.iter().map(|leaves| leaves.len()).sum());
        all.iter().copied().flatten().for_each(|leaf| pairs.push(halves(leaf)));
        let nodes = hash_pairs(TAG_LEAF, &pairs);
        let mut rest = nodes.iter();
        let levels = |leaves: &&[Bytes32]| vec![first_of(&mut rest, leaves.len())];
        let mut trees: Vec<MerkleTree> = all.iter().map(levels).map(|levels| MerkleTree { levels }).collect();
        for absent in absent() {
            let mut pairs = pairs_for(trees.iter().filter_map(MerkleTree::above).sum());
            for below in trees.iter().filter_map(MerkleTree::unfinished) {
                let other = |pair: &[Scalar]| pair.get(1).copied().unwrap_or(*absent);
                below.chunks(2).for_each(|pair| pairs.push([pair[0], other(pair)]));
            }
            if pairs.is_empty() {
                break;
            }
            let nodes = hash_pairs(TAG_INNER, &pairs);
            let mut rest = nodes.iter();
            for tree in &mut trees {
                let Some(above) = tree.above() else { continue };
                tree.levels.push(first_of(&mut rest, above));
            }
        }
        trees
    }

    /// The topmost level so far, when there must be another above it.
    fn unfinished(&self) -> Option<&[Scalar]> {
        self.levels.last().map(|level| &**level).filter(|level| level.len() > 1)
    }

    /// How many nodes that other level has.
    fn above(&self) -> Option<usize> {
        self.unfinished().map(|level| level.len().div_ceil(2))
    }

    /// Number of leaves.
    pub fn leaves(&self) -> usize {
        self.levels[0].len()
    }

    /// Levels above the leaves, which is the length of every path.
    pub fn depth(&self) -> usize {
        self.levels.len() - 1
    }

    /// The root.
    pub fn root(&self) -> Bytes32 {
        Bytes32::from_scalar(&self.levels[self.depth()][0])
    }

    /// The siblings on the way from a leaf to the root, the leaf's own first.
    ///
    /// # Errors
    /// The index is not below the number of leaves.
    pub fn path(&self, index: u64) -> Result<Vec<Bytes32>, MerkleError> {
        let out_of_range = MerkleError::IndexOutOfRange { index, leaves: self.leaves() };
        let mut place = usize::try_from(index).map_err(|_| out_of_range)?;
        if place >= self.leaves() {
            return Err(out_of_range);
        }
        let mut path = Vec::with_capacity(self.depth());
        for (height, level) in self.levels[..self.depth()].iter().enumerate() {
            let sibling = level.get(place ^ 1).unwrap_or(&absent()[height]);
            path.push(Bytes32::from_scalar(sibling));
            place >>= 1;
        }
        Ok(path)
    }
}

/// Room for so many pairs.
fn pairs_for(count: usize) -> Wiped<[Scalar; 2]> {
    Wiped::with_capacity([Scalar::ZERO; 2], count)
}

/// The next so many nodes.
fn first_of(nodes: &mut std::slice::Iter<'_, Scalar>, count: usize) -> Wiped {
    let mut first = Wiped::with_capacity(Scalar::ZERO, count);
    nodes.take(count).for_each(|node| first.push(*node));
    first
}

fn check_count(leaves: &[Bytes32]) -> Result<(), MerkleError> {
    match leaves.len() {
        0 => Err(MerkleError::NoLeaves),
        leaves if leaves > LEAVES_MAX => Err(MerkleError::TooManyLeaves { leaves }),
        _ => Ok(()),
    }
}

/// The root to which an opening leads. Bit `i` of the index says whether the node at height `i` is a right child.
///
/// # Errors
/// The path is too long, an element is not canonical, or the index does not fit the path.
pub fn root_of(leaf: &Bytes32, index: u64, path: &[Bytes32]) -> Result<Bytes32, MerkleError> {
    let siblings = parse_path::<Scalar>(index, path)?;
    let mut node = hash_pairs(TAG_LEAF, &[halves(leaf)]);
    for (height, sibling) in siblings.iter().enumerate() {
        let pair = if index >> height & 1 == 0 { [node[0], *sibling] } else { [*sibling, node[0]] };
        node = hash_pairs(TAG_INNER, &[pair]);
    }
    Ok(Bytes32::from_scalar(&node[0]))
}

/// Whether an opening leads to `root`.
///
/// # Errors
/// As [`root_of`]. A root at or above the modulus is no root of any tree, so the answer is `false`.
pub fn verify_path(
    leaf: &Bytes32,
    index: u64,
    path: &[Bytes32],
    root: &Bytes32,
) -> Result<bool, MerkleError> {
    Ok(root_of(leaf, index, path)? == *root)
}

/// Checks the shape of an opening; returns the path's elements.
///
/// # Errors
/// As [`root_of`].
pub(super) fn parse_path<F: ProofField>(index: u64, path: &[Bytes32]) -> Result<Wiped<F>, MerkleError> {
    let len = path.len();
    if len > PATH_LEN_MAX {
        return Err(MerkleError::PathTooLong { len });
    }
    if index >> len != 0 {
        return Err(MerkleError::IndexBeyondPath { index, len });
    }
    let mut elements = Wiped::zeros(len);
    for (position, (element, bytes)) in elements.iter_mut().zip(path).enumerate() {
        *element = bytes.to_scalar().map_err(|_| MerkleError::PathElementNotCanonical { position })?;
    }
    Ok(elements)
}

#[cfg(test)]
#[path = "merkle_tests.rs"]
mod tests;
