//! The two groups of BLS12-381 as a multi-scalar multiplication sees them: affine coordinates in, projective sums out.

use super::field::BaseField;
use blst::{blst_fp, blst_fp2, blst_p1_affine, blst_p2_affine};
use blstrs::{G1Affine, G1Projective, G2Affine, G2Projective, Scalar};
use group::Group;
use group::prime::{PrimeCurve, PrimeCurveAffine};
use zeroize::DefaultIsZeroes;

/// An affine point. `(0, 0)`, which is on neither curve, stands for the point at infinity, as in `blst`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Affine<F> {
    pub(crate) x: F,
    pub(crate) y: F,
}

impl<F: BaseField> Default for Affine<F> {
    fn default() -> Self {
        Self::INFINITY
    }
}

impl<F: BaseField> DefaultIsZeroes for Affine<F> {}

impl<F: BaseField> Affine<F> {
    pub(crate) const INFINITY: Self = Affine { x: F::ZERO, y: F::ZERO };

    pub(crate) fn is_infinity(&self) -> bool {
        self.x.is_zero() && self.y.is_zero()
    }

    pub(crate) fn neg(&self) -> Self {
        Affine { x: self.x, y: self.y.neg() }
    }
}

/// G1 or G2.
pub(crate) trait Curve: Send + Sync + 'static {
    /// The field of the coordinates.
    type Field: BaseField;
    /// The library's affine point.
    type Affine: PrimeCurveAffine<Curve = Self::Projective, Scalar = Scalar> + Send + Sync;
    /// The library's projective point.
    type Projective: PrimeCurve<Affine = Self::Affine, Scalar = Scalar> + Group + Send + Sync;

    fn coordinates(point: &Self::Affine) -> Affine<Self::Field>;
    fn point(coordinates: &Affine<Self::Field>) -> Self::Affine;
}

/// The group of points over the base field.
pub(crate) enum G1 {}

/// The group of points over the quadratic extension.
pub(crate) enum G2 {}

impl Curve for G1 {
    type Field = blst_fp;
    type Affine = G1Affine;
    type Projective = G1Projective;

    fn coordinates(point: &G1Affine) -> Affine<blst_fp> {
        let raw: &blst_p1_affine = point.as_ref();
        Affine { x: raw.x, y: raw.y }
    }

    fn point(coordinates: &Affine<blst_fp>) -> G1Affine {
        let mut point = G1Affine::default();
        *point.as_mut() = blst_p1_affine { x: coordinates.x, y: coordinates.y };
        point
    }
}

impl Curve for G2 {
    type Field = blst_fp2;
    type Affine = G2Affine;
    type Projective = G2Projective;

    fn coordinates(point: &G2Affine) -> Affine<blst_fp2> {
        let raw: &blst_p2_affine = point.as_ref();
        Affine { x: raw.x, y: raw.y }
    }

    fn point(coordinates: &Affine<blst_fp2>) -> G2Affine {
        let mut point = G2Affine::default();
        *point.as_mut() = blst_p2_affine { x: coordinates.x, y: coordinates.y };
        point
    }
}
