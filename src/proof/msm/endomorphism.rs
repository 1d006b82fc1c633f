//! Multiples of points that cost a multiplication or two, and scalars cut into parts for them.
//!
//! Let z = -0xd201000000010000, the number that BLS12-381 is made of. Its square acts on G1 as (x, y) ↦ (βx, -y) for a cube root
//! of unity β, and |z| acts on G2 as the negative of ψ, the Frobenius map taken over to the twist and back. With P stands |z|²P
//! (or |z|P, |z|²P and |z|³P), a scalar is cut into two parts of half its length (or four of a quarter), and all parts fall into the
//! same buckets: for as many additions there are half or a quarter as many sets of buckets to sum up.
//!
//! The maps multiply by these numbers in the subgroups of order r alone. The points are those of a proving key: multiples of the
//! generators where it was made, and checked for the subgroups where it came from elsewhere (`proof::keys`). Of points
//! outside, a sum would be wrong, and the proof made of it withheld, since every proof is verified before it is given out.

use super::super::arith::curve::{Affine, Curve, G1, G2};
use super::super::arith::field::BaseField;
use super::digits::Signed;
use blst::{blst_fp, blst_fp2};

/// |z|.
const BASE: u128 = 0xd201_0000_0001_0000;
/// z².
const SQUARE: u128 = BASE * BASE;

/// 2^255 / |z|, rounded down.
const PER_BASE: [u64; 3] = [0x4903_c52f_42b9_d94e, 0x99e7_e606_9f3b_7614, 0x9c09_0265_2b66_ab5a];
/// 2^319 / z², rounded down.
const PER_SQUARE: [u64; 3] = [0x01a7_5a5c_93d6_e013, 0xb1fb_7291_7b67_f717, 0xbe35_f678_f00f_d56e];

/// β, in `blst`'s form.
const BETA: blst_fp = blst_fp {
    l: [
        0x30f1_361b_798a_64e8,
        0xf3b8_ddab_7ece_5a2a,
        0x16a8_ca3a_c615_77f7,
        0xc26a_2ff8_74fd_029b,
        0x3636_b766_6070_1c6e,
        0x051b_a4ab_241b_6160,
    ],
};

/// The factors of -ψ, which is (x, y) ↦ (a x̄, b ȳ): a = (1 + u)^-((p-1)/3), b = -(1 + u)^-((p-1)/2).
const OF_X: blst_fp2 = blst_fp2 {
    fp: [
        blst_fp { l: [0; 6] },
        blst_fp {
            l: [
                0x890d_c9e4_8675_45c3,
                0x2af3_2253_3285_a5d5,
                0x5088_0866_309b_7e2c,
                0xa20d_1b8c_7e88_1024,
                0x14e4_f04f_e2db_9068,
                0x14e5_6d3f_1564_853a,
            ],
        },
    ],
};
const OF_Y: blst_fp2 = blst_fp2 {
    fp: [
        blst_fp {
            l: [
                0x7bcf_a7a2_5aa3_0fda,
                0xdc17_dec1_2a92_7e7c,
                0x2f08_8dd8_6b4e_bef1,
                0xd1ca_2087_da74_d4a7,
                0x2da2_5966_96ce_bc1d,
                0x0e2b_7eed_bbfd_87d2,
            ],
        },
        blst_fp {
            l: [
                0x3e2f_585d_a55c_9ad1,
                0x4294_213d_86c1_8183,
                0x3828_44c8_8b62_3732,
                0x92ad_2afd_1910_3e18,
                0x1d79_4e4f_ac7c_f0b9,
                0x0bd5_92fc_7d82_5ec8,
            ],
        },
    ],
};

/// Into how many parts a scalar is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    /// Itself, s.
    One,
    /// s = s0 + s1 z².
    Two,
    /// s = s0 + s1 |z| + s2 |z|² + s3 |z|³.
    Four,
}

impl Parts {
    pub(super) const ALL: [Parts; 3] = [Parts::One, Parts::Two, Parts::Four];

    pub(super) const fn count(self) -> u32 {
        match self {
            Parts::One => 1,
            Parts::Two => 2,
            Parts::Four => 4,
        }
    }

    /// Bits of the largest magnitude of a part. A scalar of fewer bits is its own first part, and the others are zero.
    pub(super) const fn bits(self) -> u32 {
        match self {
            Parts::One => 254,
            Parts::Two => 127,
            Parts::Four => 63,
        }
    }

