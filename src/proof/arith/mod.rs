//! Arithmetic below the curve library's public interface: the base fields and affine points of BLS12-381, one at a time and
//! eight at a time.
//!
//! Owns what multi-scalar multiplication needs and `blstrs` does not show: coordinates, and operations on them. Three
//! implementations, which tests compare: [`field`] calls `blst`, and runs anywhere; `ifma` computes eight elements at once
//! with the 52-bit multiply-add of AVX-512, and `fma` with the floating-point one that came with AVX2, where the processor has
//! them, found out at run time. `simd` is what the two have in common. Nothing here runs in constant time with certainty, and
//! nothing here decides what is secret.

pub(crate) mod curve;
pub(crate) mod field;
#[cfg(target_arch = "x86_64")]
pub(crate) mod fma;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;
pub(crate) mod memory;
#[cfg(target_arch = "x86_64")]
pub(crate) mod packed;
#[cfg(target_arch = "x86_64")]
pub(crate) mod simd;

#[cfg(all(test, target_arch = "x86_64"))]
mod simd_tests;
