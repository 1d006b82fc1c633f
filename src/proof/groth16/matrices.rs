//! A circuit's constraints as three sparse matrices, made once and multiplied with every witness.
//!
//! Owns the products A·w, B·w, C·w and the check that every constraint holds, which falls out of them. Also knows the
//! densities: which variables have a point in the A and B queries of bellman's keys. The rows `x_i · 0 = 0` that Groth16
//! appends for each public input are not stored: they are the inputs themselves.
//!
//! Circuits repeat themselves: `x · x = y`, `y · x = z` states the combination x three times, and most rows are one variable. So a
//! row is only the number of a value: of a variable, or of one of the *distinct* combinations, each of which is computed once.
//! Coefficients are numbers in a table of the distinct ones, in which 1 and −1 have places of their own: most are one of
//! the two, and cost no multiplication.

use std::ops::Range;

use bellman::{Circuit, SynthesisError};
use blstrs::Scalar;
use rayon::prelude::*;

use super::recorder::Recorder;
use crate::proof::wiped::Wiped;

/// Rows, or combinations, that one task computes: some ten to hundred microseconds of work.
const TASK_LEN: usize = 1024;

/// The place of coefficient 1 in the table.
pub(super) const ONE: u32 = 0;
/// The place of coefficient −1.
pub(super) const MINUS_ONE: u32 = 1;

/// The constraints of a circuit.
pub(super) struct Matrices {
    /// Of each constraint, the numbers of its three values. Public inputs count from 0, beginning with the constant 1; private
    /// variables follow, then the combinations.
    pub(super) rows: Vec<[u32; 3]>,
    pub(super) combinations: Combinations,
    pub(super) coefficients: Vec<Scalar>,
    pub(super) inputs: usize,
    pub(super) private: usize,
    /// Private variables, counted from 0, that occur in A.
    pub(super) a_private: Vec<u32>,
    /// Variables, inputs first, that occur in B.
    pub(super) b_variables: Vec<u32>,
}

/// Sums of multiples of variables.
#[derive(Default)]
pub(super) struct Combinations {
    /// Where each one's terms end; they begin where those of the one before end.
    pub(super) ends: Vec<u32>,
    pub(super) terms: Vec<Term>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Term {
    pub(super) variable: u32,
    /// Place in the table.
    pub(super) coefficient: u32,
}

/// The products with a witness, of the constraints and of the inputs' rows, padded with zeros.
pub(super) struct Products {
    pub(super) a: Wiped,
    pub(super) b: Wiped,
    pub(super) c: Wiped,
}

/// A constraint that a witness does not satisfy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsatisfied {
    /// Counted from 0, the first of all.
    pub(super) constraint: usize,
}

impl Matrices {
    /// Records the constraints of a circuit, which needs no witness. `None` if they are too many to number.
    pub(super) fn of(circuit: impl Circuit<Scalar>) -> Result<Option<Matrices>, SynthesisError> {
        let mut recorder = Recorder::new();
        circuit.synthesize(&mut recorder)?;
        Ok(recorder.finish())
    }

    /// Constraints of the circuit.
    pub(super) fn constraints(&self) -> usize {
        self.rows.len()
    }

    /// Public inputs, the constant 1 included.
    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Private variables.
    pub(super) fn private(&self) -> usize {
        self.private
    }

    /// Private variables, counted from 0, that have a point in the A query, in order.
    pub(super) fn a_private(&self) -> &[u32] {
        &self.a_private
    }

    /// Variables, inputs first, that have a point in the B queries, in order.
    pub(super) fn b_variables(&self) -> &[u32] {
        &self.b_variables
    }

    /// Bytes that the matrices hold.
    pub(super) fn bytes(&self) -> u64 {
        let combinations = 4 * self.combinations.ends.len() + 8 * self.combinations.terms.len();
        let lists = 4 * (self.a_private.len() + self.b_variables.len());
        (12 * self.rows.len() + combinations + lists + 32 * self.coefficients.len()) as u64
    }

    /// Multiplies the matrices with an assignment and checks every constraint.
    ///
    /// # Panics
    /// `assignment` has not a value for each variable, or `domain` is too small for the rows.
    pub(super) fn products(&self, assignment: &[Scalar], domain: usize) -> Result<Products, Unsatisfied> {
        assert_eq!(assignment.len(), self.inputs + self.private, "one value a variable");
        let combined = self.combine(assignment);
        let value = |number: u32| {
            let number = number as usize;
            number.checked_sub(assignment.len()).map_or_else(|| assignment[number], |place| combined[place])
        };
        let constraints = self.constraints();
        let mut products =
            Products { a: Wiped::zeros(domain), b: Wiped::zeros(domain), c: Wiped::zeros(domain) };
        let rows = self.rows.par_iter().enumerate().with_min_len(TASK_LEN);
        let [a, b, c] = [&mut products.a, &mut products.b, &mut products.c]
            .map(|values| values[..constraints].par_iter_mut());
        let failed = rows.zip(a.zip(b).zip(c)).filter_map(|((constraint, row), ((a, b), c))| {
            let [in_a, in_b, in_c] = row.map(value);
            (*a, *b, *c) = (in_a, in_b, in_a * in_b);
            (*c != in_c).then_some(constraint)
        });
        if let Some(constraint) = failed.min() {
            return Err(Unsatisfied { constraint });
        }
        products.a[constraints..constraints + self.inputs].copy_from_slice(&assignment[..self.inputs]);
        Ok(products)
    }

    /// The values of the combinations.
    fn combine(&self, assignment: &[Scalar]) -> Wiped {
        let mut values = Wiped::zeros(self.combinations.ends.len());
        values.par_iter_mut().enumerate().with_min_len(TASK_LEN).for_each(|(place, value)| {
            for term in self.combinations.terms_of(place) {
                let variable = assignment[term.variable as usize];
                match term.coefficient {
                    ONE => *value += variable,
                    MINUS_ONE => *value -= variable,
                    place => *value += variable * self.coefficients[place as usize],
                }
            }
        });
        values
    }
}

impl Combinations {
    fn range(&self, place: usize) -> Range<usize> {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[place] as usize
    }

    /// The terms of one.
    pub(super) fn terms_of(&self, place: usize) -> &[Term] {
        &self.terms[self.range(place)]
    }
}
