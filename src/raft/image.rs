//! The ledger at one applied entry as a run of bytes, for whoever keeps it outside of the cluster. The bytes are a snapshot's
//! ([`super::snapshot`]), so that what is kept is read by the code that reads what members send each other.
//!
//! Taking one stops nobody: it reads a view of the ledger's file that no later write changes. While it is read redb reuses
//! no page that the view holds, so the file grows by what is written meanwhile.

use super::error::{ReadError, StoreError};
use super::ledger_store::CIRCUIT_KIND;
use super::snapshot::{SnapshotReader, SnapshotWriter};
use super::state_hash::PassingHash;
use super::state_machine::FrozenLedger;
use super::types::{ClusterId, LogId, SnapshotMeta};
use crate::codec;
use crate::ledger::{Circuit, CircuitId, Digest, Ledger, LogIndex, LogPosition, Record, Term};
use std::io::{Read, Write};
use std::path::Path;

/// No image can be taken now.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// *Unavailable*: this node cannot tell whether it holds everything that was acknowledged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// *Refused*: there is nothing to take.
    #[error("this node belongs to no cluster yet")]
    NoCluster,
    /// The files failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The ledger at one moment. It keeps the ledger's file open.
#[derive(Debug)]
pub struct LedgerImage {
    frozen: FrozenLedger,
    cluster: ClusterId,
    applied: LogId,
}

/// What an image holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSummary {
    /// The newest entry in it.
    pub applied: LogPosition,
    /// The ledger's hash after that entry.
    pub state_hash: Digest,
    /// Numbers of records and of bodies (sealed inputs and proofs).
    pub records: u64,
    /// See [`Self::records`].
    pub bodies: u64,
    /// The circuits, each with the digest that names its proving key.
    pub circuits: Vec<(CircuitId, Digest)>,
}

impl LedgerImage {
    pub(super) fn new(frozen: FrozenLedger, cluster: Option<ClusterId>) -> Result<Self, ImageError> {
        let applied = frozen.progress.applied;
        match (cluster, applied) {
            (Some(cluster), Some(applied)) => Ok(Self { frozen, cluster, applied }),
            _ => Err(ImageError::NoCluster),
        }
    }

    /// Whose ledger it is.
    #[must_use]
    pub const fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The newest entry in it.
    #[must_use]
    pub fn applied(&self) -> LogPosition {
        position(self.applied)
    }

    /// Writes it out. Blocks for as long as whoever takes it needs.
    ///
    /// # Errors
    /// A record is damaged, the disk fails, or the taker does.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<ImageSummary, StoreError> {
        let progress = &self.frozen.progress;
        let meta = SnapshotMeta {
            last_log_id: progress.applied,
            last_membership: progress.membership.clone(),
            snapshot_id: format!("image-{}", self.applied.index),
        };
        let mut writer = SnapshotWriter::new(out, self.frozen.path(), &meta)?;
        let mut seen = Seen::default();
        self.frozen.export(&mut writer, |key, value| seen.record(key, value))?;
        let counts = writer.counts();
        writer.end()?;
        Ok(seen.summary(self.applied, counts))
    }
}

/// Reads an image to its end and checks all of it; `name` is what errors call it.
///
/// # Errors
/// It is damaged, or its records make no ledger.
pub fn read_image(source: impl Read, name: &Path) -> Result<(ImageSummary, Ledger), StoreError> {
    let mut reader = SnapshotReader::new(source, name)?;
    let mut seen = Seen::default();
    let ledger = reader.validate_each(|key, value| seen.record(key, value))?;
    let counts = reader.counts();
    let refused = || StoreError::Snapshot { file: name.to_owned(), detail: "it ends at no entry".to_owned() };
    let applied = reader.meta().last_log_id.ok_or_else(refused)?;
    Ok((seen.summary(applied, counts), ledger))
}

/// What is gathered from records that pass by.
#[derive(Default)]
struct Seen {
    hash: PassingHash,
    circuits: Vec<(CircuitId, Digest)>,
}

impl Seen {
    fn record(&mut self, key: &[u8], value: &[u8]) {
        self.hash.add(key, value);
        // Only the few circuits are decoded. One that is damaged is found by whoever reads the image.
        if key.first() == Some(&CIRCUIT_KIND)
            && let Ok(Record::Circuit(Circuit { id, proving_key, .. })) = codec::decode(value)
        {
            self.circuits.push((id, proving_key));
        }
    }

    fn summary(self, applied: LogId, (records, bodies): (u64, u64)) -> ImageSummary {
        let (applied, state_hash) = (position(applied), self.hash.digest());
        ImageSummary { applied, state_hash, records, bodies, circuits: self.circuits }
    }
}

fn position(id: LogId) -> LogPosition {
    LogPosition { term: Term(id.leader_id.term), index: LogIndex(id.index) }
}
