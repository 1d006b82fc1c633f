//! The operations on eight elements but for products. Safe functions that only code compiled for AVX2 and FMA may call.

use super::product::{Constants, double, product, product_of_two};
use super::{LIMB_BITS, LIMB_MASK};
use crate::proof::arith::field::MODULUS;
use crate::proof::arith::packed::multiple_of_p;
use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_add_pd, _mm256_alignr_epi8, _mm256_and_si256, _mm256_blendv_epi8,
    _mm256_castpd_si256, _mm256_fmadd_pd, _mm256_mul_epu32, _mm256_permute2x128_si256, _mm256_set_epi64x,
    _mm256_set1_epi64x, _mm256_set1_pd, _mm256_setzero_si256, _mm256_slli_epi64, _mm256_srli_epi64,
    _mm256_sub_epi64,
};

/// One limb of four elements.
pub(super) type Limb = __m256i;

/// Four elements, limb by limb. Limbs are below 2^51 wherever a function takes or returns this.
pub(super) type Half = [Limb; 8];

/// Eight elements.
pub(crate) type Lanes = [Half; 2];

const P: [u64; 8] = multiple_of_p::<LIMB_BITS>(1);

/// `a · b`. Needs the product of the bounds below 2^17: divided by 2^408, which is 2^27.3 p, it adds less than 0.001 p to the p that the
/// reduction may leave, so that the result is below 1.001 p.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn mul(a: &Lanes, b: &Lanes) -> Lanes {
    [carried(product(&a[0], &b[0])), carried(product(&a[1], &b[1]))]
}

/// `a · b + c · d` with one reduction. Needs each product of bounds below 2^16; the result is below 1.001 p, as above.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn mul_add(a: &Lanes, b: &Lanes, c: &Lanes, d: &Lanes) -> Lanes {
    let half = |i: usize| carried(product_of_two([&a[i], &c[i]], [&b[i], &d[i]]));
    [half(0), half(1)]
}

/// `a + b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn add(a: &Lanes, b: &Lanes) -> Lanes {
    limb_by_limb(|half, i| _mm256_add_epi64(a[half][i], b[half][i]))
}

/// `a - b + K · p`, which must not be negative: `K` is at least the bound of `b`.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn sub<const K: u64>(a: &Lanes, b: &Lanes) -> Lanes {
    let multiple = const { lent_upwards(multiple_of_p::<LIMB_BITS>(K), 53) };
    limb_by_limb(|half, i| _mm256_sub_epi64(_mm256_add_epi64(a[half][i], all(multiple[i])), b[half][i]))
}

/// `a - 2 · b - c + K · p`, which must not be negative.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn sub_twice<const K: u64>(a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    let multiple = const { lent_upwards(multiple_of_p::<LIMB_BITS>(K), 53) };
    limb_by_limb(|half, i| {
        let minuend = _mm256_add_epi64(a[half][i], all(multiple[i]));
        let subtrahend = _mm256_add_epi64(_mm256_slli_epi64::<1>(b[half][i]), c[half][i]);
        _mm256_sub_epi64(minuend, subtrahend)
    })
}

/// `K · p - a` in the lanes of `mask`, `a` in the others.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn negate_where<const K: u64>(a: &Lanes, mask: u8) -> Lanes {
    let multiple = const { lent_upwards(multiple_of_p::<LIMB_BITS>(K), 53) };
    let lane = |i: u8| -i64::from(mask >> i & 1);
    let masks = [0, 4].map(|at| _mm256_set_epi64x(lane(at + 3), lane(at + 2), lane(at + 1), lane(at)));
    limb_by_limb(|half, i| {
        let negated = _mm256_sub_epi64(all(multiple[i]), a[half][i]);
        _mm256_blendv_epi8(a[half][i], negated, masks[half])
    })
}

/// The same element below 1.001 p, from one below 2^10 p: the quotient is estimated from the top limb, at most one too small.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn weakly_reduced(a: &Lanes) -> Lanes {
    // 2^357, the weight of the top limb, over p, a little less than it is, so that no rounding makes the quotient too large.
    const FACTOR: f64 = {
        let high = MODULUS[5] as f64 * (1u128 << 64) as f64 + MODULUS[4] as f64; // p / 2^256
        (1u128 << 101) as f64 / high * (1.0 - 1.0 / (1u64 << 40) as f64)
    };
    const NOTHING: [u64; 8] = lent_upwards([0; 8], 62);
    // Less a half and rounded to the nearest is rounded down. The sum's lowest bits are those of the integer.
    let rounding = _mm256_set1_pd(Constants::SHIFT_LOW);
    let quotients = [0, 1].map(|half| {
        let quotient = _mm256_fmadd_pd(double(a[half][7]), _mm256_set1_pd(FACTOR), _mm256_set1_pd(-0.5));
        _mm256_castpd_si256(_mm256_add_pd(quotient, rounding))
    });
    limb_by_limb(|half, i| {
        // The instruction multiplies the lower 32 bits.
        let low = _mm256_mul_epu32(quotients[half], all(P[i] & ((1 << 26) - 1)));
        let high = _mm256_mul_epu32(quotients[half], all(P[i] >> 26));
        let multiple = _mm256_add_epi64(low, _mm256_slli_epi64::<26>(high));
        _mm256_sub_epi64(_mm256_add_epi64(a[half][i], all(NOTHING[i])), multiple)
    })
}

/// The elements, each `BY` lanes further down, around the end. `BY` is 1, 2 or 4.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn rotated<const BY: i64>(a: &Lanes) -> Lanes {
    const { assert!(BY == 1 || BY == 2 || BY == 4) };
    let mut lanes = [a[1], a[0]];
    if BY < 4 {
        for i in 0..8 {
            for half in 0..2 {
                let (this, next) = (a[half][i], a[1 - half][i]);
                // The upper two of this half, the lower two of the next one.
                let by_two = _mm256_permute2x128_si256::<0x21>(this, next);
                lanes[half][i] = if BY == 2 { by_two } else { _mm256_alignr_epi8::<8>(by_two, this) };
            }
        }
    }
    lanes
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn all(word: u64) -> Limb {
    _mm256_set1_epi64x(word.cast_signed())
}

/// Computes limbs, none of which but the top one may be negative, and moves their carries on.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn limb_by_limb(limb: impl Fn(usize, usize) -> Limb) -> Lanes {
    let mut lanes = [[_mm256_setzero_si256(); 8]; 2];
    for (half, limbs) in lanes.iter_mut().enumerate() {
        for (i, place) in limbs.iter_mut().enumerate() {
            *place = limb(half, i);
        }
        *limbs = carried(*limbs);
    }
    lanes
}

/// Moves carries upwards.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn carried(mut limbs: Half) -> Half {
    let mask = all(LIMB_MASK);
    for i in 0..7 {
        let carry = _mm256_srli_epi64::<{ LIMB_BITS.cast_signed() }>(limbs[i]);
        limbs[i] = _mm256_and_si256(limbs[i], mask);
        limbs[i + 1] = _mm256_add_epi64(limbs[i + 1], carry);
    }
    limbs
}

/// The same number with `2^bits` more in each limb but the top one, lent by the next: what is taken away leaves no limb negative,
/// which there is no instruction to shift.
pub(super) const fn lent_upwards(mut limbs: [u64; 8], bits: u32) -> [u64; 8] {
    let mut i = 0;
    while i < 7 {
        limbs[i] = limbs[i].wrapping_add(1 << bits);
        limbs[i + 1] = limbs[i + 1].wrapping_sub(1 << (bits - LIMB_BITS));
        i += 1;
    }
    limbs
}
