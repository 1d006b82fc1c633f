//! From what a client sent to what the circuit needs: a tree of leaves becomes one leaf, its path and the root; the rest
//! is dropped here and stored nowhere.

use super::messages::{Statement, TaskError, TaskOptions};
use crate::ledger::{CircuitId, Digest, TaskId, TenantId};
use crate::proof::{Bytes32, CircuitInput, MerkleError, MerkleWitness};
use crate::sealing::DataKey;
use zeroize::Zeroizing;

/// A submission, ready to be proposed.
pub(super) struct Reduced {
    pub(super) circuit: CircuitId,
    pub(super) public_inputs: Vec<Digest>,
    pub(super) sealed_input: Vec<u8>,
    pub(super) fingerprint: Digest,
}

/// Leaves of a tree that is hashed in some milliseconds.
const QUICK_LEAVES_MAX: usize = 128;

/// Whether reducing takes milliseconds and not seconds.
pub(super) fn is_quick(statement: &Statement) -> bool {
    match statement {
        Statement::MerkleLeaves { leaves, .. } => leaves.len() <= QUICK_LEAVES_MAX,
        Statement::MerklePath { .. } => true,
    }
}

/// Blocks for as long as hashing the tree takes: up to seconds for 100,000 leaves.
pub(super) fn reduce(
    data_key: &DataKey,
    tenant: TenantId,
    id: TaskId,
    statement: Statement,
    options: &TaskOptions,
) -> Result<Reduced, TaskError> {
    let (witness, root) = witness(statement)?;
    let input = CircuitInput::MerklePoseidon(witness);
    let spec = input
        .smallest_circuit()
        .ok_or_else(|| invalid("path", "is longer than the deepest circuit of this version"))?;
    // What `input.public_inputs()` would hash again; hashing is most of what a submission costs.
    let public_inputs = [root];
    let circuit = CircuitId::new(spec.name).map_err(|error| TaskError::Internal(error.to_string()))?;
    let encoded =
        Zeroizing::new(crate::codec::encode(&input).map_err(|e| TaskError::Internal(e.to_string()))?);
    let sealed_input = data_key.seal(id, &encoded).map_err(|error| TaskError::Internal(error.to_string()))?;
    Ok(Reduced {
        fingerprint: fingerprint(data_key, tenant, &circuit, &encoded, options),
        circuit,
        public_inputs: public_inputs.iter().map(|input| Digest(*input.as_bytes())).collect(),
        sealed_input,
    })
}

/// The witness, and the root to which it leads.
fn witness(statement: Statement) -> Result<(MerkleWitness, Bytes32), TaskError> {
    match statement {
        Statement::MerkleLeaves { leaves, leaf_index } => {
            let leaves = Zeroizing::new(leaves);
            MerkleWitness::open_with_root(&leaves, leaf_index).map_err(|error| merkle_error(&error))
        }
        Statement::MerklePath { leaf, leaf_index, path, root } => {
            let witness = MerkleWitness { leaf, index: leaf_index, path };
            if witness.root().map_err(|error| merkle_error(&error))? != root {
                return Err(invalid("path", "does not lead from the leaf to the root"));
            }
            Ok((witness, root))
        }
    }
}

fn invalid(field: &str, reason: &str) -> TaskError {
    TaskError::Invalid { field: field.into(), reason: reason.into() }
}

fn merkle_error(error: &MerkleError) -> TaskError {
    let field = match error {
        MerkleError::IndexOutOfRange { .. } | MerkleError::IndexBeyondPath { .. } => "leaf_index",
        MerkleError::NoLeaves | MerkleError::TooManyLeaves { .. } => "leaves",
        MerkleError::PathTooLong { .. } => "path",
        MerkleError::PathElementNotCanonical { position } => {
            return invalid(&format!("path[{position}]"), "is not below the field's modulus");
        }
    };
    invalid(field, &error.to_string())
}

/// Two requests are equal when they ask for the same proof in the same manner. The parts are written with their lengths,
/// so that no two different requests run together.
fn fingerprint(
    data_key: &DataKey,
    tenant: TenantId,
    circuit: &CircuitId,
    encoded_input: &[u8],
    options: &TaskOptions,
) -> Digest {
    let mut request = Zeroizing::new(Vec::with_capacity(encoded_input.len() + 512));
    let deadline_ms = options.deadline.map(super::super::clock::millis);
    let manner =
        format!("{:?} {deadline_ms:?} {:?} {:?}", options.priority, options.max_attempts, options.summary);
    for part in [circuit.as_str().as_bytes(), encoded_input, manner.as_bytes()] {
        request.extend_from_slice(&(part.len() as u64).to_le_bytes());
        request.extend_from_slice(part);
    }
    data_key.fingerprint(tenant, &request)
}

/// Opens what [`reduce`] sealed.
pub(in crate::actors) fn open(
    data_key: &DataKey,
    id: TaskId,
    sealed: &[u8],
) -> Result<CircuitInput, OpenInputError> {
    let encoded = data_key.open(id, sealed)?;
    Ok(crate::codec::decode(&encoded)?)
}

/// A stored input cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::actors) enum OpenInputError {
    /// It cannot be decrypted.
    #[error(transparent)]
    Sealed(#[from] crate::sealing::OpenError),
    /// It was decrypted and is no input.
    #[error("the stored input cannot be decoded: {0}")]
    Decode(#[from] crate::codec::CodecError),
}

/// The public inputs as the prover's types have them.
pub(in crate::actors) fn as_field_elements(inputs: &[Digest]) -> Vec<Bytes32> {
    inputs.iter().map(|input| Bytes32::new(input.0)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_root_that_is_carried_along_is_the_one_that_the_witness_leads_to() {
        let leaves: Vec<Bytes32> = (0..5).map(|byte| Bytes32::new([byte; 32])).collect();
        for leaf_index in 0..5 {
            let statement = Statement::MerkleLeaves { leaves: leaves.clone(), leaf_index };
            let (witness, root) = witness(statement).unwrap();
            assert_eq!(witness.root().unwrap(), root, "leaf {leaf_index}");
        }
    }
}
