//! The way from elements in memory into lanes and back.

// Loads and stores of aligned memory that references keep valid.
#![allow(unsafe_code)]

use super::Packed;
use super::kernel::{Half, Lanes, Limb};
use std::arch::x86_64::{
    _mm256_load_si256, _mm256_permute2x128_si256, _mm256_store_si256, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi64,
};

/// Eight elements into lanes: transpositions of four by four words.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn gather(elements: [&Packed; 8]) -> Lanes {
    let [a, b, c, d, e, f, g, h] = elements;
    [gathered([a, b, c, d]), gathered([e, f, g, h])]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn gathered(elements: [&Packed; 4]) -> Half {
    let [l0, l1, l2, l3] = transposed(elements.map(|element| load(element, 0)));
    let [l4, l5, l6, l7] = transposed(elements.map(|element| load(element, 4)));
    [l0, l1, l2, l3, l4, l5, l6, l7]
}

/// Lanes into eight elements.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn scattered(lanes: &Lanes) -> [Packed; 8] {
    let mut elements = [Packed::default(); 8];
    for (half, elements) in lanes.iter().zip(elements.chunks_exact_mut(4)) {
        let [l0, l1, l2, l3, l4, l5, l6, l7] = *half;
        let (lower, upper) = (transposed([l0, l1, l2, l3]), transposed([l4, l5, l6, l7]));
        for (element, (lower, upper)) in elements.iter_mut().zip(lower.into_iter().zip(upper)) {
            store(element, 0, lower);
            store(element, 4, upper);
        }
    }
    elements
}

/// Four limbs of an element.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn load(element: &Packed, from: usize) -> Limb {
    let limbs: &[u64] = &element.0[from..from + 4];
    // SAFETY: 32 bytes; the type is aligned to 64, and callers begin at the first limb or in the middle.
    unsafe { _mm256_load_si256(limbs.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn store(element: &mut Packed, from: usize, words: Limb) {
    let limbs: &mut [u64] = &mut element.0[from..from + 4];
    // SAFETY: as above.
    unsafe { _mm256_store_si256(limbs.as_mut_ptr().cast(), words) };
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn transposed([a, b, c, d]: [Limb; 4]) -> [Limb; 4] {
    const LOWER: i32 = 0x20;
    const UPPER: i32 = 0x31;
    let (even, odd) = (_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
    let (next_even, next_odd) = (_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));
    [
        _mm256_permute2x128_si256::<LOWER>(even, next_even),
        _mm256_permute2x128_si256::<LOWER>(odd, next_odd),
        _mm256_permute2x128_si256::<UPPER>(even, next_even),
        _mm256_permute2x128_si256::<UPPER>(odd, next_odd),
    ]
}
