//! The constraints of a circuit as key generation needs them: by rows, with the polynomials of each variable evaluated at
//! a point once the number of constraints, and so the domain, is known.
//!
//! Owns three sparse matrices and the Lagrange polynomials' values. Refuses a circuit of more constraints than the
//! scalar field has a domain for. Assignments are never asked for: a key does not depend on them.

use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blstrs::Scalar;
use ff::{Field, PrimeField};
use rayon::prelude::*;

use crate::proof::wiped::{Wiped, wipe};

/// Elements of the domain that one task computes: enough that the inversion of each task is nothing.
const CHUNK: usize = 4096;

/// One of the matrices A, B and C: a row for each constraint.
#[derive(Default)]
struct Matrix {
    /// Where each row ends in `terms`.
    ends: Vec<usize>,
    terms: Vec<(Index, Scalar)>,
}

impl Matrix {
    fn push(&mut self, row: &LinearCombination<Scalar>) {
        let known = row.as_ref().iter().map(|(variable, factor)| (variable.get_unchecked(), *factor));
        self.terms.extend(known);
        self.ends.push(self.terms.len());
    }

    /// For each variable, the sum over the rows of its factor times the row's value: its polynomial at the point.
    fn evaluate(&self, lagrange: &[Scalar], inputs: usize, private: usize) -> Values {
        let mut values = Values { inputs: vec![Scalar::ZERO; inputs], private: vec![Scalar::ZERO; private] };
        let mut begin = 0;
        for (end, value) in self.ends.iter().zip(lagrange) {
            for (index, factor) in &self.terms[begin..*end] {
                let sum = match index {
                    Index::Input(place) => &mut values.inputs[*place],
                    Index::Aux(place) => &mut values.private[*place],
                };
                if *factor == Scalar::ONE {
                    *sum += value;
                } else {
                    *sum += value * factor;
                }
            }
            begin = *end;
        }
        values
    }
}

/// A value for each variable. Whoever knows enough of these knows the secret point, so that they are wiped.
pub(super) struct Values {
    pub(super) inputs: Vec<Scalar>,
    pub(super) private: Vec<Scalar>,
}

impl Drop for Values {
    fn drop(&mut self) {
        wipe(&mut self.inputs, Scalar::ZERO);
        wipe(&mut self.private, Scalar::ZERO);
    }
}

/// Collects a circuit's constraints.
#[derive(Default)]
pub(super) struct Assembly {
    pub(super) inputs: usize,
    pub(super) private: usize,
    constraints: usize,
    matrices: [Matrix; 3],
}

impl Assembly {
    /// Adds what Groth16 adds: for each input the constraint `input · 0 = 0`, which makes the inputs' polynomials
    /// linearly independent.
    pub(super) fn bind_inputs(&mut self) {
        for input in 0..self.inputs {
            let variable = Variable::new_unchecked(Index::Input(input));
            self.enforce(|| "", |lc| lc + variable, |lc| lc, |lc| lc);
        }
    }

    /// The domain's size as a power of two: the smallest that holds the constraints.
    ///
    /// # Errors
    /// There is no such domain in the scalar field.
    pub(super) fn domain_bits(&self) -> Result<u32, SynthesisError> {
        let bits = self.constraints.next_power_of_two().trailing_zeros();
        // As bellman, which refuses the largest domain, too.
        if bits >= Scalar::S { Err(SynthesisError::PolynomialDegreeTooLarge) } else { Ok(bits) }
    }

    /// The values at the point of each variable's polynomials in A, B and C, from those of the domain's Lagrange
    /// polynomials.
    pub(super) fn evaluate(&self, lagrange: &[Scalar]) -> [Values; 3] {
        let [a, b, c] = &self.matrices;
        let evaluate = |matrix: &Matrix| matrix.evaluate(lagrange, self.inputs, self.private);
        let (a, (b, c)) = rayon::join(|| evaluate(a), || rayon::join(|| evaluate(b), || evaluate(c)));
        [a, b, c]
    }
}

impl ConstraintSystem<Scalar> for Assembly {
    type Root = Self;

    fn alloc<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.private += 1;
        Ok(Variable::new_unchecked(Index::Aux(self.private - 1)))
    }

    fn alloc_input<F, A, AR>(&mut self, _: A, _: F) -> Result<Variable, SynthesisError>
    where
        F: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.inputs += 1;
        Ok(Variable::new_unchecked(Index::Input(self.inputs - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
        let zero = LinearCombination::zero;
        let [in_a, in_b, in_c] = &mut self.matrices;
        in_a.push(&a(zero()));
        in_b.push(&b(zero()));
        in_c.push(&c(zero()));
        self.constraints += 1;
    }

    fn push_namespace<NR, N>(&mut self, _: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
    }

    fn pop_namespace(&mut self) {}

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}

/// `first · ratio^i` for i below `len`.
pub(super) fn powers(first: Scalar, ratio: Scalar, len: usize) -> Wiped {
    let mut values = Wiped::zeros(len);
    values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
        let mut value = first * ratio.pow_vartime([(chunk * CHUNK) as u64]);
        for place in values {
            *place = value;
            value *= ratio;
        }
    });
    values
}

/// The values at `tau` of the Lagrange polynomials of the domain of 2^bits roots of unity.
///
/// L_j(tau) = (tau^m - 1) / m · w^j / (tau - w^j), with the divisions of a chunk in one inversion.
pub(super) fn lagrange(tau: Scalar, bits: u32) -> Wiped {
    let len = 1usize << bits;
    let mut omega = Scalar::ROOT_OF_UNITY;
    for _ in bits..Scalar::S {
        omega = omega.square();
    }
    let len_inverse = (0..bits).fold(Scalar::ONE, |value, _| value * Scalar::TWO_INV);
    let vanishing = tau.pow_vartime([len as u64]) - Scalar::ONE;
    let mut values = powers(Scalar::ONE, omega, len);
    if bool::from(vanishing.is_zero()) {
        // The point is in the domain: one polynomial is 1 there and all others are 0.
        values.iter_mut().for_each(|root| *root = if *root == tau { Scalar::ONE } else { Scalar::ZERO });
        return values;
    }
    let scale = vanishing * len_inverse;
    values.par_chunks_mut(CHUNK).for_each(|roots| {
        let mut prefixes = Wiped::with_capacity(Scalar::ZERO, roots.len());
        let mut inverse = Scalar::ONE;
        for root in roots.iter() {
            prefixes.push(inverse);
            inverse *= tau - root;
        }
        // No factor is 0, since the vanishing polynomial is not 0 at the point.
        inverse = inverse.invert().unwrap_or(Scalar::ZERO);
        for (root, prefix) in roots.iter_mut().zip(&*prefixes).rev() {
            let difference = tau - *root;
            *root *= inverse * prefix * scale;
            inverse *= difference;
        }
    });
    values
}
