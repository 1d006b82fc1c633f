//! Montgomery products of four elements, by floating-point multiply-adds.
//!
//! For limbs a and b below 2^51, with C = 1.5 · 2^103, of which the last bit weighs 2^51:
//!
//! ```text
//! high = a · b + C            rounded: C + h 2^51, and the bits of the number say h
//! low  = a · b + (C + D - high)        D = 1.5 · 2^52: D + l, exactly, |l| at most 2^50
//! ```
//!
//! so that a b = h 2^51 + l. The bits of `high` and `low` are added up as integers; what their exponents contribute is known beforehand, and
//! each sum begins at its negative ([`Constants`]).
//!
//! The reduction is by digits from below (Koç, Acar, Kaliski, 1996, CIOS), six times not modulo p but modulo N = k p with N = -1
//! modulo 2^51: the digit that makes the lowest limb vanish is that limb itself, and `(t + digit · N) / 2^51` is
//! `⌊t / 2^51⌋ + digit · (N + 1) / 2^51`. That leaves a number below 2^51 p or so; the last two digits, modulo p, make it one below
//! 1.001 p.
//!
//! In assembly, since what the compiler makes of the same in intrinsics keeps half of the sums in memory and takes a third longer.
//! Nine sums, three constants and what is being computed are just the sixteen registers.

// Assembly that reads and writes what references keep valid.
#![allow(unsafe_code)]

use super::kernel::{Half, Limb, lent_upwards};
use super::{LIMB_BITS, LIMB_MASK};
use crate::proof::arith::field::MODULUS;
use crate::proof::arith::packed::{multiple_of_p, negated_inverse};
use std::arch::asm;
use std::arch::x86_64::{__m256d, _mm256_castsi256_pd, _mm256_or_si256, _mm256_set1_epi64x, _mm256_sub_pd};
use std::mem::{MaybeUninit, offset_of};

/// Digits of the reduction that are taken modulo N.
const FAST: usize = 6;

/// `-1/p` modulo 2^51.
const NEGATED_INVERSE: u64 = negated_inverse(MODULUS[0]) & LIMB_MASK;

/// `(N + 1) / 2^51` for N = k p, k = -1/p modulo 2^51.
const FRIENDLY: [u64; 8] = {
    let p = multiple_of_p::<LIMB_BITS>(1);
    let mut limbs = [0u64; 8];
    let mut carry = 1u128;
    let mut i = 0;
    while i < 8 {
        let wide = p[i] as u128 * NEGATED_INVERSE as u128 + carry;
        let limb = wide as u64 & LIMB_MASK;
        if i == 0 {
            assert!(limb == 0, "N + 1 is a multiple of 2^51");
        } else {
            limbs[i - 1] = limb;
        }
        carry = wide >> LIMB_BITS;
        i += 1;
    }
    limbs[7] = carry as u64;
    limbs
};

/// What the assembly reads, each number in all four lanes.
#[repr(C, align(32))]
pub(super) struct Constants {
    /// Where each limb of the product begins.
    begin: [[u64; 4]; 16],
    friendly: [[f64; 4]; 8],
    p: [[f64; 4]; 8],
    negated_inverse: [f64; 4],
    mask: [u64; 4],
    exponent: [u64; 4],
    shift_high: [f64; 4],
    shifts: [f64; 4],
}

impl Constants {
    /// C.
    const SHIFT_HIGH: f64 = 3.0 * (1u128 << 102) as f64;
    /// D.
    pub(super) const SHIFT_LOW: f64 = 3.0 * (1u64 << 51) as f64;
    /// The bits of 2^52, which is the exponent of numbers whose last bit weighs 1.
    const EXPONENT: u64 = ((1u64 << 52) as f64).to_bits();

