//! Assigning the variables of a circuit, and nothing else.
//!
//! The constraints are known since the key was loaded ([`super::matrices`]), so the closures that would build their linear
//! combinations never run. Refuses, by counts, a circuit with other variables than the key's. The values are wiped when
//! they are dropped; there is room for all of them from the start, so no copy is left behind.

use bellman::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use blstrs::Scalar;
use ff::Field;

use crate::proof::wiped::Wiped;

/// The values of a circuit's variables: public inputs first, beginning with the constant 1, then the private ones.
pub(super) struct Assignment {
    values: Wiped,
    inputs: usize,
    assigned_inputs: usize,
    assigned_private: usize,
}

/// Why a circuit's variables have no values.
#[derive(Debug)]
pub(super) enum AssignError {
    /// The circuit could not compute one.
    Synthesis(SynthesisError),
    /// The circuit has not as many variables as expected.
    OtherCircuit,
}

impl Assignment {
    /// Computes the values for a circuit that has `inputs` public inputs, the constant included, and `private` others.
    pub(super) fn of(
        circuit: impl Circuit<Scalar>,
        inputs: usize,
        private: usize,
    ) -> Result<Assignment, AssignError> {
        let mut assignment = Assignment {
            values: Wiped::zeros(inputs + private),
            inputs,
            assigned_inputs: 0,
            assigned_private: 0,
        };
        let synthesised = assignment
            .alloc_input(|| "one", || Ok(Scalar::ONE))
            .and_then(|_| circuit.synthesize(&mut assignment));
        // What is too much was counted and not kept.
        if (assignment.assigned_inputs, assignment.assigned_private) != (inputs, private) {
            return Err(match synthesised {
                Err(error) => AssignError::Synthesis(error),
                Ok(()) => AssignError::OtherCircuit,
            });
        }
        synthesised.map(|()| assignment).map_err(AssignError::Synthesis)
    }

    /// All values.
    pub(super) fn values(&self) -> &[Scalar] {
        &self.values
    }

    /// The public inputs, the constant 1 first.
    pub(super) fn public(&self) -> &[Scalar] {
        &self.values[..self.inputs]
    }
}

impl ConstraintSystem<Scalar> for Assignment {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let index = self.assigned_private;
        let value = value()?;
        if let Some(place) = self.values.get_mut(self.inputs + index) {
            *place = value;
        }
        self.assigned_private += 1;
        Ok(Variable::new_unchecked(Index::Aux(index)))
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, value: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<Scalar, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let index = self.assigned_inputs;
        let value = value()?;
        if let Some(place) = self.values[..self.inputs].get_mut(index) {
            *place = value;
        }
        self.assigned_inputs += 1;
        Ok(Variable::new_unchecked(Index::Input(index)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, _: LA, _: LB, _: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LB: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
        LC: FnOnce(LinearCombination<Scalar>) -> LinearCombination<Scalar>,
    {
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
