//! The base field of BLS12-381 and its quadratic extension, over which G1 and G2 are defined: products and inverses by `blst`,
//! sums and differences here, since a call and its return cost more than they do.
//!
//! Elements are in `blst`'s form: Montgomery with R = 2^384, reduced, little-endian limbs of 64 bits.

// The only calls of `blst`'s field functions; each takes valid, initialised elements by reference and writes one.
#![allow(unsafe_code)]

use blst::{
    blst_fp, blst_fp_eucl_inverse, blst_fp_mul, blst_fp_sqr, blst_fp2, blst_fp2_eucl_inverse, blst_fp2_mul,
    blst_fp2_sqr,
};

/// The modulus p.
pub(super) const MODULUS: [u64; 6] = [
    0xb9fe_ffff_ffff_aaab,
    0x1eab_fffe_b153_ffff,
    0x6730_d2a0_f6b0_f624,
    0x6477_4b84_f385_12bf,
    0x4b1b_a7b6_434b_acd7,
    0x1a01_11ea_397f_e69a,
];

/// A field of coordinates. Operations return a new element; none fails.
pub(crate) trait BaseField: Copy + PartialEq + Send + Sync + 'static {
    /// The neutral element of addition.
    const ZERO: Self;
    /// The neutral element of multiplication.
    const ONE: Self;
    fn add(&self, other: &Self) -> Self;
    fn sub(&self, other: &Self) -> Self;
    /// The negative of it if `wanted`, without a branch that would depend on that.
    fn negated_if(&self, wanted: bool) -> Self;
    /// Makes it the product of two others. A product that is moved afterwards waits for the memory that it was just written to.
    fn set_product(&mut self, a: &Self, b: &Self);
    /// Makes it the square of another.
    fn set_square(&mut self, a: &Self);
    /// Multiplies it by another.
    fn mul_assign(&mut self, other: &Self);
    /// The product with its conjugate, which is zero for zero alone; in the base field the element itself.
    fn norm(&self) -> blst_fp;
    /// Makes it `a / b`, given the reciprocal of b's norm.
    fn set_quotient(&mut self, a: &Self, b: &Self, reciprocal: &blst_fp);
    /// The inverse, and zero for zero. Takes a time that depends on the element.
    fn invert(&self) -> Self;
    fn is_zero(&self) -> bool;

    #[inline]
    fn neg(&self) -> Self {
        self.negated_if(true)
    }

    #[inline]
    fn mul(&self, other: &Self) -> Self {
        let mut out = Self::ZERO;
        out.set_product(self, other);
        out
    }

    #[inline]
    fn square(&self) -> Self {
        let mut out = Self::ZERO;
        out.set_square(self);
        out
    }
}

/// `a - b`, and whether that is below zero and 2^384 larger than it should be.
#[inline]
fn difference(a: &[u64; 6], b: &[u64; 6]) -> ([u64; 6], bool) {
    let (mut words, mut borrow) = (*a, false);
    for (word, b) in words.iter_mut().zip(b) {
        (*word, borrow) = word.borrowing_sub(*b, borrow);
    }
    (words, borrow)
}

/// `a + b` modulo 2^384.
#[inline]
fn sum(a: &[u64; 6], b: &[u64; 6]) -> [u64; 6] {
    let (mut words, mut carry) = (*a, false);
    for (word, b) in words.iter_mut().zip(b) {
        (*word, carry) = word.carrying_add(*b, carry);
    }
    words
}

/// All ones for true.
#[inline]
fn mask(is_set: bool) -> u64 {
    u64::from(is_set).wrapping_neg()
}

/// `a` or `b`.
#[inline]
fn select(takes_a: bool, a: &[u64; 6], b: &[u64; 6]) -> [u64; 6] {
    let mask = mask(takes_a);
    std::array::from_fn(|i| a[i] & mask | b[i] & !mask)
}

impl BaseField for blst_fp {
    const ZERO: Self = blst_fp { l: [0; 6] };
    /// 2^384 modulo p.
    const ONE: Self = blst_fp {
        l: [
            0x7609_0000_0002_fffd,
            0xebf4_000b_c40c_0002,
            0x5f48_9857_53c7_58ba,
            0x77ce_5853_7052_5745,
            0x5c07_1a97_a256_ec6d,
            0x15f6_5ec3_fa80_e493,
        ],
    };

