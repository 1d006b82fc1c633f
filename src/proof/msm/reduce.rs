//! From buckets to their weighted sum: Σ m B_m, where bucket m holds the points whose digit is m.
//!
//! With m = h 2^k + l the sum is `2^k Σ h R_h + Σ l C_l`, where R_h sums the row of buckets with the same h and C_l the column with
//! the same l. Rows and columns are sums of groups, two batched additions for each bucket; only their own weighted
//! sums, over the square root of the number of buckets, take projective additions in sequence.

use super::super::arith::curve::Curve;
use super::adder::{Adder, Operand};
use super::sum::Room;
use crate::proof::wiped::Wiped;
use group::Group;
use std::ops::AddAssign;

/// Rows and columns of a set of buckets.
pub(super) fn groups(buckets_per_set: usize) -> usize {
    let (rows, columns, _) = shape(buckets_per_set);
    rows + columns - 1
}

/// Rows, counted from 1, and columns, counted from 0, which weighs nothing; and the logarithm of the columns' number.
fn shape(buckets_per_set: usize) -> (usize, usize, u32) {
    let low_bits = buckets_per_set.ilog2().div_ceil(2);
    (buckets_per_set >> low_bits, 1 << low_bits, low_bits)
}

/// The weighted sums of some sets of buckets, in order.
pub(super) fn weighted_sums<C: Curve, A: Adder<C>>(
    adder: A,
    room: &mut Room<C, A>,
    buckets: &[A::Point],
    buckets_per_set: usize,
) -> Wiped<C::Projective> {
    let (rows, columns, low_bits) = shape(buckets_per_set);
    let sets = buckets.len() / buckets_per_set;
    // Which buckets are empty, and the sums of the others, tell of the scalars.
    let mut operands = Wiped::with_capacity(Operand::default(), 2 * buckets.len());
    let mut counts = Wiped::with_capacity(0u32, sets * groups(buckets_per_set));
    for set in 0..sets {
        // Magnitudes run from 1 to the number of buckets; row 0 and column 0 weigh nothing.
        let mut group = |magnitudes: &mut dyn Iterator<Item = usize>| {
            let before = operands.len();
            for magnitude in magnitudes.filter(|magnitude| (1..=buckets_per_set).contains(magnitude)) {
                let bucket = set * buckets_per_set + magnitude - 1;
                if !A::is_infinity(&buckets[bucket]) {
                    operands.push(Operand::new(bucket as u32, false));
                }
            }
            counts.push((operands.len() - before) as u32);
        };
        (1..=rows).for_each(|row| group(&mut (row * columns..(row + 1) * columns)));
        (1..columns).for_each(|column| group(&mut (0..rows).map(|row| row * columns + column)));
    }
    let mut sums = Wiped::blanks(A::INFINITY, counts.len());
    room.sum_groups(adder, buckets, &operands, &counts, &mut sums);
    let mut weighted = Wiped::with_capacity(C::Projective::identity(), sets);
    for sums in sums.chunks(groups(buckets_per_set)) {
        let (rows, columns) = sums.split_at(rows);
        let mut of_rows = ascending::<C, A>(rows);
        (0..low_bits).for_each(|_| of_rows = of_rows.double());
        weighted.push(of_rows + ascending::<C, A>(columns));
    }
    weighted
}

/// `1 S_1 + 2 S_2 + …`, by running sums.
fn ascending<C: Curve, A: Adder<C>>(sums: &[A::Point]) -> C::Projective {
    let (mut running, mut total) = (C::Projective::identity(), C::Projective::identity());
    for sum in sums.iter().rev() {
        if !A::is_infinity(sum) {
            running.add_assign(&C::point(&A::unpack(sum)));
        }
        total.add_assign(&running);
    }
    total
}
