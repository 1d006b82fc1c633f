//! The reference model: what the ledger promises, written down a second time without an index, without a queue, and by
//! linear search only. It predicts every answer, and keeps of every task what a client was told about it.
//!
//! What it does not predict, the jitter of a back-off, it checks against the promised range and takes over.

use proptest::test_runner::TestCaseError;
use zkpnet::ledger::*;

mod compare;
mod submit;

pub(crate) type Checked<T = ()> = Result<T, TestCaseError>;

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

/// Restarts of its worker, in a row, that cost a task nothing.
const RESTARTS_FREE: usize = 3;

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
            // The histories of `archive.rs` are about these.
            Command::SetArchive(_) | Command::Archived { .. } | Command::Rearchive { .. } => {
                Err(Rejection::NoArchive)
            }
        }
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
        self.take_back_from_earlier_life(worker);
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

    fn take_back_from_earlier_life(&mut self, worker: &WorkerId) {
        let now = self.now;
        for task in self.tasks.iter_mut().filter(|task| !task.is_forgotten && task.state == State::Leased) {
            if task.leases.last().is_none_or(|lease| lease.worker != *worker) {
                continue;
            }
            self.counters.leases_lost += 1;
            let in_a_row = task.leases.iter().rev().skip(1).take_while(|lease| lease.is_returned).count();
            if in_a_row < RESTARTS_FREE {
                task.give_back(now);
            } else {
                task.use_up(now);
                self.counters.tasks_failed += u64::from(!task.is_open());
            }
        }
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
