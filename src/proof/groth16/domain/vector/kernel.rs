//! Scalars eight at a time: safe functions that only code compiled for AVX512-IFMA may call.
//!
//! A scalar is five limbs of 52 bits in Montgomery form with R = 2^260. The modulus r has 255 bits and 35 r < R, so sums and
//! differences wait with their reduction: every function states what it needs and keeps, in multiples of r. Limbs wait with
//! their carries, too: *carried* limbs are below 2^52, as the multiplier wants them; others may be anything, negative
//! included, of less than 2^62, as long as the whole number is in its bounds.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_cmplt_epi64_mask, _mm512_madd52hi_epu64,
    _mm512_madd52lo_epu64, _mm512_mask_blend_epi64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_srai_epi64, _mm512_srli_epi64, _mm512_sub_epi64,
};

/// Limbs of a scalar.
pub(super) const LIMBS: usize = 5;
/// Bits of a limb.
pub(super) const LIMB_BITS: u32 = 52;
/// A limb's bits.
pub(super) const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// Eight scalars, limb by limb.
pub(super) type Lanes = [__m512i; LIMBS];

/// The modulus r in limbs of 64 bits.
const ORDER: [u64; 4] =
    [0xffff_ffff_0000_0001, 0x53bd_a402_fffe_5bfe, 0x3339_d808_09a1_d805, 0x73ed_a753_299d_7d48];
/// r in limbs of 52 bits.
const R1: [u64; LIMBS] = multiple_of_r(1);
/// -1/r modulo 2^52: r is 1 modulo 2^32 and 1 - 2^32 modulo 2^64.
const NEGATED_INVERSE: u64 = 0xffff_fffe_ffff_ffff & LIMB_MASK;
/// 2^270 / r, rounded down: the top limb, whose weight is 2^208, times this, divided by 2^62, is the number's quotient by r
/// or one less.
const QUOTIENT_FACTOR: u64 = ((1u128 << (270 - 192)) / (ORDER[3] as u128 + 1)) as u64;

/// `factor` times r in limbs of 52 bits; the factor is 32 at most.
const fn multiple_of_r(factor: u64) -> [u64; LIMBS] {
    let mut words = [0u64; LIMBS];
    let mut carry = 0u128;
    let mut i = 0;
    while i < 4 {
        let wide = ORDER[i] as u128 * factor as u128 + carry;
        words[i] = wide as u64;
        carry = wide >> 64;
        i += 1;
    }
    words[4] = carry as u64;
    to_limbs(&words)
}

/// Cuts a number of up to 260 bits into limbs of 52 bits.
pub(super) const fn to_limbs(words: &[u64; LIMBS]) -> [u64; LIMBS] {
    let mut limbs = [0u64; LIMBS];
    let mut i = 0;
    while i < LIMBS {
        let bit = i * LIMB_BITS as usize;
        let (word, shift) = (bit / 64, bit % 64);
        let mut value = words[word] >> shift;
        if shift > 12 && word + 1 < LIMBS {
            value |= words[word + 1] << (64 - shift);
        }
        limbs[i] = value & LIMB_MASK;
        i += 1;
    }
    limbs
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn all(word: u64) -> __m512i {
    _mm512_set1_epi64(word.cast_signed())
}

/// One scalar in every lane.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn everywhere(scalar: &[u64; LIMBS]) -> Lanes {
    let mut lanes = [_mm512_setzero_si512(); LIMBS];
    for (lane, limb) in lanes.iter_mut().zip(scalar) {
        *lane = all(*limb);
    }
    lanes
}

/// Moves carries upwards. The number is not negative.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn carried(a: &Lanes) -> Lanes {
    let mut limbs = *a;
    for i in 0..LIMBS - 1 {
        let carry = _mm512_srai_epi64::<LIMB_BITS>(limbs[i]);
        limbs[i] = _mm512_and_si512(limbs[i], all(LIMB_MASK));
        limbs[i + 1] = _mm512_add_epi64(limbs[i + 1], carry);
    }
    limbs
}

