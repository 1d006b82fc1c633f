//! Who is alive: silence past the lease, orders that were lost, and what the ledger says otherwise.

use super::messages::Order;
use super::{Life, WorkerRegistry};
use crate::actors::raft_node::Decided;
use crate::ledger::{Attempt, Command, Ledger, TaskId, Term, WorkerId, WorkerState};
use crate::raft::ProposeError;
use actix::{AsyncContext as _, Context};
use std::collections::BTreeSet;
use std::time::Instant;

impl WorkerRegistry {
    /// Looks for workers that have kept silent past the lease, and for such that the ledger counts as lost while this
    /// registry still knows them (the news can have been dropped). One look at a time: it may wait for a quorum.
    pub(super) fn liveness_tick(&mut self, context: &mut Context<Self>) {
        let now = Instant::now();
        self.leave_out_own_absence(now);
        self.count_suspects(now);
        let Some(term) = self.term.filter(|_| !self.is_looking) else { return };
        let lease = self.parts.times.lease;
        let is_over = |since: Instant| now.duration_since(since) > lease;
        let gone: Vec<WorkerId> = self
            .live
            .iter()
            .filter(|(_, live)| is_over(live.seen))
            .map(|(worker, _)| worker.clone())
            .collect();
        for worker in gone {
            if let Some(live) = self.live.remove(&worker) {
                self.awaited.insert((worker, live.incarnation), live.seen);
            }
        }
        let silent: BTreeSet<Life> =
            self.awaited.iter().filter(|(_, since)| is_over(**since)).map(|(life, _)| life.clone()).collect();
        let known: Vec<Life> =
            self.live.iter().map(|(worker, live)| (worker.clone(), live.incarnation)).collect();
        self.is_looking = true;
        let raft = self.parts.raft.clone();
        let look = async move {
            let question = |ledger: &Ledger| {
                let is_there = |w: &&crate::ledger::Worker| w.state != WorkerState::Lost;
                ledger.workers().filter(is_there).map(|w| (w.id.clone(), w.incarnation)).collect()
            };
            let there: BTreeSet<Life> = raft.local(question).await.ok()?;
            let lost = there.intersection(&silent).map(|(worker, incarnation)| {
                tracing::warn!(%worker, "worker kept silent past its lease");
                let at = raft.now();
                let lose =
                    Command::LoseWorker { term, worker: worker.clone(), incarnation: *incarnation, at };
                async { log_refusal("lose a worker", raft.propose(lose).await) }
            });
            futures_util::future::join_all(lost).await;
            Some(there)
        };
        let update = move |there: Option<BTreeSet<Life>>, registry: &mut Self, _: &mut Context<Self>| {
            registry.is_looking = false;
            if let Some(there) = there {
                registry.compare(&known, &there);
                registry.count_suspects(Instant::now());
            }
        };
        context.spawn(actix::fut::ActorFutureExt::map(actix::fut::wrap_future(look), update));
    }

    /// Time in which this process did not run (it was stopped, or its machine was) is no silence of the workers': what they
    /// said then still waits to be read.
    fn leave_out_own_absence(&mut self, now: Instant) {
        let since_the_last = now.duration_since(std::mem::replace(&mut self.ticked, now));
        let absence = since_the_last.saturating_sub(self.parts.times.liveness_tick() * 2);
        if absence.is_zero() {
            return;
        }
        let later = |since: &mut Instant| *since = (*since + absence).min(now);
        for live in self.live.values_mut() {
            later(&mut live.seen);
            live.unspoken.values_mut().for_each(later);
        }
        self.awaited.values_mut().for_each(later);
    }

    /// Tells how many workers have kept silent for more than half their lease. Only a leader listens to them.
    pub(super) fn count_suspects(&self, now: Instant) {
        let patience = self.parts.times.lease / 2;
        let unheard = self.live.values().map(|live| live.seen).chain(self.awaited.values().copied());
        let count = unheard.filter(|since| now.duration_since(*since) > patience).count();
        let count = if self.term.is_some() { count as u64 } else { 0 };
        self.suspects.send_if_modified(|noted| std::mem::replace(noted, count) != count);
    }

