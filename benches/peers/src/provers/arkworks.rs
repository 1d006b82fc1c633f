//! arkworks 0.6. Another field, other traits, other keys: it replays the rows, and has a key file of its own.

use anyhow::{Context, ensure};
use ark_bls12_381::{Bls12_381, Fr};
use ark_ff::{Field, PrimeField, UniformRand};
use ark_groth16::{Groth16, PreparedVerifyingKey, Proof, ProvingKey, prepare_verifying_key};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystem, ConstraintSystemRef, LinearCombination, Matrix,
    OptimizationGoal, R1CS_PREDICATE_LABEL, Result as SynthesisResult, SynthesisMode, Variable,
};
use blstrs::Scalar;
use rand_core::OsRng;

use super::Prover;
use crate::circuits::{Witness, Workload};
use crate::keys::Keys;
use crate::recording::{Recording, Wire};

/// Where a proof's rows come from.
pub(super) enum Rows {
    /// From a circuit, for each proof.
    Synthesised,
    /// From matrices that were made once.
    Cached,
}

/// arkworks' prover with a key.
pub(super) struct Arkworks {
    circuit: Replay,
    matrices: Option<Matrices>,
    proving_key: ProvingKey<Bls12_381>,
    verifying_key: PreparedVerifyingKey<Bls12_381>,
    proof: Option<Proof<Bls12_381>>,
}

/// What a proof from matrices needs.
pub struct Matrices {
    rows: Vec<Matrix<Fr>>,
    /// Constant 1, public inputs, private variables.
    assignment: Vec<Fr>,
    inputs: usize,
    constraints: usize,
}

impl Arkworks {
    pub(super) fn prepare(workload: Workload, keys: &Keys, rows: Rows) -> anyhow::Result<Self> {
        let circuit = Replay::of(workload)?;
        let matrices = match rows {
            Rows::Synthesised => None,
            Rows::Cached => Some(Matrices::of(&circuit)?),
        };
        let proving_key = keys.arkworks(workload)?;
        let verifying_key = prepare_verifying_key(&proving_key.vk);
        Ok(Self { circuit, matrices, proving_key, verifying_key, proof: None })
    }
}

impl Prover for Arkworks {
    fn prove(&mut self) -> anyhow::Result<()> {
        let rng = &mut OsRng;
        let proof = match &self.matrices {
            None => Groth16::<Bls12_381>::create_random_proof_with_reduction(
                &self.circuit,
                &self.proving_key,
                rng,
            ),
            Some(matrices) => matrices.prove(&self.proving_key, Fr::rand(rng), Fr::rand(rng)),
        };
        self.proof = Some(proof?);
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let proof = self.proof.as_ref().context("there is no proof yet")?;
        let verify = |inputs: &[Fr]| Groth16::<Bls12_381>::verify_proof(&self.verifying_key, proof, inputs);
        let mut inputs = self.circuit.0.inputs[1..].to_vec();
        ensure!(verify(&inputs)?, "the proof is false");
        *inputs.first_mut().context("the circuit has no public input")? += Fr::ONE;
        ensure!(!verify(&inputs)?, "the proof holds for other inputs too");
        Ok(())
    }
}

/// Recorded rows as a circuit of arkworks.
pub struct Replay(Recording<Fr, Variable>);

impl Replay {
    /// A workload's rows.
    pub fn of(workload: Workload) -> anyhow::Result<Self> {
        Ok(Self::new(&Recording::of(workload.circuit::<Scalar>(Witness::Known)?)?))
    }

    /// Any rows.
    pub fn new(recording: &Recording<Scalar>) -> Self {
        let variable = |wire: &Wire| match *wire {
            Wire::Input(0) => Variable::One,
            Wire::Input(place) => Variable::instance(place as usize),
            Wire::Aux(place) => Variable::witness(place as usize),
        };
        Self(recording.map(|element| Fr::from_le_bytes_mod_order(&element.to_bytes_le()), variable))
    }
}

impl ConstraintSynthesizer<Fr> for &Replay {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> SynthesisResult<()> {
        for input in &self.0.inputs[1..] {
            let _ = cs.new_input_variable(|| Ok(*input))?;
        }
        for private in &self.0.aux {
            let _ = cs.new_witness_variable(|| Ok(*private))?;
        }
        for [a, b, c] in self.0.rows() {
            let combination = |terms: &[(Fr, Variable)]| LinearCombination(terms.to_vec());
            cs.enforce_r1cs_constraint(|| combination(a), || combination(b), || combination(c))?;
        }
        Ok(())
    }
}

impl Matrices {
    /// As arkworks makes them from the circuit's rows.
    ///
    /// # Errors
    /// arkworks' own.
    pub fn of(circuit: &Replay) -> anyhow::Result<Self> {
        let cs = ConstraintSystem::new_ref();
        cs.set_optimization_goal(OptimizationGoal::Constraints);
        cs.set_mode(SynthesisMode::Prove { construct_matrices: true, generate_lc_assignments: false });
        circuit.generate_constraints(cs.clone())?;
        cs.finalize();
        let rows = cs.to_matrices()?.remove(R1CS_PREDICATE_LABEL).context("arkworks made no matrices")?;
        let assignment = [cs.instance_assignment()?, cs.witness_assignment()?].concat();
        Ok(Self { rows, assignment, inputs: cs.num_instance_variables(), constraints: cs.num_constraints() })
    }

    /// A proof with the given randomness.
    ///
    /// # Errors
    /// arkworks' own.
    pub fn prove(&self, key: &ProvingKey<Bls12_381>, r: Fr, s: Fr) -> SynthesisResult<Proof<Bls12_381>> {
        Groth16::<Bls12_381>::create_proof_with_reduction_and_matrices(
            key,
            r,
            s,
            &self.rows,
            self.inputs,
            self.constraints,
            &self.assignment,
        )
    }
}
