//! The circuits that zkpnet offers.
//!
//! Owns their names, which are part of the HTTP interface, and what is told about each. A name never changes its
//! meaning: a circuit whose constraints change gets a new constraint digest, and keys of the old one are refused.

use std::fmt;
use std::sync::OnceLock;

use serde::Serialize;

use super::AnyCircuit;
use super::constraints::Shape;

/// What a circuit proves, as `circuit_type` in the HTTP interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitKind {
    /// Knowledge of a leaf of a Merkle tree with a public root.
    MerkleProof,
}

impl CircuitKind {
    /// The name in the HTTP interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            CircuitKind::MerkleProof => "merkle_proof",
        }
    }
}

impl fmt::Display for CircuitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One circuit of the catalogue.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CircuitSpec {
    /// The name by which tasks ask for it.
    pub name: &'static str,
    /// What it proves.
    pub kind: CircuitKind,
    /// Levels of the deepest tree that it takes.
    pub depth: u32,
    /// One sentence for people.
    pub description: &'static str,
    /// Names of the public inputs, in order.
    pub public_inputs: &'static [&'static str],
}

/// Spells the entry of one depth, since a constant cannot be built with `format!`.
macro_rules! merkle_poseidon {
    ($depth:literal) => {
        CircuitSpec {
            name: concat!("merkle-poseidon-", $depth),
            kind: CircuitKind::MerkleProof,
            depth: $depth,
            description: concat!(
                "Knowledge of some leaf of a Poseidon Merkle tree of at most ",
                $depth,
                " levels with the public root"
            ),
            public_inputs: &["merkle_root"],
        }
    };
}

static CIRCUITS: [CircuitSpec; 7] = [
    merkle_poseidon!(4),
    merkle_poseidon!(8),
    merkle_poseidon!(12),
    merkle_poseidon!(16),
    merkle_poseidon!(20),
    merkle_poseidon!(24),
    merkle_poseidon!(32),
];

/// All circuits, the smaller first.
pub fn all() -> &'static [CircuitSpec] {
    &CIRCUITS
}

/// The circuit of this name.
pub fn find(name: &str) -> Option<&'static CircuitSpec> {
    CIRCUITS.iter().find(|circuit| circuit.name == name)
}

/// The smallest Merkle circuit that takes a path of this many elements.
pub fn smallest_depth_for(path_len: usize) -> Option<&'static CircuitSpec> {
    CIRCUITS.iter().find(|circuit| path_len <= circuit.depth as usize)
}

impl CircuitSpec {
    /// Counts and digest of the circuit's constraints, computed at the first call (tens of milliseconds).
    pub fn shape(&self) -> Shape {
        static SHAPES: [OnceLock<Shape>; CIRCUITS.len()] = [const { OnceLock::new() }; CIRCUITS.len()];
        let measure = || Shape::of(AnyCircuit::<blstrs::Scalar>::blank(self));
        match CIRCUITS.iter().position(|circuit| circuit == self) {
            Some(place) => *SHAPES[place].get_or_init(measure),
            None => measure(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_gets_the_smallest_circuit_that_holds_it() {
        let depth_for = |len| smallest_depth_for(len).map(|circuit| circuit.depth);
        let expected = [(0, 4), (4, 4), (5, 8), (8, 8), (9, 12), (17, 20), (24, 24), (25, 32), (32, 32)];
        for (len, depth) in expected {
            assert_eq!(depth_for(len), Some(depth), "for a path of {len}");
        }
        assert_eq!(depth_for(33), None);
    }

    #[test]
    fn every_circuit_is_found_by_its_name_and_no_other() {
        for circuit in all() {
            assert_eq!(find(circuit.name), Some(circuit));
            assert_eq!(circuit.name, format!("merkle-poseidon-{}", circuit.depth));
        }
        assert_eq!(find("merkle-poseidon-5"), None);
        assert_eq!(find("Merkle-Poseidon-4"), None);
    }
}
