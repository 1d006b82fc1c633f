//! Ours, by the product's interface: circuits and keys are bellman's, everything else is not.
//!
//! The prover checks every constraint on the witness before it proves, so that counts; nobody else does it.

use anyhow::Context;
use bellman::groth16::{Parameters, Proof};
use blstrs::{Bls12, Scalar};
use rand_core::OsRng;
use zkpnet::proof::groth16::{Instructions, Prover as Groth16, Stop};

use super::Prover;
use super::bellman::Statement;
use crate::circuits::{AnyCircuit, Witness, Workload};
use crate::keys::Keys;

/// Memory for tables of the key's points: the default of `prover.tables_memory_bytes_max`.
const TABLE_BYTES_MAX: u64 = 512 << 20;

/// Whether multiples of the key's points are computed ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    Without,
    With,
}

/// The product's prover with a key.
pub(super) struct Zkpnet {
    circuit: AnyCircuit<Scalar>,
    prover: Groth16,
    /// The product keeps them too, so they count as memory.
    _parameters: Parameters<Bls12>,
    statement: Statement<Bls12>,
    proof: Option<Proof<Bls12>>,
}

impl Zkpnet {
    pub(super) fn prepare(
        workload: Workload,
        keys: &Keys,
        instructions: Instructions,
        tables: Tables,
    ) -> anyhow::Result<Self> {
        let circuit = workload.circuit(Witness::Known)?;
        let parameters = keys.bellman(workload)?;
        let blank = workload.circuit(Witness::Blank)?;
        let prover = Groth16::with_instructions(blank, &parameters, instructions)?;
        if tables == Tables::With {
            prover.make_tables(&parameters, TABLE_BYTES_MAX);
        }
        let statement = Statement::new(&circuit, &parameters)?;
        Ok(Self { circuit, prover, _parameters: parameters, statement, proof: None })
    }
}

impl Prover for Zkpnet {
    fn prove(&mut self) -> anyhow::Result<()> {
        self.proof = Some(self.prover.prove(self.circuit.clone(), &mut OsRng, &Stop::new())?);
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        self.statement.check(self.proof.as_ref().context("there is no proof yet")?)
    }
}
