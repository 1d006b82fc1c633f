//! Eight base-field elements at a time, with the 52-bit integer multiply-add of AVX-512 (AVX512-IFMA).
//!
//! An element is eight limbs of 52 bits, little-endian, in Montgomery form with R = 2^416. The modulus p has 381 bits, so
//! 35 bits are to spare: sums and differences need not be reduced before they are multiplied, only their carries must
//! be moved on, since the multiplier reads 52 bits of a limb. Every function states the bounds that it needs and keeps,
//! in multiples of p.
//!
//! [`kernel`] computes on [`Lanes`], one limb of eight elements in each register. Points in memory are stored
//! element by element ([`packed`]), one cache line a coordinate, so that a point picked from anywhere costs two lines.
//!
//! The processor is asked once ([`Ifma::detect`]); only the evidence that it gave opens the way to the kernels.

pub(crate) mod kernel;
pub(crate) mod packed;

/// Bits of a limb.
const LIMB_BITS: u32 = 52;
/// A limb's bits.
const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// The modulus p in limbs of 64 bits.
const P: [u64; 6] = super::field::MODULUS;

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

// The tests call kernels directly, after they have asked the processor.
#[cfg(test)]
#[allow(unsafe_code)]
mod tests;
