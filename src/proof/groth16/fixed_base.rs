//! Many multiples of one point: tables of the point's multiples, and additions in affine coordinates that share their
//! inversions (batch-affine addition; Montgomery's trick).
//!
//! Owns the windows' width, the signed digits and the tables. A multiple of a 255-bit scalar is then about twenty
//! additions of five multiplications and a squaring each, no doubling and no inversion of its own, and comes out affine.
//!
//! Refuses nothing: every scalar and every point of the prime-order subgroups, the identity included, is handled, and
//! the cases that incomplete addition gets wrong (equal points, opposite points) are told apart. Time depends on the
//! scalars, so that this is for a machine that nobody else measures; `docs/proofs.md` says so of key generation.

use blstrs::Scalar;
use group::{Curve, Group};
use rayon::prelude::*;
use zeroize::{Zeroize, Zeroizing};

use crate::proof::arith::curve::{Affine, Curve as BlstCurve};
use crate::proof::arith::field::BaseField;
use crate::proof::wiped::{Wiped, wipe_room};

/// Scalars that go through the windows side by side: enough that an inversion (about 60 multiplications) is nothing,
/// few enough that their points stay in the second-level cache.
pub(super) const BATCH: usize = 1024;
/// The widest window: its digits fit 16 bits, and its table of G2 takes 53 MB.
const WINDOW_BITS_MAX: usize = 15;
/// Bits of a scalar after it, or its negative, was chosen to be the smaller: below 2^254.
const SCALAR_BITS: usize = 254;
/// The order of the groups, least limb first.
const ORDER: [u64; 4] =
    [0xffff_ffff_0000_0001, 0x53bd_a402_fffe_5bfe, 0x3339_d808_09a1_d805, 0x73ed_a753_299d_7d48];

/// What an addition needs beside its points, kept so that it is allocated once. Differences of points tell which points they were, and
/// so the scalars.
struct Additions<F: BaseField> {
    denominators: Vec<F>,
    prefixes: Vec<F>,
}

impl<F: BaseField> Drop for Additions<F> {
    fn drop(&mut self) {
        wipe_room(&mut self.denominators, F::ZERO);
        wipe_room(&mut self.prefixes, F::ZERO);
    }
}

impl<F: BaseField> Additions<F> {
    fn with_capacity(additions: usize) -> Self {
        Self { denominators: Vec::with_capacity(additions), prefixes: Vec::with_capacity(additions) }
    }

    /// `sums[i] += addends[i]` for all of them with one inversion.
    fn add_all(&mut self, sums: &mut [Affine<F>], addends: &[Affine<F>]) {
        self.denominators.clear();
        self.prefixes.clear();
        let mut product = None;
        for (sum, addend) in sums.iter().zip(addends) {
            let mut denominator = addend.x.sub(&sum.x);
            if denominator.is_zero() && sum.y == addend.y {
                // Equal points: the tangent's 2y. For opposite ones, and two identities, it stays 0 and is passed over.
                denominator = sum.y.add(&sum.y);
            }
            let mut prefix = F::ZERO;
            if !denominator.is_zero() {
                // The first has no product before it; any factor would do, and its own denominator is at hand.
                prefix = product.unwrap_or(denominator);
                product = Some(prefix.mul(&denominator));
            }
            self.prefixes.push(prefix);
            self.denominators.push(denominator);
        }
        let mut inverse = product.map_or(F::ZERO, |product| product.invert());
        let factors = self.denominators.iter().zip(&self.prefixes).rev();
        for ((sum, addend), (denominator, prefix)) in sums.iter_mut().zip(addends).rev().zip(factors) {
            let inverted = inverse.mul(prefix);
            if !denominator.is_zero() {
                inverse = inverse.mul(denominator);
            }
            *sum = add(sum, addend, &inverted);
        }
    }
}

