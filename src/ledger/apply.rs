//! `Ledger::apply`: one command in, one outcome out. Submission is in `submit.rs`, time in `clock.rs`; here are workers,
//! leases and results.

use super::circuit::Circuit;
use super::command::{Command, FailureCause, ProvenResult, Timings};
use super::event::Event;
use super::ids::{
    Attempt, CircuitId, Incarnation, LogPosition, TaskId, TenantId, Term, UnixMillis, WorkerId,
};
use super::outbox::OutboxItem;
use super::outcome::{BodyKey, BodyOp, LimitedResource, Outcome, Rejection, Reply};
use super::policy::Policy;
use super::record::RecordKey;
use super::retry::backoff_ms;
use super::state::Ledger;
use super::task::{AttemptEnd, AttemptRecord, FailureReason, Lease, Task, TaskState, TaskStatus};
use super::worker::{Worker, WorkerState};
use crate::planted::{self, Defect, is_planted};
use std::collections::BTreeSet;

/// Attempts given back that a task's record remembers: a worker that returns the same lease for ever must not make the
/// record grow.
const RETURNED_ATTEMPTS_KEPT: usize = 4;

/// What a command brings about besides its answer.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) events: Vec<Event>,
    pub(super) touched: BTreeSet<RecordKey>,
    pub(super) bodies: Vec<BodyOp>,
}

pub(super) type Decision = Result<Reply, Rejection>;

impl Ledger {
    /// Applies the command that stands at `at` in the log. Total and deterministic; a refused command changes nothing but
    /// the ledger's clock and applied index.
    pub fn apply(&mut self, at: LogPosition, command: &Command) -> Outcome {
        let mut effects = Effects::default();
        self.meta.applied = at.index;
        effects.touched.insert(RecordKey::Meta);
        let reply = self.decide(at.term, command, &mut effects);
        Outcome { reply, events: effects.events, touched: effects.touched, bodies: effects.bodies }
    }

