//! The operations on eight elements at once. Safe functions that only code compiled for AVX512-IFMA may call.
//!
//! Products follow the operand-scanning form of Montgomery's method (Koç, Acar, Kaliski, "Analyzing and comparing Montgomery
//! multiplication algorithms", 1996, CIOS) with 52-bit digits: per digit, sums of at most six products below 2^52 enter a
//! 64-bit limb, far from overflow, so carries move once at the end.

use super::{LIMB_BITS, LIMB_MASK};
use crate::proof::arith::field::MODULUS;
use crate::proof::arith::packed::{multiple_of_p, negated_inverse};
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_mask_blend_epi64, _mm512_permutexvar_epi64, _mm512_set_epi64, _mm512_set1_epi64,
    _mm512_setzero_si512, _mm512_slli_epi64, _mm512_srai_epi64, _mm512_srli_epi64, _mm512_sub_epi64,
};

/// One limb of eight elements.
pub(super) type Limb = __m512i;

/// Eight elements, limb by limb. Limbs are below 2^52 wherever a function takes or returns this.
pub(crate) type Lanes = [Limb; 8];

/// `-1/p` modulo 2^52.
const NEGATED_INVERSE: u64 = negated_inverse(MODULUS[0]) & LIMB_MASK;

const P1: [u64; 8] = multiple_of_p::<LIMB_BITS>(1);

/// `2^416 - p`: adding a multiple of it and dropping what passes 2^416 subtracts that multiple of p.
const NEGATED_P: [u64; 8] = {
    let mut limbs = [0u64; 8];
    let mut i = 0;
    while i < 8 {
        limbs[i] = LIMB_MASK - P1[i];
        i += 1;
    }
    // p is odd, so the lowest limb of the complement is below the mask and takes the 1.
    limbs[0] += 1;
    limbs
};

/// 2^52 · 2^364 / p, rounded down: the top limb of a number times this, divided by 2^52, is the number's quotient by p or
/// one less. 2^364 is the weight of the top limb.
const QUOTIENT_FACTOR: u64 = {
    // p / 2^364 to 64 fractional bits less what the division needs: p has 381 bits, so 17 before the point.
    let high = ((MODULUS[5] as u128) << 64 | MODULUS[4] as u128) >> 12; // p / 2^(256 + 12), 113 bits
    // 2^52 · 2^364 / p = 2^(416 - 268) / high = 2^148 / high; both shortened by 2^21 to fit.
    ((1u128 << 127) / ((high >> 21) + 1)) as u64
};

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn low(sum: Limb, a: Limb, b: Limb) -> Limb {
    _mm512_madd52lo_epu64(sum, a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn high(sum: Limb, a: Limb, b: Limb) -> Limb {
    _mm512_madd52hi_epu64(sum, a, b)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn all(word: u64) -> Limb {
    _mm512_set1_epi64(word.cast_signed())
}

/// Moves carries upwards; a limb may be negative.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn carried(mut limbs: Lanes) -> Lanes {
    let mask = all(LIMB_MASK);
    for i in 0..7 {
        let carry = _mm512_srai_epi64::<LIMB_BITS>(limbs[i]);
        limbs[i] = _mm512_and_si512(limbs[i], mask);
        limbs[i + 1] = _mm512_add_epi64(limbs[i + 1], carry);
    }
    limbs
}

/// One step of Montgomery's method: adds `m · p` so that the lowest limb becomes a multiple of 2^52, and shifts one limb.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduced_step(mut lows: Lanes, mut highs: Lanes) -> Lanes {
    let zero = _mm512_setzero_si512();
    let m = low(zero, lows[0], all(NEGATED_INVERSE));
    for i in 0..8 {
        lows[i] = low(lows[i], m, all(P1[i]));
        highs[i] = high(highs[i], m, all(P1[i]));
    }
    let carry = _mm512_srli_epi64::<LIMB_BITS>(lows[0]);
    lows[1] = _mm512_add_epi64(lows[1], carry);
    for i in 0..7 {
        lows[i] = _mm512_add_epi64(lows[i + 1], highs[i]);
    }
    lows[7] = highs[7];
    lows
}

/// `a · b`. Needs the product of the bounds below 2^25: divided by 2^416, which is 2^35.3 p, it adds less than 0.001 p to the p that the
/// reduction may leave, so that the result is below 1.001 p.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul(a: &Lanes, b: &Lanes) -> Lanes {
    // What is never to be inlined has a caller of the same instructions: elsewhere the compiler does not heed it.
    mul_apart(a, b)
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul_apart(a: &Lanes, b: &Lanes) -> Lanes {
    let zero = _mm512_setzero_si512();
    let mut sum = [zero; 8];
    for digit in b {
        let mut highs = [zero; 8];
        for i in 0..8 {
            sum[i] = low(sum[i], a[i], *digit);
            highs[i] = high(zero, a[i], *digit);
        }
        sum = reduced_step(sum, highs);
    }
    carried(sum)
}

/// `a · b + c · d` with one reduction. Needs each product of bounds below 2^24; the result is below 1.001 p, as above.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_add(a: &Lanes, b: &Lanes, c: &Lanes, d: &Lanes) -> Lanes {
    mul_add_apart(a, b, c, d)
}

