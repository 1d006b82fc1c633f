//! Workers come, drain and go. Each registration of a new process is a new life ([`Incarnation`]); what the old life held
//! returns to the queue.

use super::apply::{Decision, Effects, check_limit};
use super::event::Event;
use super::ids::{Incarnation, TaskId, WorkerId};
use super::outbox::OutboxItem;
use super::outcome::{LimitedResource, Rejection, Reply};
use super::policy::Policy;
use super::record::RecordKey;
use super::state::Ledger;
use super::task::AttemptEnd;
use super::worker::{WORKER_CAPACITY_MAX, Worker, WorkerState};

/// Restarts of a worker that a task may be held through, in a row, before one is charged as an attempt: a task that ends the
/// processes which try it must come to an end itself.
const RESTARTS_FREE: usize = 3;

impl Ledger {
    pub(super) fn register_worker(&mut self, record: Worker, effects: &mut Effects) -> Decision {
        check_registration(&record)?;
        let id = record.id.clone();
        let latest = match self.workers.get(&id) {
            Some(known) if known.incarnation == record.incarnation && known.session == record.session => {
                return if known.state == WorkerState::Lost {
                    Err(Rejection::StaleIncarnation(id))
                } else {
                    Ok(Reply::Done)
                };
            }
            Some(known) => known.incarnation.0,
            None => {
                check_limit(self.workers.len(), Policy::WORKERS_MAX, LimitedResource::Workers)?;
                0
            }
        };
        if record.incarnation.0 != latest.saturating_add(1) {
            return Err(Rejection::StaleIncarnation(id));
        }
        self.take_back_from_earlier_life(&id, effects);
        self.workers.insert(id.clone(), record);
        effects.touched.insert(RecordKey::Worker(id.clone()));
        effects.events.push(Event::WorkerRegistered(id.clone()));
        self.tell_archive(OutboxItem::Worker(id), effects);
        Ok(Reply::Done)
    }

    /// A process that ended says nothing of the tasks that it held: they cost no attempt. One that was there at every one
    /// of several ends in a row may be their cause, and is charged.
    fn take_back_from_earlier_life(&mut self, worker: &WorkerId, effects: &mut Effects) {
        for task in self.leased_to(worker) {
            self.revoke_lease(task, effects);
            self.meta.counters.leases_lost += 1;
            if self.put_back_in_a_row(task) < RESTARTS_FREE {
                self.put_back(task, AttemptEnd::WorkerRestarted, effects);
            } else {
                self.use_up_attempt(task, AttemptEnd::WorkerLost, effects);
            }
        }
    }

    fn leased_to(&self, worker: &WorkerId) -> Vec<TaskId> {
        self.index.leased.get(worker).into_iter().flatten().copied().collect()
    }

    pub(super) fn live_worker(
        &mut self,
        id: &WorkerId,
        incarnation: Incarnation,
    ) -> Result<&mut Worker, Rejection> {
        let worker = self.workers.get_mut(id).ok_or_else(|| Rejection::UnknownWorker(id.clone()))?;
        if worker.incarnation != incarnation {
            return Err(Rejection::StaleIncarnation(id.clone()));
        }
        Ok(worker)
    }

    pub(super) fn drain_worker(
        &mut self,
        id: &WorkerId,
        incarnation: Incarnation,
        effects: &mut Effects,
    ) -> Decision {
        let worker = self.live_worker(id, incarnation)?;
        match worker.state {
            WorkerState::Lost => return Err(Rejection::WorkerUnavailable(id.clone())),
            WorkerState::Draining => return Ok(Reply::Done),
            WorkerState::Active => worker.state = WorkerState::Draining,
        }
        effects.touched.insert(RecordKey::Worker(id.clone()));
        effects.events.push(Event::WorkerDraining(id.clone()));
        self.tell_archive(OutboxItem::Worker(id.clone()), effects);
        Ok(Reply::Done)
    }

    pub(super) fn lose_worker(
        &mut self,
        id: &WorkerId,
        incarnation: Incarnation,
        effects: &mut Effects,
    ) -> Decision {
        let now = self.meta.now;
        let worker = self.live_worker(id, incarnation)?;
        if worker.state == WorkerState::Lost {
            return Ok(Reply::Done);
        }
        worker.state = WorkerState::Lost;
        worker.lost_at = Some(now);
        effects.touched.insert(RecordKey::Worker(id.clone()));
        effects.events.push(Event::WorkerLost { worker: id.clone(), incarnation });
        self.tell_archive(OutboxItem::Worker(id.clone()), effects);
        self.release_leases_of(id, effects);
        Ok(Reply::Done)
    }

    fn release_leases_of(&mut self, worker: &WorkerId, effects: &mut Effects) {
        for task in self.leased_to(worker) {
            self.revoke_lease(task, effects);
            self.meta.counters.leases_lost += 1;
            self.use_up_attempt(task, AttemptEnd::WorkerLost, effects);
        }
    }
}

fn check_registration(worker: &Worker) -> Result<(), Rejection> {
    let problem = if worker.capacity == 0 || worker.capacity > WORKER_CAPACITY_MAX {
        "a worker's capacity is 1 to 1024"
    } else if worker.circuits.len() > 1024 {
        "a worker names at most 1024 circuits"
    } else if worker.version.len() > 64 {
        "a worker's version has at most 64 bytes"
    } else {
        return Ok(());
    };
    Err(Rejection::Malformed(problem.into()))
}
