//! The adder that runs anywhere: one element at a time, over `blst`.
//!
//! Both passes over a batch read the points where they are, since copies of them cost as much as a multiplication.

use super::super::arith::curve::{Affine, Curve};
use super::super::arith::field::BaseField;
use super::super::arith::memory::prefetch;
use super::adder::{Adder, Operand, Pair, Sums};
use crate::proof::wiped::{Wiped, wipe_room};
use blst::blst_fp;

/// How far ahead of its use a point is brought into the first-level cache, in pairs. A batch does not fit it.
const PREFETCH_AHEAD: usize = 4;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

/// What the first pass over a batch leaves of a pair for the second.
#[derive(Clone, Copy)]
struct Step<F> {
    /// The slope's denominator: a difference of x, or twice y.
    denominator: F,
    /// Its norm.
    norm: blst_fp,
    /// The product of the norms before this one.
    product: blst_fp,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sum,
    Double,
    /// A sum of opposite points. It has the denominator one, so that no product is zero.
    Infinite,
}

impl<F: BaseField> Step<F> {
    /// No step, before the first: its product with what follows is what follows.
    const BLANK: Self =
        Step { denominator: F::ONE, norm: blst_fp::ONE, product: blst_fp::ONE, kind: Kind::Sum };
}

/// Room for the steps of a batch.
pub(crate) struct Steps<F: BaseField>(Vec<Step<F>>);

impl<F: BaseField> Drop for Steps<F> {
    fn drop(&mut self) {
        let (norm, product) = (blst_fp::ZERO, blst_fp::ZERO);
        wipe_room(&mut self.0, Step { denominator: F::ZERO, norm, product, kind: Kind::Sum });
    }
}

impl<C: Curve> Adder<C> for Portable {
    type Point = Affine<C::Field>;
    type Scratch = Steps<C::Field>;

    const INFINITY: Self::Point = Affine::INFINITY;
    /// An inversion costs about sixty multiplications: spread over so many, it costs nothing, and a batch fits the cache.
    const BATCH: usize = 512;
    const SCRATCH_BYTES: usize = <Self as Adder<C>>::BATCH * size_of::<Step<C::Field>>();

    fn pack(point: &Affine<C::Field>) -> Self::Point {
        *point
    }

    fn unpack(point: &Self::Point) -> Affine<C::Field> {
        *point
    }

    fn is_infinity(point: &Self::Point) -> bool {
        point.is_infinity()
    }

    fn neg(point: &Self::Point) -> Self::Point {
        point.neg()
    }

    fn scratch() -> Self::Scratch {
        Steps(Vec::with_capacity(<Self as Adder<C>>::BATCH))
    }

    fn add(
        self,
        scratch: &mut Self::Scratch,
        sources: &[Self::Point],
        pairs: &[Pair],
        sums: &mut [Self::Point],
    ) -> Sums {
        add_batch(scratch, sources, pairs, sums)
    }
}

/// What [`add_points`] takes of memory.
pub(super) const fn add_points_bytes<F: BaseField>(pairs: usize) -> usize {
    pairs * (3 * size_of::<Affine<F>>() + size_of::<Step<F>>() + size_of::<Pair>() + size_of::<u32>())
}

/// Adds pairs of finite points and hands each sum to `put` with the number that came with the pair.
pub(super) fn add_points<F: BaseField>(
    pairs: impl ExactSizeIterator<Item = (Affine<F>, Affine<F>, u32)>,
    mut put: impl FnMut(u32, Affine<F>),
) -> Sums {
    let mut sources = Wiped::with_capacity(Affine::INFINITY, 2 * pairs.len());
    let mut numbers = Wiped::with_capacity(0, pairs.len());
    let mut places = Wiped::with_capacity(Pair::default(), pairs.len());
    for (place, (a, b, out)) in (0u32..).zip(pairs) {
        sources.push(a);
        sources.push(b);
        numbers.push(out);
        let operand = |index| Operand::new(index, false);
        places.push(Pair { a: operand(2 * place), b: operand(2 * place + 1), out: place });
    }
    let mut sums = Wiped::blanks(Affine::INFINITY, places.len());
    let infinite = add_batch(&mut Steps(Vec::with_capacity(places.len())), &sources, &places, &mut sums);
    numbers.iter().zip(sums.iter()).for_each(|(out, sum)| put(*out, *sum));
    infinite
}

fn add_batch<F: BaseField>(
    Steps(steps): &mut Steps<F>,
    sources: &[Affine<F>],
    pairs: &[Pair],
    sums: &mut [Affine<F>],
) -> Sums {
    if pairs.is_empty() {
        return Sums::AllFinite;
    }
    steps.clear();
    steps.resize(pairs.len(), Step::BLANK);
    let mut infinite = Sums::AllFinite;
    let mut before = &Step::BLANK;
    for (i, (pair, step)) in pairs.iter().zip(steps.iter_mut()).enumerate() {
        if let Some(pair) = pairs.get(i + PREFETCH_AHEAD) {
            prefetch(&sources[pair.a.index()].x);
            prefetch(&sources[pair.b.index()].x);
        }
        let (a, b) = (&sources[pair.a.index()], &sources[pair.b.index()]);
        step.denominator = b.x.sub(&a.x);
        if step.denominator.is_zero() {
            (step.denominator, step.kind) = same_x(&y_of(sources, pair.a), &y_of(sources, pair.b));
            if step.kind == Kind::Infinite {
                infinite = Sums::SomeInfinite;
            }
        }
        step.norm = step.denominator.norm();
        step.product.set_product(&before.product, &before.norm);
        before = step;
    }
    let mut inverse = before.product.mul(&before.norm).invert();
    let (mut slope, mut square) = (F::ZERO, F::ZERO);
    for (i, (pair, step)) in pairs.iter().zip(steps.iter_mut()).enumerate().rev() {
        if let Some(pair) = i.checked_sub(PREFETCH_AHEAD).and_then(|i| pairs.get(i)) {
            prefetch(&sources[pair.a.index()]);
            prefetch(&sources[pair.b.index()]);
        }
        // The reciprocal of the norm, from here on.
        step.product.mul_assign(&inverse);
        inverse.mul_assign(&step.norm);
        let sum = &mut sums[pair.out as usize];
        if step.kind == Kind::Infinite {
            *sum = Affine::INFINITY;
            continue;
        }
        let (a, b) = (&sources[pair.a.index()], &sources[pair.b.index()]);
        let y = y_of(sources, pair.a);
        let rise = if step.kind == Kind::Sum { y_of(sources, pair.b).sub(&y) } else { tangent_rise(&a.x) };
        slope.set_quotient(&rise, &step.denominator, &step.product);
        square.set_square(&slope);
        sum.x = square.sub(&a.x).sub(&b.x);
        slope.mul_assign(&a.x.sub(&sum.x));
        sum.y = slope.sub(&y);
    }
    infinite
}

/// y of an operand, of which the sign may be any: no branch could be foreseen.
#[inline]
fn y_of<F: BaseField>(sources: &[Affine<F>], operand: Operand) -> F {
    sources[operand.index()].y.negated_if(operand.is_negative())
}

/// How points of the same x are added: they are equal or opposite.
#[cold]
fn same_x<F: BaseField>(y: &F, other: &F) -> (F, Kind) {
    if y != other || y.is_zero() { (F::ONE, Kind::Infinite) } else { (y.add(y), Kind::Double) }
}

/// 3 x², over 2 y the slope of the tangent.
#[cold]
fn tangent_rise<F: BaseField>(x: &F) -> F {
    let square = x.square();
    square.add(&square).add(&square)
}
