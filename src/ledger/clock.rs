//! What time alone brings about: deadlines and retention. Each command does a bounded part of it.

use super::apply::Effects;
use super::event::Event;
use super::ids::{TaskId, UnixMillis, WorkerId};
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
    }

    /// When [`Ledger::apply`] of an `AdvanceClock` would next have something to do, for whoever proposes it; 0 when it has
    /// already, since the proposer's clock may be behind the ledger's.
    #[must_use]
    pub fn next_sweep_at(&self) -> Option<UnixMillis> {
        let overdue = self.index.deadlines.first().map(|(deadline, _)| *deadline);
        let surplus = self.index.finished.len() as u64 > self.meta.policy.retention_count;
        let expiry = self.index.finished.first().map(|(finished_at, _)| {
            if surplus { self.meta.now } else { finished_at.plus(self.meta.policy.retention_age_ms) }
        });
        let age_ms = self.meta.policy.retention_age_ms;
        let lost = self.workers.values().filter_map(|worker| worker.lost_at).min();
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

    fn forget_finished(&mut self, effects: &mut Effects) {
        for _ in 0..Policy::SWEEP_MAX {
            let Some(&(finished_at, id)) = self.index.finished.first() else { return };
            let is_surplus = self.index.finished.len() as u64 > self.meta.policy.retention_count;
            let is_old = finished_at.plus(self.meta.policy.retention_age_ms) <= self.meta.now;
            if !is_surplus && !is_old {
                return;
            }
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
            .map(|worker| worker.id.clone())
            .take(Policy::SWEEP_MAX)
            .collect();
        for id in old {
            self.workers.remove(&id);
            effects.touched.insert(RecordKey::Worker(id));
        }
    }
}
