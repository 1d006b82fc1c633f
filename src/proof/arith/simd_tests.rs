//! The operations on eight elements, of every kind that this processor has, against `blst`, element by element.

#![allow(clippy::unwrap_used)]

use super::fma::Fma;
use super::ifma::Ifma;
use super::packed::{Limbs, Packed, multiple_of_p};
use super::simd::Simd;
use crate::proof::arith::field::BaseField;
use blst::blst_fp;
use blstrs::G1Affine;
use group::Group;
use group::prime::PrimeCurveAffine;
use proptest::prelude::{any, prop_assert_eq, proptest};
use proptest::test_runner::TestCaseResult;

/// Field elements that nobody chose: coordinates of points.
fn elements(seed: u64) -> [blst_fp; 8] {
    let mut point = G1Affine::generator() * blstrs::Scalar::from(seed | 1);
    std::array::from_fn(|_| {
        point = point.double();
        let affine = G1Affine::from(point);
        let raw: &blst::blst_p1_affine = affine.as_ref();
        raw.x
    })
}

fn zip(a: &[blst_fp; 8], b: &[blst_fp; 8], op: impl Fn(&blst_fp, &blst_fp) -> blst_fp) -> [blst_fp; 8] {
    std::array::from_fn(|i| op(&a[i], &b[i]))
}

fn gathered<S: Simd>(simd: S, elements: &[blst_fp; 8]) -> S::Lanes {
    simd.gather(elements.each_ref().map(S::Element::pack).each_ref())
}

fn scattered<S: Simd>(simd: S, lanes: &S::Lanes) -> [blst_fp; 8] {
    simd.scattered(lanes).map(|element| element.unpack())
}

/// Operations on lanes, each with what it is on elements.
fn assert_is_blst<S: Simd<Element: Looked>>(
    simd: Option<S>,
    x: &[blst_fp; 8],
    y: &[blst_fp; 8],
) -> TestCaseResult {
    let Some(simd) = simd else { return Ok(()) };
    let (a, b) = (gathered(simd, x), gathered(simd, y));
    let is = |lanes: S::Lanes, expected: &dyn Fn(&blst_fp, &blst_fp) -> blst_fp| {
        prop_assert_eq!(scattered(simd, &lanes), zip(x, y, expected));
        Ok(())
    };
    let reduced = |lanes: &S::Lanes| simd.weakly_reduced(lanes);
    is(a, &|x, _| *x)?;
    is(simd.mul(&a, &b), &|x, y| x.mul(y))?;
    is(simd.mul_add(&a, &b, &b, &b), &|x, y| x.mul(y).add(&y.square()))?;
    is(reduced(&simd.add(&a, &b)), &|x, y| x.add(y))?;
    is(reduced(&simd.sub::<2>(&a, &b)), &|x, y| x.sub(y))?;
    is(reduced(&simd.sub_twice::<6>(&a, &b, &a)), &|_, y| y.add(y).neg())?;
    is(reduced(&simd.negate_where::<2>(&a, 0xff)), &|x, _| x.neg())?;
    is(reduced(&simd.negate_where::<2>(&a, 0)), &|x, _| *x)?;
    for bounded in [
        reduced(&simd.sub::<1000>(&a, &b)),
        reduced(&simd.sub::<1>(&a, &a)),
        simd.mul(&simd.sub::<250>(&a, &b), &simd.sub::<250>(&b, &a)),
        simd.mul_add(&a, &b, &simd.sub::<100>(&a, &b), &b),
    ] {
        assert_bounded(simd, &bounded);
    }
    is(reduced(&simd.sub::<1000>(&a, &b)), &|x, y| x.sub(y))?;
    // Products of what was not reduced, as large as they are anywhere.
    let wide = simd.sub::<250>(&a, &b);
    is(simd.mul(&wide, &wide), &|x, y| x.sub(y).square())?;
    let wide = simd.sub::<100>(&a, &b);
    is(simd.mul_add(&wide, &wide, &wide, &wide), &|x, y| {
        let square = x.sub(y).square();
        square.add(&square)
    })?;
    let one_by_one = |mask: u8| {
        let negated = scattered(simd, &reduced(&simd.negate_where::<2>(&a, mask)));
        let expected = std::array::from_fn(|i| if mask >> i & 1 == 1 { x[i].neg() } else { x[i] });
        prop_assert_eq!(negated, expected);
        Ok(())
    };
    (0..8).try_for_each(|lane| one_by_one(1 << lane))?;
    let turned = |by: usize, lanes: &S::Lanes| {
        prop_assert_eq!(scattered(simd, lanes), std::array::from_fn(|i| x[(i + by) % 8]));
        Ok(())
    };
    turned(1, &simd.rotated::<1>(&a))?;
    turned(2, &simd.rotated::<2>(&a))?;
    turned(4, &simd.rotated::<4>(&a))?;
    let inverses = simd.inverses(&a).map(|lanes| scattered(simd, &lanes));
    let has_zero = x.iter().any(BaseField::is_zero);
    prop_assert_eq!(inverses, (!has_zero).then(|| x.map(|element| element.invert())));
    Ok(())
}

