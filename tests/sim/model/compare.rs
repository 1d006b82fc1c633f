//! The model against the ledger: everything that both know must agree.

use super::{Checked, Model, ModelTask, State, Wait};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use zkpnet::ledger::*;

impl Model {
    /// Compares everything that the model knows with the ledger, and takes over the instants that only it decides.
    pub(crate) fn compare(&mut self, ledger: &Ledger) -> Checked {
        prop_assert_eq!(ledger.now(), self.now, "the clock");
        prop_assert_eq!(ledger.counters(), &self.counters, "the counters");
        prop_assert_eq!(ledger.policy(), &self.policy, "the policy");
        prop_assert_eq!(ledger.circuits().count(), self.circuits.len());
        prop_assert_eq!(ledger.workers().count(), self.workers.len());
        for worker in &self.workers {
            let known = ledger.worker(&worker.id);
            prop_assert!(
                known.is_some_and(|k| k.state == worker.state
                    && k.incarnation == worker.incarnation
                    && k.session == worker.session
                    && k.capacity == worker.capacity
                    && k.circuits == worker.circuits),
                "{:?} is known as {:?}",
                worker,
                known
            );
            prop_assert_eq!(ledger.leases_of(&worker.id), self.leases_of(&worker.id) as u64);
            prop_assert!(
                self.leases_of(&worker.id) <= worker.capacity as usize,
                "{:?} is overloaded",
                worker
            );
        }
        let policy = self.policy.clone();
        for task in &mut self.tasks {
            compare_task(task, ledger, &policy)?;
        }
        for status in TaskStatus::ALL {
            let counted = self.tasks.iter().filter(|t| !t.is_forgotten && t.status() == status).count();
            prop_assert_eq!(ledger.count(status), counted as u64, "{:?}", status);
        }
        Ok(())
    }
}

fn compare_task(task: &mut ModelTask, ledger: &Ledger, policy: &Policy) -> Checked {
    let known = ledger.task(task.id);
    if task.is_forgotten {
        // A faulty proposer may use a forgotten id again; then it is another task.
        prop_assert!(known.is_none_or(|k| k.final_is_other(task)), "{:?} came back", task.id);
        return Ok(());
    }
    let Some(known) = known else {
        return Err(TestCaseError::fail(format!("the acknowledged task {} has vanished", task.id)));
    };
    prop_assert_eq!(known.status(), task.status(), "status of {:?}", task);
    prop_assert_eq!(known.attempts_used, task.used, "attempts used of {:?}", task);
    prop_assert!(known.attempts_used <= known.max_attempts);
    prop_assert_eq!(known.latest_attempt.0, task.latest);
    prop_assert_eq!(known.created_at, task.created);
    prop_assert_eq!(known.deadline, task.deadline);
    prop_assert_eq!(known.attempts.len(), task.leases.len());
    let keys: Vec<_> = known.idempotency_keys.iter().map(|used| (used.key.clone(), used.answer)).collect();
    prop_assert_eq!(&keys, &task.keys);
    match (&known.state, &mut task.state) {
        (TaskState::Pending { not_before }, State::Waiting(wait)) => {
            if let Wait::Backoff { from, number } = *wait {
                let full = u128::from(policy.retry_backoff_base_ms) << (number - 1).min(40);
                let full =
                    full.min(u128::from(policy.retry_backoff_max_ms.max(policy.retry_backoff_base_ms)));
                let full = u64::try_from(full).unwrap_or(u64::MAX);
                let range = from.plus(full / 2)..=from.plus(full);
                prop_assert!(range.contains(not_before), "waits until {}, not in {:?}", not_before, range);
                *wait = Wait::Until(*not_before);
            }
            prop_assert_eq!(*wait, Wait::Until(*not_before));
        }
        (TaskState::Leased(lease), State::Leased) => {
            let held = task.leases.last().unwrap();
            prop_assert_eq!((&lease.worker, lease.attempt), (&held.worker, held.attempt));
            prop_assert_eq!(lease.incarnation, held.incarnation);
            prop_assert_eq!(lease.started_at.is_some(), held.is_started);
        }
        (TaskState::Completed { attempt, .. }, State::Completed { attempt: by, .. }) => {
            prop_assert_eq!(attempt, &*by);
        }
        (TaskState::Failed { reason, .. }, State::Failed { reason: why, .. }) => {
            prop_assert_eq!(reason, &*why);
        }
        (TaskState::Cancelled { .. }, State::Cancelled { .. }) => {}
        (found, expected) => {
            return Err(TestCaseError::fail(format!("{found:?} instead of {expected:?}")));
        }
    }
    prop_assert_eq!(known.finished_at(), task.finished_at());
    if known.finished_at().is_some() {
        // Of an ended task only the list of keys that it answers may grow.
        let without_keys = Task { idempotency_keys: Vec::new(), ..known.clone() };
        let first = task.final_record.get_or_insert_with(|| without_keys.clone());
        prop_assert_eq!(&without_keys, &*first, "an ended task changed");
    }
    Ok(())
}

trait Reused {
    fn final_is_other(&self, forgotten: &ModelTask) -> bool;
}

impl Reused for Task {
    fn final_is_other(&self, forgotten: &ModelTask) -> bool {
        forgotten.final_record.as_ref().is_none_or(|record| record.sequence < self.sequence)
    }
}
