//! The model of a submission: repetition, cache and limits.

use super::{Answer, Model, ModelTask, State, Wait};
use zkpnet::ledger::*;

const KEYS_PER_TASK: usize = 8;

impl Model {
    pub(super) fn submit(&mut self, new: &NewTask) -> Answer {
        let is_flawed = new.public_inputs.is_empty()
            || new.public_inputs.len() > 16
            || new.sealed_input.is_empty()
            || new.max_attempts.is_some_and(|n| !(1..=Policy::MAX_ATTEMPTS_LIMIT).contains(&n))
            || new.deadline_ms == Some(0)
            || new.summary.as_ref().is_some_and(|text| text.len() > 200);
        if is_flawed {
            return Err(Rejection::Malformed("".into()));
        }
        if let Some(known) = self.known(new.id) {
            let is_key_known =
                new.idempotency_key.as_ref().is_none_or(|key| known.keys.iter().any(|(k, _)| k == key));
            return if known.tenant == new.tenant
                && known.request.fingerprint == new.fingerprint
                && is_key_known
            {
                Ok(Reply::Submitted { task: new.id })
            } else {
                Err(Rejection::Malformed("".into()))
            };
        }
        let mine = |task: &&ModelTask| task.tenant == new.tenant && !task.is_forgotten;
        if let Some(key) = &new.idempotency_key {
            for task in self.tasks.iter().filter(mine) {
                if let Some((_, answer)) = task.keys.iter().find(|(known, _)| known == key) {
                    return if task.request.fingerprint == new.fingerprint {
                        Ok(Reply::Replayed { task: task.id, answer: *answer })
                    } else {
                        Err(Rejection::IdempotencyConflict)
                    };
                }
            }
        }
        if new.cache == CacheUse::Allowed {
            let (now, ttl_ms) = (self.now, self.policy.cache_ttl_ms);
            let mut equal = self.tasks.iter_mut().filter(|task| {
                task.tenant == new.tenant && !task.is_forgotten && task.request.fingerprint == new.fingerprint
            });
            if let Some(task) = equal.next_back() {
                let is_good = match task.state {
                    State::Waiting(_) | State::Leased => task.deadline.is_none_or(|deadline| deadline > now),
                    State::Completed { at, .. } => at.plus(ttl_ms) > now,
                    State::Failed { .. } | State::Cancelled { .. } => false,
                };
                if is_good && (new.idempotency_key.is_none() || task.keys.len() < KEYS_PER_TASK) {
                    let id = task.id;
                    task.keys.extend(new.idempotency_key.iter().map(|k| (k.clone(), KeyAnswer::Cached)));
                    self.counters.tasks_cached += 1;
                    return Ok(Reply::Cached { task: id });
                }
            }
        }
        self.take(new)
    }

    fn take(&mut self, new: &NewTask) -> Answer {
        let open: Vec<&ModelTask> = self.tasks.iter().filter(|t| !t.is_forgotten && t.is_open()).collect();
        let open_bytes: usize = open.iter().map(|task| task.sealed.len()).sum();
        if open.len() as u64 >= self.policy.open_tasks_max {
            let (what, limit) = (LimitedResource::OpenTasks, self.policy.open_tasks_max);
            return Err(Rejection::LimitReached { what, limit });
        }
        if (open_bytes + new.sealed_input.len()) as u64 > self.policy.open_input_bytes_max {
            let (what, limit) = (LimitedResource::OpenInputBytes, self.policy.open_input_bytes_max);
            return Err(Rejection::LimitReached { what, limit });
        }
        self.counters.tasks_submitted += 1;
        self.tasks.push(ModelTask {
            id: new.id,
            tenant: new.tenant,
            circuit: new.circuit.clone(),
            sealed: new.sealed_input.clone(),
            state: State::Waiting(Wait::Until(self.now)),
            leases: Vec::new(),
            is_forgotten: false,
            request: new.clone(),
            keys: new.idempotency_key.iter().map(|key| (key.clone(), KeyAnswer::Submitted)).collect(),
            created: self.now,
            deadline: new.deadline_ms.map(|ms| self.now.plus(ms)),
            max_attempts: new.max_attempts.unwrap_or(self.policy.max_attempts_default),
            used: 0,
            latest: 0,
            final_record: None,
        });
        Ok(Reply::Submitted { task: new.id })
    }
}
