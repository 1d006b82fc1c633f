//! The quotient: equal to what its definition gives, in every size, whichever way it is computed.

#![allow(clippy::unwrap_used)]

use bellman::domain::{EvaluationDomain, Scalar as Element};
use bellman::multicore::Worker;
use ff::{Field, PrimeField};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::*;
use crate::proof::wiped::Wiped;

fn random(rng: &mut impl RngCore, len: usize) -> Vec<Scalar> {
    // Witnesses are full of zeros and ones, and the ends of the range are where carries go wrong.
    let edges = [Scalar::ZERO, Scalar::ONE, -Scalar::ONE, Scalar::TWO_INV];
    (0..len)
        .map(|_| match rng.next_u32() % 8 {
            edge @ 0..4 => edges[edge as usize],
            _ => Scalar::random(&mut *rng),
        })
        .collect()
}

fn products(a: &[Scalar], b: &[Scalar]) -> Products {
    let [mut wa, mut wb, mut wc] = [(); 3].map(|()| Wiped::zeros(a.len()));
    wa.copy_from_slice(a);
    wb.copy_from_slice(b);
    for (c, (a, b)) in wc.iter_mut().zip(a.iter().zip(b)) {
        *c = *a * b;
    }
    Products { a: wa, b: wb, c: wc }
}

/// By every kind of instructions, which must agree.
fn quotient(a: &[Scalar], b: &[Scalar]) -> Vec<Integer> {
    let by =
        |instructions| Domain::for_rows(a.len(), instructions).unwrap().quotient(products(a, b)).to_vec();
    let portable = by(Instructions::Portable);
    assert!(portable == by(Instructions::Best), "the fast quotient of {} values differs", a.len());
    portable
}

fn power(base: Scalar, exponent: usize) -> Scalar {
    base.pow_vartime([exponent as u64])
}

/// Coefficients from values by the definition, one by one.
fn naive_coefficients(values: &[Scalar]) -> Vec<Scalar> {
    let n = values.len();
    let inverse = Scalar::from(n as u64).invert().unwrap();
    let omega = roots::psi(n.ilog2()).square();
    let at = |j: usize| (0..n).map(|i| values[i] * power(omega, (n - i) * j % n)).sum::<Scalar>() * inverse;
    (0..n).map(at).collect()
}

/// The upper half of a·b, multiplied out.
fn naive_quotient(a: &[Scalar], b: &[Scalar]) -> Vec<Integer> {
    let n = a.len();
    let (a, b) = (naive_coefficients(a), naive_coefficients(b));
    let mut product = vec![Scalar::ZERO; 2 * n];
    for i in 0..n {
        for j in 0..n {
            product[i + j] += a[i] * b[j];
        }
    }
    product[n..2 * n - 1].iter().map(integer).collect()
}

/// As bellman's prover does it.
fn bellmans_quotient(a: &[Scalar], b: &[Scalar]) -> Vec<Integer> {
    let worker = Worker::new();
    let on_coset = |values: Vec<Scalar>| {
        let values = values.into_iter().map(Element).collect();
        let mut domain = EvaluationDomain::<Scalar, Element<Scalar>>::from_coeffs(values).unwrap();
        domain.ifft(&worker);
        domain.coset_fft(&worker);
        domain
    };
    let c = a.iter().zip(b).map(|(a, b)| *a * b).collect();
    let mut h = on_coset(a.to_vec());
    h.mul_assign(&worker, &on_coset(b.to_vec()));
    h.sub_assign(&worker, &on_coset(c));
    h.divide_by_z_on_coset(&worker);
    h.icoset_fft(&worker);
    let h = h.into_coeffs();
    h[..h.len() - 1].iter().map(|element| integer(&element.0)).collect()
}

#[test]
fn the_quotient_is_the_upper_half_of_the_product_in_small_sizes() {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    for log in 0..8 {
        let (a, b) = (random(&mut rng, 1 << log), random(&mut rng, 1 << log));
        assert_eq!(quotient(&a, &b), naive_quotient(&a, &b), "2^{log}");
    }
}

#[test]
fn the_quotient_is_bellmans_in_all_sizes_up_to_65536() {
    let mut rng = ChaCha20Rng::seed_from_u64(12);
    for log in 0..=16 {
        let (a, b) = (random(&mut rng, 1 << log), random(&mut rng, 1 << log));
        assert!(quotient(&a, &b) == bellmans_quotient(&a, &b), "2^{log}");
    }
}

#[test]
fn the_largest_values_everywhere_give_the_right_quotient() {
    for log in [1, 6, 9, 13] {
        let largest = vec![-Scalar::ONE; 1 << log];
        assert!(quotient(&largest, &largest) == bellmans_quotient(&largest, &largest));
    }
}

#[test]
fn a_domain_is_the_smallest_power_of_two_with_room() {
    for (rows, size) in [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1024, 1024), (1025, 2048)] {
        assert_eq!(Domain::for_rows(rows, Instructions::Best).unwrap().size(), size);
    }
}

#[test]
fn a_domain_beyond_the_fields_roots_of_unity_is_refused() {
    assert!(Domain::for_rows((1 << LOG_SIZE_MAX) + 1, Instructions::Best).is_none());
    assert!(Domain::for_rows(usize::MAX, Instructions::Best).is_none());
}

#[test]
fn an_integer_is_the_canonical_one() {
    assert_eq!(integer(&Scalar::ZERO), [0; 4]);
    assert_eq!(integer(&Scalar::from(7)), [7, 0, 0, 0]);
    let largest: Vec<u8> = integer(&-Scalar::ONE).iter().flat_map(|word| word.to_le_bytes()).collect();
    assert_eq!(largest, (-Scalar::ONE).to_repr());
}
