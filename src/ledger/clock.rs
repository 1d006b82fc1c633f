//! What time alone brings about: deadlines and retention. Each command does a bounded part of it.

use super::apply::Effects;
use super::event::Event;
use super::ids::{TaskId, UnixMillis, WorkerId};
use super::outbox::OutboxItem;
use super::outcome::{BodyKey, BodyOp};
use super::policy::Policy;
use super::record::RecordKey;
use super::state::Ledger;
use super::task::FailureReason;

impl Ledger {
    pub(super) fn sweep(&mut self, effects: &mut Effects) {
        self.fail_overdue(effects);
        self.forget_finished(effects);
        self.forget_lost_workers(effects);
        self.sweep_outbox(effects);
    }

    /// When [`Ledger::apply`] of an `AdvanceClock` would next have something to do, for whoever proposes it; 0 when it has
    /// already, since the proposer's clock may be behind the ledger's.
    #[must_use]
    pub fn next_sweep_at(&self) -> Option<UnixMillis> {
        let overdue = self.index.deadlines.first().map(|(deadline, _)| *deadline);
        if self.is_outbox_sweep_due() {
            return Some(UnixMillis(0));
        }
        let surplus = self.index.finished.len() as u64 > self.meta.policy.retention_count;
        // What waits for the archive is not due: it is forgotten when the archive has it.
        let oldest = self.index.finished.first().filter(|finished| self.may_forget_task(**finished));
        let expiry = oldest.map(|(finished_at, _)| {
            if surplus { self.meta.now } else { finished_at.plus(self.meta.policy.retention_age_ms) }
        });
        let age_ms = self.meta.policy.retention_age_ms;
        let forgettable = self.workers.values().filter(|worker| self.may_forget_worker(&worker.id));
        let lost = forgettable.filter_map(|worker| worker.lost_at).min();
        let due = overdue.into_iter().chain(expiry).chain(lost.map(|at| at.plus(age_ms))).min()?;
        Some(if due <= self.meta.now { UnixMillis(0) } else { due })
    }

    fn fail_overdue(&mut self, effects: &mut Effects) {
        let now = self.meta.now;
        let overdue: Vec<TaskId> = self
            .index
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, id)| *id)
            .take(Policy::SWEEP_MAX)
            .collect();
        for id in overdue {
            self.revoke_lease(id, effects);
            self.fail_task(id, FailureReason::DeadlinePassed, effects);
        }
    }

    pub(super) fn forget_finished(&mut self, effects: &mut Effects) {
        for _ in 0..Policy::SWEEP_MAX {
            let Some(&(finished_at, id)) = self.index.finished.first() else { return };
            let is_surplus = self.index.finished.len() as u64 > self.meta.policy.retention_count;
            let is_old = finished_at.plus(self.meta.policy.retention_age_ms) <= self.meta.now;
            if !is_surplus && !is_old || !self.may_forget_task((finished_at, id)) {
                return;
            }
            let sequence = self.tasks.get(&id).map_or(0, |task| task.sequence);
            self.note_forgotten(&OutboxItem::Task(id), sequence, effects);
            if let Some(task) = self.tasks.remove(&id) {
                self.index.remove(&task);
            }
            self.meta.counters.tasks_forgotten += 1;
            effects.touched.insert(RecordKey::Task(id));
            effects.bodies.push(BodyOp::Drop(BodyKey::Input(id)));
            effects.bodies.push(BodyOp::Drop(BodyKey::Proof(id)));
            effects.events.push(Event::TaskForgotten(id));
        }
    }

    fn forget_lost_workers(&mut self, effects: &mut Effects) {
        let now = self.meta.now;
        let age_ms = self.meta.policy.retention_age_ms;
        let old: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|worker| worker.lost_at.is_some_and(|lost_at| lost_at.plus(age_ms) <= now))
            .filter(|worker| self.may_forget_worker(&worker.id))
            .map(|worker| worker.id.clone())
            .take(Policy::SWEEP_MAX)
            .collect();
        for id in old {
            self.note_forgotten(&OutboxItem::Worker(id.clone()), 0, effects);
            self.workers.remove(&id);
            effects.touched.insert(RecordKey::Worker(id));
        }
    }
}
