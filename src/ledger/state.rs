//! The ledger's state: records, and indices derived from them.

use super::circuit::Circuit;
use super::ids::{CircuitId, TaskId, WorkerId};
use super::index::Indices;
use super::outbox::Outbox;
use super::record::Meta;
use super::task::Task;
use super::worker::Worker;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Running totals since the cluster began. They are replicated, so that every coordinator shows the same figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Tasks taken.
    pub tasks_submitted: u64,
    /// Submissions answered with an earlier task.
    pub tasks_cached: u64,
    /// Tasks completed.
    pub tasks_completed: u64,
    /// Tasks failed for good.
    pub tasks_failed: u64,
    /// Tasks withdrawn.
    pub tasks_cancelled: u64,
    /// Finished tasks dropped by retention.
    pub tasks_forgotten: u64,
    /// Leases granted.
    pub leases_granted: u64,
    /// Attempts that failed.
    pub attempts_failed: u64,
    /// Leases lost with their worker, or expired.
    pub leases_lost: u64,
    /// Leases given back unharmed.
    pub leases_returned: u64,
}

/// The replicated state machine. See the module's documentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub(super) meta: Meta,
    pub(super) circuits: BTreeMap<CircuitId, Circuit>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    pub(super) outbox: Outbox,
    pub(super) index: Indices,
}

impl Ledger {
    /// The indices that the records give.
    pub(super) fn indices_of_records(&self) -> Indices {
        let mut index = Indices::default();
        for task in self.tasks.values() {
            index.insert(task, self.meta.now);
        }
        index
    }
}
