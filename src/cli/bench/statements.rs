//! What the submissions of a bench ask to have proved.

use crate::proof::{Bytes32, CircuitInput, CircuitSpec, MerkleWitness};
use anyhow::Context;
use bytes::Bytes;
use serde_json::json;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Paths that are made before the clock starts: hashing one takes half a millisecond, which would count as the service's.
const PATHS: u64 = 64;

/// Makes submissions that no other run makes: trees of two leaves, of which one is a number that is never used again.
pub(super) struct Leaves {
    run: u64,
    next: AtomicU64,
}

impl Leaves {
    pub(super) fn new() -> Self {
        Self { run: random(), next: AtomicU64::new(0) }
    }

    pub(super) fn body(&self) -> Bytes {
        let (run, number) = (self.run, self.next.fetch_add(1, Ordering::Relaxed));
        Bytes::from(format!("{{\"leaves\":[\"0x{run:016x}{number:016x}\",\"0x2\"],\"leaf_index\":0}}"))
    }
}

/// Submissions of full paths for one circuit. They recur, but every request of a bench asks for a new proof.
pub(super) struct Paths {
    inputs: Vec<MerkleWitness>,
    bodies: Vec<Bytes>,
    next: AtomicUsize,
}

impl Paths {
    /// Paths as long as the circuit is deep.
    pub(super) fn of(circuit: &CircuitSpec) -> anyhow::Result<Self> {
        let (run, depth) = (random(), circuit.depth);
        let inputs: Vec<MerkleWitness> = (0..PATHS).map(|number| path(run, number, depth)).collect();
        let bodies = inputs.iter().map(body).collect::<anyhow::Result<_>>()?;
        Ok(Self { inputs, bodies, next: AtomicUsize::new(0) })
    }

    pub(super) fn body(&self) -> Bytes {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.bodies.get(number % self.bodies.len().max(1)).cloned().unwrap_or_default()
    }

    /// The same as the prover takes it.
    pub(super) fn inputs(&self) -> impl Iterator<Item = CircuitInput> + Clone + '_ {
        self.inputs.iter().cloned().map(CircuitInput::MerklePoseidon)
    }
}

/// What a bench of tasks submits.
pub(super) enum Statements {
    /// Trees of two leaves.
    Leaves(Leaves),
    /// Full paths.
    Paths(Paths),
}

impl Statements {
    pub(super) fn body(&self) -> Bytes {
        match self {
            Self::Leaves(leaves) => leaves.body(),
            Self::Paths(paths) => paths.body(),
        }
    }
}

/// A path of small siblings: the prover's work does not depend on how large they are.
fn path(run: u64, number: u64, depth: u32) -> MerkleWitness {
    let mut leaf = [0; 32];
    leaf[..8].copy_from_slice(&run.to_be_bytes());
    leaf[8..16].copy_from_slice(&number.to_be_bytes());
    let sibling = |height: u32| {
        let mut sibling = leaf;
        sibling[0] = 0; // Below the field's modulus.
        sibling[16..20].copy_from_slice(&height.to_be_bytes());
        Bytes32::new(sibling)
    };
    let index = number & ((1 << depth) - 1);
    MerkleWitness { leaf: Bytes32::new(leaf), index, path: (0..depth).map(sibling).collect() }
}

fn body(input: &MerkleWitness) -> anyhow::Result<Bytes> {
    let root = input.root().context("a path of the bench is not one")?;
    let path: Vec<String> = input.path.iter().map(ToString::to_string).collect();
    let body = json!({
        "leaf": input.leaf.to_string(), "leaf_index": input.index, "path": path, "root": root.to_string(),
    });
    Ok(Bytes::from(body.to_string()))
}

/// A number that no other run has: the low half of an id is random.
fn random() -> u64 {
    uuid::Uuid::now_v7().as_u64_pair().1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proof::catalog;

    #[test]
    fn every_path_fills_its_circuit() {
        for circuit in catalog::all() {
            let paths = Paths::of(circuit).unwrap();
            for input in paths.inputs() {
                assert_eq!(input.check(circuit), Ok(()));
                assert_eq!(input.smallest_circuit().unwrap().name, circuit.name);
            }
        }
    }
}
