//! Field-heavy: a chain of `x^5` over mixtures of the last three results.
//!
//! Owns the shape of hash functions made for proofs: three constraints a round, combinations of four terms, every
//! private variable a random element of the field, so that no prover can skip any of them.

use bellman::{Circuit, ConstraintSystem, LinearCombination, SynthesisError, Variable};
use ff::PrimeField;

use super::{Witness, scrambled, weyl};

/// The circuit: `3 · rounds + 1` constraints, one public input, the last result.
#[derive(Clone)]
pub struct FieldHeavy {
    pub(super) rounds: u64,
    pub(super) witness: Witness,
}

/// A variable and its value, when there is one.
#[derive(Clone, Copy)]
struct Cell<F> {
    variable: Variable,
    value: Option<F>,
}

fn alloc<F: PrimeField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    name: &'static str,
    value: Option<F>,
) -> Result<Cell<F>, SynthesisError> {
    let variable = cs.alloc(|| name, || value.ok_or(SynthesisError::AssignmentMissing))?;
    Ok(Cell { variable, value })
}

/// `a + 3·b + 7·c + constant`.
struct Mixture<F> {
    terms: [(F, Variable); 4],
    value: Option<F>,
}

impl<F: PrimeField> Mixture<F> {
    fn new([a, b, c]: &[Cell<F>; 3], constant: F, one: Variable) -> Self {
        let (three, seven) = (F::from(3), F::from(7));
        let value = a.value.zip(b.value).zip(c.value);
        Self {
            terms: [(F::ONE, a.variable), (three, b.variable), (seven, c.variable), (constant, one)],
            // By additions, as one would write it.
            value: value
                .map(|((a, b), c)| a + b.double() + b + (c.double().double().double() - c) + constant),
        }
    }

    fn add_to(&self, lc: LinearCombination<F>) -> LinearCombination<F> {
        self.terms.iter().fold(lc, |lc, term| lc + *term)
    }
}

impl<F: PrimeField> Circuit<F> for FieldHeavy {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let mut last = [
            alloc(cs, "a", self.witness.value(scrambled(11)))?,
            alloc(cs, "b", self.witness.value(scrambled(12)))?,
            alloc(cs, "c", self.witness.value(scrambled(13)))?,
        ];
        for round in 0..self.rounds {
            let x = Mixture::new(&last, F::from(weyl(round)), CS::one());
            let x2 = alloc(cs, "x2", x.value.map(|x| x.square()))?;
            cs.enforce(|| "x · x = x2", |lc| x.add_to(lc), |lc| x.add_to(lc), |lc| lc + x2.variable);
            let x4 = alloc(cs, "x4", x2.value.map(|x2| x2.square()))?;
            cs.enforce(
                || "x2 · x2 = x4",
                |lc| lc + x2.variable,
                |lc| lc + x2.variable,
                |lc| lc + x4.variable,
            );
            let x5 = alloc(cs, "x5", x4.value.zip(x.value).map(|(x4, x)| x4 * x))?;
            cs.enforce(|| "x4 · x = x5", |lc| lc + x4.variable, |lc| x.add_to(lc), |lc| lc + x5.variable);
            last = [x5, last[0], last[1]];
        }
        let [result, ..] = last;
        let output = cs.alloc_input(|| "output", || result.value.ok_or(SynthesisError::AssignmentMissing))?;
        cs.enforce(|| "output", |lc| lc + result.variable, |lc| lc + CS::one(), |lc| lc + output);
        Ok(())
    }
}