/// The sum of two points, given the inverse of what their slope is divided by.
#[inline]
fn add<F: BaseField>(left: &Affine<F>, right: &Affine<F>, inverted: &F) -> Affine<F> {
    if right.is_infinity() {
        return *left;
    }
    if left.is_infinity() {
        return *right;
    }
    let rise = if left.x != right.x {
        right.y.sub(&left.y)
    } else if left.y == right.y {
        let square = left.x.square();
        square.add(&square).add(&square)
    } else {
        return Affine::INFINITY;
    };
    let slope = rise.mul(inverted);
    let x = slope.square().sub(&left.x).sub(&right.x);
    let y = slope.mul(&left.x.sub(&x)).sub(&left.y);
    Affine { x, y }
}

/// The multiples of one point that sums of digits are made of.
pub(super) struct FixedBase<C: BlstCurve> {
    window_bits: usize,
    /// `windows[j][d]` is (d + 1) · 2^(j · window_bits) times the point.
    windows: Vec<Vec<Affine<C::Field>>>,
}

/// How many multiples the window that begins at bit `place` needs: its digits are signed.
fn window_len(window_bits: usize, place: usize) -> usize {
    1 << (window_bits - 1).min(SCALAR_BITS - place)
}

/// The width at which making the tables and then `multiples` multiples takes the fewest additions.
fn window_bits_for(multiples: usize) -> usize {
    let additions = |bits: usize| {
        let places = (0..=SCALAR_BITS).step_by(bits);
        let tables: usize = places.clone().map(|place| window_len(bits, place)).sum();
        tables + multiples * (places.count() - 1)
    };
    (2..=WINDOW_BITS_MAX).min_by_key(|bits| additions(*bits)).unwrap_or(WINDOW_BITS_MAX)
}

impl<C: BlstCurve> FixedBase<C> {
    /// Makes the tables for about `multiples` multiples of `base`, on the threads of the caller's rayon pool.
    pub(super) fn new(base: &C::Projective, multiples: usize) -> FixedBase<C> {
        let window_bits = window_bits_for(multiples);
        let firsts = Self::firsts(base, window_bits);
        let windows = firsts.into_par_iter().map(|(first, len)| multiples_of(first, len)).collect();
        FixedBase { window_bits, windows }
    }

    /// Makes tables of windows of `window_bits` bits, 2 to 15, on the calling thread.
    pub(super) fn with_window(base: &C::Projective, window_bits: usize) -> FixedBase<C> {
        let window_bits = window_bits.clamp(2, WINDOW_BITS_MAX);
        let firsts = Self::firsts(base, window_bits);
        let windows = firsts.into_iter().map(|(first, len)| multiples_of(first, len)).collect();
        FixedBase { window_bits, windows }
    }

    /// The first multiple of each window, and how many of it the window holds.
    fn firsts(base: &C::Projective, window_bits: usize) -> Vec<(Affine<C::Field>, usize)> {
        let mut first = *base;
        let mut firsts = Vec::new();
        for place in (0..=SCALAR_BITS).step_by(window_bits) {
            firsts.push((C::coordinates(&first.to_affine()), window_len(window_bits, place)));
            for _ in 0..window_bits {
                first = first.double();
            }
        }
        firsts
    }

