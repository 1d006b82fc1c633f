//! The transforms eight scalars at a time, with the 52-bit multiply-add of AVX-512 (AVX512-IFMA), over the same tree.
//!
//! A block is eight consecutive values. Above nodes of eight values, pairs are pairs of blocks and share their node's t.
//! Below, values of one block meet each other: eight blocks, a *leaf* of 64 values, are turned about, so that pairs
//! are again pairs of registers, whose lanes belong to eight nodes with a t each ([`tables`]).
//!
//! Scalars come as they are in memory, in Montgomery form with R = 2^256, and count as plain numbers here: transforms are linear,
//! so the factor goes through them, and the scales at the end take it out, and give the result as integers.

// Code that is compiled for special instructions is called where `Ifma` gives evidence that the processor has them.
#![allow(unsafe_code)]

mod block;
mod kernel;
mod leaf;
mod tables;

use blst::blst_fr;
use blstrs::Scalar;
use rayon::prelude::*;
use zeroize::Zeroizing;

use self::block::{Block, from_words, to_words};
use self::kernel::{carried, everywhere, mul, mul_add, reduced, weakly_reduced};
use self::tables::Tables;
use super::roots::exponent;
use super::{CYCLIC, NEGACYCLIC};
use crate::proof::arith::ifma::Ifma;
use crate::proof::groth16::matrices::Products;
use crate::proof::msm::Integer;
use crate::proof::wiped::Wiped;

/// Values of a leaf: the smallest domain.
pub(super) const SIZE_MIN: usize = 64;
/// Blocks of a leaf.
const LEAF: usize = 8;
/// Blocks below which a subtree is one task.
const PARALLEL_LEN: usize = 1 << 8;
/// Blocks, or pairs of them, that one task of a pass takes.
const TASK_LEN: usize = 1 << 8;
/// Layers that a value goes down before it is reduced: each adds 2 r to a bound of 2 r, six more follow in the leaf, and
/// 35 r is too much.
const LAYERS_DOWN: u32 = 10;

/// The tables of a domain, and the evidence that they can be used.
pub(super) struct Vectorised {
    tables: Tables,
    log: u32,
    _ifma: Ifma,
}

impl Vectorised {
    /// `size` is a power of two of [`SIZE_MIN`] at least.
    pub(super) fn new(size: usize, ifma: Ifma) -> Vectorised {
        let log = size.ilog2();
        Vectorised { tables: Tables::new(log), log, _ifma: ifma }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.tables.bytes()
    }

    pub(super) fn quotient(&self, products: Products) -> Zeroizing<Vec<Integer>> {
        // SAFETY: an `Ifma` exists only where the processor has the instructions.
        unsafe { quotient(&self.tables, self.log, products) }
    }
}

type Blocks = Wiped<Block>;

#[target_feature(enable = "avx512f,avx512ifma")]
fn quotient(tables: &Tables, log: u32, products: Products) -> Zeroizing<Vec<Integer>> {
    let Products { a, b, c } = products;
    let transform = |values: Wiped| {
        let mut blocks = blocks_of(values, log);
        up(tables, &mut blocks, CYCLIC);
        down(tables, &mut blocks, NEGACYCLIC, 0);
        blocks
    };
    let multiplied = || {
        let (mut a, b) = rayon::join(|| transform(a), || transform(b));
        a.par_iter_mut().zip(&*b).with_min_len(TASK_LEN).for_each(|(a, b)| multiply(a, b));
        drop(b);
        up(tables, &mut a, NEGACYCLIC);
        a
    };
    let modulo_minus = || {
        let mut c = blocks_of(c, log);
        up(tables, &mut c, CYCLIC);
        c
    };
    let (product, c) = rayon::join(multiplied, modulo_minus);
    let mut coefficients = Zeroizing::new(vec![[0; 4]; (1 << log) - 1]);
    let eights = coefficients.par_chunks_mut(8).zip(&*product).zip(&*c).with_min_len(TASK_LEN);
    eights.for_each(|((out, product), c)| {
        let eight = difference(tables, product, c);
        out.copy_from_slice(&eight[..out.len()]);
    });
    coefficients
}

