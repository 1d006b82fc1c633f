//! Taking a task: repetitions, the result cache and the limits come before it.

use super::apply::{Decision, Effects};
use super::command::{CacheUse, NewTask};
use super::event::Event;
use super::ids::{Attempt, Digest, TaskId, TenantId};
use super::outcome::{BodyKey, BodyOp, LimitedResource, Rejection, Reply};
use super::policy::Policy;
use super::record::RecordKey;
use super::state::Ledger;
use super::task::{KeyAnswer, KeyUse, Task, TaskState};

/// Idempotency keys that may be answered with one task; a further one gets a task of its own.
const KEYS_PER_TASK_MAX: usize = 8;
/// Characters of a summary.
const SUMMARY_LENGTH_MAX: usize = 200;
/// Public inputs of a task: they are in its record, which is kept in memory.
const PUBLIC_INPUTS_MAX: usize = 16;

impl Ledger {
    pub(super) fn submit(&mut self, new: &NewTask, effects: &mut Effects) -> Decision {
        check_form(new)?;
        if let Some(known) = self.tasks.get(&new.id) {
            // The same proposal twice (its first answer was lost on the way): not a second task.
            let is_key_known = new
                .idempotency_key
                .as_ref()
                .is_none_or(|key| known.idempotency_keys.iter().any(|used| used.key == *key));
            let is_same = known.tenant == new.tenant && known.fingerprint == new.fingerprint;
            return if is_same && is_key_known {
                Ok(Reply::Submitted { task: known.id })
            } else {
                Err(Rejection::Malformed("the task id is taken".into()))
            };
        }
        if let Some(reply) = self.replay(new)? {
            return Ok(reply);
        }
        if new.cache == CacheUse::Allowed
            && let Some(task) = self.cached(new.tenant, new.fingerprint)
            && self.bind_key(task, new, effects)
        {
            self.meta.counters.tasks_cached += 1;
            return Ok(Reply::Cached { task });
        }
        self.check_room(new)?;
        self.take(new, effects);
        Ok(Reply::Submitted { task: new.id })
    }

    fn replay(&self, new: &NewTask) -> Result<Option<Reply>, Rejection> {
        let Some(key) = &new.idempotency_key else { return Ok(None) };
        let Some(task) = self.index.keys.get(&(new.tenant, key.clone())).and_then(|id| self.tasks.get(id))
        else {
            return Ok(None);
        };
        if task.fingerprint != new.fingerprint {
            return Err(Rejection::IdempotencyConflict);
        }
        let answer = task
            .idempotency_keys
            .iter()
            .find(|used| used.key == *key)
            .map_or(KeyAnswer::Submitted, |used| used.answer);
        Ok(Some(Reply::Replayed { task: task.id, answer }))
    }

    /// The latest task with that fingerprint, if it is open or was completed recently.
    fn cached(&self, tenant: TenantId, fingerprint: Digest) -> Option<TaskId> {
        let none = TaskId(uuid::Uuid::nil());
        let all = TaskId(uuid::Uuid::max());
        let range = (tenant, fingerprint, 0, none)..=(tenant, fingerprint, u64::MAX, all);
        let &(_, _, _, id) = self.index.fingerprints.range(range).next_back()?;
        let task = self.tasks.get(&id)?;
        let is_good = match task.state {
            // One that is overdue fails with the next sweep: it must not take a fresh request with it.
            TaskState::Pending { .. } | TaskState::Leased(_) => {
                task.deadline.is_none_or(|deadline| deadline > self.meta.now)
            }
            TaskState::Completed { at, .. } => at.plus(self.meta.policy.cache_ttl_ms) > self.meta.now,
            TaskState::Failed { .. } | TaskState::Cancelled { .. } => false,
        };
        is_good.then_some(id)
    }

    /// Remembers that the submission's key, if it has one, was answered with `id`. False when the task has no room for it.
    fn bind_key(&mut self, id: TaskId, new: &NewTask, effects: &mut Effects) -> bool {
        let Some(key) = &new.idempotency_key else { return true };
        if key.is_for_repetition() {
            // The answer has no effect, so that a repetition may as well be answered anew; and the task's few places for
            // keys are left to those of clients.
            return true;
        }
        if self.tasks.get(&id).is_none_or(|task| task.idempotency_keys.len() >= KEYS_PER_TASK_MAX) {
            return false;
        }
        let used = KeyUse { key: key.clone(), answer: KeyAnswer::Cached };
        self.change_task(id, effects, |task| task.idempotency_keys.push(used));
        true
    }

    fn check_room(&self, new: &NewTask) -> Result<(), Rejection> {
        let policy = &self.meta.policy;
        if self.index.open_tasks >= policy.open_tasks_max {
            return Err(Rejection::LimitReached {
                what: LimitedResource::OpenTasks,
                limit: policy.open_tasks_max,
            });
        }
        self.check_backlog()?;
        let input_bytes = new.sealed_input.len() as u64;
        if self.index.open_input_bytes.saturating_add(input_bytes) > policy.open_input_bytes_max {
            return Err(Rejection::LimitReached {
                what: LimitedResource::OpenInputBytes,
                limit: policy.open_input_bytes_max,
            });
        }
        Ok(())
    }

    fn take(&mut self, new: &NewTask, effects: &mut Effects) {
        let now = self.meta.now;
        self.meta.sequence += 1;
        self.meta.counters.tasks_submitted += 1;
        let key_use = |key: &_| KeyUse { key: Clone::clone(key), answer: KeyAnswer::Submitted };
        let task = Task {
            id: new.id,
            tenant: new.tenant,
            sequence: self.meta.sequence,
            circuit: new.circuit.clone(),
            public_inputs: new.public_inputs.clone(),
            fingerprint: new.fingerprint,
            idempotency_keys: new.idempotency_key.iter().map(key_use).collect(),
            summary: new.summary.clone(),
            priority: new.priority,
            created_at: now,
            deadline: new.deadline_ms.map(|deadline_ms| now.plus(deadline_ms)),
            max_attempts: new.max_attempts.unwrap_or(self.meta.policy.max_attempts_default),
            input_bytes: u32::try_from(new.sealed_input.len()).unwrap_or(u32::MAX),
            state: TaskState::Pending { not_before: now },
            latest_attempt: Attempt(0),
            attempts_used: 0,
            attempts: Vec::new(),
        };
        self.index.insert(&task, now);
        effects.touched.insert(RecordKey::Task(new.id));
        effects.bodies.push(BodyOp::Put(BodyKey::Input(new.id), new.sealed_input.clone()));
        effects.events.push(Event::TaskSubmitted { task: new.id, circuit: new.circuit.clone() });
        self.tasks.insert(new.id, task);
    }
}

/// The doors check all this and name the field; here it keeps a faulty proposer from breaking a bound.
fn check_form(new: &NewTask) -> Result<(), Rejection> {
    let problem = if new.public_inputs.is_empty() || new.public_inputs.len() > PUBLIC_INPUTS_MAX {
        "a task has 1 to 16 public inputs"
    } else if new.sealed_input.is_empty() || u32::try_from(new.sealed_input.len()).is_err() {
        "a task's input is empty or too large"
    } else if new.max_attempts.is_some_and(|n| n == 0 || n > Policy::MAX_ATTEMPTS_LIMIT) {
        "max_attempts is out of range"
    } else if new.deadline_ms == Some(0) {
        "the deadline is zero"
    } else if new.summary.as_ref().is_some_and(|text| text.chars().count() > SUMMARY_LENGTH_MAX) {
        "the summary is too long"
    } else {
        return Ok(());
    };
    Err(Rejection::Malformed(problem.into()))
}
