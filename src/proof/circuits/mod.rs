//! What can be proved: the inputs of the circuits, their catalogue, and their constraint systems.
//!
//! Owns the typed form of a task's private input. Refuses inputs that no circuit accepts before anything expensive
//! happens. A witness is a secret: it has no readable `Debug` and is wiped when it is dropped.

pub mod catalog;
pub mod constraints;
pub mod merkle_poseidon;
#[cfg(test)]
pub(crate) mod recording;

use std::fmt;

use bellman::{Circuit, ConstraintSystem, SynthesisError};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use self::catalog::{CircuitKind, CircuitSpec};
use self::merkle_poseidon::MerklePoseidon;
use super::field::Bytes32;
use super::merkle::{self, MerkleError, MerkleTree};
use super::poseidon::ProofField;

/// The private input of one task, for the circuit of the same name.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(rename_all = "snake_case")]
pub enum CircuitInput {
    /// For `merkle-poseidon-<depth>`.
    MerklePoseidon(MerkleWitness),
}

/// A leaf, its place and the siblings on the way to the root.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct MerkleWitness {
    /// The leaf: any 32 bytes.
    pub leaf: Bytes32,
    /// The leaf's place; bit `i` says whether the node at height `i` is a right child.
    pub index: u64,
    /// Siblings, the leaf's own first. Its length is the tree's depth, not the circuit's.
    pub path: Vec<Bytes32>,
}

/// Why a circuit does not take an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InputError {
    /// The opening is not well formed.
    #[error(transparent)]
    Merkle(#[from] MerkleError),
    /// The tree is deeper than the circuit.
    #[error("a path of {len} elements does not fit {circuit}, which has {depth} levels")]
    PathExceedsDepth {
        /// Number of path elements.
        len: usize,
        /// The circuit that was asked for.
        circuit: &'static str,
        /// Levels of that circuit.
        depth: u32,
    },
}

impl MerkleWitness {
    /// Opens the leaf at `index` of the tree of `leaves`.
    ///
    /// # Errors
    /// There is no such tree, or no such leaf.
    pub fn open(leaves: &[Bytes32], index: u64) -> Result<MerkleWitness, MerkleError> {
        Ok(Self::open_with_root(leaves, index)?.0)
    }

    /// The same, with the tree's root, to which the witness leads: known by then, and dear to hash again.
    ///
    /// # Errors
    /// There is no such tree, or no such leaf.
    pub fn open_with_root(leaves: &[Bytes32], index: u64) -> Result<(MerkleWitness, Bytes32), MerkleError> {
        Self::open_in(&MerkleTree::new(leaves)?, leaves, index)
    }

    /// The same for several trees at once, each with its own outcome; see [`MerkleTree::new_all`].
    pub fn open_all(all: &[(&[Bytes32], u64)]) -> Vec<Result<(MerkleWitness, Bytes32), MerkleError>> {
        let leaves: Vec<&[Bytes32]> = all.iter().map(|(leaves, _)| *leaves).collect();
        let trees = MerkleTree::new_all(&leaves).into_iter().zip(all);
        trees.map(|(tree, (leaves, index))| Self::open_in(&tree?, leaves, *index)).collect()
    }

    fn open_in(
        tree: &MerkleTree,
        leaves: &[Bytes32],
        index: u64,
    ) -> Result<(MerkleWitness, Bytes32), MerkleError> {
        let path = tree.path(index)?;
        let leaf = usize::try_from(index).ok().and_then(|place| leaves.get(place)).copied();
        let leaf = leaf.ok_or(MerkleError::IndexOutOfRange { index, leaves: leaves.len() })?;
        Ok((MerkleWitness { leaf, index, path }, tree.root()))
    }

    /// The root to which the witness leads.
    ///
    /// # Errors
    /// The witness is not well formed.
    pub fn root(&self) -> Result<Bytes32, MerkleError> {
        merkle::root_of(&self.leaf, self.index, &self.path)
    }
}

impl CircuitInput {
    /// What the verifier will be told, in the order of the circuit's public inputs.
    ///
    /// # Errors
    /// The input is not well formed.
    pub fn public_inputs(&self) -> Result<Vec<Bytes32>, InputError> {
        match self {
            CircuitInput::MerklePoseidon(witness) => Ok(vec![witness.root()?]),
        }
    }

    /// Checks, without hashing anything, that `circuit` takes this input.
    ///
    /// # Errors
    /// Says what is out of range.
    pub fn check(&self, circuit: &CircuitSpec) -> Result<(), InputError> {
        match (self, circuit.kind) {
            (CircuitInput::MerklePoseidon(witness), CircuitKind::MerkleProof) => {
                merkle::parse_path::<blstrs::Scalar>(witness.index, &witness.path)?;
                let (len, depth) = (witness.path.len(), circuit.depth);
                if len > depth as usize {
                    return Err(InputError::PathExceedsDepth { len, circuit: circuit.name, depth });
                }
                Ok(())
            }
        }
    }

    /// The smallest circuit that proves this input, if there is one.
    pub fn smallest_circuit(&self) -> Option<&'static CircuitSpec> {
        match self {
            CircuitInput::MerklePoseidon(witness) => catalog::smallest_depth_for(witness.path.len()),
        }
    }
}

impl fmt::Debug for CircuitInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CircuitInput::MerklePoseidon(_) => f.write_str("MerklePoseidon(redacted)"),
        }
    }
}

impl fmt::Debug for MerkleWitness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MerkleWitness(redacted)")
    }
}

/// A circuit of the catalogue, with or without a witness, ready for a constraint system.
#[derive(Clone)]
pub enum AnyCircuit<F: ProofField> {
    /// `merkle-poseidon-<depth>`.
    MerklePoseidon(MerklePoseidon<F>),
}

impl<F: ProofField> AnyCircuit<F> {
    /// The circuit alone, as key generation needs it.
    pub fn blank(circuit: &CircuitSpec) -> AnyCircuit<F> {
        match circuit.kind {
            CircuitKind::MerkleProof => {
                AnyCircuit::MerklePoseidon(MerklePoseidon::blank(circuit.depth as usize))
            }
        }
    }

    /// The circuit with a witness.
    ///
    /// # Errors
    /// The circuit does not take this input.
    pub fn with_input(circuit: &CircuitSpec, input: &CircuitInput) -> Result<AnyCircuit<F>, InputError> {
        input.check(circuit)?;
        match input {
            CircuitInput::MerklePoseidon(witness) => {
                let circuit = MerklePoseidon::with_witness(circuit.depth as usize, witness)?;
                Ok(AnyCircuit::MerklePoseidon(circuit))
            }
        }
    }
}

impl<F: ProofField> Circuit<F> for AnyCircuit<F> {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        match self {
            AnyCircuit::MerklePoseidon(circuit) => circuit.synthesize(cs),
        }
    }
}

#[cfg(test)]
#[path = "input_tests.rs"]
mod tests;
