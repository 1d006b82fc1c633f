//! Products of pairings over `blst`: Miller loops that share their squarings, and one final exponentiation.
//!
//! Owns the two forms of a Miller loop, for points of G2 that are known beforehand (their lines are computed once) and
//! for those that come with a proof, and sums of multiples in G1 by short scalars. Refuses nothing: a pair with the
//! identity counts as one. That points lie in their groups is the caller's to have checked.
//!
//! `unsafe` only to call `blst`, which has no safe interface to these.
#![allow(unsafe_code)]

use blst::{
    blst_final_exp, blst_fp, blst_fp_add, blst_fp_cneg, blst_fp_mul, blst_fp2, blst_fp6, blst_fp12,
    blst_fp12_conjugate, blst_fp12_mul, blst_fp12_mul_by_xy00z0, blst_fp12_sqr, blst_miller_loop_n,
    blst_p1_affine, blst_p1_mult, blst_p1s_mult_pippenger, blst_p1s_mult_pippenger_scratch_sizeof,
    blst_p2_affine, blst_precompute_lines,
};
use blstrs::{G1Affine, G1Projective, G2Affine};
use group::Curve;
use group::Group;
use group::prime::PrimeCurveAffine;

/// Lines of a Miller loop over BLS12-381's parameter: one for each of its 63 doublings and 5 additions.
const LINES: usize = 68;
/// Doublings between the additions, from the top: the parameter is -0xd201000000010000.
const DOUBLINGS: [usize; 5] = [2, 3, 9, 32, 16];
/// Bits of the scalars that combine proofs.
pub(super) const SHORT_BITS: usize = 128;

/// A point of G2 made ready for Miller loops; nothing for the identity.
pub(super) struct Lines(Option<Box<[blst_fp6; LINES]>>);

impl Lines {
    pub(super) fn of(point: &G2Affine) -> Lines {
        if bool::from(point.is_identity()) {
            return Lines(None);
        }
        let mut lines = Box::new([blst_fp6::default(); LINES]);
        // SAFETY: `blst` writes exactly 68 lines, and the array has that many.
        unsafe { blst_precompute_lines(lines.as_mut_ptr(), point.as_ref()) };
        Lines(Some(lines))
    }
}

/// What Miller loops give, before the final exponentiation. Values of one pairing product differ between the two
/// kinds of loop; after it they are the same.
#[derive(Clone, Copy)]
pub(super) struct MillerValue(blst_fp12);

/// A value of a pairing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Target(blst_fp12);

impl Target {
    /// The neutral element.
    pub(super) fn one() -> Target {
        Target(blst_fp12::default())
    }
}

impl MillerValue {
    /// The value of no pair at all.
    pub(super) fn one() -> MillerValue {
        MillerValue(blst_fp12::default())
    }

    pub(super) fn times(&self, other: &MillerValue) -> MillerValue {
        let mut out = blst_fp12::default();
        // SAFETY: three valid references; `blst` reads two, writes one, and keeps none.
        unsafe { blst_fp12_mul(&mut out, &self.0, &other.0) };
        MillerValue(out)
    }

    pub(super) fn exponentiate(&self) -> Target {
        let mut out = blst_fp12::default();
        // SAFETY: two valid references; `blst` reads one, writes the other, and keeps none.
        unsafe { blst_final_exp(&mut out, &self.0) };
        Target(out)
    }
}

/// The pairs' Miller loops in one, each squaring shared by all.
pub(super) fn miller_loop_of_lines(pairs: &[(G1Affine, &Lines)]) -> MillerValue {
    let ready: Vec<(Scaled, &[blst_fp6; LINES])> = pairs
        .iter()
        .filter(|(point, _)| !bool::from(point.is_identity()))
        .filter_map(|(point, lines)| Some((Scaled::of(point), lines.0.as_deref()?)))
        .collect();
    if ready.is_empty() {
        return MillerValue::one();
    }
    let mut value = blst_fp12::default();
    let mut step = 0;
    let mut multiply = |value: &mut blst_fp12| {
        for (point, lines) in &ready {
            let line = point.on(&lines[step]);
            let before = *value;
            // SAFETY: three valid references, none of which `blst` keeps.
            unsafe { blst_fp12_mul_by_xy00z0(value, &before, &line) };
        }
        step += 1;
    };
    // The first doubling squares a one, so that only its line is multiplied.
    multiply(&mut value);
    for doublings in DOUBLINGS {
        multiply(&mut value);
        for _ in 0..doublings {
            let before = value;
            // SAFETY: two valid references, none of which `blst` keeps.
            unsafe { blst_fp12_sqr(&mut value, &before) };
            multiply(&mut value);
        }
    }
    // The curve's parameter is negative.
    // SAFETY: a valid reference.
    unsafe { blst_fp12_conjugate(&mut value) };
    MillerValue(value)
}

