//! Recording a circuit's constraints, from which [`super::matrices`] are made.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blst::blst_fr;
use blstrs::Scalar;
use ff::Field;

use super::matrices::{Combinations, MINUS_ONE, Matrices, ONE, Term};

/// Marks private variables while recording, when the number of inputs is not known.
const PRIVATE: u32 = 1 << 31;

/// What a row is, while recording.
#[derive(Clone, Copy)]
enum Row {
    Variable(u32),
    Combination(u32),
}

/// Collects constraints.
pub(super) struct Recorder {
    rows: Vec<[Row; 3]>,
    combinations: Combinations,
    /// Places of combinations by their terms' hash.
    known: HashMap<u64, u32>,
    coefficients: Vec<Scalar>,
    places: HashMap<[u64; 4], u32>,
    inputs: usize,
    private: usize,
    /// A number did not fit its place.
    overflow: bool,
}

impl Recorder {
    /// Of nothing but the constant 1.
    pub(super) fn new() -> Recorder {
        let mut recorder = Recorder {
            rows: Vec::new(),
            combinations: Combinations::default(),
            known: HashMap::new(),
            coefficients: Vec::new(),
            places: HashMap::new(),
            // The constant 1.
            inputs: 1,
            private: 0,
            overflow: false,
        };
        let places = [recorder.coefficient(Scalar::ONE), recorder.coefficient(-Scalar::ONE)];
        debug_assert_eq!(places, [ONE, MINUS_ONE]);
        recorder
    }

    fn coefficient(&mut self, coefficient: Scalar) -> u32 {
        let next = self.coefficients.len();
        let place = *self.places.entry(blst_fr::from(coefficient).l).or_insert(next as u32);
        if place as usize == next {
            self.coefficients.push(coefficient);
        }
        place
    }

    fn row(&mut self, combination: &LinearCombination<Scalar>) -> Row {
        let start = self.combinations.terms.len();
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
            let term = Term { variable: index as u32 | mark, coefficient: self.coefficient(*coefficient) };
            self.combinations.terms.push(term);
        }
        let terms = &self.combinations.terms[start..];
        if let [Term { variable, coefficient: ONE }] = *terms {
            self.combinations.terms.truncate(start);
            return Row::Variable(variable);
        }
        let mut hasher = DefaultHasher::new();
        terms.hash(&mut hasher);
        let next = self.combinations.ends.len() as u32;
        let place = *self.known.entry(hasher.finish()).or_insert(next);
        // Two combinations of one hash are both kept, and computed as often as they occur.
        if place != next && self.combinations.terms_of(place as usize) == terms {
            self.combinations.terms.truncate(start);
            return Row::Combination(place);
        }
        self.overflow |= u32::try_from(self.combinations.terms.len()).is_err();
        self.combinations.ends.push(self.combinations.terms.len() as u32);
        Row::Combination(next)
    }

    /// The matrices; none if something cannot be numbered.
    pub(super) fn finish(self) -> Option<Matrices> {
        let Recorder { rows, mut combinations, coefficients, inputs, private, overflow, .. } = self;
        let variables = inputs + private;
        if overflow || variables + combinations.ends.len() > u32::MAX as usize {
            return None;
        }
        let number = |variable: u32| {
            if variable & PRIVATE == 0 { variable } else { (variable & !PRIVATE) + inputs as u32 }
        };
        for term in &mut combinations.terms {
            term.variable = number(term.variable);
        }
        // Marks the variables that occur in a matrix.
        let occurring = |matrix: usize| {
            let mut occurs = vec![false; variables];
            let mut seen = vec![false; combinations.ends.len()];
            for row in &rows {
                match row[matrix] {
                    Row::Variable(variable) => occurs[number(variable) as usize] = true,
                    Row::Combination(place) if !std::mem::replace(&mut seen[place as usize], true) => {
                        for term in combinations.terms_of(place as usize) {
                            occurs[term.variable as usize] = true;
                        }
                    }
                    Row::Combination(_) => {}
                }
            }
            occurs
        };
        let places = |occurs: &[bool]| {
            occurs.iter().zip(0u32..).filter_map(|(occurs, place)| occurs.then_some(place)).collect()
        };
        let (a_private, b_variables) = (places(&occurring(0)[inputs..]), places(&occurring(1)));
        let numbers = |row: Row| match row {
            Row::Variable(variable) => number(variable),
            Row::Combination(place) => variables as u32 + place,
        };
        let rows = rows.iter().map(|row| row.map(numbers)).collect();
        Some(Matrices { rows, combinations, coefficients, inputs, private, a_private, b_variables })
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
        let a = self.row(&a(LinearCombination::zero()));
        let b = self.row(&b(LinearCombination::zero()));
        let c = self.row(&c(LinearCombination::zero()));
        self.rows.push([a, b, c]);
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
