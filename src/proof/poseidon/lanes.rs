//! Numbers modulo r, eight at a time, on processors with AVX512-IFMA: what [`super::vector`] hashes with.
//!
//! A number is five limbs of 52 bits in Montgomery form with R = 2^260. R is about 35.3 r, and that slack is why nothing here
//! compares or subtracts: the reduction of a sum of products, in which one factor each is below `a` r and the other below `b` r,
//! is below (1 + Σ ab/35.3) r. Each function says what it takes and gives in these terms. Products follow Koç, Acar, Kaliski,
//! "Analyzing and comparing Montgomery multiplication algorithms", 1996 (separated operand scanning): columns collect
//! at most 40 parts of 52 bits, far from the 64 bits that they have, so carries move once at the end.

use crate::proof::arith::packed::negated_inverse;
use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_and_si512, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srli_epi64,
};

/// Limbs of a number.
pub(super) const LIMBS: usize = 5;
/// Bits of a limb.
pub(super) const LIMB_BITS: u32 = 52;
pub(super) const LIMB_MASK: u64 = (1 << LIMB_BITS) - 1;

/// One number.
pub(super) type Limbs = [u64; LIMBS];
/// Eight numbers, limb by limb. Limbs are below 2^52 wherever a function takes or gives this.
pub(super) type Lanes = [__m512i; LIMBS];
/// A sum of products before its reduction: the low halves of the limbs' products, and the high ones, which belong one column
/// higher. They are summed apart, since every sum is a chain in which each step waits for the one before.
#[derive(Clone, Copy)]
struct Columns {
    low: [__m512i; 2 * LIMBS],
    high: [__m512i; 2 * LIMBS],
}

/// The modulus, least significant word first.
pub(super) const MODULUS: [u64; 4] =
    [0xffff_ffff_0000_0001, 0x53bd_a402_fffe_5bfe, 0x3339_d808_09a1_d805, 0x73ed_a753_299d_7d48];
const R_LIMBS: Limbs = to_limbs(&MODULUS);
/// `-1/r` modulo 2^52.
const NEGATED_INVERSE: u64 = negated_inverse(MODULUS[0]) & LIMB_MASK;

/// Cuts a number of 256 bits into limbs.
pub(super) const fn to_limbs(words: &[u64; 4]) -> Limbs {
    let [a, b, c, d] = *words;
    [
        a & LIMB_MASK,
        (a >> 52 | b << 12) & LIMB_MASK,
        (b >> 40 | c << 24) & LIMB_MASK,
        (c >> 28 | d << 36) & LIMB_MASK,
        d >> 16,
    ]
}

/// The same number in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn everywhere(number: &Limbs) -> Lanes {
    number.map(|limb| _mm512_set1_epi64(limb.cast_signed()))
}

/// `a · b`: below 2.9 r for factors below 8 r.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn mul(a: &Lanes, b: &Lanes) -> Lanes {
    let mut columns = empty();
    add_product(&mut columns, a, b);
    carried(reduced(columns))
}

/// `a · a`, with half of the mixed products: below 2.9 r for a number below 8 r.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn square(a: &Lanes) -> Lanes {
    let Columns { mut low, mut high } = empty();
    for i in 0..LIMBS {
        for j in i + 1..LIMBS {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], a[i], a[j]);
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], a[i], a[j]);
        }
    }
    for column in low.iter_mut().chain(&mut high) {
        *column = _mm512_add_epi64(*column, *column);
    }
    for i in 0..LIMBS {
        low[2 * i] = _mm512_madd52lo_epu64(low[2 * i], a[i], a[i]);
        high[2 * i] = _mm512_madd52hi_epu64(high[2 * i], a[i], a[i]);
    }
    carried(reduced(Columns { low, high }))
}

/// `x^5`: below 1.3 r for a number below 8 r.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn quintic(x: &Lanes) -> Lanes {
    mul(&square(&square(x)), x)
}

/// The sum of the products of constants below r and numbers below 8 r, and `more`: below `more` and 1.7 r, for three of them. What is known last
/// should stand last.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn dot<const N: usize>(constants: &[Limbs; N], numbers: [&Lanes; N], more: &Lanes) -> Lanes {
    let mut columns = empty();
    for (constant, number) in constants.iter().zip(numbers) {
        add_product(&mut columns, &everywhere(constant), number);
    }
    carried(sum(&reduced(columns), more))
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add(a: &Lanes, b: &Lanes) -> Lanes {
    carried(sum(a, b))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sum(a: &Lanes, b: &Lanes) -> Lanes {
    let mut sum = *a;
    for (limb, other) in sum.iter_mut().zip(b) {
        *limb = _mm512_add_epi64(*limb, *other);
    }
    sum
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn empty() -> Columns {
    let zero = _mm512_setzero_si512();
    Columns { low: [zero; 2 * LIMBS], high: [zero; 2 * LIMBS] }
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_product(Columns { low, high }: &mut Columns, a: &Lanes, b: &Lanes) {
    for i in 0..LIMBS {
        for j in 0..LIMBS {
            low[i + j] = _mm512_madd52lo_epu64(low[i + j], a[i], b[j]);
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], a[i], b[j]);
        }
    }
}

/// Montgomery's reduction; the limbs of what it gives hold more than 52 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduced(Columns { mut low, mut high }: Columns) -> Lanes {
    let zero = _mm512_setzero_si512();
    let inverse = _mm512_set1_epi64(NEGATED_INVERSE.cast_signed());
    let round_up = _mm512_set1_epi64(LIMB_MASK.cast_signed());
    let modulus = everywhere(&R_LIMBS);
    for i in 0..LIMBS {
        let factor = _mm512_madd52lo_epu64(zero, low[i], inverse);
        // The lowest product fills the column up to the next multiple of 2^52, so that its carry is known without it.
        let carry = _mm512_srli_epi64::<LIMB_BITS>(_mm512_add_epi64(low[i], round_up));
        high[i] = _mm512_add_epi64(high[i], carry);
        for j in 0..LIMBS {
            high[i + j] = _mm512_madd52hi_epu64(high[i + j], factor, modulus[j]);
            if j > 0 {
                low[i + j] = _mm512_madd52lo_epu64(low[i + j], factor, modulus[j]);
            }
        }
        low[i + 1] = _mm512_add_epi64(low[i + 1], high[i]);
    }
    let mut limbs = [zero; LIMBS];
    for (i, limb) in limbs.iter_mut().enumerate() {
        *limb = low[LIMBS + i];
        if i > 0 {
            *limb = _mm512_add_epi64(*limb, high[LIMBS + i - 1]);
        }
    }
    limbs
}

/// Moves carries upwards. Nothing passes the top limb: numbers are below 8 r, which is below 2^258.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn carried(mut limbs: Lanes) -> Lanes {
    let mask = _mm512_set1_epi64(LIMB_MASK.cast_signed());
    for i in 0..LIMBS - 1 {
        let carry = _mm512_srli_epi64::<LIMB_BITS>(limbs[i]);
        limbs[i] = _mm512_and_si512(limbs[i], mask);
        limbs[i + 1] = _mm512_add_epi64(limbs[i + 1], carry);
    }
    limbs
}
