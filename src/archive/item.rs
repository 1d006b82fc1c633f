//! What goes into the archive, and what comes out of it.

use crate::ledger::{Circuit, Task, Worker};
use std::fmt;

/// An entry of the ledger's outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveItem {
    /// Its number: 1, 2, 3… in the order of the log.
    pub position: u64,
    /// What to write.
    pub content: ItemContent,
}

/// What an entry of the outbox writes.
#[derive(Clone, PartialEq, Eq)]
pub enum ItemContent {
    /// A finished task.
    Task {
        /// The task.
        task: Box<Task>,
        /// The proof's compressed encoding, of a completed one.
        proof: Option<Vec<u8>>,
    },
    /// A registered circuit.
    Circuit(Circuit),
    /// A worker, as it is after a transition.
    Worker(Worker),
}

impl fmt::Debug for ItemContent {
    /// Names what it is, without the contents: a batch of these may be large.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task { task, .. } => write!(f, "Task({})", task.id),
            Self::Circuit(circuit) => write!(f, "Circuit({})", circuit.id),
            Self::Worker(worker) => write!(f, "Worker({})", worker.id),
        }
    }
}

/// Where a task stands in the archive's order, which is that of submission: by cluster, then by sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArchivePlace {
    /// The cluster.
    pub epoch: i64,
    /// The task's sequence number within its cluster.
    pub sequence: u64,
}

/// A task read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedTask {
    /// The task as the ledger had it, but for the fingerprint (zero) and the idempotency keys (none).
    pub task: Task,
    /// The proof's compressed encoding; `None` in lists, and when the task has none.
    pub proof: Option<Vec<u8>>,
    /// Its place in lists.
    pub place: ArchivePlace,
}
