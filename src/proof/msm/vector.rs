//! The adder for processors with AVX512-IFMA: eight additions at a time.
//!
//! Each lane keeps a running product of its own through the batch; one inversion serves all eight. In G2 what is multiplied and
//! inverted are norms, which are elements of the base field: with d̄ for the conjugate, 1/d = d̄ / (d d̄). Whether two x coordinates
//! are equal is not looked at pair by pair: if any are, the product of the differences is zero, and the batch is
//! done again by the portable adder, which knows the tangent and the point at infinity. In sums of points that
//! nobody chose to collide this does not happen.

// The only entry into code that is compiled for AVX512-IFMA.
#![allow(unsafe_code)]

use super::super::arith::curve::{Affine, Curve};
use super::super::arith::ifma::Ifma;
use super::super::arith::ifma::kernel::{
    self, Lanes, mul, mul_add, negate_where, rotated, sub, sub_twice, weakly_reduced,
};
use super::super::arith::ifma::packed::{Packed, PackedField, everywhere, first, gather, scattered};
use super::super::arith::memory::prefetch;
use super::adder::{Adder, Operand, Pair, Sums};
use super::portable;
use crate::proof::wiped::wipe_room;
use blst::blst_fp;
use zeroize::DefaultIsZeroes;

/// Additions at once.
const LANES: usize = 8;

/// How far ahead of its use a coordinate is brought into the first-level cache, in groups of lanes. A batch does not fit it.
const GROUPS_AHEAD: usize = 1;

/// See the module. `K` is the number of components of a coordinate: 1 in G1, 2 in G2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectorised<const K: usize>(pub(crate) Ifma);

/// An affine point, coordinates below 1.001 p (y below 2 p if it was negated). All-zero y, which no point has, is infinity.
#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(C)]
pub(crate) struct PackedPoint<const K: usize> {
    x: [Packed; K],
    y: [Packed; K],
}

impl<const K: usize> Default for PackedPoint<K> {
    fn default() -> Self {
        PackedPoint { x: [Packed::ZERO; K], y: [Packed::ZERO; K] }
    }
}

impl<const K: usize> DefaultIsZeroes for PackedPoint<K> {}

/// A coordinate of eight points.
type Coordinate<const K: usize> = [Lanes; K];

/// What the first pass over a batch leaves for the second.
#[derive(Clone, Copy)]
pub(crate) struct Step<const K: usize> {
    /// x of the first operands.
    x: Coordinate<K>,
    /// The difference of the x coordinates.
    difference: Coordinate<K>,
    /// The product of the norms of the differences before this one; in G2 also, at the end, the norm of this one, which in G1 is
    /// the difference itself.
    norms: [Lanes; K],
}

/// Room for the steps of a batch.
pub(crate) struct Steps<const K: usize>(Vec<Step<K>>);

impl<const K: usize> Drop for Steps<K> {
    fn drop(&mut self) {
        // SAFETY: a step is integers and nothing else, for which all bits zero is a value.
        wipe_room(&mut self.0, unsafe { std::mem::zeroed() });
    }
}

impl<const K: usize, C: Curve<Field: PackedField<K>>> Adder<C> for Vectorised<K> {
    type Point = PackedPoint<K>;
    type Scratch = Steps<K>;

    const INFINITY: Self::Point = PackedPoint { x: [Packed::ZERO; K], y: [Packed::ZERO; K] };
    /// The inversion is not vectorised and weighs as much as some hundred additions' share; the scratch fits the second-level cache.
    const BATCH: usize = 1024;
    const SCRATCH_BYTES: usize = <Self as Adder<C>>::BATCH / LANES * size_of::<Step<K>>()
        + portable::add_points_bytes::<C::Field>(<Self as Adder<C>>::BATCH);

    fn pack(point: &Affine<C::Field>) -> Self::Point {
        PackedPoint { x: point.x.pack(), y: point.y.pack() }
    }

    fn unpack(point: &Self::Point) -> Affine<C::Field> {
        Affine { x: C::Field::unpack(&point.x), y: C::Field::unpack(&point.y) }
    }

    fn is_infinity(point: &Self::Point) -> bool {
        point.y[0].0[0] == 0 && point.y == [Packed::ZERO; K]
    }

    fn neg(point: &Self::Point) -> Self::Point {
        PackedPoint { x: point.x, y: std::array::from_fn(|k| point.y[k].negated()) }
    }

