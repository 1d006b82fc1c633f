//! Why a key cannot prove, and why a proof was not made.

use bellman::SynthesisError;
use thiserror::Error;

use crate::proof::circuits::InputError;

/// Why a key cannot be made ready for proofs of a circuit.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The circuit could not state its constraints.
    #[error("the circuit does not state its constraints")]
    Synthesis(#[from] SynthesisError),
    /// The circuit has more constraints or terms than can be numbered, or than the field has roots of unity for.
    #[error("the circuit is too large")]
    TooLarge,
    /// The key has not the points that the circuit asks for.
    #[error(
        "the key is for another circuit: its query {query} has {found} points, the circuit needs {expected}"
    )]
    OtherCircuit {
        /// Name of the query.
        query: &'static str,
        /// Number of points in the key.
        found: usize,
        /// Number that the circuit needs.
        expected: usize,
    },
    /// Delta is the identity: proofs would tell of the witness.
    #[error("point {point} of the key is the identity")]
    Identity {
        /// Name of the point.
        point: &'static str,
    },
}

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
    /// The circuit could not compute a variable's value.
    #[error("the witness cannot be computed")]
    Synthesis(#[from] SynthesisError),
    /// The circuit has not the variables of the circuit that the key was made ready for.
    #[error("the circuit is not the one that the key was made ready for")]
    OtherCircuit,
    /// The key is not fit for proofs.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// Somebody wished it. See [`super::Stop`].
    #[error("the proof was given up")]
    Stopped,
    /// The finished proof does not verify: this machine computes wrongly, or this program does.
    #[error("the finished proof does not verify and is withheld")]
    WrongProof,
}
