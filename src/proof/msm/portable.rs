//! The adder that runs anywhere: one element at a time, by `blst`.

use super::super::arith::curve::{Affine, Curve};
use super::super::arith::field::BaseField;
use super::adder::{Adder, Pair, Sums};
use crate::proof::wiped::wipe_room;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

/// An addition whose inverse is awaited.
#[derive(Clone, Copy)]
struct Pending<F> {
    a: Affine<F>,
    b: Affine<F>,
    out: u32,
    /// The slope's denominator: a difference of x, or twice y.
    denominator: F,
    /// The product of the denominators before this one.
    product: F,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sum,
    Double,
}

/// Room for a batch.
pub(crate) struct Scratch<F: BaseField>(Vec<Pending<F>>);

impl<F: BaseField> Scratch<F> {
    fn with_capacity(pairs: usize) -> Self {
        Scratch(Vec::with_capacity(pairs))
    }
}

impl<F: BaseField> Drop for Scratch<F> {
    fn drop(&mut self) {
        let (a, denominator) = (Affine::INFINITY, F::ZERO);
        let blank = Pending { a, b: a, out: 0, denominator, product: denominator, kind: Kind::Sum };
        wipe_room(&mut self.0, blank);
    }
}

impl<C: Curve> Adder<C> for Portable {
    type Point = Affine<C::Field>;
    type Scratch = Scratch<C::Field>;

    const INFINITY: Self::Point = Affine::INFINITY;
    /// An inversion costs about sixty multiplications: spread over so many, it costs nothing, and a batch fits the cache.
    const BATCH: usize = 512;
    const SCRATCH_BYTES: usize = <Self as Adder<C>>::BATCH * size_of::<Pending<C::Field>>();

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
        Scratch::with_capacity(<Self as Adder<C>>::BATCH)
    }

    fn add(
        self,
        scratch: &mut Self::Scratch,
        sources: &[Self::Point],
        pairs: &[Pair],
        sums: &mut [Self::Point],
    ) -> Sums {
        let pairs = pairs.iter().map(|pair| {
            let fetch = |operand| <Self as Adder<C>>::fetch(sources, operand);
            (fetch(pair.a), fetch(pair.b), pair.out)
        });
        add_batch(scratch, pairs, |out, sum| sums[out as usize] = sum)
    }
}

/// Adds pairs of finite points and hands each sum to `put` with the number that came with the pair.
pub(super) fn add_points<F: BaseField>(
    pairs: impl ExactSizeIterator<Item = (Affine<F>, Affine<F>, u32)>,
    put: impl FnMut(u32, Affine<F>),
) -> Sums {
    add_batch(&mut Scratch::with_capacity(pairs.len()), pairs, put)
}

fn add_batch<F: BaseField>(
    Scratch(pending): &mut Scratch<F>,
    pairs: impl Iterator<Item = (Affine<F>, Affine<F>, u32)>,
    mut put: impl FnMut(u32, Affine<F>),
) -> Sums {
    pending.clear();
    let mut infinite = Sums::AllFinite;
    for (a, b, out) in pairs {
        let mut denominator = b.x.sub(&a.x);
        let mut kind = Kind::Sum;
        if denominator.is_zero() {
            if a.y != b.y || a.y.is_zero() {
                put(out, Affine::INFINITY);
                infinite = Sums::SomeInfinite;
                continue;
            }
            (denominator, kind) = (a.y.add(&a.y), Kind::Double);
        }
        let product = pending.last().map(|last| last.product.mul(&last.denominator));
        // The first has no product before it; its denominator squared over itself serves as one.
        let product = product.unwrap_or(denominator);
        pending.push(Pending { a, b, out, denominator, product, kind });
    }
    let Some(last) = pending.last() else { return infinite };
    let mut inverse = last.product.mul(&last.denominator).invert();
    for pair in pending.iter().rev() {
        let reciprocal = inverse.mul(&pair.product);
        inverse = inverse.mul(&pair.denominator);
        put(pair.out, sum(pair, &reciprocal));
    }
    infinite
}

/// The chord or the tangent, given the reciprocal of its denominator.
fn sum<F: BaseField>(pair: &Pending<F>, reciprocal: &F) -> Affine<F> {
    let (a, b) = (&pair.a, &pair.b);
    let numerator = match pair.kind {
        Kind::Sum => b.y.sub(&a.y),
        Kind::Double => {
            let square = a.x.square();
            square.add(&square).add(&square)
        }
    };
    let slope = numerator.mul(reciprocal);
    let x = slope.square().sub(&a.x).sub(&b.x);
    let y = slope.mul(&a.x.sub(&x)).sub(&a.y);
    Affine { x, y }
}