    /// Calls `put` with the number of each part that is not zero, and the part.
    #[inline]
    pub(super) fn split(self, scalar: &Signed, mut put: impl FnMut(u32, &Signed)) {
        let mut put_all = |parts: &[i128]| {
            for (number, part) in (0..).zip(parts).filter(|(_, part)| **part != 0) {
                put(number, &Signed::of(*part, scalar.negative));
            }
        };
        match self {
            Parts::One => put(0, scalar),
            Parts::Two => put_all(&halves(scalar)),
            Parts::Four => put_all(halves(scalar).map(quarters).as_flattened()),
        }
    }
}

/// m = h0 + h1 z², each at most 0.673 · 2^127: for m up to (r - 1)/2 = z² (z² - 1)/2 a rounded quotient is z²/2 at most, and what
/// remains is z²/2 and a 2^-61th of it, since the quotient is rounded of one that is less than 2^-62 too small.
#[inline]
fn halves(scalar: &Signed) -> [i128; 2] {
    let [a, b, c, d] = scalar.magnitude;
    let high = rounded_product([b, c, d], PER_SQUARE);
    let low = (u128::from(b) << 64 | u128::from(a)).wrapping_sub(high.wrapping_mul(SQUARE));
    [low.cast_signed(), high.cast_signed()]
}

/// h = q0 + q1 |z|, each at most 0.821 · 2^63: for a half up to z²/2 (1 + 2^-61) a rounded quotient is |z|/2 + 4 at most, and
/// what remains |z|/2 and a 2^-61th of it.
#[inline]
fn quarters(half: i128) -> [i128; 2] {
    let magnitude = half.unsigned_abs();
    let high = rounded_product([magnitude as u64, (magnitude >> 64) as u64, 0], PER_BASE);
    let parts = [magnitude.wrapping_sub(high.wrapping_mul(BASE)), high].map(u128::cast_signed);
    if half < 0 { parts.map(|part| -part) } else { parts }
}

/// `a · b / 2^255`, rounded to the nearest: `a` below 2^190, result below 2^127.
#[inline]
fn rounded_product(a: [u64; 3], b: [u64; 3]) -> u128 {
    // A half of 2^255 to begin with.
    let mut product = [0, 0, 0, 1 << 62, 0, 0];
    for i in 0..3 {
        let mut carry = 0;
        for j in 0..3 {
            let sum = u128::from(a[i]) * u128::from(b[j]) + u128::from(product[i + j]) + u128::from(carry);
            product[i + j] = sum as u64;
            carry = (sum >> 64) as u64;
        }
        let (sum, over) = product[i + 3].overflowing_add(carry);
        product[i + 3] = sum;
        if let Some(next) = product.get_mut(i + 4) {
            *next += u64::from(over);
        }
    }
    let [.., low, middle, high] = product;
    u128::from(high) << 65 | u128::from(middle) << 1 | u128::from(low >> 63)
}

/// A curve with a map that multiplies the points of its subgroup.
pub(crate) trait Endomorphic: Curve {
    /// Parts that the powers of the map serve.
    const PARTS: Parts;

    /// z² times a point in G1, |z| times it in G2; infinity for infinity.
    fn image(point: &Affine<Self::Field>) -> Affine<Self::Field>;

    /// The image that belongs to a scalar's part, of so many.
    fn image_for(parts: Parts, part: u32, point: &Affine<Self::Field>) -> Affine<Self::Field> {
        let steps = part * (Self::PARTS.count() / parts.count());
        (0..steps).fold(*point, |image, _| Self::image(&image))
    }
}

impl Endomorphic for G1 {
    const PARTS: Parts = Parts::Two;

    fn image(point: &Affine<blst_fp>) -> Affine<blst_fp> {
        Affine { x: point.x.mul(&BETA), y: point.y.neg() }
    }
}

impl Endomorphic for G2 {
    const PARTS: Parts = Parts::Four;

    fn image(point: &Affine<blst_fp2>) -> Affine<blst_fp2> {
        let conjugate = |element: &blst_fp2| blst_fp2 { fp: [element.fp[0], element.fp[1].neg()] };
        Affine { x: conjugate(&point.x).mul(&OF_X), y: conjugate(&point.y).mul(&OF_Y) }
    }
}

#[cfg(test)]
#[path = "endomorphism_tests.rs"]
mod tests;