    fn decide(&mut self, term: Term, command: &Command, effects: &mut Effects) -> Decision {
        match command {
            Command::SetPolicy(policy) => {
                if !(1..=Policy::MAX_ATTEMPTS_LIMIT).contains(&policy.max_attempts_default) {
                    return Err(Rejection::Malformed("max_attempts_default is out of range".into()));
                }
                self.meta.policy = policy.clone();
                Ok(Reply::Done)
            }
            Command::RegisterCircuit(circuit) => self.register_circuit(circuit, effects),
            Command::SubmitTask(new) => {
                self.advance_now(new.at);
                if is_planted(Defect::ForgottenKey) && planted::is_another_term(term.0) {
                    self.index.keys.clear();
                }
                self.submit(new, effects)
            }
            Command::CancelTask { tenant, task, at } => {
                self.advance_now(*at);
                self.cancel(*tenant, *task, effects)
            }
            Command::RegisterWorker { worker, incarnation, session, capacity, circuits, version, at } => {
                self.advance_now(*at);
                let record = Worker {
                    id: worker.clone(),
                    incarnation: *incarnation,
                    session: *session,
                    capacity: *capacity,
                    circuits: circuits.clone(),
                    version: version.clone(),
                    state: WorkerState::Active,
                    registered_at: self.meta.now,
                    lost_at: None,
                };
                self.register_worker(record, effects)
            }
            Command::DrainWorker { worker, incarnation } => self.drain_worker(worker, *incarnation, effects),
            Command::LoseWorker { term: proposed, worker, incarnation, at } => {
                check_term(*proposed, term)?;
                self.advance_now(*at);
                self.lose_worker(worker, *incarnation, effects)
            }
            Command::GrantLease { term: proposed, task, attempt, worker, incarnation, at } => {
                check_term(*proposed, term)?;
                self.advance_now(*at);
                self.grant_lease(*task, *attempt, worker, *incarnation, effects)
            }
            Command::StartAttempt { task, attempt, worker, at } => {
                self.advance_now(*at);
                self.start_attempt(*task, *attempt, worker, effects)
            }
            Command::CompleteTask { task, attempt, worker, result, at } => {
                self.advance_now(*at);
                self.complete(*task, *attempt, worker, result, effects)
            }
            Command::FailAttempt { task, attempt, worker, cause, at } => {
                self.advance_now(*at);
                self.check_lease(*task, *attempt, Some(worker))?;
                self.meta.counters.attempts_failed += 1;
                self.fail_attempt(*task, cause, effects);
                Ok(Reply::Done)
            }
            Command::ReturnLease { task, attempt, worker, at } => {
                self.advance_now(*at);
                self.check_lease(*task, *attempt, Some(worker))?;
                self.meta.counters.leases_returned += 1;
                self.put_back(*task, AttemptEnd::Returned, effects);
                Ok(Reply::Done)
            }
            Command::ExpireLease { term: proposed, task, attempt, at } => {
                check_term(*proposed, term)?;
                self.advance_now(*at);
                self.check_lease(*task, *attempt, None)?;
                self.revoke_lease(*task, effects);
                self.meta.counters.leases_lost += 1;
                self.use_up_attempt(*task, AttemptEnd::LeaseExpired, effects);
                Ok(Reply::Done)
            }
            Command::AdvanceClock { at } => {
                self.advance_now(*at);
                self.sweep(effects);
                Ok(Reply::Done)
            }
            Command::SetArchive(policy) => self.set_archive(*policy, effects),
            Command::Archived { term: proposed, position } => {
                self.archived((*proposed, term), *position, effects)?;
                self.forget_finished(effects);
                if self.next_sweep_at() == Some(UnixMillis(0)) {
                    effects.events.push(Event::OutboxChanged);
                }
                Ok(Reply::Done)
            }
            Command::Rearchive { term: proposed } => {
                check_term(*proposed, term)?;
                self.rearchive(effects)
            }
        }
    }