#[inline(never)]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul_add_apart(a: &Lanes, b: &Lanes, c: &Lanes, d: &Lanes) -> Lanes {
    let zero = _mm512_setzero_si512();
    let mut sum = [zero; 8];
    for digit in 0..8 {
        let mut highs = [zero; 8];
        for i in 0..8 {
            sum[i] = low(sum[i], a[i], b[digit]);
            highs[i] = high(zero, a[i], b[digit]);
        }
        for i in 0..8 {
            sum[i] = low(sum[i], c[i], d[digit]);
            highs[i] = high(highs[i], c[i], d[digit]);
        }
        sum = reduced_step(sum, highs);
    }
    carried(sum)
}

/// `a - b + K · p`, which must not be negative: `K` is at least the bound of `b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub<const K: u64>(a: &Lanes, b: &Lanes) -> Lanes {
    let multiple = const { multiple_of_p::<LIMB_BITS>(K) };
    let mut limbs = *a;
    for i in 0..8 {
        limbs[i] = _mm512_sub_epi64(_mm512_add_epi64(limbs[i], all(multiple[i])), b[i]);
    }
    carried(limbs)
}

/// `a - 2 · b - c + K · p`, which must not be negative.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub_twice<const K: u64>(a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    let multiple = const { multiple_of_p::<LIMB_BITS>(K) };
    let mut limbs = *a;
    for i in 0..8 {
        let minuend = _mm512_add_epi64(limbs[i], all(multiple[i]));
        let subtrahend = _mm512_add_epi64(_mm512_slli_epi64::<1>(b[i]), c[i]);
        limbs[i] = _mm512_sub_epi64(minuend, subtrahend);
    }
    carried(limbs)
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add(a: &Lanes, b: &Lanes) -> Lanes {
    let mut limbs = *a;
    for i in 0..8 {
        limbs[i] = _mm512_add_epi64(limbs[i], b[i]);
    }
    carried(limbs)
}

/// `K · p - a` in the lanes of `mask`, `a` in the others.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn negate_where<const K: u64>(a: &Lanes, mask: u8) -> Lanes {
    let multiple = const { multiple_of_p::<LIMB_BITS>(K) };
    let mut limbs = *a;
    for i in 0..8 {
        let negated = _mm512_sub_epi64(all(multiple[i]), limbs[i]);
        limbs[i] = _mm512_mask_blend_epi64(mask, limbs[i], negated);
    }
    carried(limbs)
}

/// The same element below 1.001 p, from one below 2^10 p: the quotient is estimated from the top limb, at most one too small.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn weakly_reduced(a: &Lanes) -> Lanes {
    let quotient = high(_mm512_setzero_si512(), a[7], all(QUOTIENT_FACTOR));
    let mut limbs = *a;
    for i in 0..8 {
        limbs[i] = low(limbs[i], quotient, all(NEGATED_P[i]));
        if i < 7 {
            limbs[i + 1] = high(limbs[i + 1], quotient, all(NEGATED_P[i]));
        }
    }
    let mut limbs = carried(limbs);
    // The multiple of 2^416 that the complement added.
    limbs[7] = _mm512_and_si512(limbs[7], all(LIMB_MASK));
    limbs
}

/// The elements, each `BY` lanes further down, around the end.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn rotated<const BY: i64>(a: &Lanes) -> Lanes {
    let order = _mm512_set_epi64(7 + BY, 6 + BY, 5 + BY, 4 + BY, 3 + BY, 2 + BY, 1 + BY, BY);
    let mut limbs = *a;
    for limb in &mut limbs {
        // The instruction reads three bits of each index.
        *limb = _mm512_permutexvar_epi64(order, *limb);
    }
    limbs
}
