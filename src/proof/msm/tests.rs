//! Multiplications by both adders, with tables and without, against the sum of one-by-one products and against `blst`'s.

#![allow(clippy::unwrap_used)]

use super::{Bases, Instructions, Integer, MsmCurve};
use crate::proof::arith::curve::{G1, G2};
use blstrs::{G1Projective, Scalar};
use ff::{Field, PrimeField};
use group::prime::PrimeCurveAffine;
use group::{Curve as _, Group};
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
use proptest::test_runner::Config;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

fn integers(scalars: &[Scalar]) -> Vec<Integer> {
    let integer = |scalar: &Scalar| {
        let bytes = scalar.to_bytes_le();
        std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().unwrap()))
    };
    scalars.iter().map(integer).collect()
}

/// `count` points in no pattern.
fn points<C: MsmCurve>(count: usize, seed: u64) -> Vec<C::Affine> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut point = C::Projective::random(&mut rng);
    let step = C::Projective::random(&mut rng);
    (0..count)
        .map(|i| {
            point = if i % 7 == 0 { point.double() } else { point + step };
            point.to_affine()
        })
        .collect()
}

fn naive<C: MsmCurve>(points: &[C::Affine], scalars: &[Scalar]) -> C::Projective {
    points.iter().zip(scalars).map(|(point, scalar)| *point * scalar).sum()
}

/// The same product in every way there is.
fn assert_every_way_gives<C: MsmCurve>(points: &[C::Affine], scalars: &[Scalar], expected: &C::Projective) {
    let integers = integers(scalars);
    for instructions in [Instructions::Best, Instructions::Avx2, Instructions::Portable] {
        let bases = Bases::<C>::new(points, instructions);
        assert!(bases.of_now().multiply(&integers) == *expected, "{instructions:?}");
        for bytes_max in [1 << 13, 1 << 26] {
            bases.make_tables(points, instructions, bytes_max, &|| {});
            assert!(
                bases.of_now().multiply(&integers) == *expected,
                "{instructions:?}, tables of {bytes_max} bytes"
            );
        }
    }
}

/// The powers of |z|, by which points have images.
fn powers_of_z() -> [Scalar; 4] {
    let z = Scalar::from(0xd201_0000_0001_0000);
    [Scalar::ONE, z, z.square(), z.square() * z]
}

/// Scalars at which digits, signs, windows and parts change.
fn edge_scalar() -> impl Strategy<Value = Scalar> {
    let power = (0u64..255).prop_map(|exponent| Scalar::from(2).pow_vartime([exponent]));
    let near_power_of_z = (1usize..4, any::<bool>(), 0u64..3).prop_map(|(exponent, is_half, more)| {
        let power = powers_of_z()[exponent];
        let power = if is_half { power * Scalar::TWO_INV } else { power };
        power + Scalar::from(more) - Scalar::ONE
    });
    prop_oneof![
        near_power_of_z.clone(),
        near_power_of_z.prop_map(|scalar| -scalar),
        Just(Scalar::ZERO),
        Just(Scalar::ONE),
        Just(-Scalar::ONE),
        Just(Scalar::TWO_INV),
        Just(-Scalar::TWO_INV),
        power.clone(),
        power.clone().prop_map(|power| power - Scalar::ONE),
        power.prop_map(|power| -power),
        any::<u16>().prop_map(|small| Scalar::from(u64::from(small))),
        any::<u64>().prop_map(|word| -Scalar::from(word)),
        any::<[u64; 4]>()
            .prop_map(|words| words.iter().fold(Scalar::ONE, |acc, word| acc.square() + Scalar::from(*word))),
    ]
}

/// Bases that collide: repeated, opposite and infinite ones among others, and such as are images of others.
fn colliding<C: MsmCurve>(choices: &[u8]) -> Vec<C::Affine> {
    let few = points::<C>(4, 5);
    let pick = |choice: &u8| match choice % 14 {
        i @ 0..=3 => few[usize::from(i)],
        i @ 4..=7 => (-few[usize::from(i - 4)].to_curve()).to_affine(),
        8 => C::Affine::identity(),
        i @ 9..=12 => (few[0] * powers_of_z()[usize::from(i - 9)] * -Scalar::ONE).to_affine(),
        _ => few[0],
    };
    choices.iter().map(pick).collect()
}

