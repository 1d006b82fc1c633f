//! The reference model: what the ledger promises, written down a second time without an index, without a queue, and by
//! linear search only. It predicts every answer, and keeps of every task what a client was told about it.
//!
//! What it does not predict, the jitter of a back-off, it checks against the promised range and takes over.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use zkpnet::ledger::*;

pub(crate) type Checked<T = ()> = Result<T, TestCaseError>;

const KEYS_PER_TASK: usize = 8;
const RETURNED_KEPT: usize = 4;

#[derive(Clone, Debug)]
pub(crate) struct ModelTask {
    pub(crate) id: TaskId,
    pub(crate) tenant: TenantId,
    pub(crate) circuit: CircuitId,
    pub(crate) sealed: Vec<u8>,
    pub(crate) state: State,
    pub(crate) leases: Vec<ModelLease>,
    pub(crate) is_forgotten: bool,
    request: NewTask,
    keys: Vec<(IdempotencyKey, KeyAnswer)>,
    created: UnixMillis,
    pub(crate) deadline: Option<UnixMillis>,
    max_attempts: u32,
    used: u32,
    latest: u32,
    /// The record when the task ended.
    final_record: Option<Task>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Until the instant, once it is known.
    Waiting(Wait),
    Leased,
    Completed {
        at: UnixMillis,
        proof: Vec<u8>,
        attempt: Attempt,
    },
    Failed {
        at: UnixMillis,
        reason: FailureReason,
    },
    Cancelled {
        at: UnixMillis,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Until(UnixMillis),
    /// Back-off number `doublings + 1`, from `from`; its jitter is the ledger's.
    Backoff {
        from: UnixMillis,
        number: u32,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct ModelLease {
    pub(crate) attempt: Attempt,
    pub(crate) worker: WorkerId,
    incarnation: Incarnation,
    is_started: bool,
    is_returned: bool,
}

#[derive(Clone, Debug)]
struct ModelWorker {
    id: WorkerId,
    incarnation: Incarnation,
    session: u64,
    capacity: u32,
    circuits: Vec<CircuitId>,
    state: WorkerState,
    lost_at: UnixMillis,
}

impl ModelTask {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Waiting(_) | State::Leased)
    }

    fn finished_at(&self) -> Option<UnixMillis> {
        match self.state {
            State::Completed { at, .. } | State::Failed { at, .. } | State::Cancelled { at } => Some(at),
            State::Waiting(_) | State::Leased => None,
        }
    }

    fn status(&self) -> TaskStatus {
        match &self.state {
            State::Waiting(_) => TaskStatus::Pending,
            State::Leased if self.leases.last().is_some_and(|lease| lease.is_started) => {
                TaskStatus::InProgress
            }
            State::Leased => TaskStatus::Assigned,
            State::Completed { .. } => TaskStatus::Completed,
            State::Failed { .. } => TaskStatus::Failed,
            State::Cancelled { .. } => TaskStatus::Cancelled,
        }
    }

    fn is_held_by(&self, attempt: Attempt, worker: Option<&WorkerId>) -> bool {
        self.state == State::Leased
            && self
                .leases
                .last()
                .is_some_and(|l| l.attempt == attempt && worker.is_none_or(|worker| l.worker == *worker))
    }

    /// The current attempt is used up; `from` is when.
    fn use_up(&mut self, from: UnixMillis) {
        self.used += 1;
        self.state = if self.used >= self.max_attempts {
            State::Failed { at: from, reason: FailureReason::AttemptsExhausted }
        } else {
            State::Waiting(Wait::Backoff { from, number: self.used })
        };
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    pub(crate) tasks: Vec<ModelTask>,
    pub(crate) now: UnixMillis,
    policy: Policy,
    circuits: Vec<Circuit>,
    workers: Vec<ModelWorker>,
    counters: Counters,
}

type Answer = Result<Reply, Rejection>;

impl Model {
    /// The task of that id that is not forgotten.
    pub(crate) fn known(&self, id: TaskId) -> Option<&ModelTask> {
        self.tasks.iter().find(|task| task.id == id && !task.is_forgotten)
    }

    fn known_mut(&mut self, id: TaskId) -> Result<&mut ModelTask, Rejection> {
        self.tasks
            .iter_mut()
            .find(|task| task.id == id && !task.is_forgotten)
            .ok_or(Rejection::UnknownTask(id))
    }

    fn open_mut(&mut self, id: TaskId) -> Result<&mut ModelTask, Rejection> {
        let task = self.known_mut(id)?;
        if task.is_open() {
            Ok(task)
        } else {
            Err(Rejection::TaskFinished { task: id, status: task.status() })
        }
    }

    fn held_mut(
        &mut self,
        id: TaskId,
        attempt: Attempt,
        worker: Option<&WorkerId>,
    ) -> Result<&mut ModelTask, Rejection> {
        let task = self.open_mut(id)?;
        if task.is_held_by(attempt, worker) {
            Ok(task)
        } else {
            Err(Rejection::StaleAttempt { task: id, attempt })
        }
    }

    fn pass(&mut self, at: UnixMillis) {
        self.now = self.now.max(at);
    }

    fn check_term(proposed: Term, current: Term) -> Result<(), Rejection> {
        if proposed == current { Ok(()) } else { Err(Rejection::StaleTerm { proposed, current }) }
    }

    /// What the ledger must answer to a command that stands in the log in `term`.
    pub(crate) fn apply(&mut self, term: Term, command: &Command) -> Answer {
        match command {
            Command::SetPolicy(policy) => {
                if !(1..=Policy::MAX_ATTEMPTS_LIMIT).contains(&policy.max_attempts_default) {
                    return Err(Rejection::Malformed("".into()));
                }
                self.policy = policy.clone();
                Ok(Reply::Done)
            }
            Command::RegisterCircuit(circuit) => {
                match self.circuits.iter().find(|known| known.id == circuit.id) {
                    Some(known) if known != &**circuit => Err(Rejection::CircuitConflict),
                    Some(_) => Ok(Reply::Done),
                    None => {
                        self.circuits.push((**circuit).clone());
                        Ok(Reply::Done)
                    }
                }
            }
            Command::SubmitTask(new) => {
                self.pass(new.at);
                self.submit(new)
            }
            Command::CancelTask { tenant, task, at } => {
                self.pass(*at);
                let now = self.now;
                let known = self.known_mut(*task)?;
                if known.tenant != *tenant {
                    return Err(Rejection::UnknownTask(*task));
                }
                match known.status() {
                    TaskStatus::Cancelled => return Ok(Reply::Done),
                    status @ (TaskStatus::Completed | TaskStatus::Failed) => {
                        return Err(Rejection::TaskFinished { task: *task, status });
                    }
                    _ => known.state = State::Cancelled { at: now },
                }
                self.counters.tasks_cancelled += 1;
                Ok(Reply::Done)
            }
            Command::RegisterWorker { at, .. } => {
                self.pass(*at);
                self.register(command)
            }
            Command::DrainWorker { worker, incarnation } => {
                let worker = self.worker_mut(worker, *incarnation)?;
                if worker.state == WorkerState::Lost {
                    return Err(Rejection::WorkerUnavailable(worker.id.clone()));
                }
                worker.state = WorkerState::Draining;
                Ok(Reply::Done)
            }
            Command::LoseWorker { term: proposed, worker, incarnation, at } => {
                Self::check_term(*proposed, term)?;
                self.pass(*at);
                let now = self.now;
                let known = self.worker_mut(worker, *incarnation)?;
                if known.state != WorkerState::Lost {
                    known.state = WorkerState::Lost;
                    known.lost_at = now;
                    self.lose_leases_of(worker);
                }
                Ok(Reply::Done)
            }
            Command::GrantLease { term: proposed, at, .. } => {
                Self::check_term(*proposed, term)?;
                self.pass(*at);
                self.grant(command)
            }
            Command::StartAttempt { task, attempt, worker, at } => {
                self.pass(*at);
                if let Some(lease) = self.held_mut(*task, *attempt, Some(worker))?.leases.last_mut() {
                    lease.is_started = true;
                }
                Ok(Reply::Done)
            }
            Command::CompleteTask { task, attempt, worker, result, at } => {
                self.pass(*at);
                self.complete(*task, *attempt, worker, result)
            }
            Command::FailAttempt { task, attempt, worker, cause, at } => {
                self.pass(*at);
                let now = self.now;
                let held = self.held_mut(*task, *attempt, Some(worker))?;
                held.use_up(now);
                if cause.kind.is_permanent() {
                    held.state = State::Failed { at: now, reason: FailureReason::Permanent(cause.clone()) };
                }
                let is_over = !held.is_open();
                self.counters.attempts_failed += 1;
                self.counters.tasks_failed += u64::from(is_over);
                Ok(Reply::Done)
            }
            Command::ReturnLease { task, attempt, worker, at } => {
                self.pass(*at);
                let now = self.now;
                self.held_mut(*task, *attempt, Some(worker))?.give_back(now);
                self.counters.leases_returned += 1;
                Ok(Reply::Done)
            }
            Command::ExpireLease { term: proposed, task, attempt, at } => {
                Self::check_term(*proposed, term)?;
                self.pass(*at);
                let now = self.now;
                let held = self.held_mut(*task, *attempt, None)?;
                held.use_up(now);
                let is_over = !held.is_open();
                self.counters.leases_lost += 1;
                self.counters.tasks_failed += u64::from(is_over);
                Ok(Reply::Done)
            }
            Command::AdvanceClock { at } => {
                self.pass(*at);
                self.sweep();
                Ok(Reply::Done)
            }
        }
    }

    fn submit(&mut self, new: &NewTask) -> Answer {
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

    fn worker_mut(&mut self, id: &WorkerId, incarnation: Incarnation) -> Result<&mut ModelWorker, Rejection> {
        let worker = self
            .workers
            .iter_mut()
            .find(|worker| worker.id == *id)
            .ok_or_else(|| Rejection::UnknownWorker(id.clone()))?;
        if worker.incarnation == incarnation {
            Ok(worker)
        } else {
            Err(Rejection::StaleIncarnation(id.clone()))
        }
    }

    fn register(&mut self, command: &Command) -> Answer {
        let Command::RegisterWorker { worker, incarnation, session, capacity, circuits, .. } = command else {
            panic!("not a registration")
        };
        if *capacity == 0 {
            return Err(Rejection::Malformed("".into()));
        }
        let latest = match self.workers.iter().find(|known| known.id == *worker) {
            Some(known) if known.incarnation == *incarnation && known.session == *session => {
                return if known.state == WorkerState::Lost {
                    Err(Rejection::StaleIncarnation(worker.clone()))
                } else {
                    Ok(Reply::Done)
                };
            }
            Some(known) => known.incarnation.0,
            None => 0,
        };
        if incarnation.0 != latest + 1 {
            return Err(Rejection::StaleIncarnation(worker.clone()));
        }
        self.lose_leases_of(worker);
        self.workers.retain(|known| known.id != *worker);
        self.workers.push(ModelWorker {
            id: worker.clone(),
            incarnation: *incarnation,
            session: *session,
            capacity: *capacity,
            circuits: circuits.clone(),
            state: WorkerState::Active,
            lost_at: UnixMillis(0),
        });
        Ok(Reply::Done)
    }

    fn lose_leases_of(&mut self, worker: &WorkerId) {
        let now = self.now;
        for task in self.tasks.iter_mut().filter(|task| !task.is_forgotten && task.state == State::Leased) {
            if task.leases.last().is_some_and(|lease| lease.worker == *worker) {
                task.use_up(now);
                self.counters.leases_lost += 1;
                self.counters.tasks_failed += u64::from(!task.is_open());
            }
        }
    }

    fn leases_of(&self, worker: &WorkerId) -> usize {
        let holds = |task: &&ModelTask| {
            !task.is_forgotten
                && task.state == State::Leased
                && task.leases.last().is_some_and(|lease| lease.worker == *worker)
        };
        self.tasks.iter().filter(holds).count()
    }

    fn grant(&mut self, command: &Command) -> Answer {
        let Command::GrantLease { task: id, attempt, worker, incarnation, .. } = command else {
            panic!("not a grant")
        };
        let now = self.now;
        let task = self.known_mut(*id)?.clone();
        if u64::from(attempt.0) != u64::from(task.latest) + 1 {
            return Err(Rejection::StaleAttempt { task: *id, attempt: *attempt });
        }
        match task.state {
            State::Waiting(Wait::Until(not_before)) if not_before > now => {
                return Err(Rejection::TaskBackingOff { task: *id, not_before });
            }
            State::Waiting(Wait::Until(_)) if task.deadline.is_none_or(|deadline| deadline > now) => {}
            State::Waiting(Wait::Backoff { .. }) => panic!("the wait was not taken over"),
            _ => return Err(Rejection::TaskNotPending(*id)),
        }
        if !self.circuits.iter().any(|circuit| circuit.id == task.circuit) {
            return Err(Rejection::CircuitUnknown);
        }
        let held = self.leases_of(worker);
        let holder = self.worker_mut(worker, *incarnation)?;
        if holder.state != WorkerState::Active {
            return Err(Rejection::WorkerUnavailable(worker.clone()));
        }
        if !holder.circuits.contains(&task.circuit) {
            return Err(Rejection::WorkerUnsuited(worker.clone()));
        }
        if held >= holder.capacity as usize {
            return Err(Rejection::WorkerFull(worker.clone()));
        }
        let task = self.known_mut(*id)?;
        task.latest = attempt.0;
        task.state = State::Leased;
        task.leases.push(ModelLease {
            attempt: *attempt,
            worker: worker.clone(),
            incarnation: *incarnation,
            is_started: false,
            is_returned: false,
        });
        self.counters.leases_granted += 1;
        Ok(Reply::Done)
    }

    fn complete(&mut self, id: TaskId, attempt: Attempt, worker: &WorkerId, result: &ProvenResult) -> Answer {
        let (now, circuits) = (self.now, self.circuits.clone());
        let task = self.open_mut(id)?;
        if !task.leases.iter().any(|lease| lease.attempt == attempt && lease.worker == *worker) {
            return Err(Rejection::StaleAttempt { task: id, attempt });
        }
        let is_right_key = circuits
            .iter()
            .any(|circuit| circuit.id == task.circuit && circuit.verifying_key == result.verifying_key);
        if !is_right_key || task.request.public_inputs != result.public_inputs {
            return Err(Rejection::ResultMismatch(id));
        }
        task.state = State::Completed { at: now, proof: result.proof.clone(), attempt };
        self.counters.tasks_completed += 1;
        Ok(Reply::Done)
    }

    fn sweep(&mut self) {
        let now = self.now;
        for task in self.tasks.iter_mut().filter(|task| !task.is_forgotten && task.is_open()) {
            if task.deadline.is_some_and(|deadline| deadline <= now) {
                task.state = State::Failed { at: now, reason: FailureReason::DeadlinePassed };
                self.counters.tasks_failed += 1;
            }
        }
        loop {
            let kept = || self.tasks.iter().enumerate().filter(|(_, task)| !task.is_forgotten);
            let finished = || kept().filter_map(|(at, task)| Some((task.finished_at()?, task.id, at)));
            let Some((oldest, _, position)) = finished().min() else { break };
            let is_surplus = finished().count() as u64 > self.policy.retention_count;
            if !is_surplus && oldest.plus(self.policy.retention_age_ms) > now {
                break;
            }
            self.tasks[position].is_forgotten = true;
            self.counters.tasks_forgotten += 1;
        }
        let age_ms = self.policy.retention_age_ms;
        self.workers.retain(|w| w.state != WorkerState::Lost || w.lost_at.plus(age_ms) > now);
    }

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

impl ModelTask {
    /// The first lease given back in a row costs nothing; a worker that gives back for ever is slowed down.
    fn give_back(&mut self, now: UnixMillis) {
        if let Some(lease) = self.leases.last_mut() {
            lease.is_returned = true;
        }
        let in_a_row = self.leases.iter().rev().take_while(|lease| lease.is_returned).count() as u32;
        while self.leases.iter().filter(|lease| lease.is_returned).count() > RETURNED_KEPT {
            let oldest = self.leases.iter().position(|lease| lease.is_returned).unwrap();
            self.leases.remove(oldest);
        }
        self.state = State::Waiting(match in_a_row {
            0 | 1 => Wait::Until(now),
            _ => Wait::Backoff { from: now, number: in_a_row - 1 },
        });
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