/// A point of G1 as lines are evaluated at it: -2x and 2y, for `blst` leaves a factor of its lines to this.
struct Scaled {
    x: blst_fp,
    y: blst_fp,
}

impl Scaled {
    fn of(point: &G1Affine) -> Scaled {
        let raw = point.as_ref();
        let (mut double, mut x, mut y) = (blst_fp::default(), blst_fp::default(), blst_fp::default());
        // SAFETY: valid references, none of which `blst` keeps.
        unsafe {
            blst_fp_add(&mut double, &raw.x, &raw.x);
            blst_fp_cneg(&mut x, &double, true);
            blst_fp_add(&mut y, &raw.y, &raw.y);
        }
        Scaled { x, y }
    }

    fn on(&self, line: &blst_fp6) -> blst_fp6 {
        let scale = |element: &blst_fp2, factor: &blst_fp| {
            let mut out = blst_fp2::default();
            for (out, part) in out.fp.iter_mut().zip(&element.fp) {
                // SAFETY: valid references, none of which `blst` keeps.
                unsafe { blst_fp_mul(out, part, factor) };
            }
            out
        };
        blst_fp6 { fp2: [line.fp2[0], scale(&line.fp2[1], &self.x), scale(&line.fp2[2], &self.y)] }
    }
}

/// The pairs' Miller loops, squarings shared by sixteen at a time, for points of G2 that are used once.
pub(super) fn miller_loop(pairs: &[(G1Affine, G2Affine)]) -> MillerValue {
    let (mut in_g1, mut in_g2) = (Vec::with_capacity(pairs.len()), Vec::with_capacity(pairs.len()));
    for (left, right) in pairs {
        // `blst` handles an identity only where it is alone.
        if !bool::from(left.is_identity() | right.is_identity()) {
            let (left, right): (&blst_p1_affine, &blst_p2_affine) = (left.as_ref(), right.as_ref());
            in_g1.push(std::ptr::from_ref(left));
            in_g2.push(std::ptr::from_ref(right));
        }
    }
    if in_g1.is_empty() {
        return MillerValue::one();
    }
    let mut out = blst_fp12::default();
    // SAFETY: both arrays hold as many pointers as is said, each to a point that `pairs` keeps alive.
    unsafe { blst_miller_loop_n(&mut out, in_g2.as_ptr(), in_g1.as_ptr(), in_g1.len()) };
    MillerValue(out)
}

/// A point times a number below 2^128.
pub(super) fn short_multiple(point: &G1Affine, scalar: u128) -> G1Affine {
    let point = G1Projective::from(point);
    let mut out = G1Projective::identity();
    // SAFETY: `blst` reads a point and 16 bytes, writes a point, and keeps no reference.
    unsafe { blst_p1_mult(out.as_mut(), point.as_ref(), scalar.to_le_bytes().as_ptr(), SHORT_BITS) };
    out.to_affine()
}

/// The sum of the points' multiples by numbers below 2^128. None of the points may be the identity.
pub(super) fn sum_of_short_multiples(points: &[G1Affine], scalars: &[u128]) -> G1Affine {
    let len = points.len().min(scalars.len());
    if len == 0 {
        return G1Affine::identity();
    }
    let in_g1: Vec<*const blst_p1_affine> =
        points.iter().take(len).map(|point| std::ptr::from_ref::<blst_p1_affine>(point.as_ref())).collect();
    let bytes: Vec<[u8; SHORT_BITS / 8]> = scalars.iter().map(|scalar| scalar.to_le_bytes()).collect();
    let scalars: Vec<*const u8> = bytes.iter().map(|bytes| bytes.as_ptr()).collect();
    let mut out = G1Projective::identity();
    // SAFETY: the arrays hold at least `len` pointers, to points and to 16 bytes each, which outlive the call; the
    // scratch space has the size, in bytes, that `blst` asks for.
    unsafe {
        let mut scratch = vec![0u64; blst_p1s_mult_pippenger_scratch_sizeof(len).div_ceil(8)];
        blst_p1s_mult_pippenger(
            out.as_mut(),
            in_g1.as_ptr(),
            len,
            scalars.as_ptr(),
            SHORT_BITS,
            scratch.as_mut_ptr(),
        );
    }
    out.to_affine()
}

#[cfg(test)]
#[path = "miller_tests.rs"]
mod tests;
