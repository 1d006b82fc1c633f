//! The ledger as records: the form in which the state machine keeps it on disk and in snapshots. Every index is derived,
//! so that a restored ledger cannot disagree with itself.

use super::circuit::Circuit;
use super::ids::{CircuitId, LogIndex, TaskId, UnixMillis, WorkerId};
use super::outbox::{ArchiveState, OutboxEntry};
use super::policy::Policy;
use super::state::{Counters, Ledger};
use super::task::Task;
use super::worker::Worker;
use serde::{Deserialize, Serialize};

/// The name of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RecordKey {
    /// What there is one of: policy, clock, counters.
    Meta,
    /// A circuit.
    Circuit(CircuitId),
    /// A worker.
    Worker(WorkerId),
    /// A task.
    Task(TaskId),
    /// How far the archive is, once there was one.
    Archive,
    /// What stands at a position of the outbox.
    Outbox(u64),
}

/// What there is one of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The limits.
    pub(crate) policy: Policy,
    /// The largest leader's clock seen.
    pub(crate) now: UnixMillis,
    /// The last applied entry.
    pub(crate) applied: LogIndex,
    /// The sequence number of the latest submission.
    pub(crate) sequence: u64,
    /// Running totals.
    pub(crate) counters: Counters,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// See [`RecordKey::Meta`].
    Meta(Meta),
    /// A circuit.
    Circuit(Circuit),
    /// A worker.
    Worker(Worker),
    /// A task.
    Task(Box<Task>),
    /// See [`RecordKey::Archive`].
    Archive(ArchiveState),
    /// Something that the archive is to be told.
    Outbox(OutboxEntry),
}

impl Record {
    /// The record's name.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        match self {
            Self::Meta(_) => RecordKey::Meta,
            Self::Circuit(circuit) => RecordKey::Circuit(circuit.id.clone()),
            Self::Worker(worker) => RecordKey::Worker(worker.id.clone()),
            Self::Task(task) => RecordKey::Task(task.id),
            Self::Archive(_) => RecordKey::Archive,
            Self::Outbox(entry) => RecordKey::Outbox(entry.position),
        }
    }
}

/// The records do not make a ledger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A record appears twice.
    #[error("record {0:?} appears twice")]
    Duplicate(RecordKey),
    /// There are records, but not the one of which there must be one.
    #[error("there is no meta record")]
    MetaMissing,
    /// The records contradict one another.
    #[error(transparent)]
    Inconsistent(#[from] super::invariants::InvariantViolation),
}

impl Ledger {
    /// The record of that name, as it is now.
    #[must_use]
    pub fn record(&self, key: &RecordKey) -> Option<Record> {
        match key {
            RecordKey::Meta => Some(Record::Meta(self.meta.clone())),
            RecordKey::Circuit(id) => self.circuits.get(id).cloned().map(Record::Circuit),
            RecordKey::Worker(id) => self.workers.get(id).cloned().map(Record::Worker),
            RecordKey::Task(id) => self.tasks.get(id).cloned().map(|task| Record::Task(Box::new(task))),
            RecordKey::Archive => {
                let state = &self.outbox.state;
                (*state != ArchiveState::default()).then(|| Record::Archive(state.clone()))
            }
            RecordKey::Outbox(position) => {
                let item = self.outbox.entries.get(position).cloned()?;
                Some(Record::Outbox(OutboxEntry { position: *position, item }))
            }
        }
    }

    /// All records, in the order of their keys.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        std::iter::once(Record::Meta(self.meta.clone()))
            .chain(self.circuits.values().cloned().map(Record::Circuit))
            .chain(self.workers.values().cloned().map(Record::Worker))
            .chain(self.tasks.values().cloned().map(|task| Record::Task(Box::new(task))))
            .chain(self.record(&RecordKey::Archive))
            .chain(self.outbox.entries.iter().map(|(position, item)| {
                Record::Outbox(OutboxEntry { position: *position, item: item.clone() })
            }))
    }

    /// A ledger from its records, in any order; a new one from none.
    ///
    /// # Errors
    /// When a record appears twice, when the meta record is not among them, or when the records break an invariant.
    pub fn restore(records: impl IntoIterator<Item = Record>) -> Result<Self, RestoreError> {
        let mut ledger = Self::default();
        let mut has_meta = false;
        for record in records {
            let key = record.key();
            let is_new = match record {
                Record::Meta(meta) => {
                    ledger.meta = meta;
                    !std::mem::replace(&mut has_meta, true)
                }
                Record::Circuit(circuit) => ledger.circuits.insert(circuit.id.clone(), circuit).is_none(),
                Record::Worker(worker) => ledger.workers.insert(worker.id.clone(), worker).is_none(),
                Record::Task(task) => ledger.tasks.insert(task.id, *task).is_none(),
                Record::Archive(state) => {
                    std::mem::replace(&mut ledger.outbox.state, state) == ArchiveState::default()
                }
                Record::Outbox(entry) => ledger.outbox.enter(entry.position, entry.item),
            };
            if !is_new {
                return Err(RestoreError::Duplicate(key));
            }
        }
        if !has_meta && ledger != Self::default() {
            return Err(RestoreError::MetaMissing);
        }
        ledger.index = ledger.indices_of_records();
        ledger.check_invariants()?;
        Ok(ledger)
    }
}
