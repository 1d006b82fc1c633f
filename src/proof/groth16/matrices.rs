//! A circuit's constraints as three sparse matrices, made once and multiplied with every witness.
//!
//! Owns the products A·w, B·w, C·w and the check that every constraint holds, which falls out of them. Also knows the
//! densities: which variables have a point in the A and B queries of bellman's keys. The rows `x_i · 0 = 0` that Groth16
//! appends for each public input are not stored: they are the inputs themselves. Coefficients are numbers of a table of
//! the distinct ones, in which 1 and −1 have a place of their own, for most are one of the two and cost no multiplication.

use std::collections::HashMap;
use std::ops::Range;

use bellman::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blst::blst_fr;
use blstrs::Scalar;
use ff::Field;
use rayon::prelude::*;

use super::wiped::Wiped;

/// Rows that one task of a product computes: some hundred microseconds of work, so that sharing it costs nothing.
const ROWS_OF_TASK: usize = 2048;

/// The place of coefficient 1 in the table.
const ONE: u32 = 0;
/// The place of coefficient −1.
const MINUS_ONE: u32 = 1;

/// The constraints of a circuit.
pub(super) struct Matrices {
    a: Sparse,
    b: Sparse,
    c: Sparse,
    coefficients: Vec<Scalar>,
    inputs: usize,
    private: usize,
    /// Private variables, counted from 0, that occur in A.
    a_private: Vec<u32>,
    /// Variables, inputs first, that occur in B.
    b_variables: Vec<u32>,
}

/// One matrix, row by row.
#[derive(Default)]
struct Sparse {
    /// Where each row's terms end; they begin where those of the row before end.
    ends: Vec<u32>,
    terms: Vec<Term>,
}

#[derive(Clone, Copy)]
struct Term {
    /// Public inputs count from 0, beginning with the constant 1; private variables follow.
    variable: u32,
    /// Place in the table.
    coefficient: u32,
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
        self.a.ends.len()
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
        let sparse = [&self.a, &self.b, &self.c];
        let of_sparse: usize = sparse.map(|m| 4 * m.ends.len() + 8 * m.terms.len()).iter().sum();
        let lists = 4 * (self.a_private.len() + self.b_variables.len());
        (of_sparse + lists + 32 * self.coefficients.len()) as u64
    }

    /// Multiplies the matrices with an assignment and checks every constraint.
    ///
    /// # Panics
    /// `assignment` has not a value for each variable, or `domain` is too small for the rows.
    pub(super) fn products(&self, assignment: &[Scalar], domain: usize) -> Result<Products, Unsatisfied> {
        assert_eq!(assignment.len(), self.inputs + self.private, "one value a variable");
        let constraints = self.constraints();
        let mut products =
            Products { a: Wiped::zeros(domain), b: Wiped::zeros(domain), c: Wiped::zeros(domain) };
        let a = products.a[..constraints].par_chunks_mut(ROWS_OF_TASK);
        let b = products.b[..constraints].par_chunks_mut(ROWS_OF_TASK);
        let c = products.c[..constraints].par_chunks_mut(ROWS_OF_TASK);
        let failed = a.zip(b).zip(c).enumerate().filter_map(|(task, ((a, b), c))| {
            let first = task * ROWS_OF_TASK;
            let broken = self.rows_from(first, assignment, a, b, c)?;
            Some(first + broken)
        });
        if let Some(constraint) = failed.min() {
            return Err(Unsatisfied { constraint });
        }
        products.a[constraints..constraints + self.inputs].copy_from_slice(&assignment[..self.inputs]);
        Ok(products)
    }

    /// The rows from `first` on, as many as there is room for; the place of the first whose constraint fails.
    fn rows_from(
        &self,
        first: usize,
        assignment: &[Scalar],
        a: &mut [Scalar],
        b: &mut [Scalar],
        c: &mut [Scalar],
    ) -> Option<usize> {
        let value = |sparse: &Sparse, row: usize| {
            let terms = &sparse.terms[sparse.row(row)];
            terms.iter().fold(Scalar::ZERO, |sum, term| {
                let value = assignment[term.variable as usize];
                match term.coefficient {
                    ONE => sum + value,
                    MINUS_ONE => sum - value,
                    place => sum + value * self.coefficients[place as usize],
                }
            })
        };
        let mut broken = None;
        for (place, ((a, b), c)) in a.iter_mut().zip(b).zip(c).enumerate() {
            *a = value(&self.a, first + place);
            *b = value(&self.b, first + place);
            *c = *a * *b;
            if broken.is_none() && *c != value(&self.c, first + place) {
                broken = Some(place);
            }
        }
        broken
    }
}

