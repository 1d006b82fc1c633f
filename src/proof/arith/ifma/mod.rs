//! Eight base-field elements at a time, with the 52-bit integer multiply-add of AVX-512 (AVX512-IFMA).
//!
//! An element is eight limbs of 52 bits, little-endian, in Montgomery form with R = 2^416. The modulus p has 381 bits, so
//! 35 bits are to spare: sums and differences need not be reduced before they are multiplied, only their carries must
//! be moved on, since the multiplier reads 52 bits of a limb.
//!
//! [`kernel`] computes with one limb of eight elements in each register.
//!
//! The processor is asked once ([`Ifma::detect`]); only the evidence that it gave opens the way to the kernels.

// What is compiled for the instructions is called where there is evidence of them.
#![allow(unsafe_code)]

mod kernel;
pub(crate) mod memory;

use super::packed::Limbs;
use super::simd::{Simd, Work, simd_by_kernel};

/// Bits of a limb.
const LIMB_BITS: u32 = 52;
/// A limb's bits.
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// An element in memory.
type Packed = Limbs<LIMB_BITS>;

/// Evidence that this processor has the instructions of the kernels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ifma(());

impl Ifma {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Ifma> {
        let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma");
        has.then_some(Ifma(()))
    }
}

simd_by_kernel!(Ifma, "avx512f,avx512ifma");
