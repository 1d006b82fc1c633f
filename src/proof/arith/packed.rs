//! Elements of the base field in memory, eight limbs in one cache line, and the way from `blst`'s form and back.
//!
//! Points are stored element by element, so that one picked from anywhere costs a line a coordinate.

use super::field::{BaseField, MODULUS};
use blst::blst_fp;
use zeroize::DefaultIsZeroes;

/// One element: eight limbs, below 1.001 p unless a function says otherwise. The default is zero.
pub(crate) trait Packed: Copy + PartialEq + Send + Sync + DefaultIsZeroes {
    const ZERO: Self;

    fn pack(element: &blst_fp) -> Self;
    /// Takes an element of at most 2 p.
    fn unpack(&self) -> blst_fp;
    /// `2 p - self`: at most 2 p.
    fn negated(&self) -> Self;
    /// Whether all limbs are zero, which those of a multiple of p need not be.
    fn is_zero(&self) -> bool;
}

/// An element of limbs of so many bits, 48 to 56, in Montgomery form with R = 2^(8 · `BITS`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Limbs<const BITS: u32>(pub(crate) [u64; 8]);

impl<const BITS: u32> DefaultIsZeroes for Limbs<BITS> {}

impl<const BITS: u32> Limbs<BITS> {
    const MASK: u64 = {
        assert!(48 <= BITS && BITS <= 56, "eight limbs hold p, and fill seven words at most");
        (1 << BITS) - 1
    };
    const TWO_P: [u64; 8] = multiple_of_p::<BITS>(2);
    /// The factors from `blst`'s Montgomery form (R = 2^384) to ours and back, in `blst`'s form: R / 2^384 and its inverse.
    const TO_PACKED: blst_fp = power_of_two(8 * BITS);
    const FROM_PACKED: blst_fp = power_of_two(2 * 384 - 8 * BITS);
}

impl<const BITS: u32> Packed for Limbs<BITS> {
    const ZERO: Self = Limbs([0; 8]);

    fn pack(element: &blst_fp) -> Self {
        let [a, b, c, d, e, f] = element.mul(&Self::TO_PACKED).l;
        Limbs(to_limbs::<BITS>(&[a, b, c, d, e, f, 0]))
    }

    fn unpack(&self) -> blst_fp {
        let mut words = [0u64; 7];
        for (limb, i) in self.0.iter().zip(0u32..) {
            debug_assert!(*limb <= Self::MASK, "limbs are carried");
            let (word, shift) = ((i * BITS / 64) as usize, i * BITS % 64);
            words[word] |= limb << shift;
            if shift + BITS > 64 {
                words[word + 1] |= limb >> (64 - shift);
            }
        }
        let [a, b, c, d, e, f, _] = words;
        blst_fp { l: subtract_p_once([a, b, c, d, e, f]) }.mul(&Self::FROM_PACKED)
    }

    fn negated(&self) -> Self {
        let mut limbs = [0; 8];
        let mut borrow = 0;
        for (limb, (minuend, subtrahend)) in limbs.iter_mut().zip(Self::TWO_P.iter().zip(&self.0)) {
            let difference = minuend.wrapping_sub(*subtrahend).wrapping_sub(borrow);
            *limb = difference & Self::MASK;
            borrow = difference >> 63;
        }
        Limbs(limbs)
    }

    fn is_zero(&self) -> bool {
        // Nearly always the first limb tells.
        self.0[0] == 0 && *self == Self::ZERO
    }
}

/// `factor` times p in limbs of so many bits, for factors below 2^16.
pub(super) const fn multiple_of_p<const BITS: u32>(factor: u64) -> [u64; 8] {
    let mut product = [0u64; 7];
    let mut carry = 0u128;
    let mut i = 0;
    while i < 6 {
        let wide = MODULUS[i] as u128 * factor as u128 + carry;
        product[i] = wide as u64;
        carry = wide >> 64;
        i += 1;
    }
    product[6] = carry as u64;
    to_limbs::<BITS>(&product)
}

/// `-1/word` modulo 2^64, for an odd word: modulo fewer bits it is the same, cut off.
pub(crate) const fn negated_inverse(word: u64) -> u64 {
    // Newton's iteration: each step doubles the bits that are right, of which 1 has one.
    let mut inverse = 1u64;
    let mut step = 0;
    while step < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(word.wrapping_mul(inverse)));
        step += 1;
    }
    inverse.wrapping_neg()
}

/// Cuts a number that fits into eight limbs.
const fn to_limbs<const BITS: u32>(words: &[u64; 7]) -> [u64; 8] {
    let mut limbs = [0u64; 8];
    let mut i = 0;
    while i < 8 {
        let bit = i * BITS as usize;
        let (word, shift) = (bit / 64, bit % 64);
        let mut value = words[word] >> shift;
        if shift + BITS as usize > 64 && word + 1 < 7 {
            value |= words[word + 1] << (64 - shift);
        }
        limbs[i] = value & ((1 << BITS) - 1);
        i += 1;
    }
    limbs
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
        let (difference, below) = value[i].overflowing_sub(MODULUS[i]);
        let (difference, below_too) = difference.overflowing_sub(borrow as u64);
        less[i] = difference;
        borrow = below || below_too;
        i += 1;
    }
    if borrow { value } else { less }
}