/// An element in memory whose limbs a test looks at.
trait Looked: Packed + std::fmt::Debug {
    /// Whether limbs are carried, and the whole is below 1.001 p.
    fn is_bounded(&self) -> bool;
}

impl<const BITS: u32> Looked for Limbs<BITS> {
    fn is_bounded(&self) -> bool {
        // The top limb of p has 24 bits or 17: the last of a thousand parts of it is enough to tell.
        let top = multiple_of_p::<BITS>(1)[7];
        self.0.iter().all(|limb| limb >> BITS == 0) && self.0[7] <= top + top / 1000
    }
}

fn assert_bounded<S: Simd<Element: Looked>>(simd: S, lanes: &S::Lanes) {
    for element in simd.scattered(lanes) {
        assert!(element.is_bounded(), "{element:?}");
    }
}

fn packing_keeps<E: Packed>(element: &blst_fp) {
    let packed = E::pack(element);
    assert_eq!(packed.unpack(), *element);
    assert_eq!(packed.negated().unpack(), element.neg());
    assert_eq!(packed.is_zero(), element.is_zero());
}

proptest! {
    #[test]
    fn packing_keeps_the_element(seed in any::<u64>()) {
        for element in elements(seed) {
            packing_keeps::<Limbs<51>>(&element);
            packing_keeps::<Limbs<52>>(&element);
        }
    }

    #[test]
    fn eight_at_a_time_give_what_blst_gives(left in any::<u64>(), right in any::<u64>()) {
        let (left, right) = (elements(left), elements(right));
        assert_is_blst(Ifma::detect(), &left, &right)?;
        assert_is_blst(Fma::detect(), &left, &right)?;
    }
}

#[test]
fn the_extremes_of_the_field_are_those_of_blst() {
    let [one, ..] = elements(3).map(|element| element.mul(&element.invert()));
    let minus_one = one.neg();
    let half = one.add(&one).invert();
    let extremes = [one, minus_one, minus_one, half, one.add(&one), half.neg(), one, minus_one];
    let zeros = [blst_fp::ZERO, one, minus_one, minus_one, blst_fp::ZERO, minus_one, one, blst_fp::ZERO];
    for shift in 0..8 {
        for (left, mut right) in [(extremes, extremes), (extremes, zeros), (zeros, extremes), (zeros, zeros)]
        {
            right.rotate_left(shift);
            assert_is_blst(Ifma::detect(), &left, &right).unwrap();
            assert_is_blst(Fma::detect(), &left, &right).unwrap();
        }
    }
    for extreme in [blst_fp::ZERO, one, minus_one] {
        packing_keeps::<Limbs<51>>(&extreme);
        packing_keeps::<Limbs<52>>(&extreme);
    }
}

/// The element of limbs that are not reduced: Σ limb · 2^(BITS · i), in our Montgomery form.
fn element_of<const BITS: u32>(limbs: &Limbs<BITS>) -> blst_fp {
    let shift = Limbs::<BITS>([0, 1, 0, 0, 0, 0, 0, 0])
        .unpack()
        .mul(&Limbs::<BITS>([1, 0, 0, 0, 0, 0, 0, 0]).unpack().invert());
    limbs.0.iter().rev().fold(blst_fp::ZERO, |sum, limb| {
        sum.mul(&shift).add(&Limbs::<BITS>([*limb, 0, 0, 0, 0, 0, 0, 0]).unpack())
    })
}

