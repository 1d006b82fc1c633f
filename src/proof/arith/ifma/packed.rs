//! Elements in memory, one cache line each, and the way into lanes and back.

// Loads and stores of aligned memory that references keep valid.
#![allow(unsafe_code)]

use super::kernel::{Lanes, Limb, multiple_of_p, to_limbs};
use super::{LIMB_MASK, P};
use crate::proof::arith::field::BaseField;
use blst::{blst_fp, blst_fp2};
use std::arch::x86_64::{
    _mm512_load_si512, _mm512_setzero_si512, _mm512_shuffle_i64x2, _mm512_store_si512, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64,
};

/// One element: eight limbs of 52 bits, below 1.001 p unless a function says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(64))]
pub(crate) struct Packed(pub(crate) [u64; 8]);

impl Packed {
    pub(crate) const ZERO: Packed = Packed([0; 8]);

    /// `2 p - self`: below 2 p.
    pub(crate) fn negated(&self) -> Packed {
        const TWO_P: [u64; 8] = multiple_of_p(2);
        let mut limbs = [0; 8];
        let mut borrow = 0;
        for i in 0..8 {
            let difference = TWO_P[i].wrapping_sub(self.0[i]).wrapping_sub(borrow);
            limbs[i] = difference & LIMB_MASK;
            borrow = difference >> 63;
        }
        Packed(limbs)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(&self) -> Limb {
        // SAFETY: 64 bytes, aligned to 64 by the type.
        unsafe { _mm512_load_si512(self.0.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(&mut self, words: Limb) {
        // SAFETY: as above.
        unsafe { _mm512_store_si512(self.0.as_mut_ptr().cast(), words) };
    }
}

/// Eight elements into lanes: a transposition of eight by eight words.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn gather(elements: [&Packed; 8]) -> Lanes {
    let mut rows = [_mm512_setzero_si512(); 8];
    for (row, element) in rows.iter_mut().zip(elements) {
        *row = element.load();
    }
    transposed(&rows)
}

/// Lanes into eight elements.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn scattered(lanes: &Lanes) -> [Packed; 8] {
    let rows = transposed(lanes);
    let mut elements = [Packed::ZERO; 8];
    for (element, row) in elements.iter_mut().zip(rows) {
        element.store(row);
    }
    elements
}

/// The element of lane 0.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn first(lanes: &Lanes) -> Packed {
    scattered(lanes)[0]
}

/// One element in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(crate) fn everywhere(element: &Packed) -> Lanes {
    gather([element; 8])
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn transposed(rows: &[Limb; 8]) -> [Limb; 8] {
    // Pairs of rows, then 4 by 4 blocks of 128 bits.
    let even = [0, 2, 4, 6].map(|i| _mm512_unpacklo_epi64(rows[i], rows[i + 1]));
    let odd = [0, 2, 4, 6].map(|i| _mm512_unpackhi_epi64(rows[i], rows[i + 1]));
    let [c0, c2, c4, c6] = blocks_transposed(&even);
    let [c1, c3, c5, c7] = blocks_transposed(&odd);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
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

/// A coordinate field whose elements have `K` components of the base field.
pub(crate) trait PackedField<const K: usize>: BaseField {
    fn pack(&self) -> [Packed; K];
    /// Takes components below 2 p.
    fn unpack(components: &[Packed; K]) -> Self;
    /// The inverse, all in packed form; zero has none.
    fn packed_inverse(components: &[Packed; K]) -> Option<[Packed; K]> {
        let element = Self::unpack(components);
        (!element.is_zero()).then(|| element.invert().pack())
    }
}

impl PackedField<1> for blst_fp {
    fn pack(&self) -> [Packed; 1] {
        [pack(self)]
    }

    fn unpack(components: &[Packed; 1]) -> Self {
        unpack(&components[0])
    }
}

impl PackedField<2> for blst_fp2 {
    fn pack(&self) -> [Packed; 2] {
        [pack(&self.fp[0]), pack(&self.fp[1])]
    }

    fn unpack(components: &[Packed; 2]) -> Self {
        blst_fp2 { fp: [unpack(&components[0]), unpack(&components[1])] }
    }
}

/// 2^exponent modulo p, in limbs of 64 bits.
const fn power_of_two(exponent: u32) -> blst_fp {
    let mut value = [1u64, 0, 0, 0, 0, 0];
    let mut step = 0;
    while step < exponent {
        let mut carry = 0;
        let mut i = 0;
        while i < 6 {
            let top = value[i] >> 63;
            value[i] = value[i] << 1 | carry;
            carry = top;
            i += 1;
        }
        value = subtract_p_once(value);
        step += 1;
    }
    blst_fp { l: value }
}

/// Below p, from below 2 p.
const fn subtract_p_once(value: [u64; 6]) -> [u64; 6] {
    let mut less = [0u64; 6];
    let mut borrow = false;
    let mut i = 0;
    while i < 6 {
        let (difference, below) = value[i].overflowing_sub(P[i]);
        let (difference, below_too) = difference.overflowing_sub(borrow as u64);
        less[i] = difference;
        borrow = below || below_too;
        i += 1;
    }
    if borrow { value } else { less }
}

/// The factor from `blst`'s Montgomery form (R = 2^384) to ours (R = 2^416) and back: 2^32 and its inverse, in `blst`'s form.
/// 2^-32 · 2^384 = 2^352.
const TO_PACKED: blst_fp = power_of_two(32 + 384);
const FROM_PACKED: blst_fp = power_of_two(352);

fn pack(element: &blst_fp) -> Packed {
    let [a, b, c, d, e, f] = element.mul(&TO_PACKED).l;
    Packed(to_limbs(&[a, b, c, d, e, f, 0]))
}

fn unpack(packed: &Packed) -> blst_fp {
    let mut words = [0u64; 7];
    for (i, limb) in packed.0.iter().enumerate() {
        debug_assert!(*limb <= LIMB_MASK, "limbs are carried");
        let (word, shift) = (i * 52 / 64, i * 52 % 64);
        words[word] |= limb << shift;
        if shift > 12 {
            words[word + 1] |= limb >> (64 - shift);
        }
    }
    let [a, b, c, d, e, f, _] = words;
    blst_fp { l: subtract_p_once([a, b, c, d, e, f]) }.mul(&FROM_PACKED)
}