    /// Whether another process than `session` works under this name: somebody is at the other end of its link, and has been
    /// heard of lately.
    pub(super) fn is_at_work(&self, worker: &WorkerId, session: u64) -> bool {
        let lately = self.parts.times.lease / 2;
        self.live.get(worker).is_some_and(|live| {
            live.session != session && live.link.is_open() && live.seen.elapsed() <= lately
        })
    }

    pub(super) fn is_live(&self, (worker, incarnation): &Life) -> bool {
        self.live.get(worker).is_some_and(|live| live.incarnation == *incarnation)
    }

    /// Compares the workers that were live before the ledger was read with those that the ledger had then.
    pub(super) fn compare(&mut self, known: &[Life], there: &BTreeSet<Life>) {
        let now = Instant::now();
        let awaited: Vec<Life> = there.iter().filter(|life| !self.is_live(life)).cloned().collect();
        self.awaited.retain(|life, _| awaited.contains(life));
        for life in awaited {
            self.awaited.entry(life).or_insert(now);
        }
        for life in known.iter().filter(|life| !there.contains(life)) {
            self.forget(life);
        }
    }

    /// Asks a worker to register again, and gives it nothing before it has.
    pub(super) fn forget(&mut self, life: &Life) {
        if self.is_live(life)
            && let Some(live) = self.live.remove(&life.0)
        {
            // Should the order not reach it, its next heartbeat tells it.
            let _ = live.link.push(Order::Reregister);
        }
    }

    pub(super) fn adopt_term(&mut self, term: Option<Term>) {
        if term != self.term {
            // A new leader arms every lease anew: nobody is lost because of what this node did not hear as a follower.
            let now = Instant::now();
            self.live.values_mut().for_each(|live| {
                live.seen = now;
                live.unspoken.clear();
            });
            self.awaited.clear();
        }
        if term.is_none() {
            // Whoever works looks for the leader at once, instead of after a heartbeat.
            for live in std::mem::take(&mut self.live).into_values() {
                let _ = live.link.push(Order::Reregister);
            }
        }
        self.term = term;
        self.count_suspects(Instant::now());
    }

    /// Notes which leases of the ledger a worker does not speak of, and ends those that it has not spoken of for a lease's
    /// time: their order was lost.
    pub(super) fn expire_unspoken(
        &mut self,
        worker: &WorkerId,
        leases: BTreeSet<(TaskId, Attempt)>,
        holds: &BTreeSet<(TaskId, Attempt)>,
    ) {
        let Some(term) = self.term else { return };
        let Some(live) = self.live.get_mut(worker) else { return };
        let now = Instant::now();
        live.unspoken.retain(|lease, _| leases.contains(lease) && !holds.contains(lease));
        for lease in leases.difference(holds) {
            live.unspoken.entry(*lease).or_insert(now);
        }
        let overdue: Vec<(TaskId, Attempt)> = live
            .unspoken
            .iter()
            .filter(|(_, since)| now.duration_since(**since) > self.parts.times.lease)
            .map(|(lease, _)| *lease)
            .collect();
        if overdue.is_empty() {
            return;
        }
        let raft = self.parts.raft.clone();
        actix_rt::spawn(async move {
            for (task, attempt) in overdue {
                tracing::warn!(%task, attempt = attempt.0, "the worker does not know of its lease");
                let expire = Command::ExpireLease { term, task, attempt, at: raft.now() };
                log_refusal("expire a lease", raft.propose(expire).await);
            }
        });
    }
}

/// A refusal is the ledger doing its duty; there is nothing to be done about it here.
pub(super) fn log_refusal(what: &str, decided: Result<Decided, ProposeError>) {
    match decided {
        Ok(decided) => {
            if let Err(rejection) = decided.reply {
                tracing::debug!(what, %rejection, "the ledger refused");
            }
        }
        Err(error) => tracing::debug!(what, %error, "not proposed"),
    }
}
