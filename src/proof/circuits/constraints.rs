//! Two constraint systems of our own: one that measures and names a circuit, one that checks a witness.
//!
//! Owns [`Shape`] (counts, and a digest over every constraint in order) and [`first_unsatisfied`]. bellman's prover
//! makes a proof from any assignment, satisfying or not, and nobody learns of it before verification; checking first
//! costs about a hundredth of proving and names the constraint that fails.

use bellman::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use ff::PrimeField;
use sha2::{Digest, Sha256};

use crate::proof::digest::Digest32;
use crate::proof::poseidon::ProofField;

/// Keeps this digest apart from every other use of SHA-256; the version changes with the encoding below.
const DIGEST_DOMAIN: &[u8] = b"zkpnet constraints v1\0";

/// Size and identity of a constraint system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Constraints of the circuit; bellman adds one for each public input and one for the constant.
    pub constraints: u64,
    /// Public inputs, without the constant 1.
    pub public_inputs: u64,
    /// Private variables.
    pub private_variables: u64,
    /// SHA-256 over all constraints in order and the counts.
    pub digest: Digest32,
}

impl Shape {
    /// Measures a circuit; needs no witness.
    pub fn of<F: ProofField, C: Circuit<F>>(circuit: C) -> Shape {
        let mut system = Measuring { hash: Sha256::new_with_prefix(DIGEST_DOMAIN), ..Measuring::default() };
        // Without a witness nothing can be missing: the closures that would say so are never called.
        let outcome = circuit.synthesize(&mut system);
        debug_assert!(outcome.is_ok());
        for count in [system.constraints, system.public_inputs, system.private_variables] {
            system.hash.update(count.to_be_bytes());
        }
        Shape {
            constraints: system.constraints,
            public_inputs: system.public_inputs,
            private_variables: system.private_variables,
            digest: Digest32::new(system.hash.finalize().into()),
        }
    }
}

/// Counts and hashes, and keeps nothing.
#[derive(Default)]
struct Measuring {
    constraints: u64,
    public_inputs: u64,
    private_variables: u64,
    hash: Sha256,
}

impl Measuring {
    /// Number of terms, then `(0 public | 1 private, index, coefficient)` for each, by index.
    fn absorb<F: ProofField>(&mut self, lc: &LinearCombination<F>) {
        let mut terms: Vec<(u8, u64, F)> = Vec::with_capacity(lc.as_ref().len());
        for (variable, coefficient) in lc.as_ref() {
            match variable.get_unchecked() {
                Index::Input(index) => terms.push((0, index as u64, *coefficient)),
                Index::Aux(index) => terms.push((1, index as u64, *coefficient)),
            }
        }
        terms.retain(|(_, _, coefficient)| !coefficient.is_zero_vartime());
        terms.sort_unstable_by_key(|(kind, index, _)| (*kind, *index));
        self.hash.update((terms.len() as u64).to_be_bytes());
        for (kind, index, coefficient) in terms {
            self.hash.update([kind]);
            self.hash.update(index.to_be_bytes());
            let mut bytes = coefficient.to_repr();
            bytes.reverse();
            self.hash.update(bytes);
        }
    }
}

impl<F: ProofField> ConstraintSystem<F> for Measuring {
    type Root = Self;

    fn alloc<V, A, AR>(&mut self, _: A, _: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<F, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        let index = self.private_variables as usize;
        self.private_variables += 1;
        Ok(Variable::new_unchecked(Index::Aux(index)))
    }

    fn alloc_input<V, A, AR>(&mut self, _: A, _: V) -> Result<Variable, SynthesisError>
    where
        V: FnOnce() -> Result<F, SynthesisError>,
        A: FnOnce() -> AR,
        AR: Into<String>,
    {
        // Input 0 is the constant 1.
        self.public_inputs += 1;
        Ok(Variable::new_unchecked(Index::Input(self.public_inputs as usize)))
    }