    /// Changes a task's record and its place in every index together; the only way to change one.
    pub(super) fn change_task(&mut self, id: TaskId, effects: &mut Effects, change: impl FnOnce(&mut Task)) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let was_open = task.is_open();
        self.index.remove(task);
        change(task);
        self.index.insert(task, self.meta.now);
        effects.touched.insert(RecordKey::Task(id));
        if was_open && !task.is_open() {
            self.tell_archive(OutboxItem::Task(id), effects);
        }
    }

    fn register_circuit(&mut self, circuit: &Circuit, effects: &mut Effects) -> Decision {
        if let Some(known) = self.circuits.get(&circuit.id) {
            return if known == circuit { Ok(Reply::Done) } else { Err(Rejection::CircuitConflict) };
        }
        check_limit(self.circuits.len(), Policy::CIRCUITS_MAX, LimitedResource::Circuits)?;
        self.circuits.insert(circuit.id.clone(), circuit.clone());
        effects.touched.insert(RecordKey::Circuit(circuit.id.clone()));
        effects.events.push(Event::CircuitRegistered(circuit.id.clone()));
        self.tell_archive(OutboxItem::Circuit(circuit.id.clone()), effects);
        Ok(Reply::Done)
    }

    fn cancel(&mut self, tenant: TenantId, id: TaskId, effects: &mut Effects) -> Decision {
        let task =
            self.tasks.get(&id).filter(|task| task.tenant == tenant).ok_or(Rejection::UnknownTask(id))?;
        match task.status() {
            TaskStatus::Cancelled => return Ok(Reply::Done),
            status @ (TaskStatus::Completed | TaskStatus::Failed) => {
                return Err(Rejection::TaskFinished { task: id, status });
            }
            TaskStatus::Pending | TaskStatus::Assigned | TaskStatus::InProgress => {}
        }
        self.revoke_lease(id, effects);
        self.meta.counters.tasks_cancelled += 1;
        let now = self.meta.now;
        self.change_task(id, effects, |task| {
            end_attempt(task, now, AttemptEnd::Superseded);
            task.state = TaskState::Cancelled { at: now };
        });
        effects.bodies.push(BodyOp::Drop(BodyKey::Input(id)));
        effects.events.push(Event::TaskCancelled(id));
        Ok(Reply::Done)
    }

    fn grant_lease(
        &mut self,
        id: TaskId,
        attempt: Attempt,
        worker_id: &WorkerId,
        incarnation: Incarnation,
        effects: &mut Effects,
    ) -> Decision {
        let now = self.meta.now;
        let task = self.tasks.get(&id).ok_or(Rejection::UnknownTask(id))?;
        if attempt.0 != task.latest_attempt.0.saturating_add(1) {
            return Err(Rejection::StaleAttempt { task: id, attempt });
        }
        match &task.state {
            TaskState::Pending { not_before } if *not_before > now => {
                return Err(Rejection::TaskBackingOff { task: id, not_before: *not_before });
            }
            TaskState::Pending { .. } if task.deadline.is_none_or(|deadline| deadline > now) => {}
            TaskState::Leased(_) if is_planted(Defect::DoubleLease) => {}
            _ => return Err(Rejection::TaskNotPending(id)),
        }
        if !self.circuits.contains_key(&task.circuit) {
            return Err(Rejection::CircuitUnknown);
        }
        let circuit = task.circuit.clone();
        self.check_worker_can_take(worker_id, incarnation, &circuit)?;
        self.meta.counters.leases_granted += 1;
        self.change_task(id, effects, |task| {
            task.latest_attempt = attempt;
            task.attempts.push(AttemptRecord {
                attempt,
                worker: worker_id.clone(),
                granted_at: now,
                started_at: None,
                end: None,
            });
            task.state = TaskState::Leased(Lease {
                attempt,
                worker: worker_id.clone(),
                incarnation,
                granted_at: now,
                started_at: None,
            });
        });
        effects.events.push(Event::LeaseGranted { task: id, attempt, worker: worker_id.clone() });
        Ok(Reply::Done)
    }

    fn check_worker_can_take(
        &mut self,
        id: &WorkerId,
        incarnation: Incarnation,
        circuit: &CircuitId,
    ) -> Result<(), Rejection> {
        let leases = self.index.leases_of(id);
        let worker = self.live_worker(id, incarnation)?;
        if worker.state != WorkerState::Active {
            return Err(Rejection::WorkerUnavailable(id.clone()));
        }
        if !worker.circuits.contains(circuit) {
            return Err(Rejection::WorkerUnsuited(id.clone()));
        }
        if leases >= u64::from(worker.capacity) {
            return Err(Rejection::WorkerFull(id.clone()));
        }
        Ok(())
    }

    fn start_attempt(
        &mut self,
        id: TaskId,
        attempt: Attempt,
        worker: &WorkerId,
        effects: &mut Effects,
    ) -> Decision {
        let lease = self.check_lease(id, attempt, Some(worker))?;
        if lease.started_at.is_some() {
            return Ok(Reply::Done);
        }
        let now = self.meta.now;
        self.change_task(id, effects, |task| {
            if let TaskState::Leased(lease) = &mut task.state {
                lease.started_at = Some(now);
            }
            if let Some(record) = task.attempts.last_mut() {
                record.started_at = Some(now);
            }
        });
        effects.events.push(Event::AttemptStarted { task: id, attempt });
        Ok(Reply::Done)
    }

    /// The task's lease, if `attempt` (and `worker`, where one claims it) holds it.
    fn check_lease(
        &self,
        id: TaskId,
        attempt: Attempt,
        worker: Option<&WorkerId>,
    ) -> Result<&Lease, Rejection> {
        let task = self.tasks.get(&id).ok_or(Rejection::UnknownTask(id))?;
        if !task.is_open() {
            return Err(Rejection::TaskFinished { task: id, status: task.status() });
        }
        task.lease()
            .filter(|lease| lease.attempt == attempt || is_planted(Defect::NoAttemptFence))
            .filter(|lease| worker.is_none_or(|worker| lease.worker == *worker))
            .ok_or(Rejection::StaleAttempt { task: id, attempt })
    }

    fn complete(
        &mut self,
        id: TaskId,
        attempt: Attempt,
        worker: &WorkerId,
        result: &ProvenResult,
        effects: &mut Effects,
    ) -> Decision {
        let task = self.tasks.get(&id).ok_or(Rejection::UnknownTask(id))?;
        if !task.is_open() {
            return Err(Rejection::TaskFinished { task: id, status: task.status() });
        }
        // An older attempt than the latest is good: the proof was verified, and the first verified proof wins.
        let record = task
            .attempts
            .iter()
            .find(|record| record.attempt == attempt && record.worker == *worker)
            .ok_or(Rejection::StaleAttempt { task: id, attempt })?;
        let key = self.circuits.get(&task.circuit).map(|circuit| circuit.verifying_key);
        if key != Some(result.verifying_key) || result.public_inputs != task.public_inputs {
            return Err(Rejection::ResultMismatch(id));
        }
        let timings = Timings {
            queued_ms: record.granted_at.0.saturating_sub(task.created_at.0),
            proving_ms: result.proving_ms,
            verifying_ms: result.verifying_ms,
        };
        if task.lease().is_some_and(|lease| lease.attempt != attempt) {
            self.revoke_lease(id, effects);
        }
        self.meta.counters.tasks_completed += 1;
        let now = self.meta.now;
        self.change_task(id, effects, |task| {
            end_attempt(task, now, AttemptEnd::Superseded);
            if let Some(record) = task.attempts.iter_mut().find(|record| record.attempt == attempt) {
                record.end = Some((now, AttemptEnd::Completed));
            }
            task.state = TaskState::Completed {
                at: now,
                worker: worker.clone(),
                attempt,
                verifying_key: result.verifying_key,
                timings,
            };
        });
        effects.bodies.push(BodyOp::Drop(BodyKey::Input(id)));
        effects.bodies.push(BodyOp::Put(BodyKey::Proof(id), result.proof.clone()));
        effects.events.push(Event::TaskCompleted(id));
        Ok(Reply::Done)
    }

    fn fail_attempt(&mut self, id: TaskId, cause: &FailureCause, effects: &mut Effects) {
        if cause.kind.is_permanent() {
            let now = self.meta.now;
            self.change_task(id, effects, |task| {
                task.attempts_used += 1;
                end_attempt(task, now, AttemptEnd::Failed(cause.clone()));
            });
            self.fail_task(id, FailureReason::Permanent(cause.clone()), effects);
        } else {
            self.use_up_attempt(id, AttemptEnd::Failed(cause.clone()), effects);
        }
    }

    /// How many attempts before the current one came back in a row without having been used up.
    pub(super) fn put_back_in_a_row(&self, id: TaskId) -> usize {
        let attempts = self.tasks.get(&id).into_iter().flat_map(|task| task.attempts.iter().rev().skip(1));
        attempts.take_while(|record| is_put_back(record)).count()
    }

    /// Puts a task back whose attempt is not used up: at once the first time. A task that comes back again and again has to
    /// wait like one that fails, or it would go round between scheduler and worker as fast as the log can carry it.
    pub(super) fn put_back(&mut self, id: TaskId, end: AttemptEnd, effects: &mut Effects) {
        let now = self.meta.now;
        let not_before = match u32::try_from(self.put_back_in_a_row(id)).unwrap_or(u32::MAX) {
            0 => now,
            before => now.plus(backoff_ms(&self.meta.policy, id, before)),
        };
        self.change_task(id, effects, |task| {
            end_attempt(task, now, end);
            trim_put_back(task);
            task.state = TaskState::Pending { not_before };
        });
        effects.events.push(Event::TaskRequeued { task: id, not_before });
    }

    /// Ends the current attempt as used up: the task waits again, or fails when it has no attempt left.
    pub(super) fn use_up_attempt(&mut self, id: TaskId, end: AttemptEnd, effects: &mut Effects) {
        let now = self.meta.now;
        let Some(task) = self.tasks.get(&id) else { return };
        let used = task.attempts_used + 1;
        let is_exhausted = used >= task.max_attempts;
        let not_before = now.plus(backoff_ms(&self.meta.policy, id, used));
        self.change_task(id, effects, |task| {
            task.attempts_used = used;
            end_attempt(task, now, end);
            task.state = TaskState::Pending { not_before };
        });
        if is_exhausted {
            self.fail_task(id, FailureReason::AttemptsExhausted, effects);
        } else {
            effects.events.push(Event::TaskRequeued { task: id, not_before });
        }
    }

    /// Fails an open task for good. Its input stays until retention, so that it can be looked into and tried again.
    pub(super) fn fail_task(&mut self, id: TaskId, reason: FailureReason, effects: &mut Effects) {
        self.meta.counters.tasks_failed += 1;
        let now = self.meta.now;
        self.change_task(id, effects, |task| {
            end_attempt(task, now, AttemptEnd::Superseded);
            task.state = TaskState::Failed { at: now, reason: reason.clone() };
        });
        effects.events.push(Event::TaskFailed { task: id, reason });
    }

    /// Tells the holder of a task's lease, if there is one, that it is not its any more.
    pub(super) fn revoke_lease(&self, id: TaskId, effects: &mut Effects) {
        if let Some(lease) = self.tasks.get(&id).and_then(Task::lease) {
            effects.events.push(Event::LeaseRevoked {
                task: id,
                attempt: lease.attempt,
                worker: lease.worker.clone(),
            });
        }
    }

    /// The ledger's clock never goes back, whatever a leader's does.
    pub(super) fn advance_now(&mut self, at: UnixMillis) {
        if at <= self.meta.now {
            return;
        }
        self.meta.now = at;
        while let Some(&(due, id)) = self.index.delayed.first().filter(|(due, _)| *due <= at) {
            self.index.delayed.remove(&(due, id));
            if let Some(task) = self.tasks.get(&id) {
                let key = super::index::QueueKey::of(task);
                self.index.ready.entry(task.circuit.clone()).or_default().insert(key);
            }
        }
    }
}