    fn scratch() -> Self::Scratch {
        Steps(Vec::with_capacity(<Self as Adder<C>>::BATCH / LANES))
    }

    fn add(
        self,
        scratch: &mut Self::Scratch,
        sources: &[Self::Point],
        pairs: &[Pair],
        sums: &mut [Self::Point],
    ) -> Sums {
        let Some(last) = pairs.last() else { return Sums::AllFinite };
        // SAFETY: `Ifma` is made only where the processor has the instructions.
        let added = unsafe { add_batch(scratch, sources, pairs, last, sums) };
        if added {
            return Sums::AllFinite;
        }
        let pairs = pairs.iter().map(|pair| {
            let fetch = |operand: Operand| {
                let point = <Self as Adder<C>>::unpack(&sources[operand.index()]);
                if operand.is_negative() { point.neg() } else { point }
            };
            (fetch(pair.a), fetch(pair.b), pair.out)
        });
        portable::add_points(pairs, |out, sum| {
            sums[out as usize] =
                if sum.is_infinity() { <Self as Adder<C>>::INFINITY } else { <Self as Adder<C>>::pack(&sum) };
        })
    }
}

/// Adds all pairs, unless some have the same x: then `false`, and the sums are not to be used.
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_batch<const K: usize>(
    Steps(steps): &mut Steps<K>,
    sources: &[PackedPoint<K>],
    pairs: &[Pair],
    last: &Pair,
    sums: &mut [PackedPoint<K>],
) -> bool {
    steps.clear();
    // The lanes of an incomplete group repeat the last pair, so that they too have a difference other than zero.
    let lane = |group: &[Pair], i: usize| *group.get(i).unwrap_or(last);
    let mut product: Option<Lanes> = None;
    for (i, group) in pairs.chunks(LANES).enumerate() {
        for pair in pairs.get((i + GROUPS_AHEAD) * LANES..).unwrap_or_default().iter().take(LANES) {
            prefetch(&sources[pair.a.index()].x);
            prefetch(&sources[pair.b.index()].x);
        }
        let lanes: [Pair; LANES] = std::array::from_fn(|i| lane(group, i));
        let x = gathered(lanes.map(|pair| &sources[pair.a.index()].x));
        let other = gathered(lanes.map(|pair| &sources[pair.b.index()].x));
        let mut difference = other;
        for k in 0..K {
            difference[k] = sub::<2>(&other[k], &x[k]);
        }
        // The first has no product before it; its norm squared over itself serves as one.
        let norm = norm(&difference);
        let before = product.unwrap_or(norm);
        product = Some(mul(&before, &norm));
        let mut norms = [norm; K];
        norms[0] = before;
        steps.push(Step { x, difference, norms });
    }
    let Some(mut inverse) = product.and_then(|product| inverses(&product)) else { return false };
    for (i, (group, step)) in pairs.chunks(LANES).zip(steps.iter()).enumerate().rev() {
        let first = i.saturating_sub(GROUPS_AHEAD) * LANES;
        for pair in pairs[first..].iter().take(LANES) {
            prefetch(&sources[pair.a.index()].y);
            prefetch(&sources[pair.b.index()].y);
        }
        let reciprocal = mul(&inverse, &step.norms[0]);
        inverse = mul(&inverse, if K == 1 { &step.difference[0] } else { &step.norms[K - 1] });
        let y = signed(sources, |i| lane(group, i).a);
        let other = signed(sources, |i| lane(group, i).b);
        let (x, y) = chord(step, &y, &other, &reciprocal);
        scatter(group, &x, &y, sums);
    }
    true
}

/// The third point of the chord, mirrored: x and y of the sum, given the reciprocal of the norm of the slope's denominator.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn chord<const K: usize>(
    step: &Step<K>,
    y: &Coordinate<K>,
    other: &Coordinate<K>,
    reciprocal: &Lanes,
) -> (Coordinate<K>, Coordinate<K>) {
    let mut rise = *other;
    for k in 0..K {
        rise[k] = sub::<2>(&other[k], &y[k]);
    }
    let slope = quotient(&rise, &step.difference, reciprocal);
    let mut x = squared(&slope);
    let mut run = x;
    for k in 0..K {
        // x1 + x2 = 2 x1 + (x2 - x1); the difference is below 3.01 p.
        x[k] = weakly_reduced(&sub_twice::<6>(&x[k], &step.x[k], &step.difference[k]));
        run[k] = sub::<2>(&step.x[k], &x[k]);
    }
    let mut sum_y = times(&slope, &run);
    for k in 0..K {
        sum_y[k] = weakly_reduced(&sub::<2>(&sum_y[k], &y[k]));
    }
    (x, sum_y)
}

