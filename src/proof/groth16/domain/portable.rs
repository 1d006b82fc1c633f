//! The transforms one scalar at a time, for every processor.
//!
//! A node's subtree is finished before its sibling's is begun, so that the values of a subtree that fits a cache stay there
//! through all its layers. Above [`PARALLEL_LEN`] subtrees and the passes over them are shared among threads.

use blstrs::Scalar;
use rayon::prelude::*;
use zeroize::Zeroizing;

use super::roots::{Roots, exponent};
use super::{CYCLIC, NEGACYCLIC, Scales, integer};
use crate::proof::groth16::matrices::Products;
use crate::proof::msm::Integer;

/// Values below which a subtree is one task.
const PARALLEL_LEN: usize = 1 << 11;
/// Pairs or values that one task of a pass takes.
const TASK_LEN: usize = 1 << 11;

/// The table of a domain.
pub(super) struct Portable {
    log: u32,
    roots: Roots,
    scales: Scales,
}

impl Portable {
    /// `size` is a power of two.
    pub(super) fn new(size: usize) -> Portable {
        let log = size.ilog2();
        Portable { log, roots: Roots::new(log), scales: Scales::new(log) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.roots.bytes()
    }

    pub(super) fn quotient(&self, products: Products) -> Zeroizing<Vec<Integer>> {
        let Products { mut a, mut b, mut c } = products;
        let multiplied_modulo_plus = || {
            let transform = |values: &mut [Scalar]| {
                self.order_of_leaves(values);
                self.up(values, CYCLIC);
                self.down(values, NEGACYCLIC);
            };
            rayon::join(|| transform(&mut a), || transform(&mut b));
            a.par_iter_mut().zip(&*b).with_min_len(TASK_LEN).for_each(|(a, b)| *a *= b);
            self.up(&mut a, NEGACYCLIC);
        };
        let modulo_minus = || {
            self.order_of_leaves(&mut c);
            self.up(&mut c, CYCLIC);
        };
        rayon::join(multiplied_modulo_plus, modulo_minus);
        let mut coefficients = Zeroizing::new(vec![[0; 4]; a.len() - 1]);
        let terms = coefficients.par_iter_mut().zip(&*a).zip(&*c).with_min_len(TASK_LEN);
        terms.for_each(|((h, a), c)| *h = integer(&(*c * self.scales.c - *a * self.scales.product)));
        coefficients
    }

    /// Brings values from the order of the roots' powers to that of the leaves, or back.
    fn order_of_leaves(&self, values: &mut [Scalar]) {
        for place in 0..values.len() {
            let other = exponent(place, self.log);
            if place < other {
                values.swap(place, other);
            }
        }
    }

    /// From coefficients to values, below a node.
    fn down(&self, values: &mut [Scalar], node: usize) {
        if values.len() < 2 {
            return;
        }
        let root = self.roots.of(node);
        let (left, right) = values.split_at_mut(values.len() / 2);
        if left.len() < PARALLEL_LEN {
            pairs_down(left, right, root, node);
            self.down(left, 2 * node);
            self.down(right, 2 * node + 1);
            return;
        }
        let tasks = left.par_chunks_mut(TASK_LEN).zip(right.par_chunks_mut(TASK_LEN));
        tasks.for_each(|(left, right)| pairs_down(left, right, root, node));
        rayon::join(|| self.down(left, 2 * node), || self.down(right, 2 * node + 1));
    }

    /// From values to coefficients times the number of values, below a node.
    fn up(&self, values: &mut [Scalar], node: usize) {
        if values.len() < 2 {
            return;
        }
        let negated_inverse = self.roots.negated_inverse(node);
        let (left, right) = values.split_at_mut(values.len() / 2);
        if left.len() < PARALLEL_LEN {
            self.up(left, 2 * node);
            self.up(right, 2 * node + 1);
            pairs_up(left, right, negated_inverse, node);
            return;
        }
        rayon::join(|| self.up(left, 2 * node), || self.up(right, 2 * node + 1));
        let tasks = left.par_chunks_mut(TASK_LEN).zip(right.par_chunks_mut(TASK_LEN));
        tasks.for_each(|(left, right)| pairs_up(left, right, negated_inverse, node));
    }
}

/// Node 0 of each layer has t = 1, which costs no multiplication.
fn pairs_down(left: &mut [Scalar], right: &mut [Scalar], root: Scalar, node: usize) {
    for (x, y) in left.iter_mut().zip(right) {
        let turned = if node == 0 { *y } else { *y * root };
        *y = *x - turned;
        *x += turned;
    }
}

fn pairs_up(left: &mut [Scalar], right: &mut [Scalar], negated_inverse: Scalar, node: usize) {
    for (x, y) in left.iter_mut().zip(right) {
        let turned = if node == 0 { *x - *y } else { (*y - *x) * negated_inverse };
        *x += *y;
        *y = turned;
    }
}
