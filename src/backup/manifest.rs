//! What a backup says of itself, as JSON in its last part.

use super::container::{FORMAT, PartDigest};
use crate::ledger::{CircuitId, Digest};
use crate::proof::Digest32;
use crate::raft::ImageSummary;
use serde::{Deserialize, Serialize};

/// A manifest is a few kB, more with many circuits; something much larger is not one.
pub(super) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The file's format.
    pub format: u32,
    /// The version of zkpnet that took it.
    pub zkpnet: String,
    /// The cluster that it was taken from.
    pub cluster: String,
    /// The newest entry of the log that is in it, and that entry's term.
    pub applied_index: u64,
    /// See [`Self::applied_index`].
    pub applied_term: u64,
    /// The ledger's hash after that entry: a restored ledger has the same.
    pub state_hash: String,
    /// Tells the data key that the inputs are sealed with from others.
    pub data_key_print: String,
    /// Numbers of the ledger's records and bodies.
    pub records: u64,
    /// See [`Self::records`].
    pub bodies: u64,
    /// The circuits' keys.
    pub keys: Vec<KeyEntry>,
    /// All parts before the manifest, in order.
    pub parts: Vec<PartDigest>,
}

/// The key of a circuit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// The circuit.
    pub circuit: CircuitId,
    /// The digest that names the key.
    pub digest: Digest32,
    /// Whether its file is in the backup.
    pub included: bool,
}

/// Whether the files of keys are part of a backup. They are large, and the same for as long as a circuit exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysIncluded {
    /// They are.
    Yes,
    /// Only their names are.
    No,
}

impl Manifest {
    pub(super) fn new(
        cluster: String,
        image: ImageSummary,
        data_key_print: String,
        keys: KeysIncluded,
        parts: Vec<PartDigest>,
    ) -> Self {
        let included = keys == KeysIncluded::Yes;
        let entry = |(circuit, digest): (CircuitId, Digest)| KeyEntry {
            circuit,
            digest: Digest32::new(digest.0),
            included,
        };
        Self {
            format: FORMAT,
            zkpnet: env!("CARGO_PKG_VERSION").to_owned(),
            cluster,
            applied_index: image.applied.index.0,
            applied_term: image.applied.term.0,
            state_hash: image.state_hash.to_string(),
            data_key_print,
            records: image.records,
            bodies: image.bodies,
            keys: image.circuits.into_iter().map(entry).collect(),
            parts,
        }
    }
}