/// The inverse of each lane, by one inversion of the product of all; none if a lane is zero.
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverses(lanes: &Lanes) -> Option<Lanes> {
    // The products of one, two and four other lanes: together all seven.
    let one = rotated::<1>(lanes);
    let pair = mul(lanes, &one);
    let two = rotated::<2>(&pair);
    let quad = mul(&pair, &two);
    let four = rotated::<4>(&quad);
    let [inverse] = blst_fp::packed_inverse(&[first(&mul(&quad, &four))])?;
    Some(mul(&mul(&everywhere(&inverse), &one), &mul(&two, &four)))
}

/// In G2 `a ā`, which is zero for zero alone; in G1 `a` itself. `a` is below 4 p, a norm in G2 below 1.001 p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn norm<const K: usize>(a: &Coordinate<K>) -> Lanes {
    if K == 1 { a[0] } else { mul_add(&a[0], &a[0], &a[K - 1], &a[K - 1]) }
}

/// `a / b`, given the reciprocal of b's norm: `a` and `b` below 4 p, result below 1.001 p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn quotient<const K: usize>(a: &Coordinate<K>, b: &Coordinate<K>, reciprocal: &Lanes) -> Coordinate<K> {
    let mut quotient = *a;
    if K == 2 {
        // (a0 + a1 u)(b0 - b1 u).
        let negated = negate_where::<4>(&a[0], u8::MAX);
        quotient[0] = mul_add(&a[0], &b[0], &a[1], &b[1]);
        quotient[1] = mul_add(&a[1], &b[0], &negated, &b[1]);
    }
    for component in &mut quotient {
        *component = mul(component, reciprocal);
    }
    quotient
}

/// `a · b`: factors below 4 p, result below 1.001 p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn times<const K: usize>(a: &Coordinate<K>, b: &Coordinate<K>) -> Coordinate<K> {
    let mut product = *a;
    if K == 1 {
        product[0] = mul(&a[0], &b[0]);
    } else {
        // (a0 + a1 u)(b0 + b1 u), u² = -1.
        let negated = negate_where::<4>(&a[1], u8::MAX);
        product[0] = mul_add(&a[0], &b[0], &negated, &b[1]);
        product[1] = mul_add(&a[0], &b[1], &a[1], &b[0]);
    }
    product
}

/// `a²`: `a` below 2 p, result below 1.001 p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn squared<const K: usize>(a: &Coordinate<K>) -> Coordinate<K> {
    let mut square = *a;
    if K == 1 {
        square[0] = mul(&a[0], &a[0]);
    } else {
        // (a0 + a1)(a0 - a1) and 2 a0 a1.
        square[0] = mul(&kernel::add(&a[0], &a[1]), &sub::<2>(&a[0], &a[1]));
        square[1] = mul(&kernel::add(&a[0], &a[0]), &a[1]);
    }
    square
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn gathered<const K: usize>(coordinates: [&[Packed; K]; LANES]) -> Coordinate<K> {
    let mut lanes = [gather(coordinates.map(|components| &components[0])); K];
    if K == 2 {
        lanes[1] = gather(coordinates.map(|components| &components[1]));
    }
    lanes
}

/// y of eight operands, negated where they say so: below 2 p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn signed<const K: usize>(sources: &[PackedPoint<K>], operand: impl Fn(usize) -> Operand) -> Coordinate<K> {
    let operands: [Operand; LANES] = std::array::from_fn(operand);
    let mask = (0..LANES).fold(0u8, |mask, i| mask | (u8::from(operands[i].is_negative()) << i));
    let mut y = gathered(operands.map(|operand| &sources[operand.index()].y));
    if mask != 0 {
        for component in &mut y {
            *component = negate_where::<2>(component, mask);
        }
    }
    y
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn scatter<const K: usize>(
    group: &[Pair],
    x: &Coordinate<K>,
    y: &Coordinate<K>,
    sums: &mut [PackedPoint<K>],
) {
    for k in 0..K {
        let (x, y) = (scattered(&x[k]), scattered(&y[k]));
        for (i, pair) in group.iter().enumerate() {
            let sum = &mut sums[pair.out as usize];
            sum.x[k] = x[i];
            sum.y[k] = y[i];
        }
    }
}