/// Values in the order of the tree's leaves, turned about as a leaf wants them.
#[target_feature(enable = "avx512f,avx512ifma")]
fn blocks_of(values: Wiped, log: u32) -> Blocks {
    let mut blocks = Wiped::blanks(Block::ZERO, values.len() / 8);
    blocks.par_chunks_mut(LEAF).enumerate().with_min_len(TASK_LEN / LEAF).for_each(|(leaf, blocks)| {
        fill_leaf(blocks, leaf, &values, log);
    });
    blocks
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn fill_leaf(blocks: &mut [Block], leaf: usize, values: &[Scalar], log: u32) {
    for (place, block) in blocks.iter_mut().enumerate() {
        let value = |lane: usize| &values[exponent(SIZE_MIN * leaf + LEAF * lane + place, log)];
        block.store(&from_words(std::array::from_fn(|lane| blst_fr::from(*value(lane)).l)));
    }
}

/// `a · b` below 2 r in the place of `a`, from both below 34 r.
#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply(a: &mut Block, b: &Block) {
    a.store(&mul(&weakly_reduced(&a.load()), &carried(&b.load())));
}

/// Eight coefficients of h, from those of the product and of c, both below 2 r.
#[target_feature(enable = "avx512f,avx512ifma")]
fn difference(tables: &Tables, product: &Block, c: &Block) -> [Integer; 8] {
    let (c, product) = (carried(&c.load()), carried(&product.load()));
    let scales = [everywhere(&tables.scale_c), everywhere(&tables.scale_product)];
    to_words(&reduced(&mul_add(&c, &scales[0], &product, &scales[1])))
}

/// From coefficients below 2 r to values below 34 r, below a node that is `depth` layers below the root.
#[target_feature(enable = "avx512f,avx512ifma")]
fn down(tables: &Tables, blocks: &mut [Block], node: usize, depth: u32) {
    if let Ok(leaf) = <&mut [Block; LEAF]>::try_from(&mut *blocks) {
        return leaf::down(leaf, tables.leaf_down(node));
    }
    let root = tables.down(node);
    let reduce = depth > 0 && depth.is_multiple_of(LAYERS_DOWN);
    let (left, right) = blocks.split_at_mut(blocks.len() / 2);
    if left.len() < PARALLEL_LEN {
        leaf::pass_down(left, right, root, reduce);
        down(tables, left, 2 * node, depth + 1);
        down(tables, right, 2 * node + 1, depth + 1);
        return;
    }
    let tasks = left.par_chunks_mut(TASK_LEN).zip(right.par_chunks_mut(TASK_LEN));
    tasks.for_each(|(left, right)| leaf::pass_down(left, right, root, reduce));
    rayon::join(|| down(tables, left, 2 * node, depth + 1), || down(tables, right, 2 * node + 1, depth + 1));
}

/// From values below 2 r to coefficients times the number of values: below 2 r at a root.
#[target_feature(enable = "avx512f,avx512ifma")]
fn up(tables: &Tables, blocks: &mut [Block], node: usize) {
    let is_root = node == CYCLIC && blocks.len() == tables.blocks() || node == NEGACYCLIC;
    if let Ok(leaf) = <&mut [Block; LEAF]>::try_from(&mut *blocks) {
        return leaf::up(leaf, tables.leaf_up(node), is_root);
    }
    let factor = tables.up(node);
    // Pairs are 2^layer values apart.
    let layer = 2 + blocks.len().ilog2();
    let (left, right) = blocks.split_at_mut(blocks.len() / 2);
    if left.len() < PARALLEL_LEN {
        up(tables, left, 2 * node);
        up(tables, right, 2 * node + 1);
        leaf::pass_up(left, right, factor, layer, is_root);
        return;
    }
    rayon::join(|| up(tables, left, 2 * node), || up(tables, right, 2 * node + 1));
    let tasks = left.par_chunks_mut(TASK_LEN).zip(right.par_chunks_mut(TASK_LEN));
    tasks.for_each(|(left, right)| leaf::pass_up(left, right, factor, layer, is_root));
}
