//! bellman 0.14, over either curve. Circuits are native here: they are bellman's.

use ::bellman::groth16::{
    Parameters, PreparedVerifyingKey, Proof, create_random_proof, prepare_verifying_key, verify_proof,
};
use anyhow::{Context, ensure};
use ff::Field;
use pairing::{Engine, MultiMillerLoop};
use rand_core::OsRng;
use zkpnet::proof::poseidon::ProofField;

use super::Prover;
use crate::circuits::{AnyCircuit, Witness, Workload};
use crate::keys::Keys;
use crate::recording::Recording;

/// bellman's prover with a key.
pub(super) struct Bellman<E: MultiMillerLoop + Engine<Fr: ProofField>> {
    circuit: AnyCircuit<E::Fr>,
    parameters: Parameters<E>,
    statement: Statement<E>,
    proof: Option<Proof<E>>,
}

impl<E: MultiMillerLoop + Engine<Fr: ProofField>> Bellman<E> {
    pub(super) fn prepare(workload: Workload, keys: &Keys) -> anyhow::Result<Self> {
        let circuit = workload.circuit(Witness::Known)?;
        let parameters = keys.bellman(workload)?;
        let statement = Statement::new(&circuit, &parameters)?;
        Ok(Self { circuit, parameters, statement, proof: None })
    }
}

impl<E: MultiMillerLoop + Engine<Fr: ProofField>> Prover for Bellman<E> {
    fn prove(&mut self) -> anyhow::Result<()> {
        self.proof = Some(create_random_proof(self.circuit.clone(), &self.parameters, &mut OsRng)?);
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        self.statement.check(self.proof.as_ref().context("there is no proof yet")?)
    }
}

/// What a proof is verified against.
pub(super) struct Statement<E: MultiMillerLoop> {
    key: PreparedVerifyingKey<E>,
    public_inputs: Vec<E::Fr>,
}

impl<E: MultiMillerLoop + Engine<Fr: ProofField>> Statement<E> {
    pub(super) fn new(circuit: &AnyCircuit<E::Fr>, parameters: &Parameters<E>) -> anyhow::Result<Self> {
        let public_inputs = Recording::public_inputs(circuit.clone())?;
        Ok(Self { key: prepare_verifying_key(&parameters.vk), public_inputs })
    }

    /// Refuses a proof that does not hold, and one that holds for other inputs as well.
    pub(super) fn check(&self, proof: &Proof<E>) -> anyhow::Result<()> {
        ensure!(verify_proof(&self.key, proof, &self.public_inputs).is_ok(), "the proof is false");
        let mut other = self.public_inputs.clone();
        *other.first_mut().context("the circuit has no public input")? += E::Fr::ONE;
        ensure!(verify_proof(&self.key, proof, &other).is_err(), "the proof holds for other inputs too");
        Ok(())
    }
}
