//! Ours, by the product's interface: circuits and keys are bellman's, everything after synthesis is not.

use anyhow::{Context, ensure};
use bellman::groth16::{Parameters, Proof, create_random_proof};
use blstrs::{Bls12, Scalar};
use rand_core::OsRng;
use zkpnet::proof::circuits::constraints::first_unsatisfied;

use super::Prover;
use super::bellman::Statement;
use crate::circuits::{AnyCircuit, Witness, Workload};
use crate::keys::Keys;

/// The product's prover with a key.
pub(super) struct Zkpnet {
    circuit: AnyCircuit<Scalar>,
    parameters: Parameters<Bls12>,
    statement: Statement<Bls12>,
    proof: Option<Proof<Bls12>>,
}

impl Zkpnet {
    pub(super) fn prepare(workload: Workload, keys: &Keys) -> anyhow::Result<Self> {
        let circuit = workload.circuit(Witness::Known)?;
        let parameters = keys.bellman(workload)?;
        let statement = Statement::new(&circuit, &parameters)?;
        Ok(Self { circuit, parameters, statement, proof: None })
    }
}

impl Prover for Zkpnet {
    /// The product checks the witness before it proves, so that counts.
    fn prove(&mut self) -> anyhow::Result<()> {
        ensure!(first_unsatisfied(&self.circuit)?.is_none(), "the witness breaks a constraint");
        self.proof = Some(create_random_proof(self.circuit.clone(), &self.parameters, &mut OsRng)?);
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        self.statement.check(self.proof.as_ref().context("there is no proof yet")?)
    }
}
