//! From buckets to their weighted sum: Σ m B_m, where bucket m holds the points whose digit is m.
//!
//! With m = h 2^k + l the sum is `2^k Σ h R_h + Σ l C_l`, where R_h sums the row of buckets with the same h and C_l the column with
//! the same l. Rows and columns are sums of groups, two batched additions for each bucket; only their own weighted
//! sums, over the square root of the number of buckets, take projective additions in sequence.

use super::super::arith::curve::Curve;
use super::adder::{Adder, Operand};
use super::sum::Room;
use group::Group;
use std::ops::AddAssign;

/// The weighted sums of some sets of buckets, in order.
pub(super) fn weighted_sums<C: Curve, A: Adder<C>>(
    adder: A,
    room: &mut Room<C, A>,
    buckets: &[A::Point],
    buckets_per_set: usize,
) -> Vec<C::Projective> {
    let low_bits = buckets_per_set.ilog2().div_ceil(2);
    let columns = 1usize << low_bits;
    let rows = buckets_per_set >> low_bits;
    let sets = buckets.len() / buckets_per_set;
    let mut operands = Vec::with_capacity(2 * buckets.len());
    let mut counts = Vec::with_capacity(sets * (rows + columns));
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
    let mut sums = vec![A::INFINITY; counts.len()];
    room.sum_groups(adder, buckets, &operands, &counts, &mut sums);
    sums.chunks(rows + columns - 1)
        .map(|sums| {
            let (rows, columns) = sums.split_at(rows);
            let mut weighted = ascending::<C, A>(rows);
            (0..low_bits).for_each(|_| weighted = weighted.double());
            weighted + ascending::<C, A>(columns)
        })
        .collect()
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