/// Limbs that are as large as they can be, which elements that one meets do not have.
fn assert_full_limbs_multiply<const BITS: u32, S: Simd<Element = Limbs<BITS>>>(simd: Option<S>) {
    let Some(simd) = simd else { return };
    let mask = (1 << BITS) - 1;
    // Full limbs below p, below 16 p and below 120 p, which are as large as bounds allow in products of two.
    let full = [1, 16, 120].map(|multiple| {
        Limbs([mask, mask, mask, mask, mask, mask, mask, multiple_of_p::<BITS>(multiple)[7] - 1])
    });
    let sparse = Limbs([mask, 0, mask, 0, mask, 0, mask, 0]);
    let low = Limbs([mask, 0, 0, 0, 0, 0, 0, 0]);
    let values =
        [full[0], sparse, full[1], Limbs([0, 0, 0, 0, 0, 0, mask, 1]), full[2], low, sparse, full[2]];
    let elements = values.each_ref().map(element_of);
    for shift in 0..8 {
        let mut others = values;
        others.rotate_left(shift);
        let other_elements = others.each_ref().map(element_of);
        let (a, b) = (simd.gather(values.each_ref()), simd.gather(others.each_ref()));
        let product = simd.mul(&a, &b);
        assert_eq!(scattered(simd, &product), zip(&elements, &other_elements, |x, y| x.mul(y)));
        let sum = simd.mul_add(&a, &b, &b, &b);
        let expected = zip(&elements, &other_elements, |x, y| x.mul(y).add(&y.square()));
        assert_eq!(scattered(simd, &sum), expected);
        assert_bounded(simd, &product);
        assert_bounded(simd, &sum);
    }
}

/// Numbers at which a quotient changes: n p - 1, n p and n p + 1, where the estimate must not be too large.
fn assert_reduces_at_multiples<const BITS: u32, S: Simd<Element = Limbs<BITS>>>(simd: Option<S>) {
    let Some(simd) = simd else { return };
    let unit = Limbs::<BITS>([1, 0, 0, 0, 0, 0, 0, 0]).unpack();
    for n in 1..1000 {
        let [mut below, at, mut above] = [multiple_of_p::<BITS>(n); 3];
        // Neither carries nor borrows: the lowest limb of no such multiple is at an end of its range.
        assert!(at[0] > 0 && at[0] < (1 << BITS) - 1);
        below[0] -= 1;
        above[0] += 1;
        let numbers = [below, at, above, below, at, above, below, at].map(Limbs);
        let reduced = simd.weakly_reduced(&simd.gather(numbers.each_ref()));
        assert_bounded(simd, &reduced);
        let expected = [unit.neg(), blst_fp::ZERO, unit];
        assert_eq!(scattered(simd, &reduced), std::array::from_fn(|i| expected[i % 3]), "{n} p");
    }
}

#[test]
fn multiples_of_the_modulus_are_taken_away_wherever_a_quotient_changes() {
    assert_reduces_at_multiples::<52, _>(Ifma::detect());
    assert_reduces_at_multiples::<51, _>(Fma::detect());
}

#[test]
fn full_limbs_multiply_as_in_blst() {
    assert_full_limbs_multiply::<52, _>(Ifma::detect());
    assert_full_limbs_multiply::<51, _>(Fma::detect());
}

#[test]
fn zero_has_no_inverse_whether_it_is_written_as_zero_or_as_the_modulus() {
    fn assert_has_none<const BITS: u32, S: Simd<Element = Limbs<BITS>>>(simd: Option<S>) {
        let Some(simd) = simd else { return };
        for zero in [Limbs::ZERO, Limbs(multiple_of_p::<BITS>(1))] {
            assert!(simd.inverses(&simd.everywhere(&zero)).is_none());
        }
    }
    assert_has_none::<52, _>(Ifma::detect());
    assert_has_none::<51, _>(Fma::detect());
}