pub(super) fn check_term(proposed: Term, current: Term) -> Result<(), Rejection> {
    if proposed == current { Ok(()) } else { Err(Rejection::StaleTerm { proposed, current }) }
}

pub(super) fn check_limit(used: usize, limit: usize, what: LimitedResource) -> Result<(), Rejection> {
    if used < limit { Ok(()) } else { Err(Rejection::LimitReached { what, limit: limit as u64 }) }
}

/// Ends the latest attempt's record, if it still runs.
fn end_attempt(task: &mut Task, now: UnixMillis, end: AttemptEnd) {
    if let Some(record) = task.attempts.last_mut().filter(|record| record.end.is_none()) {
        record.end = Some((now, end));
    }
}

fn is_put_back(record: &AttemptRecord) -> bool {
    matches!(record.end, Some((_, AttemptEnd::Returned | AttemptEnd::WorkerRestarted)))
}

/// Forgets the oldest attempts given back beyond [`RETURNED_ATTEMPTS_KEPT`].
fn trim_put_back(task: &mut Task) {
    let returned = task.attempts.iter().filter(|record| is_put_back(record)).count();
    let mut excess = returned.saturating_sub(RETURNED_ATTEMPTS_KEPT);
    task.attempts.retain(|record| {
        let drop = excess > 0 && is_put_back(record);
        excess -= usize::from(drop);
        !drop
    });
}