proptest! {
    #![proptest_config(Config::with_cases(24))]

    #[test]
    fn edge_scalars_in_g1(scalars in prop::collection::vec(edge_scalar(), 0..70)) {
        let points = points::<G1>(scalars.len(), 1);
        assert_every_way_gives::<G1>(&points, &scalars, &naive::<G1>(&points, &scalars));
    }

    #[test]
    fn edge_scalars_in_g2(scalars in prop::collection::vec(edge_scalar(), 0..40)) {
        let points = points::<G2>(scalars.len(), 2);
        assert_every_way_gives::<G2>(&points, &scalars, &naive::<G2>(&points, &scalars));
    }

    #[test]
    fn repeated_opposite_and_infinite_points_in_g1(
        terms in prop::collection::vec((any::<u8>(), edge_scalar()), 0..200)
    ) {
        let (choices, scalars): (Vec<u8>, Vec<Scalar>) = terms.into_iter().unzip();
        let points = colliding::<G1>(&choices);
        assert_every_way_gives::<G1>(&points, &scalars, &naive::<G1>(&points, &scalars));
    }

    #[test]
    fn repeated_opposite_and_infinite_points_in_g2(
        terms in prop::collection::vec((any::<u8>(), edge_scalar()), 0..80)
    ) {
        let (choices, scalars): (Vec<u8>, Vec<Scalar>) = terms.into_iter().unzip();
        let points = colliding::<G2>(&choices);
        assert_every_way_gives::<G2>(&points, &scalars, &naive::<G2>(&points, &scalars));
    }
}

#[test]
fn lengths_around_powers_of_two_agree_with_blst() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for length in [0, 1, 2, 3, 7, 8, 9, 255, 256, 257, 2047, 2048, 2049] {
        let points = points::<G1>(length, 4);
        let scalars: Vec<Scalar> = (0..length).map(|_| Scalar::random(&mut rng)).collect();
        let projective: Vec<G1Projective> = points.iter().map(PrimeCurveAffine::to_curve).collect();
        let expected = if length == 0 {
            G1Projective::identity()
        } else {
            G1Projective::multi_exp(&projective, &scalars)
        };
        assert_every_way_gives::<G1>(&points, &scalars, &expected);
    }
}

#[test]
fn a_bucket_too_large_for_one_task_is_summed_in_pieces() {
    let points = points::<G1>(70_000, 6);
    let scalars: Vec<Scalar> = (0..points.len()).map(|i| Scalar::from(u64::from(i % 11 != 0))).collect();
    let expected: G1Projective = points
        .iter()
        .zip(&scalars)
        .filter(|(_, s)| **s == Scalar::ONE)
        .map(|(point, _)| point.to_curve())
        .sum();
    let bases = Bases::<G1>::new(&points, Instructions::Best);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(
            pool.install(|| bases.of_now().multiply(&integers(&scalars))) == expected,
            "{threads} threads"
        );
    }
}

#[test]
fn many_equal_points_with_equal_scalars_are_doubled() {
    let points = vec![points::<G1>(1, 7)[0]; 5000];
    let scalars = vec![-Scalar::from(12_345_678_901_234_567); 5000];
    let expected = points[0] * (scalars[0] * Scalar::from(5000));
    assert_every_way_gives::<G1>(&points, &scalars, &expected);
}

#[test]
fn scalars_that_are_missing_count_as_zero() {
    let points = points::<G1>(20, 8);
    let scalars: Vec<Scalar> = (1..=12u64).map(Scalar::from).collect();
    let bases = Bases::<G1>::new(&points, Instructions::Best);
    assert!(bases.of_now().multiply(&integers(&scalars)) == naive::<G1>(&points[..12], &scalars));
}

#[test]
fn tables_stay_within_their_bytes_and_can_be_dropped() {
    let points = points::<G1>(100, 9);
    let bases = Bases::<G1>::new(&points, Instructions::Best);
    let (plain, none) = bases.bytes();
    assert_eq!(none, 0);
    let announced = bases.tables_bytes_for(5 * plain);
    let pauses = std::cell::Cell::new(0);
    bases.make_tables(&points, Instructions::Best, 5 * plain, &|| pauses.set(pauses.get() + 1));
    let (_, tables) = bases.bytes();
    assert_eq!(tables, announced);
    assert!(pauses.get() > 1, "a pause now and then");
    assert!((2 * plain..=5 * plain).contains(&tables), "{tables} bytes");
    bases.drop_tables();
    assert_eq!(bases.bytes(), (plain, 0));
    assert_eq!(bases.tables_bytes_for(plain), 0);
    bases.make_tables(&points, Instructions::Best, plain, &|| {});
    assert_eq!(bases.bytes(), (plain, 0), "as many points as there are save nothing");
}
