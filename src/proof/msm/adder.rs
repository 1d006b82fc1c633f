//! What adds pairs of affine points in batches, and the order that it is given.
//!
//! An affine addition costs one inversion; Montgomery's trick shares one inversion among a whole batch at three
//! multiplications a member, which makes an addition six multiplications or so, less than any projective formula. The
//! price is that additions come in batches whose members do not depend on each other.

use super::super::arith::curve::{Affine, Curve};
use zeroize::DefaultIsZeroes;

/// One addition: two operands among the sources, and the place of the sum.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pair {
    pub(crate) a: Operand,
    pub(crate) b: Operand,
    pub(crate) out: u32,
}

/// A source's index, times two, plus one if its negative is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operand(pub(super) u32);

/// Sources have indices below this.
pub(crate) const SOURCES_MAX: usize = 1 << 31;

impl DefaultIsZeroes for Operand {}

impl Operand {
    pub(crate) const fn new(index: u32, negative: bool) -> Operand {
        Operand(index << 1 | negative as u32)
    }

    #[inline]
    pub(crate) const fn index(self) -> usize {
        (self.0 >> 1) as usize
    }

    #[inline]
    pub(crate) const fn is_negative(self) -> bool {
        self.0 & 1 == 1
    }
}

/// Whether a batch of sums held the point at infinity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sums {
    AllFinite,
    SomeInfinite,
}

/// A way to add points of a curve.
pub(crate) trait Adder<C: Curve>: Copy + Send + Sync {
    /// An affine point, or infinity, which is all zeros and the default, so that wiping leaves points.
    type Point: Copy + Send + Sync + DefaultIsZeroes;
    /// Room for the intermediate values of a batch; wiped when it is dropped.
    type Scratch: Send;

    const INFINITY: Self::Point;
    /// Pairs that are best added at once.
    const BATCH: usize;
    /// Bytes of a scratch.
    const SCRATCH_BYTES: usize;

    fn pack(point: &Affine<C::Field>) -> Self::Point;
    fn unpack(point: &Self::Point) -> Affine<C::Field>;
    fn is_infinity(point: &Self::Point) -> bool;
    fn neg(point: &Self::Point) -> Self::Point;
    fn scratch() -> Self::Scratch;

    /// Adds pairs of finite points, at most [`Self::BATCH`]; equal and opposite ones too.
    ///
    /// # Panics
    /// An index is out of range.
    fn add(
        self,
        scratch: &mut Self::Scratch,
        sources: &[Self::Point],
        pairs: &[Pair],
        sums: &mut [Self::Point],
    ) -> Sums;

    /// The source that an operand means.
    #[inline]
    fn fetch(sources: &[Self::Point], operand: Operand) -> Self::Point {
        let point = &sources[operand.index()];
        if operand.is_negative() { Self::neg(point) } else { *point }
    }
}