    /// `out[i] = scalars[i] · base`, on the calling thread. Takes at most [`BATCH`] at a time.
    pub(super) fn multiply(&self, scalars: &[Scalar], out: &mut [C::Affine]) {
        let mut room = Additions::with_capacity(BATCH);
        for (scalars, out) in scalars.chunks(BATCH).zip(out.chunks_mut(BATCH)) {
            let windows = self.windows.len();
            let mut digits = Wiped::blanks(0i16, windows * scalars.len());
            for (scalar, digits) in scalars.iter().zip(digits.chunks_mut(windows)) {
                signed_digits(scalar, self.window_bits, digits);
            }
            let mut sums = vec![Affine::INFINITY; scalars.len()];
            // Points of the tables: the digits in another form.
            let mut addends = Wiped::blanks(Affine::INFINITY, scalars.len());
            for (place, window) in self.windows.iter().enumerate() {
                // Fetched before anything is computed with them: the loads from the table then overlap.
                let chosen: &mut [_] = if place == 0 { &mut sums } else { &mut addends };
                for (addend, digits) in chosen.iter_mut().zip(digits.chunks(windows)) {
                    *addend = multiple(window, digits[place]);
                }
                if place > 0 {
                    room.add_all(&mut sums, &addends);
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = C::point(&sum);
            }
        }
    }

    /// One multiple, on the calling thread.
    pub(super) fn multiply_one(&self, scalar: &Scalar) -> C::Projective
    where
        C::Projective: for<'a> std::ops::AddAssign<&'a C::Affine>,
    {
        let mut digits = Zeroizing::new(vec![0i16; self.windows.len()]);
        signed_digits(scalar, self.window_bits, &mut digits);
        let mut sum = C::Projective::identity();
        for (window, digit) in self.windows.iter().zip(&*digits) {
            if *digit != 0 {
                sum += &C::point(&multiple(window, *digit));
            }
        }
        sum
    }
}

/// The table's point for a digit.
#[inline]
fn multiple<F: BaseField>(window: &[Affine<F>], digit: i16) -> Affine<F> {
    let place = usize::from(digit.unsigned_abs());
    // No digit reaches beyond its window; the identity for 0.
    let Some(point) = place.checked_sub(1).and_then(|place| window.get(place)) else {
        return Affine::INFINITY;
    };
    if digit < 0 { point.neg() } else { *point }
}

/// 1 to `len` times a point, by adding the first half, as far as there is one, to its last.
fn multiples_of<F: BaseField>(first: Affine<F>, len: usize) -> Vec<Affine<F>> {
    let mut table = Vec::with_capacity(len);
    table.push(first);
    let mut room = Additions::with_capacity(len / 2);
    while table.len() < len {
        let known = table.len();
        let wanted = known.min(len - known);
        let addends = vec![table[known - 1]; wanted];
        let mut sums = table[..wanted].to_vec();
        room.add_all(&mut sums, &addends);
        table.extend(sums);
    }
    table
}

/// The scalar, or its negative if that is smaller, in digits of -2^(w-1) to 2^(w-1), the lowest first.
fn signed_digits(scalar: &Scalar, window_bits: usize, digits: &mut [i16]) {
    let mut bytes = scalar.to_bytes_le();
    let mut limbs = [0u64; 4];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        *limb = bytes.iter().rev().fold(0, |limb, byte| (limb << 8) | u64::from(*byte));
    }
    bytes.zeroize();
    let mut negated = minus(&ORDER, &limbs);
    let is_negated = less(&negated, &limbs);
    if is_negated {
        limbs = negated;
    }
    let mask = (1u64 << window_bits) - 1;
    let half = 1i32 << (window_bits - 1);
    let mut carry = 0;
    for (index, digit) in digits.iter_mut().enumerate() {
        let place = index * window_bits;
        let (limb, shift) = (place / 64, place % 64);
        let mut bits = limbs[limb] >> shift;
        if shift + window_bits > 64 && limb < 3 {
            bits |= limbs[limb + 1] << (64 - shift);
        }
        // At most 2^15, so that nothing is cut off.
        let mut value = (bits & mask) as i32 + carry;
        carry = i32::from(value > half);
        value -= carry << window_bits;
        *digit = if is_negated { -value } else { value } as i16;
    }
    limbs.zeroize();
    negated.zeroize();
}

/// `left - right`, which must not be negative.
fn minus(left: &[u64; 4], right: &[u64; 4]) -> [u64; 4] {
    let mut out = [0; 4];
    let mut borrow = false;
    for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
        let (difference, first) = left.overflowing_sub(*right);
        let (difference, second) = difference.overflowing_sub(u64::from(borrow));
        (*out, borrow) = (difference, first | second);
    }
    out
}

fn less(left: &[u64; 4], right: &[u64; 4]) -> bool {
    left.iter().rev().lt(right.iter().rev())
}

#[cfg(test)]
#[path = "fixed_base_tests.rs"]
mod tests;
