//! Eight base-field elements at a time on processors with AVX2 and FMA, which have no integer multiplication of such width: limbs of
//! 51 bits are multiplied as floating-point numbers.
//!
//! A fused multiply-add rounds once, so that `a · b + c` for a large `c` is the product's upper half, exactly, and what is
//! left of the product its lower one (Emmart, Zheng, Weems, "Faster Modular Exponentiation Using Double Precision Floating Point
//! Arithmetic on the GPU", ARITH 2018; they round towards zero, here the lower halves have signs). [`product`] tells how; [`kernel`] has what is left to do.
//!
//! The processor is asked once ([`Fma::detect`]); only the evidence that it gave opens the way to the kernels.

// What is compiled for the instructions is called where there is evidence of them.
#![allow(unsafe_code)]

mod kernel;
mod memory;
mod product;

use super::packed::Limbs;
use super::simd::{Simd, Work, simd_by_kernel};

/// Bits of a limb: few enough that a product and what is added to it, and the lower half and what is added to that, keep their
/// exponents, so that the bits below them are integers.
const LIMB_BITS: u32 = 51;
/// A limb's bits.
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// An element in memory.
type Packed = Limbs<LIMB_BITS>;

/// Evidence that this processor has the instructions of the kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fma(());

impl Fma {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Fma> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        has.then_some(Fma(()))
    }
}

simd_by_kernel!(Fma, "avx2,fma");