    /// For sums of so many products.
    const fn for_products(products: u64) -> Constants {
        Constants {
            begin: everywhere(Self::begin(products)),
            friendly: as_doubles(FRIENDLY),
            p: as_doubles(multiple_of_p::<LIMB_BITS>(1)),
            negated_inverse: [NEGATED_INVERSE as f64; 4],
            mask: [LIMB_MASK; 4],
            exponent: [Self::EXPONENT; 4],
            shift_high: [Self::SHIFT_HIGH; 4],
            shifts: [Self::SHIFT_HIGH + Self::SHIFT_LOW; 4],
        }
    }

    const fn begin(products: u64) -> [u64; 16] {
        let mut begin = [0u64; 16];
        let mut row = 0;
        while row < 8 {
            // The digit's row, from the limb above its own where it is taken modulo N.
            let of_digit = if row < FAST { row + 1 } else { row };
            let mut i = 0;
            while i < 8 {
                begin = less(begin, row + i, products);
                begin = less(begin, of_digit + i, 1);
                i += 1;
            }
            row += 1;
        }
        // A limb is a sum of 51-bit numbers of which some are negative, in all above -2^57. The shift wants it positive.
        let mut i = 0;
        while i < 8 {
            begin[i] = begin[i].wrapping_add(1 << 62);
            begin[i + 1] = begin[i + 1].wrapping_sub(1 << (62 - LIMB_BITS));
            i += 1;
        }
        let lent = lent_upwards([0; 8], 60);
        let mut i = 0;
        while i < 8 {
            begin[8 + i] = begin[8 + i].wrapping_add(lent[i]);
            i += 1;
        }
        begin
    }
}

/// Less what so many products' exponents add to this limb and the next.
const fn less(mut begin: [u64; 16], limb: usize, products: u64) -> [u64; 16] {
    let (low, high) = (Constants::SHIFT_LOW.to_bits(), Constants::SHIFT_HIGH.to_bits());
    begin[limb] = begin[limb].wrapping_sub(products.wrapping_mul(low));
    begin[limb + 1] = begin[limb + 1].wrapping_sub(products.wrapping_mul(high));
    begin
}

const fn everywhere<const N: usize>(numbers: [u64; N]) -> [[u64; 4]; N] {
    let mut lanes = [[0; 4]; N];
    let mut i = 0;
    while i < N {
        lanes[i] = [numbers[i]; 4];
        i += 1;
    }
    lanes
}

const fn as_doubles(limbs: [u64; 8]) -> [[f64; 4]; 8] {
    let mut lanes = [[0.0; 4]; 8];
    let mut i = 0;
    while i < 8 {
        lanes[i] = [limbs[i] as f64; 4];
        i += 1;
    }
    lanes
}

static OF_ONE: Constants = Constants::for_products(1);
static OF_TWO: Constants = Constants::for_products(2);

/// A limb as a floating-point number: 2^52 and it, without the 2^52.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn double(limb: Limb) -> __m256d {
    let exponent = _mm256_set1_epi64x(Constants::EXPONENT.cast_signed());
    _mm256_sub_pd(_mm256_castsi256_pd(_mm256_or_si256(limb, exponent)), _mm256_castsi256_pd(exponent))
}

/// Adds a product of limbs to a sum and what is above it to the next.
macro_rules! product {
    ($digit:literal, $row:literal, $at:literal, $sum:literal, $next:literal) => {
        concat!(
            "vmovapd ymm12, ymm9\n",
            "vfmadd231pd ymm12, ",
            $digit,
            ", [",
            $row,
            " + ",
            $at,
            "]\n",
            "vsubpd ymm13, ymm10, ymm12\n",
            "vfmadd231pd ymm13, ",
            $digit,
            ", [",
            $row,
            " + ",
            $at,
            "]\n",
            "vpaddq ",
            $next,
            ", ",
            $next,
            ", ymm12\n",
            "vpaddq ",
            $sum,
            ", ",
            $sum,
            ", ymm13\n",
        )
    };
}

