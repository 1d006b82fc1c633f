//! Making proofs from a key and a circuit with its witness.
//!
//! Refuses a witness that breaks a constraint, which it names: a proof of it would be false.

use bellman::SynthesisError;
use bellman::groth16::{self, Parameters};
use ff::Field;
use rand_core::{CryptoRng, RngCore};
use thiserror::Error;

use super::ProofEngine;
use super::encoding::ProofBytes;
use crate::proof::circuits::constraints::first_unsatisfied;
use crate::proof::circuits::{AnyCircuit, InputError};

/// Why no proof was made.
#[derive(Debug, Error)]
pub enum ProveError {
    /// The circuit does not take the input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The witness breaks a constraint: a proof of it would be false.
    #[error("the witness does not satisfy constraint {constraint}")]
    Unsatisfied {
        /// Name of the first constraint that fails.
        constraint: String,
    },
    /// bellman could not make the proof, for instance because the key is for another circuit.
    #[error("the prover failed")]
    Synthesis(#[from] SynthesisError),
}

/// Makes a proof with fresh randomness, after checking the witness.
///
/// Runs to its end: bellman offers no point at which it could be interrupted. It spreads over the threads of the
/// process's rayon pool, and must not itself be called on one of them: bellman panics there rather than deadlock.
///
/// # Errors
/// The witness does not satisfy the circuit, or the parameters are not the circuit's.
pub fn prove<E: ProofEngine>(
    parameters: &Parameters<E>,
    circuit: AnyCircuit<E::Fr>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<ProofBytes, ProveError> {
    let (r, s) = (E::Fr::random(&mut *rng), E::Fr::random(&mut *rng));
    prove_with(parameters, circuit, r, s)
}

/// As [`prove`], with the randomness given. Two proofs of different witnesses with the same `r` and `s` tell of
/// the witnesses, so this is not public.
pub(super) fn prove_with<E: ProofEngine>(
    parameters: &Parameters<E>,
    circuit: AnyCircuit<E::Fr>,
    r: E::Fr,
    s: E::Fr,
) -> Result<ProofBytes, ProveError> {
    if let Some(constraint) = first_unsatisfied(&circuit)? {
        return Err(ProveError::Unsatisfied { constraint });
    }
    let proof = groth16::create_proof(circuit, parameters, r, s)?;
    Ok(ProofBytes::from_proof(&proof)?)
}
