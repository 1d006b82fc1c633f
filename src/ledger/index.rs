//! The indices of the tasks. Each is a pure function of the records and the ledger's clock: a replica that was restored
//! from a snapshot must decide exactly like one that applied every command.

use super::ids::{CircuitId, Digest, IdempotencyKey, TaskId, TenantId, UnixMillis, WorkerId};
use super::policy::Policy;
use super::task::{Priority, Task, TaskState, TaskStatus};
use std::collections::{BTreeMap, BTreeSet};

/// A task's place in the queue: the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueKey {
    /// The submission time less the head start of its priority. Age outweighs priority in the end, so nothing starves.
    pub(super) rank: u64,
    pub(super) sequence: u64,
    pub(super) task: TaskId,
}

impl QueueKey {
    pub(super) fn of(task: &Task) -> Self {
        let steps_behind = match task.priority {
            Priority::High => 0,
            Priority::Normal => 1,
            Priority::Low => 2,
        };
        Self {
            rank: task.created_at.0.saturating_add(steps_behind * Policy::PRIORITY_HEAD_START_MS),
            sequence: task.sequence,
            task: task.id,
        }
    }
}

/// All indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indices {
    /// Pending tasks whose back-off has ended, by circuit, in the order of the queue.
    pub(super) ready: BTreeMap<CircuitId, BTreeSet<QueueKey>>,
    /// Pending tasks in back-off, by its end.
    pub(super) delayed: BTreeSet<(UnixMillis, TaskId)>,
    /// Leased tasks by worker.
    pub(super) leased: BTreeMap<WorkerId, BTreeSet<TaskId>>,
    /// Open tasks that have a deadline.
    pub(super) deadlines: BTreeSet<(UnixMillis, TaskId)>,
    /// Finished tasks, oldest first.
    pub(super) finished: BTreeSet<(UnixMillis, TaskId)>,
    /// Every task of a tenant in the order of submission.
    pub(super) by_sequence: BTreeMap<(TenantId, u64), TaskId>,
    /// Idempotency keys.
    pub(super) keys: BTreeMap<(TenantId, IdempotencyKey), TaskId>,
    /// Tasks by fingerprint; the latest of equal ones answers.
    pub(super) fingerprints: BTreeSet<(TenantId, Digest, u64, TaskId)>,
    /// How many tasks have each status.
    pub(super) by_status: BTreeMap<TaskStatus, u64>,
    /// How many tasks are open.
    pub(super) open_tasks: u64,
    /// The bytes of their inputs.
    pub(super) open_input_bytes: u64,
}

impl Indices {
    /// Adds a task as its record stands. The opposite of [`Self::remove`].
    pub(super) fn insert(&mut self, task: &Task, now: UnixMillis) {
        *self.by_status.entry(task.status()).or_default() += 1;
        self.by_sequence.insert((task.tenant, task.sequence), task.id);
        self.fingerprints.insert((task.tenant, task.fingerprint, task.sequence, task.id));
        for used in &task.idempotency_keys {
            self.keys.insert((task.tenant, used.key.clone()), task.id);
        }
        match &task.state {
            TaskState::Pending { not_before } if *not_before > now => {
                self.delayed.insert((*not_before, task.id));
            }
            TaskState::Pending { .. } => {
                self.ready.entry(task.circuit.clone()).or_default().insert(QueueKey::of(task));
            }
            TaskState::Leased(lease) => {
                self.leased.entry(lease.worker.clone()).or_default().insert(task.id);
            }
            TaskState::Completed { at, .. } | TaskState::Failed { at, .. } | TaskState::Cancelled { at } => {
                self.finished.insert((*at, task.id));
            }
        }
        if task.is_open() {
            self.open_tasks += 1;
            self.open_input_bytes += u64::from(task.input_bytes);
            if let Some(deadline) = task.deadline {
                self.deadlines.insert((deadline, task.id));
            }
        }
    }

    /// Removes a task as its record stood when it was inserted.
    pub(super) fn remove(&mut self, task: &Task) {
        if let Some(count) = self.by_status.get_mut(&task.status()) {
            *count -= 1;
            if *count == 0 {
                self.by_status.remove(&task.status());
            }
        }
        self.by_sequence.remove(&(task.tenant, task.sequence));
        self.fingerprints.remove(&(task.tenant, task.fingerprint, task.sequence, task.id));
        for used in &task.idempotency_keys {
            self.keys.remove(&(task.tenant, used.key.clone()));
        }
        match &task.state {
            TaskState::Pending { not_before } => {
                self.delayed.remove(&(*not_before, task.id));
                remove_from_set(&mut self.ready, &task.circuit, &QueueKey::of(task));
            }
            TaskState::Leased(lease) => remove_from_set(&mut self.leased, &lease.worker, &task.id),
            TaskState::Completed { at, .. } | TaskState::Failed { at, .. } | TaskState::Cancelled { at } => {
                self.finished.remove(&(*at, task.id));
            }
        }
        if task.is_open() {
            self.open_tasks -= 1;
            self.open_input_bytes -= u64::from(task.input_bytes);
            if let Some(deadline) = task.deadline {
                self.deadlines.remove(&(deadline, task.id));
            }
        }
    }

    /// How many leases a worker holds.
    pub(super) fn leases_of(&self, worker: &WorkerId) -> u64 {
        self.leased.get(worker).map_or(0, |tasks| tasks.len() as u64)
    }
}

/// Empty sets are dropped, so that two histories which lead to the same records lead to equal indices.
fn remove_from_set<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
