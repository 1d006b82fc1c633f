//! A constraint system for tests: keeps constraints and assignment, so that a test can change a value and ask again.

use bellman::{ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use rand_core::RngCore;

use super::constraints::evaluate;
use crate::proof::poseidon::ProofField;

/// See the module.
pub(crate) struct Recording<F: ProofField> {
    pub(crate) inputs: Vec<F>,
    pub(crate) aux: Vec<F>,
    constraints: Vec<[LinearCombination<F>; 3]>,
    names: Vec<String>,
}

impl<F: ProofField> Default for Recording<F> {
    fn default() -> Self {
        Recording { inputs: vec![F::ONE], aux: Vec::new(), constraints: Vec::new(), names: Vec::new() }
    }
}

impl<F: ProofField> Recording<F> {
    pub(crate) fn constraints(&self) -> usize {
        self.constraints.len()
    }

    pub(crate) fn evaluate(&self, lc: &LinearCombination<F>) -> F {
        evaluate(lc, &self.inputs, &self.aux)
    }

    fn holds(&self, constraint: usize) -> bool {
        let [a, b, c] = &self.constraints[constraint];
        self.evaluate(a) * self.evaluate(b) == self.evaluate(c)
    }

    pub(crate) fn is_satisfied(&self) -> bool {
        (0..self.constraints.len()).all(|constraint| self.holds(constraint))
    }

    /// The name of the first constraint that does not hold, without its namespaces.
    pub(crate) fn first_broken(&self) -> Option<&str> {
        let broken = (0..self.constraints.len()).find(|constraint| !self.holds(*constraint))?;
        Some(&self.names[broken])
    }

    /// Private variables that some change leaves unnoticed, of the changes: a random value, plus one, 0, and 1.
    pub(crate) fn unbound_by_changes(&mut self, rng: &mut impl RngCore) -> Vec<usize> {
        assert!(self.is_satisfied(), "changes say something only about a satisfied system");
        let mut uses = vec![Vec::new(); self.aux.len()];
        for (constraint, sides) in self.constraints.iter().enumerate() {
            for (variable, _) in sides.iter().flat_map(|side| side.as_ref()) {
                if let Index::Aux(index) = variable.get_unchecked() {
                    uses[index].push(constraint);
                }
            }
        }
        let mut unbound = Vec::new();
        for (index, uses) in uses.iter().enumerate() {
            let honest = self.aux[index];
            for changed in [F::random(&mut *rng), honest + F::ONE, F::ZERO, F::ONE] {
                self.aux[index] = changed;
                if changed != honest && uses.iter().all(|constraint| self.holds(*constraint)) {
                    unbound.push(index);
                }
            }
            self.aux[index] = honest;
        }
        unbound
    }
}

impl<F: ProofField> ConstraintSystem<F> for Recording<F> {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<F, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.aux.push(value()?);
        Ok(Variable::new_unchecked(Index::Aux(self.aux.len() - 1)))
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<F, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        self.inputs.push(value()?);
        Ok(Variable::new_unchecked(Index::Input(self.inputs.len() - 1)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, name: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LB: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LC: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
    {
        self.names.push(name().into());
        let zero = LinearCombination::zero;
        self.constraints.push([a(zero()), b(zero()), c(zero())]);
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
