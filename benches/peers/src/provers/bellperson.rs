//! bellperson 0.27. It has traits of its own, so it replays the rows; its keys are bellman's.

use ::bellperson::groth16::{
    Parameters, PreparedVerifyingKey, Proof, create_random_proof, prepare_verifying_key, verify_proof,
};
use ::bellperson::{Circuit, ConstraintSystem, Index, LinearCombination, SynthesisError, Variable};
use anyhow::{Context, ensure};
use blstrs::{Bls12, Scalar};
use ff::Field;
use rand_core::OsRng;

use super::Prover;
use crate::circuits::{Witness, Workload};
use crate::keys::{Keys, open};
use crate::recording::{Recording, Wire};

/// Rows with variables as bellperson names them.
type Rows = Recording<Scalar, Variable>;

/// bellperson's prover with a key.
pub(super) struct Bellperson {
    rows: Rows,
    parameters: Parameters<Bls12>,
    key: PreparedVerifyingKey<Bls12>,
    proof: Option<Proof<Bls12>>,
}

impl Bellperson {
    pub(super) fn prepare(workload: Workload, keys: &Keys) -> anyhow::Result<Self> {
        let recording = Recording::of(workload.circuit::<Scalar>(Witness::Known)?)?;
        let rows = recording.map(
            |coefficient| *coefficient,
            |wire| {
                Variable::new_unchecked(match *wire {
                    Wire::Input(place) => Index::Input(place as usize),
                    Wire::Aux(place) => Index::Aux(place as usize),
                })
            },
        );
        let path = keys.bellman_path(workload)?;
        let parameters = Parameters::read(open(&path)?, false)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let key = prepare_verifying_key(&parameters.vk);
        Ok(Self { rows, parameters, key, proof: None })
    }
}

impl Prover for Bellperson {
    fn prove(&mut self) -> anyhow::Result<()> {
        self.proof = Some(create_random_proof(Replay(&self.rows), &self.parameters, &mut OsRng)?);
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let proof = self.proof.as_ref().context("there is no proof yet")?;
        let mut inputs = self.rows.inputs[1..].to_vec();
        ensure!(verify_proof(&self.key, proof, &inputs)?, "the proof is false");
        *inputs.first_mut().context("the circuit has no public input")? += Scalar::ONE;
        ensure!(!verify_proof(&self.key, proof, &inputs)?, "the proof holds for other inputs too");
        Ok(())
    }
}

/// The rows as a circuit.
struct Replay<'a>(&'a Rows);

impl Circuit<Scalar> for Replay<'_> {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        for input in &self.0.inputs[1..] {
            cs.alloc_input(|| "input", || Ok(*input))?;
        }
        for private in &self.0.aux {
            cs.alloc(|| "private", || Ok(*private))?;
        }
        for [a, b, c] in self.0.rows() {
            cs.enforce(|| "row", |lc| sum(lc, a), |lc| sum(lc, b), |lc| sum(lc, c));
        }
        Ok(())
    }
}

fn sum(lc: LinearCombination<Scalar>, terms: &[(Scalar, Variable)]) -> LinearCombination<Scalar> {
    terms.iter().fold(lc, |lc, term| lc + *term)
}
