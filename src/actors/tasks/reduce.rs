//! From what a client sent to what the circuit needs: a tree of leaves becomes one leaf, its path and the root; the rest
//! is dropped here and stored nowhere.

use super::messages::{Statement, TaskError, TaskOptions};
use crate::ledger::{CircuitId, Digest, TaskId, TenantId};
use crate::proof::{Bytes32, CircuitInput, MerkleError, MerkleWitness};
use crate::sealing::DataKey;
use zeroize::{Zeroize, Zeroizing};

/// A submission, ready to be proposed.
pub(super) struct Reduced {
    pub(super) circuit: CircuitId,
    pub(super) public_inputs: Vec<Digest>,
    pub(super) sealed_input: Vec<u8>,
    pub(super) fingerprint: Digest,
}

/// Leaves of a tree that is hashed in some milliseconds.
pub(super) const QUICK_LEAVES_MAX: usize = 128;

/// Leaves whose hashing takes as long as this statement's; those of a path are as many as its levels.
pub(super) fn weight(statement: &Statement) -> usize {
    match statement {
        Statement::MerkleLeaves { leaves, .. } => leaves.len(),
        Statement::MerklePath { path, .. } => path.len() + 1,
    }
}

/// A submission as the client sent it, under the id that its task will have. Its leaves are wiped when it is dropped.
pub(super) struct Raw {
    pub(super) id: TaskId,
    pub(super) tenant: TenantId,
    pub(super) statement: Statement,
    pub(super) options: TaskOptions,
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Statement::MerkleLeaves { leaves, .. } = &mut self.statement {
            leaves.zeroize();
        }
    }
}

/// Reduces several submissions, whose trees are hashed together. Blocks for as long as that takes: up to seconds for 100,000
/// leaves.
pub(super) fn reduce_all(data_key: &DataKey, all: &[Raw]) -> Vec<Result<Reduced, TaskError>> {
    let witnesses = witnesses(all.iter().map(|raw| &raw.statement));
    witnesses.into_iter().zip(all).map(|(witness, raw)| seal(data_key, raw, witness?)).collect()
}

fn seal(
    data_key: &DataKey,
    Raw { id, tenant, options, .. }: &Raw,
    (witness, root): (MerkleWitness, Bytes32),
) -> Result<Reduced, TaskError> {
    let input = CircuitInput::MerklePoseidon(witness);
    let spec = input
        .smallest_circuit()
        .ok_or_else(|| invalid("path", "is longer than the deepest circuit of this version"))?;
    // What `input.public_inputs()` would hash again; hashing is most of what a submission costs.
    let public_inputs = [root];
    let circuit = CircuitId::new(spec.name).map_err(|error| TaskError::Internal(error.to_string()))?;
    let encoded =
        Zeroizing::new(crate::codec::encode(&input).map_err(|e| TaskError::Internal(e.to_string()))?);
    let sealed_input =
        data_key.seal(*id, &encoded).map_err(|error| TaskError::Internal(error.to_string()))?;
    Ok(Reduced {
        fingerprint: fingerprint(data_key, *tenant, &circuit, &encoded, options),
        circuit,
        public_inputs: public_inputs.iter().map(|input| Digest(*input.as_bytes())).collect(),
        sealed_input,
    })
}

/// The witnesses, and the roots to which they lead.
fn witnesses<'a>(
    statements: impl Iterator<Item = &'a Statement> + Clone,
) -> Vec<Result<(MerkleWitness, Bytes32), TaskError>> {
    let trees = statements.clone().filter_map(|statement| match statement {
        Statement::MerkleLeaves { leaves, leaf_index } => Some((leaves.as_slice(), *leaf_index)),
        Statement::MerklePath { .. } => None,
    });
    let mut opened = MerkleWitness::open_all(&trees.collect::<Vec<_>>()).into_iter();
    let witness = |statement: &Statement| match statement {
        Statement::MerkleLeaves { .. } => match opened.next() {
            Some(opened) => opened.map_err(|error| merkle_error(&error)),
            None => Err(TaskError::Internal("a tree was not built".into())),
        },
        Statement::MerklePath { leaf, leaf_index, path, root } => {
            path_witness(MerkleWitness { leaf: *leaf, index: *leaf_index, path: path.clone() }, *root)
        }
    };
    statements.map(witness).collect()
}

fn path_witness(witness: MerkleWitness, root: Bytes32) -> Result<(MerkleWitness, Bytes32), TaskError> {
    if witness.root().map_err(|error| merkle_error(&error))? != root {
        return Err(invalid("path", "does not lead from the leaf to the root"));
    }
    Ok((witness, root))
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

    fn leaves(count: u8) -> Vec<Bytes32> {
        (0..count).map(|byte| Bytes32::new([byte; 32])).collect()
    }

    #[test]
    fn the_root_that_is_carried_along_is_the_one_that_the_witness_leads_to() {
        let statements: Vec<_> =
            (0..5).map(|leaf_index| Statement::MerkleLeaves { leaves: leaves(5), leaf_index }).collect();
        for witness in witnesses(statements.iter()) {
            let (witness, root) = witness.unwrap();
            assert_eq!(witness.root().unwrap(), root, "leaf {}", witness.index);
        }
    }

    #[test]
    fn statements_that_are_reduced_together_keep_their_places() {
        let (witness, root) = MerkleWitness::open_with_root(&leaves(3), 1).unwrap();
        let path = |root| Statement::MerklePath {
            leaf: witness.leaf,
            leaf_index: witness.index,
            path: witness.path.clone(),
            root,
        };
        let tree = |count, leaf_index| Statement::MerkleLeaves { leaves: leaves(count), leaf_index };
        let statements = [tree(4, 2), path(root), tree(0, 0), path(Bytes32::ZERO), tree(2, 0), tree(2, 2)];
        let outcomes: Vec<_> = witnesses(statements.iter()).into_iter().map(Result::ok).collect();
        let indices: Vec<_> =
            outcomes.iter().map(|outcome| outcome.as_ref().map(|(w, _)| (w.index, w.path.len()))).collect();
        assert_eq!(indices, [Some((2, 2)), Some((1, 2)), None, None, Some((0, 1)), None]);
    }
}
