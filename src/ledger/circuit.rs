//! A registered circuit: what a coordinator must know to have its proofs made and to check them.

use super::ids::{CircuitId, Digest};
use serde::{Deserialize, Serialize};

/// A circuit and the one key that its proofs are made and verified with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    /// The circuit's name.
    pub id: CircuitId,
    /// The digest of the circuit's constraints: another build of the circuit with other constraints is another circuit.
    pub constraint_digest: Digest,
    /// The digest that names the proving key's file.
    pub proving_key: Digest,
    /// The digest of `verifying_key_bytes`.
    pub verifying_key: Digest,
    /// The verifying key in its compressed encoding.
    pub verifying_key_bytes: Vec<u8>,
    /// How many public inputs a proof of it has.
    pub public_inputs: u32,
    /// Who made the key: `dev` for one machine's randomness.
    pub key_origin: Box<str>,
}
