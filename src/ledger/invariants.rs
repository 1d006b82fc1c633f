//! What is true of every ledger, whatever was applied. Checked after each step of the simulations and at every restore.

use super::ids::{Attempt, TaskId, UnixMillis, WorkerId};
use super::state::Ledger;
use super::task::{AttemptEnd, Task, TaskState};
use super::worker::WorkerState;
use std::collections::BTreeSet;

/// An invariant does not hold: a defect of the ledger, or damaged records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvariantViolation {
    /// The indices are not those that the records give.
    #[error("the indices differ from those that the records give")]
    IndexDiffers,
    /// A worker holds more leases than its capacity.
    #[error("worker {worker} holds {leases} leases with a capacity of {capacity}")]
    WorkerOverloaded {
        /// Which.
        worker: WorkerId,
        /// How many it holds.
        leases: u64,
        /// How many it may.
        capacity: u32,
    },
    /// A lease is held by a worker that cannot hold one.
    #[error("task {task} is leased to {worker}, which is lost, unknown or in another life")]
    OrphanedLease {
        /// Which task.
        task: TaskId,
        /// Its holder.
        worker: WorkerId,
    },
    /// A task's attempts contradict its state.
    #[error("task {task}: {what}")]
    Attempts {
        /// Which.
        task: TaskId,
        /// What is wrong.
        what: &'static str,
    },
    /// A task ended, or began, after the ledger's clock.
    #[error("task {task} has a time {time} ahead of the ledger's clock {now}")]
    TimeAhead {
        /// Which.
        task: TaskId,
        /// The time.
        time: UnixMillis,
        /// The clock.
        now: UnixMillis,
    },
    /// Two tasks lay claim to the same thing, or one to something that was never given out.
    #[error("{0}")]
    Identity(&'static str),
    /// The outbox contradicts the rest.
    #[error("{0}")]
    Outbox(&'static str),
    /// A total is not the sum of its parts.
    #[error("the running totals do not add up: {0}")]
    Counters(&'static str),
}

impl Ledger {
    /// Checks every invariant; linear in the number of tasks.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check_invariants(&self) -> Result<(), InvariantViolation> {
        if self.indices_of_records() != self.index {
            return Err(InvariantViolation::IndexDiffers);
        }
        for worker in self.workers.values() {
            let leases = self.index.leases_of(&worker.id);
            if leases > u64::from(worker.capacity) {
                let (worker, capacity) = (worker.id.clone(), worker.capacity);
                return Err(InvariantViolation::WorkerOverloaded { worker, leases, capacity });
            }
        }
        for task in self.tasks.values() {
            self.check_task(task)?;
        }
        self.check_identities()?;
        if let Some(problem) = self.outbox_problem() {
            return Err(InvariantViolation::Outbox(problem));
        }
        self.check_counters()
    }

    fn check_task(&self, task: &Task) -> Result<(), InvariantViolation> {
        if let Some(lease) = task.lease() {
            let is_held = self
                .workers
                .get(&lease.worker)
                .is_some_and(|w| w.incarnation == lease.incarnation && w.state != WorkerState::Lost);
            if !is_held {
                return Err(InvariantViolation::OrphanedLease {
                    task: task.id,
                    worker: lease.worker.clone(),
                });
            }
        }
        let times = [Some(task.created_at), task.finished_at()];
        if let Some(time) = times.into_iter().flatten().find(|time| *time > self.meta.now) {
            return Err(InvariantViolation::TimeAhead { task: task.id, time, now: self.meta.now });
        }
        attempts_problem(task)
            .map_or(Ok(()), |what| Err(InvariantViolation::Attempts { task: task.id, what }))
    }

    /// Were two tasks to share a place in an index, removing one would remove the other's.
    fn check_identities(&self) -> Result<(), InvariantViolation> {
        let sequences: BTreeSet<u64> = self.tasks.values().map(|task| task.sequence).collect();
        if sequences.len() != self.tasks.len() {
            return Err(InvariantViolation::Identity("two tasks have the same sequence number"));
        }
        if sequences.last().is_some_and(|latest| *latest > self.meta.sequence) {
            return Err(InvariantViolation::Identity(
                "a task has a sequence number that was never given out",
            ));
        }
        let keys: usize = self.tasks.values().map(|task| task.idempotency_keys.len()).sum();
        if keys != self.index.keys.len() {
            return Err(InvariantViolation::Identity("an idempotency key belongs to two tasks"));
        }
        Ok(())
    }

    fn check_counters(&self) -> Result<(), InvariantViolation> {
        // Damaged records may hold any number: the sums must not overflow.
        let totals = &self.meta.counters;
        let sum = |parts: &[u64]| parts.iter().map(|part| u128::from(*part)).sum::<u128>();
        let finished = sum(&[totals.tasks_completed, totals.tasks_failed, totals.tasks_cancelled]);
        if u128::from(totals.tasks_submitted) != finished + u128::from(self.index.open_tasks) {
            return Err(InvariantViolation::Counters("submitted is not open plus finished"));
        }
        if finished != sum(&[self.index.finished.len() as u64, totals.tasks_forgotten]) {
            return Err(InvariantViolation::Counters("finished is not kept plus forgotten"));
        }
        if totals.tasks_submitted != self.meta.sequence {
            return Err(InvariantViolation::Counters("submitted is not the latest sequence number"));
        }
        Ok(())
    }
}

fn attempts_problem(task: &Task) -> Option<&'static str> {
    let running = task.attempts.iter().filter(|record| record.end.is_none()).count();
    let completed =
        task.attempts.iter().filter(|record| matches!(record.end, Some((_, AttemptEnd::Completed)))).count();
    let is_ascending = task.attempts.windows(2).all(|pair| matches!(pair, [a, b] if a.attempt < b.attempt));
    let latest_recorded = task.attempts.last().map_or(Attempt(0), |record| record.attempt);
    if !is_ascending {
        Some("attempts are not in ascending order")
    } else if latest_recorded > task.latest_attempt {
        Some("an attempt is recorded that was never granted")
    } else if task.attempts_used > task.max_attempts {
        Some("more attempts were used than allowed")
    } else if running != usize::from(task.lease().is_some()) {
        Some("the running attempts are not the lease")
    } else if task.lease().is_some_and(|lease| lease.attempt != task.latest_attempt) {
        Some("the lease is not the latest attempt")
    } else if completed != usize::from(matches!(task.state, TaskState::Completed { .. })) {
        Some("a completed task has exactly one completed attempt, and no other task has any")
    } else if task.attempts_used >= task.max_attempts && task.is_open() {
        Some("a task without attempts left is open")
    } else {
        None
    }
}
