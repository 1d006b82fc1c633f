//! The tables of the vectorised transforms, in the order in which the transforms read them.

use blst::blst_fr;
use blstrs::Scalar;

use super::block::Block;
use super::kernel::{LIMBS, to_limbs};
use super::{CYCLIC, NEGACYCLIC, SIZE_MIN};
use crate::proof::groth16::domain::roots::Roots;
use crate::proof::groth16::domain::{Scales, integer};

/// The limbs of one scalar.
pub(super) type Limbs = [u64; LIMBS];

/// See the module.
pub(super) struct Tables {
    /// t of the nodes of more than a leaf's values.
    down: Vec<Limbs>,
    /// −1/t of the same.
    up: Vec<Limbs>,
    /// t of the leaves of the tree of X^n + 1: nobody goes down the other.
    leaves_down: Vec<Leaf>,
    /// −1/t of the leaves of both trees.
    leaves_up: Vec<Leaf>,
    /// What c's coefficients are multiplied with.
    pub(super) scale_c: Limbs,
    /// What the product's coefficients are multiplied with.
    pub(super) scale_product: Limbs,
}

/// The factors of a node of 64 values and those below it.
pub(super) struct Leaf {
    /// Of the node itself, of its two children and of their four.
    pub(super) nodes: [Limbs; 7],
    /// Of the eight nodes of eight values, of their first children and of their second, and of the four children of those,
    /// one of the eight in each lane.
    pub(super) lanes: [Block; 7],
}

impl Tables {
    pub(super) fn new(log: u32) -> Tables {
        let roots = Roots::new(log);
        // So many nodes of a leaf's size are in each tree, and so many larger nodes in both together.
        let leaves = (1usize << log) / SIZE_MIN;
        let down = |node: usize| limbs(roots.of(node));
        let up = |node: usize| limbs(roots.negated_inverse(node));
        let scales = Scales::new(log);
        Tables {
            down: (0..leaves).map(down).collect(),
            up: (0..leaves).map(up).collect(),
            leaves_down: (leaves..2 * leaves).map(|node| Leaf::new(node, down)).collect(),
            leaves_up: (0..2 * leaves).map(|node| Leaf::new(node, up)).collect(),
            // A transform's values have the factor 2^256 of the scalars' Montgomery form, and their product 2^512 of which
            // multiplying took 2^260. Scaling takes another 2^260. What is left after it shall be none.
            scale_c: plain_limbs(scales.c * power_of_two(260 - 256)),
            scale_product: plain_limbs(-scales.product * power_of_two(260 - (512 - 260))),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        let nodes = (self.down.len() + self.up.len()) * size_of::<Limbs>();
        let leaves = (self.leaves_down.len() + self.leaves_up.len()) * size_of::<Leaf>();
        (nodes + leaves) as u64
    }

    /// Blocks of a polynomial.
    pub(super) fn blocks(&self) -> usize {
        self.leaves_down.len() * SIZE_MIN / 8
    }

    /// t of a node of more than a leaf's values.
    pub(super) fn down(&self, node: usize) -> &Limbs {
        &self.down[node]
    }

    /// −1/t of such a node.
    pub(super) fn up(&self, node: usize) -> &Limbs {
        &self.up[node]
    }

    /// The factors on the way down through a leaf of the tree of X^n + 1.
    pub(super) fn leaf_down(&self, node: usize) -> &Leaf {
        const { assert!(CYCLIC == 0 && NEGACYCLIC == 1) };
        &self.leaves_down[node - self.leaves_down.len()]
    }

    /// The factors on the way up through a leaf.
    pub(super) fn leaf_up(&self, node: usize) -> &Leaf {
        &self.leaves_up[node]
    }
}

impl Leaf {
    fn new(node: usize, factor: impl Fn(usize) -> Limbs) -> Leaf {
        let nodes = [node, 2 * node, 2 * node + 1, 4 * node, 4 * node + 1, 4 * node + 2, 4 * node + 3];
        // Children of the eight: their layers down, and which of the children at the same place of each.
        let below = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)];
        Leaf {
            nodes: nodes.map(&factor),
            lanes: below.map(|(layers, child)| {
                Block::of(std::array::from_fn(|lane| factor(((8 * node + lane) << layers) + child)))
            }),
        }
    }
}

/// A factor: `blst` keeps it times 2^256, and multiplication divides by 2^260.
fn limbs(scalar: Scalar) -> Limbs {
    let [a, b, c, d] = blst_fr::from(scalar * power_of_two(4)).l;
    to_limbs(&[a, b, c, d, 0])
}

/// A plain number.
fn plain_limbs(scalar: Scalar) -> Limbs {
    let [a, b, c, d] = integer(&scalar);
    to_limbs(&[a, b, c, d, 0])
}

fn power_of_two(exponent: u64) -> Scalar {
    Scalar::from(1 << exponent)
}
