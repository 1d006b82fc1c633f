//! Products of pairings: what bilinearity says they must be, with every way to have nothing in them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use blstrs::{G2Projective, Scalar};
use ff::Field;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::*;

fn g1(scalar: &Scalar) -> G1Affine {
    (G1Projective::generator() * scalar).to_affine()
}

fn g2(scalar: &Scalar) -> G2Affine {
    (G2Projective::generator() * scalar).to_affine()
}

/// Pairs with their discrete logarithms; every seventh has an identity in one place or the other.
fn pairs(len: usize) -> (Vec<(G1Affine, G2Affine)>, Scalar) {
    let mut rng = ChaCha20Rng::seed_from_u64(len as u64);
    let mut total = Scalar::ZERO;
    let mut pairs = Vec::new();
    for place in 0..len {
        let (mut left, mut right) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
        match place % 14 {
            6 => left = Scalar::ZERO,
            13 => right = Scalar::ZERO,
            _ => {}
        }
        total += left * right;
        pairs.push((g1(&left), g2(&right)));
    }
    (pairs, total)
}

fn with_lines(pairs: &[(G1Affine, G2Affine)]) -> MillerValue {
    let lines: Vec<Lines> = pairs.iter().map(|(_, right)| Lines::of(right)).collect();
    let pairs: Vec<_> = pairs.iter().zip(&lines).map(|((left, _), lines)| (*left, lines)).collect();
    miller_loop_of_lines(&pairs)
}

#[test]
fn a_product_of_any_length_is_the_pairing_of_the_sum_in_both_kinds_of_loop() {
    for len in [0, 1, 2, 3, 7, 15, 16, 17, 32, 33] {
        let (pairs, total) = pairs(len);
        let expected = miller_loop(&[(g1(&total), g2(&Scalar::ONE))]).exponentiate();
        assert!(miller_loop(&pairs).exponentiate() == expected, "points, {len} pairs");
        assert!(with_lines(&pairs).exponentiate() == expected, "lines, {len} pairs");
        assert_eq!(expected == Target::one(), len == 0, "{len} pairs");
    }
}

#[test]
fn the_pairing_is_the_curve_librarys() {
    // blstrs shows no coordinates of its target group: the two are compared by their kernels.
    use pairing::Engine;
    let (a, b) = (Scalar::from(35), Scalar::from(77));
    let theirs =
        |left: u64, right: u64| blstrs::Bls12::pairing(&g1(&Scalar::from(left)), &g2(&Scalar::from(right)));
    assert_eq!(theirs(35, 77), theirs(55, 49));
    let ours = with_lines(&[(g1(&a), g2(&b)), (-g1(&Scalar::from(55)), g2(&Scalar::from(49)))]);
    assert!(ours.exponentiate() == Target::one());
    let off_by_one = with_lines(&[(g1(&a), g2(&b)), (-g1(&Scalar::from(55)), g2(&Scalar::from(50)))]);
    assert!(off_by_one.exponentiate() != Target::one());
}

#[test]
fn values_of_loops_multiply_as_their_pairs_join() {
    let (pairs, _) = pairs(9);
    let (left, right) = pairs.split_at(4);
    let product = miller_loop(left).times(&with_lines(right)).exponentiate();
    assert!(product == miller_loop(&pairs).exponentiate());
    assert!(MillerValue::one().times(&miller_loop(&pairs)).exponentiate() == product);
}

fn scalar(number: u128) -> Scalar {
    let high = Scalar::from((number >> 64) as u64) * Scalar::from(1 << 32).square();
    high + Scalar::from(number as u64)
}

#[test]
fn a_short_multiple_is_the_multiple() {
    let point = g1(&Scalar::from(99));
    for number in [0, 1, 2, 3, 1 << 64, u128::from(u64::MAX), 1 << 127, u128::MAX] {
        assert_eq!(short_multiple(&point, number), (point * scalar(number)).to_affine(), "{number}");
    }
}

#[test]
fn sums_of_short_multiples_are_right_at_every_length_and_with_equal_and_opposite_points() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    for len in [0, 1, 2, 3, 31, 32, 33, 64, 200] {
        let numbers: Vec<u128> = (0..len)
            .map(|place| match place % 5 {
                0 => u128::MAX,
                1 => 1,
                _ => u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64()),
            })
            .collect();
        // Some points are equal and some opposite, with equal factors among them.
        let points: Vec<G1Affine> = (0..len)
            .map(|place| {
                g1(&if place % 3 == 0 { -Scalar::from(5) } else { Scalar::from(place as u64 % 4 + 5) })
            })
            .collect();
        let expected: G1Projective =
            points.iter().zip(&numbers).map(|(point, number)| point * scalar(*number)).sum();
        assert_eq!(sum_of_short_multiples(&points, &numbers), expected.to_affine(), "{len} points");
    }
}
