//! Eight scalars in memory, and the way from scalars into them and on to integers.

// Loads and stores of aligned memory that references keep valid.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    _mm512_and_si512, _mm512_load_si512, _mm512_or_si512, _mm512_set_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srli_epi64, _mm512_store_si512,
};

use super::kernel::{LIMB_MASK, LIMBS, Lanes};
use crate::proof::arith::ifma::memory::transposed;
use crate::proof::msm::Integer;

/// Eight scalars, limb by limb.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Block([[u64; 8]; LIMBS]);

impl Block {
    pub(super) const ZERO: Block = Block([[0; 8]; LIMBS]);

    /// Of eight scalars' limbs.
    pub(super) fn of(scalars: [[u64; LIMBS]; 8]) -> Block {
        let mut block = Block::ZERO;
        for (lane, scalar) in scalars.iter().enumerate() {
            for (limbs, limb) in block.0.iter_mut().zip(scalar) {
                limbs[lane] = *limb;
            }
        }
        block
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn load(&self) -> Lanes {
        let mut lanes = [_mm512_setzero_si512(); LIMBS];
        for (lane, limbs) in lanes.iter_mut().zip(&self.0) {
            // SAFETY: 64 bytes; the type is aligned to 64, and so is each of its rows.
            *lane = unsafe { _mm512_load_si512(limbs.as_ptr().cast()) };
        }
        lanes
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn store(&mut self, lanes: &Lanes) {
        for (limbs, lane) in self.0.iter_mut().zip(lanes) {
            // SAFETY: as above.
            unsafe { _mm512_store_si512(limbs.as_mut_ptr().cast(), *lane) };
        }
    }
}

/// Eight numbers of four words as limbs.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn from_words(words: [Integer; 8]) -> Lanes {
    let mut columns = [_mm512_setzero_si512(); 4];
    for (i, column) in columns.iter_mut().enumerate() {
        let [a, b, c, d, e, f, g, h] = words.map(|words| words[i].cast_signed());
        *column = _mm512_set_epi64(h, g, f, e, d, c, b, a);
    }
    let mask = _mm512_set1_epi64(LIMB_MASK.cast_signed());
    let [a, b, c, d] = columns;
    [
        _mm512_and_si512(a, mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<52>(a), _mm512_slli_epi64::<12>(b)), mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<40>(b), _mm512_slli_epi64::<24>(c)), mask),
        _mm512_and_si512(_mm512_or_si512(_mm512_srli_epi64::<28>(c), _mm512_slli_epi64::<36>(d)), mask),
        _mm512_srli_epi64::<16>(d),
    ]
}

/// Eight numbers below 2^256, from carried limbs.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn to_words(lanes: &Lanes) -> [Integer; 8] {
    let [a, b, c, d, e] = *lanes;
    let words = [
        _mm512_or_si512(a, _mm512_slli_epi64::<52>(b)),
        _mm512_or_si512(_mm512_srli_epi64::<12>(b), _mm512_slli_epi64::<40>(c)),
        _mm512_or_si512(_mm512_srli_epi64::<24>(c), _mm512_slli_epi64::<28>(d)),
        _mm512_or_si512(_mm512_srli_epi64::<36>(d), _mm512_slli_epi64::<16>(e)),
    ];
    let mut rows = Block::ZERO;
    rows.store(&[words[0], words[1], words[2], words[3], words[3]]);
    std::array::from_fn(|lane| std::array::from_fn(|word| rows.0[word][lane]))
}

/// Turns eight blocks about: lane i of block j goes to lane j of block i. Twice is nothing.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(blocks: &mut [Lanes; 8]) {
    for limb in 0..LIMBS {
        let turned = transposed(&blocks.map(|lanes| lanes[limb]));
        for (block, row) in blocks.iter_mut().zip(turned) {
            block[limb] = row;
        }
    }
}
