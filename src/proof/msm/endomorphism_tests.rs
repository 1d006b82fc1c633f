//! The maps against multiplication by `blstrs`, and the parts of scalars against the scalars.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::proof::msm::Integer;
use crate::proof::msm::digits::{DIGIT_BITS_MAX, DIGIT_BITS_MIN, full_windows};
use blstrs::Scalar;
use ff::{Field, PrimeField};
use group::prime::PrimeCurveAffine;
use group::{Curve as _, Group};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

fn integer(scalar: &Scalar) -> Integer {
    let bytes = scalar.to_bytes_le();
    std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap()))
}

fn scalar(value: u128) -> Scalar {
    let half = Scalar::from(1 << 32);
    Scalar::from((value >> 64) as u64) * half.square() + Scalar::from(value as u64)
}

/// What one image is multiplied by.
fn factor(parts: Parts) -> Scalar {
    match parts {
        Parts::One => Scalar::ONE,
        Parts::Two => scalar(SQUARE),
        Parts::Four => scalar(BASE),
    }
}

fn assert_images_are_multiples<C: Endomorphic>() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut points: Vec<C::Projective> = (0..20).map(|_| C::Projective::random(&mut rng)).collect();
    points.push(C::Projective::generator());
    points.push(C::Projective::identity());
    for point in points {
        let coordinates = C::coordinates(&point.to_affine());
        let image = C::point(&C::image(&coordinates));
        assert!(image.to_curve() == point * factor(C::PARTS));
        for parts in Parts::ALL.into_iter().filter(|parts| parts.count() <= C::PARTS.count()) {
            for part in 0..parts.count() {
                let image = C::point(&C::image_for(parts, part, &coordinates));
                let multiple = point * factor(parts).pow_vartime([u64::from(part)]);
                assert!(image.to_curve() == multiple, "{parts:?}, part {part}");
            }
        }
    }
}

#[test]
fn images_in_g1_are_multiples_by_the_square_of_z() {
    assert_images_are_multiples::<G1>();
}

#[test]
fn images_in_g2_are_multiples_by_the_magnitude_of_z() {
    assert_images_are_multiples::<G2>();
}

/// Scalars at which a part changes, and some in no pattern.
fn edges() -> Vec<Scalar> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let powers = (0..255).map(|exponent| Scalar::from(2).pow_vartime([exponent]));
    let bases = [BASE, BASE / 2, SQUARE, SQUARE / 2, SQUARE - BASE / 2].map(scalar);
    let products = [
        scalar(SQUARE) * scalar(BASE),
        scalar(SQUARE) * scalar(BASE / 2),
        scalar(SQUARE / 2) * scalar(SQUARE),
        scalar(SQUARE / 2) * scalar(SQUARE) - scalar(SQUARE / 2),
    ];
    let few = [Scalar::ZERO, Scalar::ONE, Scalar::TWO_INV];
    let mut edges: Vec<Scalar> = powers.chain(bases).chain(products).chain(few).collect();
    edges.extend((0..200).map(|_| scalar(SQUARE) * Scalar::from(rng.next_u64()) + scalar(SQUARE / 2)));
    edges.extend((0..200).map(|_| scalar(BASE) * Scalar::from(rng.next_u64()) + scalar(BASE / 2)));
    edges.extend((0..2000).map(|_| Scalar::random(&mut rng)));
    let around = |edge: &Scalar| [*edge, edge - Scalar::ONE, edge + Scalar::ONE];
    edges.iter().flat_map(around).flat_map(|edge| [edge, -edge]).collect()
}

#[test]
fn parts_add_up_to_the_scalar_and_stay_within_their_bounds() {
    // Half of z² or |z|, and a little that rounded reciprocals cost.
    let bounds = [(Parts::Two, SQUARE / 2 + (SQUARE >> 61)), (Parts::Four, BASE / 2 + 8)];
    let factors = |parts: Parts| [0, 1, 2, 3].map(|number: u64| factor(parts).pow_vartime([number]));
    let factors = bounds.map(|(parts, _)| factors(parts));
    let mut largest = [0; 2];
    for edge in edges() {
        let signed = Signed::new(&integer(&edge));
        for ((largest, (parts, bound)), factors) in largest.iter_mut().zip(bounds).zip(&factors) {
            let mut sum = Scalar::ZERO;
            parts.split(&signed, |number, part| {
                let [low, high, none, none_too] = part.magnitude;
                let magnitude = u128::from(high) << 64 | u128::from(low);
                assert_eq!([none, none_too], [0, 0]);
                assert!(magnitude > 0 && magnitude <= bound, "{edge} in {parts:?}: {magnitude:x}");
                assert!(
                    number == 0 || signed.bits() >= parts.bits(),
                    "{edge} in {parts:?} has part {number}"
                );
                *largest = magnitude.max(*largest);
                let value = scalar(magnitude) * factors[number as usize];
                sum += if part.negative { -value } else { value };
            });
            assert_eq!(sum, edge, "{parts:?}");
        }
    }
    assert!(largest[0] >= SQUARE / 2 && largest[1] >= BASE / 2, "the edges reach the bounds");
}

#[test]
fn windows_hold_the_largest_magnitude_of_a_part() {
    // In 64ths: 0.907 · 2^254, 0.673 · 2^127, 0.821 · 2^63, rounded up.
    for (parts, sixty_fourths) in [(Parts::One, 59.0), (Parts::Two, 44.0), (Parts::Four, 53.0)] {
        for digit_bits in DIGIT_BITS_MIN..=DIGIT_BITS_MAX {
            let spare = full_windows(parts, digit_bits) * digit_bits - 1 - parts.bits();
            let largest = sixty_fourths / 64.0 / f64::from(1 << spare);
            assert!(largest < 1.0 - 1.0 / f64::from((1 << digit_bits) - 1), "{parts:?}, {digit_bits} bits");
        }
    }
    const { assert!((SQUARE / 2) >> 64 < (44 << 57) && BASE / 2 < 53 << 57) };
}

#[test]
fn reciprocals_are_the_largest_that_do_not_exceed() {
    // 2^255 - reciprocal · divisor is at least zero and below the divisor, which fits in one word and in two.
    let remainder = |reciprocal: [u64; 3], divisor: u128, power: u32| {
        let mut rest = [0u64; 6];
        rest[power as usize / 64] = 1 << (power % 64);
        for (i, a) in reciprocal.into_iter().enumerate() {
            let mut borrow = 0u128;
            for j in 0..6 - i {
                let b = if j < 2 { (divisor >> (64 * j)) as u64 } else { 0 };
                let taken = u128::from(a) * u128::from(b) + borrow;
                let (word, below) = rest[i + j].overflowing_sub(taken as u64);
                rest[i + j] = word;
                borrow = (taken >> 64) + u128::from(below);
            }
            assert_eq!(borrow, 0, "too large");
        }
        assert_eq!(rest[2..], [0; 4]);
        u128::from(rest[1]) << 64 | u128::from(rest[0])
    };
    assert!(remainder(PER_BASE, BASE, 255) < BASE);
    assert!(remainder(PER_SQUARE, SQUARE, 319) < SQUARE);
}
