//! Fixed-base multiples against the curve library's own, at every width and at the edges of the scalars.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use blstrs::G1Affine;
use ff::Field;
use group::Group;
use group::prime::PrimeCurveAffine;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::proof::arith::curve::{G1, G2};

/// 0, 1, the powers of two and their neighbours, the same below the order, both sides of its half, and random ones.
fn scalars() -> Vec<Scalar> {
    let mut positive = vec![Scalar::ZERO, Scalar::ONE, Scalar::from(2).invert().unwrap()];
    for bit in 0..255 {
        let power = Scalar::from(2).pow_vartime([bit]);
        positive.extend([power - Scalar::ONE, power, power + Scalar::ONE]);
    }
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    positive.extend((0..64).map(|_| Scalar::random(&mut rng)));
    let negative: Vec<Scalar> = positive.iter().map(|scalar| -scalar).collect();
    [positive, negative].concat()
}

fn check<C: BlstCurve>(base: &C::Projective, window_bits: usize, scalars: &[Scalar])
where
    C::Projective: for<'a> std::ops::AddAssign<&'a C::Affine>,
{
    let table = FixedBase::<C>::with_window(base, window_bits);
    let mut multiples = vec![C::Affine::generator(); scalars.len()];
    table.multiply(scalars, &mut multiples);
    for (place, (scalar, multiple)) in scalars.iter().zip(&multiples).enumerate() {
        let expected = (*base * scalar).to_affine();
        assert_eq!(*multiple, expected, "scalar {place} with windows of {window_bits} bits");
        assert_eq!(table.multiply_one(scalar).to_affine(), expected, "scalar {place}, alone");
    }
}

#[test]
fn multiples_are_those_of_the_curve_library_at_every_width() {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let (g1, g2) = (blstrs::G1Projective::random(&mut rng), blstrs::G2Projective::random(&mut rng));
    let scalars = scalars();
    let few: Vec<Scalar> = scalars.iter().step_by(17).copied().collect();
    for window_bits in 2..=10 {
        check::<G1>(&g1, window_bits, &few);
        check::<G2>(&g2, window_bits, &few);
    }
    check::<G1>(&g1, 5, &scalars);
    check::<G1>(&g1, WINDOW_BITS_MAX, &few);
}

#[test]
fn multiples_of_the_identity_are_the_identity() {
    check::<G1>(&blstrs::G1Projective::identity(), 4, &scalars());
    check::<G2>(&blstrs::G2Projective::identity(), 3, &scalars()[..100]);
}

#[test]
fn any_number_of_multiples_is_right_to_the_last() {
    let base = blstrs::G1Projective::generator();
    let table = FixedBase::<G1>::new(&base, 100);
    for len in [0, 1, 2, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 1] {
        let scalars: Vec<Scalar> = (0..len as u64).map(|place| Scalar::from(place * place)).collect();
        let mut multiples = vec![G1Affine::generator(); len];
        table.multiply(&scalars, &mut multiples);
        for place in [0, 1, len / 2, len.saturating_sub(2), len.saturating_sub(1)] {
            if let (Some(scalar), Some(multiple)) = (scalars.get(place), multiples.get(place)) {
                assert_eq!(*multiple, (base * scalar).to_affine(), "multiple {place} of {len}");
            }
        }
    }
}

#[test]
fn additions_side_by_side_handle_equal_opposite_and_missing_points() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let [p, q]: [G1Affine; 2] = std::array::from_fn(|_| blstrs::G1Projective::random(&mut rng).to_affine());
    let none = G1Affine::identity();
    let pairs = [(p, q), (p, p), (p, -p), (none, q), (p, none), (none, none), (q, p), (-q, -q)];
    let mut sums: Vec<_> = pairs.iter().map(|(left, _)| G1::coordinates(left)).collect();
    let addends: Vec<_> = pairs.iter().map(|(_, right)| G1::coordinates(right)).collect();
    Additions::with_capacity(pairs.len()).add_all(&mut sums, &addends);
    for ((left, right), sum) in pairs.iter().zip(sums) {
        assert_eq!(G1::point(&sum), (left.to_curve() + right).to_affine());
    }
}

#[test]
fn the_width_grows_with_the_number_of_multiples() {
    let widths: Vec<usize> = [0, 10, 1_000, 100_000, 10_000_000].map(window_bits_for).to_vec();
    assert!(widths.is_sorted() && widths[0] < 5 && widths[4] == WINDOW_BITS_MAX, "{widths:?}");
}
