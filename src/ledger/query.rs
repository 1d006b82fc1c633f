//! Questions to the ledger. They change nothing.

use super::circuit::Circuit;
use super::ids::{CircuitId, LogIndex, TaskId, TenantId, UnixMillis, WorkerId};
use super::index::QueueKey;
use super::policy::Policy;
use super::state::{Counters, Ledger};
use super::task::{Lease, Task, TaskState, TaskStatus};
use super::worker::{Worker, WorkerState};

/// Which tasks a list shows; every condition given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// With this status.
    pub status: Option<TaskStatus>,
    /// Of this circuit.
    pub circuit: Option<CircuitId>,
    /// Submitted at or after this time.
    pub since: Option<UnixMillis>,
}

impl TaskFilter {
    fn admits(&self, task: &Task) -> bool {
        self.status.is_none_or(|status| task.status() == status)
            && self.circuit.as_ref().is_none_or(|circuit| task.circuit == *circuit)
            && self.since.is_none_or(|since| task.created_at >= since)
    }
}

/// A part of a list, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<Task>,
    /// Where the next page begins; `None` at the end. A page may hold fewer tasks than asked for and still have a next.
    pub next_before: Option<u64>,
}

/// Why a pending task is not being proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingFor {
    /// The circuit's key is still to be made.
    CircuitKey(CircuitId),
    /// No worker takes tasks of the circuit.
    WorkerForCircuit(CircuitId),
    /// Its back-off.
    Backoff {
        /// The end of it.
        until: UnixMillis,
    },
    /// Its turn.
    FreeWorker,
}

/// Records looked at for one page: a rare status must not hold the ledger for the time of a full scan.
const SCAN_MAX: usize = 10_000;
/// Queue places counted; beyond it a place is not told.
const POSITION_MAX: u64 = 10_000;

impl Ledger {
    /// The task of that id, whoever's it is.
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id)
    }

    /// The task of that id, if it is the tenant's.
    #[must_use]
    pub fn task_of(&self, tenant: TenantId, id: TaskId) -> Option<&Task> {
        self.tasks.get(&id).filter(|task| task.tenant == tenant)
    }

    /// The tenant's tasks that `filter` admits, newest first, at most `limit`, with sequence numbers below `before`.
    #[must_use]
    pub fn list(&self, tenant: TenantId, filter: &TaskFilter, before: Option<u64>, limit: usize) -> TaskPage {
        let mut page = TaskPage::default();
        let range = (tenant, 0)..(tenant, before.unwrap_or(u64::MAX));
        for (scanned, (&(_, sequence), id)) in self.index.by_sequence.range(range).rev().enumerate() {
            if page.tasks.len() >= limit || scanned >= SCAN_MAX {
                page.next_before = Some(sequence + 1);
                break;
            }
            if let Some(task) = self.tasks.get(id).filter(|task| filter.admits(task)) {
                page.tasks.push(task.clone());
            }
        }
        page
    }

    /// Why the task waits; `None` unless it is pending.
    #[must_use]
    pub fn waiting_for(&self, task: &Task, now: UnixMillis) -> Option<WaitingFor> {
        let TaskState::Pending { not_before } = task.state else { return None };
        let takes_it = |w: &Worker| w.state == WorkerState::Active && w.circuits.contains(&task.circuit);
        Some(if !self.circuits.contains_key(&task.circuit) {
            WaitingFor::CircuitKey(task.circuit.clone())
        } else if not_before > now.max(self.meta.now) {
            WaitingFor::Backoff { until: not_before }
        } else if !self.workers.values().any(takes_it) {
            WaitingFor::WorkerForCircuit(task.circuit.clone())
        } else {
            WaitingFor::FreeWorker
        })
    }

    /// How many tasks stand before this one in the queue of all circuits; `None` when it does not stand there, or when
    /// there are more than can be counted quickly.
    #[must_use]
    pub fn queue_position(&self, task: &Task) -> Option<u64> {
        let key = QueueKey::of(task);
        if !self.index.ready.get(&task.circuit)?.contains(&key) {
            return None;
        }
        let mut before = 0;
        for ready in self.index.ready.values() {
            for _ in ready.range(..key) {
                before += 1;
                if before > POSITION_MAX {
                    return None;
                }
            }
        }
        Some(before)
    }

    /// The registered circuits, by name.
    pub fn circuits(&self) -> impl Iterator<Item = &Circuit> {
        self.circuits.values()
    }

    /// A registered circuit.
    #[must_use]
    pub fn circuit(&self, id: &CircuitId) -> Option<&Circuit> {
        self.circuits.get(id)
    }

    /// The workers, by name.
    pub fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    /// A worker.
    #[must_use]
    pub fn worker(&self, id: &WorkerId) -> Option<&Worker> {
        self.workers.get(id)
    }

    /// How many leases the worker holds.
    #[must_use]
    pub fn leases_of(&self, id: &WorkerId) -> u64 {
        self.index.leases_of(id)
    }

    /// Every lease there is, by worker.
    pub fn leases(&self) -> impl Iterator<Item = (TaskId, &Lease)> {
        let tasks = self.index.leased.values().flatten();
        tasks.filter_map(|id| Some((*id, self.tasks.get(id)?.lease()?)))
    }

    /// The circuits that pending tasks ask for and that have no key.
    pub fn wanted_circuits(&self) -> impl Iterator<Item = &CircuitId> {
        self.index.ready.keys().filter(|id| !self.circuits.contains_key(*id))
    }

    /// The queue of each circuit that has a key or is asked for: how many tasks wait, and when the first was submitted.
    pub fn queues(&self) -> impl Iterator<Item = (&CircuitId, u64, Option<UnixMillis>)> {
        let waiting = self.index.ready.iter().map(|(id, ready)| {
            let first = ready.first().and_then(|key| self.tasks.get(&key.task));
            (id, ready.len() as u64, first.map(|task| task.created_at))
        });
        let empty = self.circuits.keys().filter(|id| !self.index.ready.contains_key(*id));
        waiting.chain(empty.map(|id| (id, 0, None)))
    }

    /// How many tasks are in back-off.
    #[must_use]
    pub fn delayed_tasks(&self) -> u64 {
        self.index.delayed.len() as u64
    }

    /// When the next back-off ends.
    #[must_use]
    pub fn next_backoff_end(&self) -> Option<UnixMillis> {
        self.index.delayed.first().map(|(end, _)| *end)
    }

    /// How many tasks have that status.
    #[must_use]
    pub fn count(&self, status: TaskStatus) -> u64 {
        self.index.by_status.get(&status).copied().unwrap_or(0)
    }

    /// The bytes of open tasks' inputs.
    #[must_use]
    pub const fn open_input_bytes(&self) -> u64 {
        self.index.open_input_bytes
    }

    /// Running totals.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.meta.counters
    }

    /// The limits in force.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.meta.policy
    }

    /// The ledger's clock: the largest leader's clock seen.
    #[must_use]
    pub const fn now(&self) -> UnixMillis {
        self.meta.now
    }

    /// The last applied entry.
    #[must_use]
    pub const fn applied(&self) -> LogIndex {
        self.meta.applied
    }
}
