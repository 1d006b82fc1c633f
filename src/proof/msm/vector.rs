//! The adder for processors with vectors that multiply: eight additions at a time.
//!
//! Each lane keeps a running product of its own through the batch; one inversion serves all eight. In G2 what is multiplied and
//! inverted are norms, which are elements of the base field: with d̄ for the conjugate, 1/d = d̄ / (d d̄). Whether two x coordinates
//! are equal is not looked at pair by pair: if any are, the product of the differences is zero, and the batch is
//! done again by the portable adder, which knows the tangent and the point at infinity. In sums of points that
//! nobody chose to collide this does not happen.

use super::super::arith::curve::{Affine, Curve};
use super::super::arith::field::Components;
use super::super::arith::memory::prefetch;
use super::super::arith::packed::Packed;
use super::super::arith::simd::{Simd, Work};
use super::adder::{Adder, Operand, Pair, Sums};
use super::portable;
use crate::proof::wiped::wipe_room;
use zeroize::DefaultIsZeroes;

/// Additions at once.
const LANES: usize = 8;

/// How far ahead of its use a coordinate is brought into the first-level cache, in groups of lanes. A batch does not fit it.
const GROUPS_AHEAD: usize = 1;

/// See the module. `K` is the number of components of a coordinate: 1 in G1, 2 in G2.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vectorised<S, const K: usize>(pub(crate) S);

/// An affine point, coordinates below 1.001 p (y at most 2 p if it was negated). All-zero y, which no point has, is infinity.
#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(C)]
pub(crate) struct PackedPoint<E, const K: usize> {
    x: [E; K],
    y: [E; K],
}

impl<E: Packed, const K: usize> Default for PackedPoint<E, K> {
    fn default() -> Self {
        PackedPoint { x: [E::default(); K], y: [E::default(); K] }
    }
}

impl<E: Packed, const K: usize> DefaultIsZeroes for PackedPoint<E, K> {}

/// A coordinate of eight points.
type Coordinate<S, const K: usize> = [<S as Simd>::Lanes; K];

/// What the first pass over a batch leaves for the second.
#[derive(Clone, Copy)]
pub(crate) struct Step<L, const K: usize> {
    /// x of the first operands.
    x: [L; K],
    /// The difference of the x coordinates.
    difference: [L; K],
    /// The product of the norms of the differences before this one; in G2 also, at the end, the norm of this one, which in G1 is
    /// the difference itself.
    norms: [L; K],
}

/// Room for the steps of a batch.
pub(crate) struct Steps<S: Simd, const K: usize>(Vec<Step<S::Lanes, K>>);

impl<S: Simd, const K: usize> Drop for Steps<S, K> {
    fn drop(&mut self) {
        let zero = [S::ZERO; K];
        wipe_room(&mut self.0, Step { x: zero, difference: zero, norms: zero });
    }
}

impl<S: Simd, const K: usize, C: Curve<Field: Components<K>>> Adder<C> for Vectorised<S, K> {
    type Point = PackedPoint<S::Element, K>;
    type Scratch = Steps<S, K>;

    const INFINITY: Self::Point = PackedPoint { x: [S::Element::ZERO; K], y: [S::Element::ZERO; K] };
    /// The inversion is not vectorised and weighs as much as some hundred additions' share; the scratch fits the second-level cache.
    const BATCH: usize = 1024;
    const SCRATCH_BYTES: usize = <Self as Adder<C>>::BATCH / LANES * size_of::<Step<S::Lanes, K>>()
        + portable::add_points_bytes::<C::Field>(<Self as Adder<C>>::BATCH);

    fn pack(point: &Affine<C::Field>) -> Self::Point {
        let packed = |coordinate: &C::Field| coordinate.components().map(S::Element::pack);
        PackedPoint { x: packed(&point.x), y: packed(&point.y) }
    }

    fn unpack(point: &Self::Point) -> Affine<C::Field> {
        let unpacked = |coordinate: [S::Element; K]| {
            C::Field::from_components(coordinate.map(|component| component.unpack()))
        };
        Affine { x: unpacked(point.x), y: unpacked(point.y) }
    }

