//! The kernels against `blst`, element by element.

use super::Ifma;
use super::kernel::{self, Lanes};
use super::packed::{Packed, PackedField, gather, scattered};
use crate::proof::arith::field::BaseField;
use blst::{blst_fp, blst_fp2};
use blstrs::G1Affine;
use group::Group;
use group::prime::PrimeCurveAffine;
use proptest::prelude::{any, proptest};

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

fn packed(elements: &[blst_fp; 8]) -> [Packed; 8] {
    elements.map(|element| {
        let [packed] = element.pack();
        packed
    })
}

fn unpacked(elements: [Packed; 8]) -> [blst_fp; 8] {
    elements.map(|element| blst_fp::unpack(&[element]))
}

fn zip(a: &[blst_fp; 8], b: &[blst_fp; 8], op: impl Fn(&blst_fp, &blst_fp) -> blst_fp) -> [blst_fp; 8] {
    std::array::from_fn(|i| op(&a[i], &b[i]))
}

/// Runs a kernel on packed elements.
fn with_lanes(a: &[blst_fp; 8], b: &[blst_fp; 8], op: fn(&Lanes, &Lanes) -> Lanes) -> [blst_fp; 8] {
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn run(a: &[Packed; 8], b: &[Packed; 8], op: fn(&Lanes, &Lanes) -> Lanes) -> [Packed; 8] {
        let (a, b) = (gather(a.each_ref()), gather(b.each_ref()));
        scattered(&op(&a, &b))
    }
    // SAFETY: callers have seen `Ifma::detect` say yes.
    unpacked(unsafe { run(&packed(a), &packed(b), op) })
}

macro_rules! kernel_test {
    ($(#[$doc:meta])* $name:ident, |$a:ident, $b:ident| $kernel:expr, |$x:ident, $y:ident| $expected:expr) => {
        proptest! {
            #[test]
            fn $name(left in any::<u64>(), right in any::<u64>()) {
                let Some(_) = Ifma::detect() else { return Ok(()) };
                #[target_feature(enable = "avx512f,avx512ifma")]
                fn op($a: &Lanes, $b: &Lanes) -> Lanes { $kernel }
                let op: fn(&Lanes, &Lanes) -> Lanes =
                    // SAFETY: the instructions are there.
                    |a, b| unsafe { op(a, b) };
                let (left, right) = (elements(left), elements(right));
                let expected = zip(&left, &right, |$x, $y| $expected);
                assert!(with_lanes(&left, &right, op) == expected);
            }
        }
    };
}

kernel_test!(products_are_those_of_blst, |a, b| kernel::mul(a, b), |x, y| x.mul(y));
kernel_test!(sums_of_two_products_are_those_of_blst, |a, b| kernel::mul_add(a, b, b, b), |x, y| x
    .mul(y)
    .add(&y.square()));
kernel_test!(
    differences_are_those_of_blst,
    |a, b| kernel::weakly_reduced(&kernel::sub::<2>(a, b)),
    |x, y| x.sub(y)
);
kernel_test!(sums_are_those_of_blst, |a, b| kernel::weakly_reduced(&kernel::add(a, b)), |x, y| x.add(y));
kernel_test!(
    negatives_are_taken_in_the_lanes_of_the_mask_alone,
    |a, b| kernel::weakly_reduced(&kernel::add(
        &kernel::negate_where::<2>(a, 0xff),
        &kernel::negate_where::<2>(b, 0)
    )),
    |x, y| y.sub(x)
);
kernel_test!(
    three_are_taken_away_at_once,
    |a, b| kernel::weakly_reduced(&kernel::sub_twice::<6>(a, b, a)),
    |_x, y| y.add(y).neg()
);
kernel_test!(
    a_large_multiple_of_p_disappears,
    |a, b| {
        let mut sum = kernel::sub::<1000>(a, b);
        sum = kernel::weakly_reduced(&sum);
        sum
    },
    |x, y| x.sub(y)
);

proptest! {
    #[test]
    fn packing_keeps_the_element(seed in any::<u64>()) {
        for element in elements(seed) {
            assert!(blst_fp::unpack(&element.pack()) == element);
            let [packed] = element.pack();
            assert!(blst_fp::unpack(&[packed.negated()]) == element.neg());
        }
    }

    #[test]
    fn packed_inverses_are_those_of_blst(seed in any::<u64>()) {
        let [a, b, ..] = elements(seed);
        let element = blst_fp2 { fp: [a, b] };
        let inverse = blst_fp2::packed_inverse(&element.pack()).map(|inverse| blst_fp2::unpack(&inverse));
        assert!(inverse == Some(element.invert()));
    }
}

#[test]
fn zero_has_no_inverse_whether_it_is_written_as_zero_or_as_the_modulus() {
    assert_eq!(blst_fp::packed_inverse(&[Packed::ZERO]), None);
    let modulus = Packed(kernel::multiple_of_p(1));
    assert_eq!(blst_fp::packed_inverse(&[modulus]), None);
}

#[test]
fn the_extremes_of_the_field_multiply_as_in_blst() {
    let Some(_) = Ifma::detect() else { return };
    let [one, ..] = elements(3).map(|element| element.mul(&element.invert()));
    let minus_one = one.neg();
    let extremes = [blst_fp::ZERO, one, minus_one, minus_one, one.add(&one), minus_one, one, blst_fp::ZERO];
    for shift in 0..8 {
        let mut other = extremes;
        other.rotate_left(shift);
        let op: fn(&Lanes, &Lanes) -> Lanes =
            // SAFETY: the instructions are there.
            |a, b| unsafe { kernel::mul(a, b) };
        assert!(with_lanes(&extremes, &other, op) == zip(&extremes, &other, |x, y| x.mul(y)));
    }
}
