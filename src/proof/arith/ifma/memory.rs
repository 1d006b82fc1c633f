//! The way from elements in memory into lanes and back.

// Loads and stores of aligned memory that references keep valid.
#![allow(unsafe_code)]

use super::Packed;
use super::kernel::{Lanes, Limb};
use std::arch::x86_64::{
    _mm512_load_si512, _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_store_si512, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64,
};

/// Eight elements into lanes: a transposition of eight by eight words.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn gather(elements: [&Packed; 8]) -> Lanes {
    let mut rows = [_mm512_setzero_si512(); 8];
    for (row, element) in rows.iter_mut().zip(elements) {
        *row = load(element);
    }
    transposed(&rows)
}

/// Lanes into eight elements.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn scattered(lanes: &Lanes) -> [Packed; 8] {
    let rows = transposed(lanes);
    let mut elements = [Packed::default(); 8];
    for (element, row) in elements.iter_mut().zip(rows) {
        store(element, row);
    }
    elements
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load(element: &Packed) -> Limb {
    // SAFETY: 64 bytes, aligned to 64 by the type.
    unsafe { _mm512_load_si512(element.0.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store(element: &mut Packed, words: Limb) {
    // SAFETY: as above.
    unsafe { _mm512_store_si512(element.0.as_mut_ptr().cast(), words) };
}

/// Turns eight rows of eight words about.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transposed(rows: &[Limb; 8]) -> [Limb; 8] {
    // Pairs of rows, then 4 by 4 blocks of 128 bits.
    let even = [0, 2, 4, 6].map(|i| _mm512_unpacklo_epi64(rows[i], rows[i + 1]));
    let odd = [0, 2, 4, 6].map(|i| _mm512_unpackhi_epi64(rows[i], rows[i + 1]));
    let [c0, c2, c4, c6] = blocks_transposed(&even);
    let [c1, c3, c5, c7] = blocks_transposed(&odd);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn blocks_transposed(rows: &[Limb; 4]) -> [Limb; 4] {
    const EVEN: i32 = 0x88;
    const ODD: i32 = 0xdd;
    let low = _mm512_shuffle_i64x2::<EVEN>(rows[0], rows[1]);
    let low_next = _mm512_shuffle_i64x2::<EVEN>(rows[2], rows[3]);
    let high = _mm512_shuffle_i64x2::<ODD>(rows[0], rows[1]);
    let high_next = _mm512_shuffle_i64x2::<ODD>(rows[2], rows[3]);
    [
        _mm512_shuffle_i64x2::<EVEN>(low, low_next),
        _mm512_shuffle_i64x2::<EVEN>(high, high_next),
        _mm512_shuffle_i64x2::<ODD>(low, low_next),
        _mm512_shuffle_i64x2::<ODD>(high, high_next),
    ]
}