    fn enforce<A, AR, LA, LB, LC>(&mut self, _: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LB: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LC: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
    {
        self.absorb(&a(LinearCombination::zero()));
        self.absorb(&b(LinearCombination::zero()));
        self.absorb(&c(LinearCombination::zero()));
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

/// The name of the first constraint that the circuit's witness does not satisfy, if there is one.
///
/// # Errors
/// The circuit has no witness.
pub fn first_unsatisfied<F: ProofField, C: Circuit<F> + Clone>(
    circuit: &C,
) -> Result<Option<String>, SynthesisError> {
    let mut quick = Checking::new(None);
    circuit.clone().synthesize(&mut quick)?;
    quick.failed.map(|place| name_of(circuit, place)).transpose()
}

/// The name of a constraint, counted from 0, with its namespaces.
///
/// Names are text and cost more than the arithmetic, so they are made only when one is asked for.
///
/// # Errors
/// The circuit has no witness.
pub fn name_of<F: ProofField, C: Circuit<F> + Clone>(
    circuit: &C,
    place: usize,
) -> Result<String, SynthesisError> {
    let mut naming = Checking::new(Some(place));
    circuit.clone().synthesize(&mut naming)?;
    Ok(naming.name.take().unwrap_or_else(|| format!("constraint {place}")))
}

/// Evaluates each constraint as it comes.
struct Checking<F: ProofField> {
    inputs: Vec<F>,
    aux: Vec<F>,
    constraints: usize,
    failed: Option<usize>,
    /// The constraint whose name is wanted.
    wanted: Option<usize>,
    namespaces: Vec<String>,
    name: Option<String>,
}

impl<F: ProofField> Checking<F> {
    fn new(wanted: Option<usize>) -> Checking<F> {
        Checking {
            inputs: vec![F::ONE],
            aux: Vec::new(),
            constraints: 0,
            failed: None,
            wanted,
            namespaces: Vec::new(),
            name: None,
        }
    }

    fn eval(&self, lc: &LinearCombination<F>) -> F {
        evaluate(lc, &self.inputs, &self.aux)
    }
}

/// The value of a combination under an assignment; a variable without one counts as 0.
pub(super) fn evaluate<F: PrimeField>(lc: &LinearCombination<F>, inputs: &[F], aux: &[F]) -> F {
    let value = |variable: &Variable| match variable.get_unchecked() {
        Index::Input(index) => inputs.get(index).copied().unwrap_or(F::ZERO),
        Index::Aux(index) => aux.get(index).copied().unwrap_or(F::ZERO),
    };
    lc.as_ref().iter().map(|(variable, coefficient)| value(variable) * coefficient).sum()
}

impl<F: ProofField> Drop for Checking<F> {
    fn drop(&mut self) {
        // The assignment is the witness. Copies that the vector left behind as it grew are out of reach.
        self.aux.fill(F::ZERO);
        std::hint::black_box(&mut self.aux);
    }
}

impl<F: ProofField> ConstraintSystem<F> for Checking<F> {
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

    fn enforce<A, AR, LA, LB, LC>(&mut self, annotation: A, a: LA, b: LB, c: LC)
    where
        A: FnOnce() -> AR,
        AR: Into<String>,
        LA: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LB: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
        LC: FnOnce(LinearCombination<F>) -> LinearCombination<F>,
    {
        let place = self.constraints;
        self.constraints += 1;
        if self.wanted == Some(place) {
            let mut name = self.namespaces.join("/");
            if !name.is_empty() {
                name.push('/');
            }
            name.push_str(&annotation().into());
            self.name = Some(name);
        }
        if self.failed.is_none() && self.wanted.is_none() {
            let [a, b, c] =
                [a(LinearCombination::zero()), b(LinearCombination::zero()), c(LinearCombination::zero())];
            if self.eval(&a) * self.eval(&b) != self.eval(&c) {
                self.failed = Some(place);
            }
        }
    }

    fn push_namespace<NR, N>(&mut self, name: N)
    where
        NR: Into<String>,
        N: FnOnce() -> NR,
    {
        if self.wanted.is_some() {
            self.namespaces.push(name().into());
        }
    }

    fn pop_namespace(&mut self) {
        self.namespaces.pop();
    }

    fn get_root(&mut self) -> &mut Self::Root {
        self
    }
}
