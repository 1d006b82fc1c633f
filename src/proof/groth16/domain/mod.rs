//! The quotient polynomial h = (a·b − c) / z of Groth16, by six fast Fourier transforms.
//!
//! a, b and c are given by their values on the n-th roots of unity (n a power of two), where z = X^n − 1 vanishes and
//! where c = a·b, which the caller has checked. Write a·b = low + X^n · high with two polynomials of degree below n. Then
//! h is `high`: subtracting a polynomial of degree below n leaves the same quotient. Modulo X^n − 1 the product is
//! low + high, which is c; modulo X^n + 1 it is low − high. So
//!
//! ```text
//!     h = (c − (a·b mod X^n + 1)) / 2
//! ```
//!
//! and c needs only the way back from values to coefficients: six transforms instead of seven, and no division. a·b
//! modulo X^n + 1 is computed on the odd powers of a 2n-th root of unity ψ, the coset ψ·⟨ψ²⟩.
//!
//! Both kinds of transform walk a binary tree (Bernstein, "Multidigit multiplication for mathematicians", 2001, section 2):
//! node k stands for X^m − t², t = ψ^e(k), and its children 2k and 2k + 1 for the factors X^(m/2) − t and X^(m/2) + t. The
//! tree of X^n − 1 has its root at node 0, that of X^n + 1 at node 1, with one table of the t of both ([`roots`]). Going down
//! (coefficients to values) a pair (x, y) becomes (x + t y, x − t y), going up (2x, 2y) comes from (x + y, (x − y) / t). The
//! whole twist by powers of ψ that a coset would cost is in the table. Values stand in the order of the tree's leaves: value p is the
//! one at the power whose bits are p's reversed. Coefficients are in order.

mod portable;
mod roots;
#[cfg(target_arch = "x86_64")]
mod vector;

use blstrs::Scalar;
use ff::{Field, PrimeField};
use zeroize::Zeroizing;

use self::portable::Portable;
#[cfg(target_arch = "x86_64")]
use self::vector::Vectorised;
use super::matrices::Products;
#[cfg(target_arch = "x86_64")]
use crate::proof::arith::ifma::Ifma;
use crate::proof::msm::{Instructions, Integer};

/// Largest logarithm of a domain's size: 2n-th roots of unity must exist.
pub(super) const LOG_SIZE_MAX: u32 = Scalar::S - 1;

/// The root of the tree of X^n − 1.
const CYCLIC: usize = 0;
/// The root of the tree of X^n + 1.
const NEGACYCLIC: usize = 1;

/// The n-th roots of unity, and what transforms over them need.
pub(super) struct Domain {
    size: usize,
    transforms: Transforms,
}

enum Transforms {
    Portable(Portable),
    #[cfg(target_arch = "x86_64")]
    Vectorised(Vectorised),
}

/// What takes out the factor n that each way from values to coefficients leaves, and halves.
struct Scales {
    /// 1 / 2n, for c.
    c: Scalar,
    /// 1 / 2n³, for the product.
    product: Scalar,
}

impl Domain {
    /// The smallest domain that has room for `rows`; none if that is too large for the field.
    pub(super) fn for_rows(rows: usize, instructions: Instructions) -> Option<Domain> {
        let size = rows.checked_next_power_of_two().filter(|size| size.ilog2() <= LOG_SIZE_MAX)?;
        Some(Domain { size, transforms: Transforms::new(size, instructions) })
    }

    /// Number of roots of unity.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Bytes that the tables hold.
    pub(super) fn bytes(&self) -> u64 {
        match &self.transforms {
            Transforms::Portable(portable) => portable.bytes(),
            #[cfg(target_arch = "x86_64")]
            Transforms::Vectorised(vectorised) => vectorised.bytes(),
        }
    }

    /// Bytes that a quotient takes while it is computed, the products included.
    pub(super) fn quotient_bytes_max(&self) -> u64 {
        // Three times the products, as they come and as the transforms want them, and the coefficients.
        (3 * 32 + 3 * 40 + 32) * self.size as u64
    }

    /// The n − 1 coefficients of h, as integers, from the values of a, b and c = a·b.
    pub(super) fn quotient(&self, products: Products) -> Zeroizing<Vec<Integer>> {
        match &self.transforms {
            Transforms::Portable(portable) => portable.quotient(products),
            #[cfg(target_arch = "x86_64")]
            Transforms::Vectorised(vectorised) => vectorised.quotient(products),
        }
    }
}

impl Transforms {
    fn new(size: usize, instructions: Instructions) -> Transforms {
        #[cfg(target_arch = "x86_64")]
        if instructions == Instructions::Best
            && size >= vector::SIZE_MIN
            && let Some(ifma) = Ifma::detect()
        {
            return Transforms::Vectorised(Vectorised::new(size, ifma));
        }
        let _ = instructions;
        Transforms::Portable(Portable::new(size))
    }
}

impl Scales {
    fn new(log: u32) -> Scales {
        let half = Scalar::TWO_INV;
        let inverse = (0..log).fold(Scalar::ONE, |power, _| power * half);
        Scales { c: half * inverse, product: half * inverse.cube() }
    }
}

/// A scalar as an integer below r.
pub(super) fn integer(scalar: &Scalar) -> Integer {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(scalar.to_bytes_le().as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests;