impl Sparse {
    fn row(&self, row: usize) -> Range<usize> {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        start as usize..self.ends[row] as usize
    }

    /// Marks each variable that occurs.
    fn occurring(&self, variables: usize) -> Vec<bool> {
        let mut occurs = vec![false; variables];
        for term in &self.terms {
            occurs[term.variable as usize] = true;
        }
        occurs
    }
}

/// Collects constraints. Until the number of inputs is known, a private variable has the topmost bit set.
struct Recorder {
    sparse: [Sparse; 3],
    coefficients: Vec<Scalar>,
    places: HashMap<[u64; 4], u32>,
    inputs: usize,
    private: usize,
    /// A number did not fit its place.
    overflow: bool,
}

/// Marks private variables while recording.
const PRIVATE: u32 = 1 << 31;

impl Recorder {
    fn new() -> Recorder {
        let mut recorder = Recorder {
            sparse: Default::default(),
            coefficients: Vec::new(),
            places: HashMap::new(),
            // The constant 1.
            inputs: 1,
            private: 0,
            overflow: false,
        };
        let places = [recorder.place_of(Scalar::ONE), recorder.place_of(-Scalar::ONE)];
        debug_assert_eq!(places, [ONE, MINUS_ONE]);
        recorder
    }

    fn place_of(&mut self, coefficient: Scalar) -> u32 {
        let next = self.coefficients.len();
        let place = *self.places.entry(blst_fr::from(coefficient).l).or_insert(next as u32);
        if place as usize == next {
            self.coefficients.push(coefficient);
        }
        place
    }

    fn record(&mut self, matrix: usize, combination: &LinearCombination<Scalar>) {
        for (variable, coefficient) in combination.as_ref() {
            // bellman's densities pass over a coefficient of zero, too.
            if bool::from(coefficient.is_zero()) {
                continue;
            }
            let (index, mark) = match variable.get_unchecked() {
                Index::Input(index) => (index, 0),
                Index::Aux(index) => (index, PRIVATE),
            };
            self.overflow |= index >= PRIVATE as usize;
            let term = Term { variable: index as u32 | mark, coefficient: self.place_of(*coefficient) };
            self.sparse[matrix].terms.push(term);
        }
        let end = self.sparse[matrix].terms.len();
        self.overflow |= u32::try_from(end).is_err();
        self.sparse[matrix].ends.push(end as u32);
    }

    fn finish(self) -> Option<Matrices> {
        let Recorder { sparse, coefficients, inputs, private, .. } = self;
        if self.overflow || inputs + private > PRIVATE as usize {
            return None;
        }
        let [a, b, c] = sparse.map(|mut sparse| {
            for term in sparse.terms.iter_mut().filter(|term| term.variable & PRIVATE != 0) {
                term.variable = (term.variable & !PRIVATE) + inputs as u32;
            }
            sparse
        });
        let places = |occurs: &[bool]| {
            occurs.iter().zip(0u32..).filter_map(|(occurs, place)| occurs.then_some(place)).collect()
        };
        let a_private = places(&a.occurring(inputs + private)[inputs..]);
        let b_variables = places(&b.occurring(inputs + private));
        Some(Matrices { a, b, c, coefficients, inputs, private, a_private, b_variables })
    }
}

impl ConstraintSystem<Scalar> for Recorder {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, _: A, _: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.private += 1;
        Ok(Variable::new_unchecked(Index::Aux(self.private - 1)))
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, _: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
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
        self.record(0, &a(LinearCombination::zero()));
        self.record(1, &b(LinearCombination::zero()));
        self.record(2, &c(LinearCombination::zero()));
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
