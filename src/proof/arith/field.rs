//! The base field of BLS12-381 and its quadratic extension, over which G1 and G2 are defined: thin safe wrappers of `blst`.
//!
//! Elements are in `blst`'s form: Montgomery with R = 2^384, reduced, little-endian limbs of 64 bits.

// The only calls of `blst`'s field functions; each takes valid, initialised elements by reference and writes one.
#![allow(unsafe_code)]

use blst::{
    blst_fp, blst_fp_add, blst_fp_cneg, blst_fp_eucl_inverse, blst_fp_mul, blst_fp_sqr, blst_fp_sub,
    blst_fp2, blst_fp2_add, blst_fp2_cneg, blst_fp2_eucl_inverse, blst_fp2_mul, blst_fp2_sqr, blst_fp2_sub,
};

/// A field of coordinates. Operations return a new element; none fails.
pub(crate) trait BaseField: Copy + PartialEq + Send + Sync + 'static {
    /// The neutral element of addition.
    const ZERO: Self;
    fn add(&self, other: &Self) -> Self;
    fn sub(&self, other: &Self) -> Self;
    fn neg(&self) -> Self;
    fn mul(&self, other: &Self) -> Self;
    fn square(&self) -> Self;
    /// The inverse, and zero for zero. Takes a time that depends on the element.
    fn invert(&self) -> Self;

    fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

macro_rules! base_field {
    ($field:ty, $zero:expr, $add:ident, $sub:ident, $cneg:ident, $mul:ident, $square:ident, $invert:ident) => {
        impl BaseField for $field {
            const ZERO: Self = $zero;

            #[inline]
            fn add(&self, other: &Self) -> Self {
                let mut out = Self::ZERO;
                // SAFETY: three valid elements; `out` is written and does not alias.
                unsafe { $add(&mut out, self, other) };
                out
            }

            #[inline]
            fn sub(&self, other: &Self) -> Self {
                let mut out = Self::ZERO;
                // SAFETY: as above.
                unsafe { $sub(&mut out, self, other) };
                out
            }

            #[inline]
            fn neg(&self) -> Self {
                let mut out = Self::ZERO;
                // SAFETY: two valid elements; `out` is written and does not alias.
                unsafe { $cneg(&mut out, self, true) };
                out
            }

            #[inline]
            fn mul(&self, other: &Self) -> Self {
                let mut out = Self::ZERO;
                // SAFETY: three valid elements; `out` is written and does not alias.
                unsafe { $mul(&mut out, self, other) };
                out
            }

            #[inline]
            fn square(&self) -> Self {
                let mut out = Self::ZERO;
                // SAFETY: two valid elements; `out` is written and does not alias.
                unsafe { $square(&mut out, self) };
                out
            }

            fn invert(&self) -> Self {
                let mut out = Self::ZERO;
                // SAFETY: two valid elements; `out` is written and does not alias. Zero gives zero.
                unsafe { $invert(&mut out, self) };
                out
            }
        }
    };
}

const FP_ZERO: blst_fp = blst_fp { l: [0; 6] };

base_field!(
    blst_fp,
    FP_ZERO,
    blst_fp_add,
    blst_fp_sub,
    blst_fp_cneg,
    blst_fp_mul,
    blst_fp_sqr,
    blst_fp_eucl_inverse
);
base_field!(
    blst_fp2,
    blst_fp2 { fp: [FP_ZERO, FP_ZERO] },
    blst_fp2_add,
    blst_fp2_sub,
    blst_fp2_cneg,
    blst_fp2_mul,
    blst_fp2_sqr,
    blst_fp2_eucl_inverse
);