    #[inline]
    fn add(&self, other: &Self) -> Self {
        // Below 2 p, which 384 bits hold.
        let sum = sum(&self.l, &other.l);
        let (reduced, is_reduced) = difference(&sum, &MODULUS);
        blst_fp { l: select(is_reduced, &sum, &reduced) }
    }

    #[inline]
    fn sub(&self, other: &Self) -> Self {
        let (difference, is_below) = difference(&self.l, &other.l);
        blst_fp { l: sum(&difference, &MODULUS.map(|word| word & mask(is_below))) }
    }

    #[inline]
    fn negated_if(&self, wanted: bool) -> Self {
        let (negative, _) = difference(&MODULUS, &self.l);
        blst_fp { l: select(wanted & !self.is_zero(), &negative, &self.l) }
    }

    #[inline]
    fn set_product(&mut self, a: &Self, b: &Self) {
        // SAFETY: three valid elements; the first is written and does not alias.
        unsafe { blst_fp_mul(self, a, b) };
    }

    #[inline]
    fn set_square(&mut self, a: &Self) {
        // SAFETY: two valid elements; the first is written and does not alias.
        unsafe { blst_fp_sqr(self, a) };
    }

    #[inline]
    fn mul_assign(&mut self, other: &Self) {
        let this: *mut Self = self;
        // SAFETY: valid elements; `blst` lets the one that is written be the first factor too.
        unsafe { blst_fp_mul(this, this, other) };
    }

    #[inline]
    fn norm(&self) -> blst_fp {
        *self
    }

    #[inline]
    fn set_quotient(&mut self, a: &Self, _b: &Self, reciprocal: &blst_fp) {
        self.set_product(a, reciprocal);
    }

    fn invert(&self) -> Self {
        let mut out = Self::ZERO;
        // SAFETY: two valid elements; `out` is written and does not alias. Zero gives zero.
        unsafe { blst_fp_eucl_inverse(&mut out, self) };
        out
    }

    #[inline]
    fn is_zero(&self) -> bool {
        self.l.iter().fold(0, |all, word| all | word) == 0
    }
}

impl BaseField for blst_fp2 {
    const ZERO: Self = blst_fp2 { fp: [blst_fp::ZERO, blst_fp::ZERO] };
    const ONE: Self = blst_fp2 { fp: [blst_fp::ONE, blst_fp::ZERO] };

    #[inline]
    fn add(&self, other: &Self) -> Self {
        blst_fp2 { fp: [self.fp[0].add(&other.fp[0]), self.fp[1].add(&other.fp[1])] }
    }

    #[inline]
    fn sub(&self, other: &Self) -> Self {
        blst_fp2 { fp: [self.fp[0].sub(&other.fp[0]), self.fp[1].sub(&other.fp[1])] }
    }

    #[inline]
    fn negated_if(&self, wanted: bool) -> Self {
        blst_fp2 { fp: [self.fp[0].negated_if(wanted), self.fp[1].negated_if(wanted)] }
    }

    #[inline]
    fn set_product(&mut self, a: &Self, b: &Self) {
        // SAFETY: three valid elements; the first is written and does not alias.
        unsafe { blst_fp2_mul(self, a, b) };
    }

    #[inline]
    fn set_square(&mut self, a: &Self) {
        // SAFETY: two valid elements; the first is written and does not alias.
        unsafe { blst_fp2_sqr(self, a) };
    }

    #[inline]
    fn mul_assign(&mut self, other: &Self) {
        let this: *mut Self = self;
        // SAFETY: valid elements; `blst` lets the one that is written be the first factor too.
        unsafe { blst_fp2_mul(this, this, other) };
    }

    #[inline]
    fn norm(&self) -> blst_fp {
        self.fp[0].square().add(&self.fp[1].square())
    }

    #[inline]
    fn set_quotient(&mut self, a: &Self, b: &Self, reciprocal: &blst_fp) {
        self.set_product(a, &blst_fp2 { fp: [b.fp[0], b.fp[1].neg()] });
        self.fp.iter_mut().for_each(|component| component.mul_assign(reciprocal));
    }

    fn invert(&self) -> Self {
        let mut out = Self::ZERO;
        // SAFETY: two valid elements; `out` is written and does not alias. Zero gives zero.
        unsafe { blst_fp2_eucl_inverse(&mut out, self) };
        out
    }

    #[inline]
    fn is_zero(&self) -> bool {
        self.fp[0].is_zero() & self.fp[1].is_zero()
    }
}