/// The same for a digit and all limbs of a row.
macro_rules! row {
    ($digit:literal, $row:literal; $s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal $s8:literal) => {
        concat!(
            product!($digit, $row, "0", $s0, $s1),
            product!($digit, $row, "32", $s1, $s2),
            product!($digit, $row, "64", $s2, $s3),
            product!($digit, $row, "96", $s3, $s4),
            product!($digit, $row, "128", $s4, $s5),
            product!($digit, $row, "160", $s5, $s6),
            product!($digit, $row, "192", $s6, $s7),
            product!($digit, $row, "224", $s7, $s8),
        )
    };
}

/// A limb, whose exponent's bits are zero, as a floating-point number.
macro_rules! double {
    ($limb:literal) => {
        concat!("vpor ", $limb, ", ", $limb, ", ymm15\n", "vsubpd ", $limb, ", ", $limb, ", ymm15\n")
    };
}

/// The lowest bits of a sum as a floating-point number: the digit, in ymm14.
macro_rules! masked {
    ($sum:literal) => {
        concat!("vpand ymm14, ", $sum, ", [{constants} + {mask}]\n", double!("ymm14"))
    };
}

/// Moves the carry of the lowest limb on, and lets the limb after the highest begin in its register.
macro_rules! shifted {
    ($begin:literal; $s0:literal $s1:literal) => {
        concat!(
            "vpsrlq ",
            $s0,
            ", ",
            $s0,
            ", 51\n",
            "vpaddq ",
            $s1,
            ", ",
            $s1,
            ", ",
            $s0,
            "\n",
            "vmovdqa ",
            $s0,
            ", [{constants} + ",
            $begin,
            "]\n",
        )
    };
}

/// Adds the row of a digit of the first product.
macro_rules! one {
    ($at:literal; $($sums:literal)*) => {
        concat!(
            "vmovdqa ymm11, [{a} + ", $at, "]\n",
            double!("ymm11"),
            row!("ymm11", "{b}"; $($sums)*),
        )
    };
}

/// Adds the rows of digits of both products.
macro_rules! two {
    ($at:literal; $($sums:literal)*) => {
        concat!(
            one!($at; $($sums)*),
            "vmovdqa ymm11, [{c} + ", $at, "]\n",
            double!("ymm11"),
            row!("ymm11", "{d}"; $($sums)*),
        )
    };
}

/// One of the digits modulo N.
macro_rules! fast {
    ($rows:ident, $at:literal, $begin:literal; $s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal $s8:literal) => {
        concat!(
            $rows!($at; $s0 $s1 $s2 $s3 $s4 $s5 $s6 $s7 $s8),
            masked!($s0),
            shifted!($begin; $s0 $s1),
            row!("ymm14", "{constants} + {friendly}"; $s1 $s2 $s3 $s4 $s5 $s6 $s7 $s8 $s0),
        )
    };
}

/// One of the digits modulo p: the lower half of the limb times -1/p.
macro_rules! last {
    ($rows:ident, $at:literal, $begin:literal; $s0:literal $s1:literal $s2:literal $s3:literal $s4:literal $s5:literal $s6:literal $s7:literal $s8:literal) => {
        concat!(
            $rows!($at; $s0 $s1 $s2 $s3 $s4 $s5 $s6 $s7 $s8),
            masked!($s0),
            "vmovapd ymm12, ymm9\n",
            "vfmadd231pd ymm12, ymm14, [{constants} + {negated_inverse}]\n",
            "vsubpd ymm13, ymm10, ymm12\n",
            "vfmadd231pd ymm13, ymm14, [{constants} + {negated_inverse}]\n",
            masked!("ymm13"),
            row!("ymm14", "{constants} + {p}"; $s0 $s1 $s2 $s3 $s4 $s5 $s6 $s7 $s8),
            shifted!($begin; $s0 $s1),
        )
    };
}