/// Adds a·b to the sums of the columns.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn accumulate(columns: &mut [__m512i; 2 * LIMBS], a: &Lanes, b: &Lanes) {
    for i in 0..LIMBS {
        for j in 0..LIMBS {
            columns[i + j] = _mm512_madd52lo_epu64(columns[i + j], a[i], b[j]);
            columns[i + j + 1] = _mm512_madd52hi_epu64(columns[i + j + 1], a[i], b[j]);
        }
    }
}

/// Montgomery's reduction: the columns' number divided by R.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn divided(mut columns: [__m512i; 2 * LIMBS]) -> Lanes {
    for i in 0..LIMBS {
        // The multiplier reads the lower 52 bits of what it is given.
        let m = _mm512_madd52lo_epu64(_mm512_setzero_si512(), columns[i], all(NEGATED_INVERSE));
        // m·r makes the lower 52 bits zero: it carries 1 unless they were zero before.
        let carry = _mm512_srli_epi64::<LIMB_BITS>(_mm512_add_epi64(columns[i], all(LIMB_MASK)));
        columns[i + 1] = _mm512_madd52hi_epu64(_mm512_add_epi64(columns[i + 1], carry), m, all(R1[0]));
        for j in 1..LIMBS {
            columns[i + j] = _mm512_madd52lo_epu64(columns[i + j], m, all(R1[j]));
            columns[i + j + 1] = _mm512_madd52hi_epu64(columns[i + j + 1], m, all(R1[j]));
        }
    }
    [columns[5], columns[6], columns[7], columns[8], columns[9]]
}

/// `a · b`, from carried limbs. The result is below (A B / 35 + 1) r for bounds A and B, below 2 r if one of them is 1.
/// Not carried: below 2^57.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul(a: &Lanes, b: &Lanes) -> Lanes {
    let mut columns = [_mm512_setzero_si512(); 2 * LIMBS];
    accumulate(&mut columns, a, b);
    divided(columns)
}

/// `a · b + c · d`, from carried limbs, with one reduction: below ((A B + C D) / 35 + 1) r.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul_add(a: &Lanes, b: &Lanes, c: &Lanes, d: &Lanes) -> Lanes {
    let mut columns = [_mm512_setzero_si512(); 2 * LIMBS];
    accumulate(&mut columns, a, b);
    accumulate(&mut columns, c, d);
    divided(columns)
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add(a: &Lanes, b: &Lanes) -> Lanes {
    let mut sum = *a;
    for i in 0..LIMBS {
        sum[i] = _mm512_add_epi64(sum[i], b[i]);
    }
    sum
}

/// `a - b + K r`, where `K` is at least the bound of `b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn sub<const K: u64>(a: &Lanes, b: &Lanes) -> Lanes {
    let multiple = const { multiple_of_r(K) };
    let mut difference = *a;
    for i in 0..LIMBS {
        difference[i] = _mm512_sub_epi64(_mm512_add_epi64(difference[i], all(multiple[i])), b[i]);
    }
    difference
}

/// The same scalar below 1.01 r and carried, from one below 35 r: the quotient is estimated from the top limb, at most one
/// too small.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn weakly_reduced(a: &Lanes) -> Lanes {
    let limbs = carried(a);
    let zero = _mm512_setzero_si512();
    let quotient = _mm512_srli_epi64::<10>(_mm512_madd52hi_epu64(zero, limbs[4], all(QUOTIENT_FACTOR)));
    let mut multiple = [zero; LIMBS];
    for i in 0..LIMBS {
        multiple[i] = _mm512_madd52lo_epu64(multiple[i], quotient, all(R1[i]));
        if i + 1 < LIMBS {
            multiple[i + 1] = _mm512_madd52hi_epu64(multiple[i + 1], quotient, all(R1[i]));
        }
    }
    carried(&sub::<0>(&limbs, &multiple))
}

/// The same scalar below r and carried, from one below 2 r.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn reduced(a: &Lanes) -> Lanes {
    let limbs = carried(a);
    let less = carried(&sub::<0>(&limbs, &everywhere(&R1)));
    // The top limb keeps the sign.
    let negative = _mm512_cmplt_epi64_mask(less[4], _mm512_setzero_si512());
    let mut reduced = less;
    for i in 0..LIMBS {
        reduced[i] = _mm512_mask_blend_epi64(negative, less[i], limbs[i]);
    }
    reduced
}