/// A field whose elements have `K` components of the base field.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "vectors alone take elements apart"))]
pub(crate) trait Components<const K: usize>: BaseField {
    fn components(&self) -> [&blst_fp; K];
    fn from_components(components: [blst_fp; K]) -> Self;
}

impl Components<1> for blst_fp {
    fn components(&self) -> [&blst_fp; 1] {
        [self]
    }

    fn from_components([element]: [blst_fp; 1]) -> Self {
        element
    }
}

impl Components<2> for blst_fp2 {
    fn components(&self) -> [&blst_fp; 2] {
        self.fp.each_ref()
    }

    fn from_components(fp: [blst_fp; 2]) -> Self {
        blst_fp2 { fp }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use blst::{blst_fp_add, blst_fp_cneg, blst_fp_sub, blst_fp2_add, blst_fp2_cneg, blst_fp2_sub};

    /// Elements at which sums and differences wrap, and squares of squares.
    fn elements() -> Vec<blst_fp> {
        let one = blst_fp { l: [1, 0, 0, 0, 0, 0] };
        let last = blst_fp { l: difference(&MODULUS, &one.l).0 };
        let half = blst_fp {
            l: std::array::from_fn(|i| MODULUS[i] >> 1 | MODULUS.get(i + 1).map_or(0, |word| word << 63)),
        };
        let mut elements = vec![blst_fp::ZERO, one, last, half, half.add(&one), half.sub(&one)];
        elements.push(blst_fp { l: [u64::MAX, u64::MAX, u64::MAX, u64::MAX, u64::MAX, 0] });
        elements.push(blst_fp { l: [0, 0, 0, 0, 0, 1] });
        let mut element = half;
        for _ in 0..60 {
            element = element.square().sub(&one);
            elements.push(element);
        }
        elements
    }

    #[test]
    fn sums_differences_and_negatives_are_those_of_blst() {
        for a in elements() {
            let mut expected = blst_fp::ZERO;
            for b in elements() {
                // SAFETY: three valid elements; the first is written and does not alias.
                unsafe { blst_fp_add(&mut expected, &a, &b) };
                assert_eq!(a.add(&b), expected);
                // SAFETY: as above.
                unsafe { blst_fp_sub(&mut expected, &a, &b) };
                assert_eq!(a.sub(&b), expected);
            }
            for wanted in [false, true] {
                // SAFETY: two valid elements; the first is written and does not alias.
                unsafe { blst_fp_cneg(&mut expected, &a, wanted) };
                assert_eq!(a.negated_if(wanted), expected);
            }
            assert_eq!(a.is_zero(), a == blst_fp::ZERO);
        }
    }

    #[test]
    fn sums_differences_and_negatives_in_the_extension_are_those_of_blst() {
        let elements = elements();
        let pair =
            |i: usize| blst_fp2 { fp: [elements[i % elements.len()], elements[i * 7 % elements.len()]] };
        for i in 0..elements.len() {
            for j in 0..elements.len() {
                let (a, b, mut expected) = (pair(i), pair(i + j), blst_fp2::ZERO);
                // SAFETY: three valid elements; the first is written and does not alias.
                unsafe { blst_fp2_add(&mut expected, &a, &b) };
                assert_eq!(a.add(&b), expected);
                // SAFETY: as above.
                unsafe { blst_fp2_sub(&mut expected, &a, &b) };
                assert_eq!(a.sub(&b), expected);
                // SAFETY: two valid elements; the first is written and does not alias.
                unsafe { blst_fp2_cneg(&mut expected, &a, true) };
                assert_eq!(a.neg(), expected);
                assert_eq!(a.is_zero(), a == blst_fp2::ZERO);
            }
        }
    }

    #[test]
    fn a_quotient_times_the_divisor_is_the_dividend() {
        let elements: Vec<blst_fp> = elements().into_iter().filter(|element| !element.is_zero()).collect();
        for (i, a) in elements.iter().enumerate() {
            let b = &elements[i * 5 % elements.len()];
            let mut quotient = *b;
            quotient.set_quotient(a, b, &b.norm().invert());
            assert_eq!(quotient.mul(b), *a);
            let (a, b) =
                (blst_fp2 { fp: [*a, *b] }, blst_fp2 { fp: [*b, elements[i * 11 % elements.len()]] });
            let mut quotient = b;
            quotient.set_quotient(&a, &b, &b.norm().invert());
            assert_eq!(quotient.mul(&b), a);
            quotient.mul_assign(&b);
            assert_eq!(quotient, a);
        }
    }
}
