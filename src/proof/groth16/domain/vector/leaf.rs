//! The butterflies: over runs of blocks above leaves, and within a leaf.
//!
//! Going down, a pair (x, y) becomes (x + t y, x − t y); its bound grows by 2 r a layer. Going up, (x, y) becomes
//! (x + y, (y − x) · (−1/t)); the bound of the sum doubles, so every fourth layer reduces it, and so does a root's.

use super::LEAF;
use super::block::{Block, transpose};
use super::kernel::{Lanes, add, carried, everywhere, mul, sub, weakly_reduced};
use super::tables::{Leaf, Limbs};

/// The layers after which a sum is reduced: before them, bounds are 2, 4, 8, 16.
const LAYERS_UP: u32 = 4;

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn pair_down(x: &Lanes, y: &Lanes, root: &Lanes) -> (Lanes, Lanes) {
    let turned = mul(&carried(y), root);
    (add(x, &turned), sub::<2>(x, &turned))
}

/// `K` bounds x and y.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn pair_up<const K: u64>(x: &Lanes, y: &Lanes, factor: &Lanes) -> (Lanes, Lanes) {
    (add(x, y), mul(&carried(&sub::<K>(y, x)), factor))
}

/// All pairs of two runs of blocks, whose node has this t. `reduce` brings x below 2 r first.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn pass_down(left: &mut [Block], right: &mut [Block], root: &Limbs, reduce: bool) {
    let root = everywhere(root);
    for (left, right) in left.iter_mut().zip(right) {
        let mut x = left.load();
        if reduce {
            x = weakly_reduced(&x);
        }
        let (x, y) = pair_down(&x, &right.load(), &root);
        left.store(&x);
        right.store(&y);
    }
}

/// All pairs of two runs of blocks that are `2^layer` values apart.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn pass_up(left: &mut [Block], right: &mut [Block], factor: &Limbs, layer: u32, is_root: bool) {
    match layer % LAYERS_UP {
        0 => pass_up_from::<2>(left, right, factor, is_root),
        1 => pass_up_from::<4>(left, right, factor, is_root),
        2 => pass_up_from::<8>(left, right, factor, is_root),
        _ => pass_up_from::<16>(left, right, factor, true),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn pass_up_from<const K: u64>(left: &mut [Block], right: &mut [Block], factor: &Limbs, reduce: bool) {
    let factor = everywhere(factor);
    for (left, right) in left.iter_mut().zip(right) {
        let (mut x, y) = pair_up::<K>(&left.load(), &right.load(), &factor);
        if reduce {
            x = weakly_reduced(&x);
        }
        left.store(&x);
        right.store(&y);
    }
}

/// Six layers down. The blocks come in order and leave turned about.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn down(blocks: &mut [Block; LEAF], leaf: &Leaf) {
    let mut values = blocks.each_ref().map(|block| block.load());
    for (apart, first) in [(4, 0), (2, 1), (1, 3)] {
        for pair in 0..LEAF / 2 {
            let (node, x) = place(pair, apart);
            let root = everywhere(&leaf.nodes[first + node]);
            (values[x], values[x + apart]) = pair_down(&values[x], &values[x + apart], &root);
        }
    }
    transpose(&mut values);
    for (apart, first) in [(4, 0), (2, 1), (1, 3)] {
        for pair in 0..LEAF / 2 {
            let (node, x) = place(pair, apart);
            let root = leaf.lanes[first + node].load();
            (values[x], values[x + apart]) = pair_down(&values[x], &values[x + apart], &root);
        }
    }
    for (block, values) in blocks.iter_mut().zip(&values) {
        block.store(values);
    }
}

/// Six layers up. The blocks come turned about and leave in order.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn up(blocks: &mut [Block; LEAF], leaf: &Leaf, is_root: bool) {
    let mut values = blocks.each_ref().map(|block| block.load());
    let lanes = |node: usize| leaf.lanes[node].load();
    let nodes = |node: usize| everywhere(&leaf.nodes[node]);
    layer_up::<2>(&mut values, 1, |node| lanes(3 + node));
    layer_up::<4>(&mut values, 2, |node| lanes(1 + node));
    layer_up::<8>(&mut values, 4, lanes);
    transpose(&mut values);
    layer_up::<16>(&mut values, 1, |node| nodes(3 + node));
    for x in [0, 2, 4, 6] {
        values[x] = weakly_reduced(&values[x]);
    }
    layer_up::<2>(&mut values, 2, |node| nodes(1 + node));
    layer_up::<4>(&mut values, 4, nodes);
    for (place, (block, values)) in blocks.iter_mut().zip(&values).enumerate() {
        if is_root && place < LEAF / 2 {
            block.store(&weakly_reduced(values));
        } else {
            block.store(values);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn layer_up<const K: u64>(values: &mut [Lanes; LEAF], apart: usize, factor: impl Fn(usize) -> Lanes) {
    for pair in 0..LEAF / 2 {
        let (node, x) = place(pair, apart);
        (values[x], values[x + apart]) = pair_up::<K>(&values[x], &values[x + apart], &factor(node));
    }
}

/// The node among its layer's in the leaf, and the first of the two values, of one of four pairs.
#[inline]
fn place(pair: usize, apart: usize) -> (usize, usize) {
    let (node, within) = (pair / apart, pair % apart);
    (node, 2 * apart * node + within)
}