/// The whole product: limbs 0 to 7 vanish, 8 to 15 are the result. Limb i is in register i modulo 9; 9 and 10 hold the shifts,
/// 11 a digit of a factor, 12 and 13 a product, 14 a digit of the reduction, 15 the exponent.
macro_rules! all_steps {
    ($rows:ident, $constants:expr, $result:ident; $($factor:ident = $value:expr),*) => {
        asm!(
            "vmovapd ymm9, [{constants} + {shift_high}]",
            "vmovapd ymm10, [{constants} + {shifts}]",
            "vmovdqa ymm15, [{constants} + {exponent}]",
            "vmovdqa ymm0, [{constants}]",
            "vmovdqa ymm1, [{constants} + 32]",
            "vmovdqa ymm2, [{constants} + 64]",
            "vmovdqa ymm3, [{constants} + 96]",
            "vmovdqa ymm4, [{constants} + 128]",
            "vmovdqa ymm5, [{constants} + 160]",
            "vmovdqa ymm6, [{constants} + 192]",
            "vmovdqa ymm7, [{constants} + 224]",
            "vmovdqa ymm8, [{constants} + 256]",
            fast!($rows, "0", "288"; "ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8"),
            fast!($rows, "32", "320"; "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm0"),
            fast!($rows, "64", "352"; "ymm2" "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm0" "ymm1"),
            fast!($rows, "96", "384"; "ymm3" "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm0" "ymm1" "ymm2"),
            fast!($rows, "128", "416"; "ymm4" "ymm5" "ymm6" "ymm7" "ymm8" "ymm0" "ymm1" "ymm2" "ymm3"),
            fast!($rows, "160", "448"; "ymm5" "ymm6" "ymm7" "ymm8" "ymm0" "ymm1" "ymm2" "ymm3" "ymm4"),
            last!($rows, "192", "480"; "ymm6" "ymm7" "ymm8" "ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5"),
            // No limb begins after the last one: what is put there is not looked at.
            last!($rows, "224", "480"; "ymm7" "ymm8" "ymm0" "ymm1" "ymm2" "ymm3" "ymm4" "ymm5" "ymm6"),
            "vmovdqa [{result}], ymm8",
            "vmovdqa [{result} + 32], ymm0",
            "vmovdqa [{result} + 64], ymm1",
            "vmovdqa [{result} + 96], ymm2",
            "vmovdqa [{result} + 128], ymm3",
            "vmovdqa [{result} + 160], ymm4",
            "vmovdqa [{result} + 192], ymm5",
            "vmovdqa [{result} + 224], ymm6",
            $($factor = in(reg) $value,)*
            constants = in(reg) std::ptr::from_ref($constants),
            result = in(reg) $result.as_mut_ptr(),
            friendly = const offset_of!(Constants, friendly),
            p = const offset_of!(Constants, p),
            negated_inverse = const offset_of!(Constants, negated_inverse),
            mask = const offset_of!(Constants, mask),
            exponent = const offset_of!(Constants, exponent),
            shift_high = const offset_of!(Constants, shift_high),
            shifts = const offset_of!(Constants, shifts),
            out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _, out("ymm4") _, out("ymm5") _,
            out("ymm6") _, out("ymm7") _, out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
            out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
            options(nostack)
        )
    };
}

/// `a · b / 2^408`, with carries to be moved on: no limb but the top one is negative.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub(super) fn product(a: &Half, b: &Half) -> Half {
    let b = b.map(|limb| double(limb));
    let mut result = MaybeUninit::<Half>::uninit();
    // SAFETY: reads `a`, `b` and the constants, and writes all eight limbs of the result; all are arrays of vectors, aligned as such.
    unsafe {
        all_steps!(one, &OF_ONE, result; a = a.as_ptr(), b = b.as_ptr());
        result.assume_init()
    }
}

/// The same for the sum of two products.
#[inline(never)]
#[target_feature(enable = "avx2,fma")]
pub(super) fn product_of_two([a, c]: [&Half; 2], [b, d]: [&Half; 2]) -> Half {
    let (b, d) = (b.map(|limb| double(limb)), d.map(|limb| double(limb)));
    let mut result = MaybeUninit::<Half>::uninit();
    // SAFETY: as above.
    unsafe {
        all_steps!(two, &OF_TWO, result; a = a.as_ptr(), b = b.as_ptr(), c = c.as_ptr(), d = d.as_ptr());
        result.assume_init()
    }
}