    fn is_infinity(point: &Self::Point) -> bool {
        point.y.iter().all(Packed::is_zero)
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
        if self.0.with_instructions(Batch { simd: self.0, steps: &mut scratch.0, sources, pairs, last, sums })
        {
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

/// Pairs to be added.
struct Batch<'a, S: Simd, const K: usize> {
    simd: S,
    steps: &'a mut Vec<Step<S::Lanes, K>>,
    sources: &'a [PackedPoint<S::Element, K>],
    pairs: &'a [Pair],
    last: &'a Pair,
    sums: &'a mut [PackedPoint<S::Element, K>],
}

impl<S: Simd, const K: usize> Work for Batch<'_, S, K> {
    type Made = bool;

    /// Adds all pairs, unless some have the same x: then `false`, and the sums are not to be used.
    #[inline(always)]
    fn run(self) -> bool {
        let Self { simd, steps, sources, pairs, last, sums } = self;

        steps.clear();
        // The lanes of an incomplete group repeat the last pair, so that they too have a difference other than zero.
        let lane = |group: &[Pair], i: usize| *group.get(i).unwrap_or(last);
        let mut product: Option<S::Lanes> = None;
        for (i, group) in pairs.chunks(LANES).enumerate() {
            for pair in pairs.get((i + GROUPS_AHEAD) * LANES..).unwrap_or_default().iter().take(LANES) {
                prefetch(&sources[pair.a.index()].x);
                prefetch(&sources[pair.b.index()].x);
            }
            let lanes: [Pair; LANES] = std::array::from_fn(|i| lane(group, i));
            let x = gathered(simd, lanes.map(|pair| &sources[pair.a.index()].x));
            let other = gathered(simd, lanes.map(|pair| &sources[pair.b.index()].x));
            let mut difference = other;
            for k in 0..K {
                difference[k] = simd.sub::<2>(&other[k], &x[k]);
            }
            // The first has no product before it; its norm squared over itself serves as one.
            let norm = norm(simd, &difference);
            let before = product.unwrap_or(norm);
            product = Some(simd.mul(&before, &norm));
            let mut norms = [norm; K];
            norms[0] = before;
            steps.push(Step { x, difference, norms });
        }
        let Some(mut inverse) = product.and_then(|product| simd.inverses(&product)) else { return false };
        for (i, (group, step)) in pairs.chunks(LANES).zip(steps.iter()).enumerate().rev() {
            let first = i.saturating_sub(GROUPS_AHEAD) * LANES;
            for pair in pairs[first..].iter().take(LANES) {
                prefetch(&sources[pair.a.index()].y);
                prefetch(&sources[pair.b.index()].y);
            }
            let reciprocal = simd.mul(&inverse, &step.norms[0]);
            inverse = simd.mul(&inverse, if K == 1 { &step.difference[0] } else { &step.norms[K - 1] });
            let y = signed(simd, sources, |i| lane(group, i).a);
            let other = signed(simd, sources, |i| lane(group, i).b);
            let (x, y) = chord(simd, step, &y, &other, &reciprocal);
            scatter(simd, group, &x, &y, sums);
        }
        true
    }
}

/// The third point of the chord, mirrored: x and y of the sum, given the reciprocal of the norm of the slope's denominator.
#[inline(always)]
fn chord<S: Simd, const K: usize>(
    simd: S,
    step: &Step<S::Lanes, K>,
    y: &Coordinate<S, K>,
    other: &Coordinate<S, K>,
    reciprocal: &S::Lanes,
) -> (Coordinate<S, K>, Coordinate<S, K>) {
    let mut rise = *other;
    for k in 0..K {
        rise[k] = simd.sub::<2>(&other[k], &y[k]);
    }
    let slope = quotient(simd, &rise, &step.difference, reciprocal);
    let mut x = squared(simd, &slope);
    let mut run = x;
    for k in 0..K {
        // x1 + x2 = 2 x1 + (x2 - x1); the difference is below 3.01 p.
        x[k] = simd.weakly_reduced(&simd.sub_twice::<6>(&x[k], &step.x[k], &step.difference[k]));
        run[k] = simd.sub::<2>(&step.x[k], &x[k]);
    }
    let mut sum_y = times(simd, &slope, &run);
    for k in 0..K {
        sum_y[k] = simd.weakly_reduced(&simd.sub::<2>(&sum_y[k], &y[k]));
    }
    (x, sum_y)
}

/// In G2 `a ā`, which is zero for zero alone; in G1 `a` itself. `a` is below 4 p, a norm in G2 below 1.001 p.
#[inline(always)]
fn norm<S: Simd, const K: usize>(simd: S, a: &Coordinate<S, K>) -> S::Lanes {
    if K == 1 { a[0] } else { simd.mul_add(&a[0], &a[0], &a[K - 1], &a[K - 1]) }
}

/// `a / b`, given the reciprocal of b's norm: `a` and `b` below 4 p, result below 1.001 p.
#[inline(always)]
fn quotient<S: Simd, const K: usize>(
    simd: S,
    a: &Coordinate<S, K>,
    b: &Coordinate<S, K>,
    reciprocal: &S::Lanes,
) -> Coordinate<S, K> {
    let mut quotient = *a;
    if K == 2 {
        // (a0 + a1 u)(b0 - b1 u).
        let negated = simd.negate_where::<4>(&a[0], u8::MAX);
        quotient[0] = simd.mul_add(&a[0], &b[0], &a[1], &b[1]);
        quotient[1] = simd.mul_add(&a[1], &b[0], &negated, &b[1]);
    }
    for component in &mut quotient {
        *component = simd.mul(component, reciprocal);
    }
    quotient
}

/// `a · b`: factors below 4 p, result below 1.001 p.
#[inline(always)]
fn times<S: Simd, const K: usize>(simd: S, a: &Coordinate<S, K>, b: &Coordinate<S, K>) -> Coordinate<S, K> {
    let mut product = *a;
    if K == 1 {
        product[0] = simd.mul(&a[0], &b[0]);
    } else {
        // (a0 + a1 u)(b0 + b1 u), u² = -1.
        let negated = simd.negate_where::<4>(&a[1], u8::MAX);
        product[0] = simd.mul_add(&a[0], &b[0], &negated, &b[1]);
        product[1] = simd.mul_add(&a[0], &b[1], &a[1], &b[0]);
    }
    product
}

/// `a²`: `a` below 2 p, result below 1.001 p.
#[inline(always)]
fn squared<S: Simd, const K: usize>(simd: S, a: &Coordinate<S, K>) -> Coordinate<S, K> {
    let mut square = *a;
    if K == 1 {
        square[0] = simd.mul(&a[0], &a[0]);
    } else {
        // (a0 + a1)(a0 - a1) and 2 a0 a1.
        square[0] = simd.mul(&simd.add(&a[0], &a[1]), &simd.sub::<2>(&a[0], &a[1]));
        square[1] = simd.mul(&simd.add(&a[0], &a[0]), &a[1]);
    }
    square
}

#[inline(always)]
fn gathered<S: Simd, const K: usize>(simd: S, coordinates: [&[S::Element; K]; LANES]) -> Coordinate<S, K> {
    let mut lanes = [simd.gather(coordinates.map(|components| &components[0])); K];
    if K == 2 {
        lanes[1] = simd.gather(coordinates.map(|components| &components[1]));
    }
    lanes
}

/// y of eight operands, negated where they say so: at most 2 p.
#[inline(always)]
fn signed<S: Simd, const K: usize>(
    simd: S,
    sources: &[PackedPoint<S::Element, K>],
    operand: impl Fn(usize) -> Operand,
) -> Coordinate<S, K> {
    let operands: [Operand; LANES] = std::array::from_fn(operand);
    let mask = (0..LANES).fold(0u8, |mask, i| mask | (u8::from(operands[i].is_negative()) << i));
    let mut y = gathered(simd, operands.map(|operand| &sources[operand.index()].y));
    if mask != 0 {
        for component in &mut y {
            *component = simd.negate_where::<2>(component, mask);
        }
    }
    y
}

#[inline(always)]
fn scatter<S: Simd, const K: usize>(
    simd: S,
    group: &[Pair],
    x: &Coordinate<S, K>,
    y: &Coordinate<S, K>,
    sums: &mut [PackedPoint<S::Element, K>],
) {
    for k in 0..K {
        let (x, y) = (simd.scattered(&x[k]), simd.scattered(&y[k]));
        for (i, pair) in group.iter().enumerate() {
            let sum = &mut sums[pair.out as usize];
            sum.x[k] = x[i];
            sum.y[k] = y[i];
        }
    }
}
