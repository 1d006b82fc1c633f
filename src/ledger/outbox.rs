//! The outbox: what an archive outside of the cluster still has to be told, in the order in which it came about.
//!
//! While an archive is in force, everything that it keeps (a finished task, a registered circuit, a worker that came, drains
//! or went) gets the next *position*. The leader writes what stands in the outbox, oldest first, and then has `Archived`
//! committed; only what that covers leaves the outbox, and a finished task that stands in it is not forgotten, whatever the
//! retention says. So a leader that began from a snapshot finds exactly what the archive lacks.
//!
//! What changes again while it stands here moves to a new position. Otherwise a leader that has read the old state and
//! commits `Archived` after the change would have it left out.
//!
//! Refused here: a position that was never given out, and the word of a deposed leader.

use super::apply::{Decision, Effects, check_term};
use super::circuit::Circuit;
use super::event::Event;
use super::ids::{CircuitId, TaskId, Term, UnixMillis, WorkerId};
use super::outcome::{LimitedResource, Rejection, Reply};
use super::policy::Policy;
use super::record::RecordKey;
use super::state::Ledger;
use super::task::Task;
use super::worker::Worker;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Bound;

/// That there is an archive, and how far it may fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivePolicy {
    /// With so many things in the outbox no further task is taken: they stay on every coordinator's disk and in its memory
    /// until the archive has them.
    pub backlog_max: u64,
}

/// Something that the archive keeps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OutboxItem {
    /// A finished task.
    Task(TaskId),
    /// A circuit.
    Circuit(CircuitId),
    /// A worker, as it is now.
    Worker(WorkerId),
}

/// How far the archive is: the record [`RecordKey::Archive`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveState {
    /// The limits; `None`: there is no archive, and retention alone decides what is forgotten.
    pub(crate) policy: Option<ArchivePolicy>,
    /// The latest position given out.
    pub(crate) last: u64,
    /// Everything up to this position is in the archive.
    pub(crate) archived: u64,
    /// Tasks that had finished before there was an archive and do not stand in the outbox yet.
    pub(crate) backfill: Option<Backfill>,
    /// The largest sequence number of a task that was forgotten while there was an archive: lists that stay above it need
    /// not ask the archive.
    pub(crate) newest_forgotten: u64,
}

/// Finished tasks are put into the outbox some at a time; this is what is left of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backfill {
    /// Those up to here are done.
    after: Option<(UnixMillis, TaskId)>,
    /// Those that finished later got their position when they did.
    until: UnixMillis,
}

impl Backfill {
    fn covers(&self, finished: (UnixMillis, TaskId)) -> bool {
        self.after.is_none_or(|after| finished > after) && finished.0 <= self.until
    }
}

/// The record of one thing that stands in the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Its position, from 1.
    pub position: u64,
    /// What.
    pub item: OutboxItem,
}

/// The outbox, and its inverse.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outbox {
    pub(super) state: ArchiveState,
    pub(super) entries: BTreeMap<u64, OutboxItem>,
    pub(super) places: BTreeMap<OutboxItem, u64>,
}

/// What the archive is to keep, as the ledger has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxContent {
    /// A finished task; its proof is a body.
    Task(Box<Task>),
    /// A circuit.
    Circuit(Box<Circuit>),
    /// A worker.
    Worker(Box<Worker>),
}

/// How the archive stands, for whoever shows or drives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveStanding {
    /// The limits in force; `None`: no archive.
    pub policy: Option<ArchivePolicy>,
    /// The latest position given out.
    pub last: u64,
    /// Everything up to this position is in the archive.
    pub archived: u64,
    /// How much stands in the outbox.
    pub lag: u64,
    /// See [`Ledger::newest_forgotten`].
    pub newest_forgotten: u64,
}

impl Outbox {
    pub(super) fn enter(&mut self, position: u64, item: OutboxItem) -> bool {
        self.places.insert(item.clone(), position).is_none() && self.entries.insert(position, item).is_none()
    }

    /// Gives the item the next position, and takes an earlier one from it.
    fn append(&mut self, item: OutboxItem, effects: &mut Effects) {
        self.withdraw(&item, effects);
        self.state.last += 1;
        effects.touched.insert(RecordKey::Outbox(self.state.last));
        effects.touched.insert(RecordKey::Archive);
        self.enter(self.state.last, item);
    }

    fn withdraw(&mut self, item: &OutboxItem, effects: &mut Effects) {
        if let Some(position) = self.places.remove(item) {
            self.entries.remove(&position);
            effects.touched.insert(RecordKey::Outbox(position));
        }
    }
}

impl Ledger {
    /// Notes, where there is an archive, that it is to be told of the item.
    pub(super) fn tell_archive(&mut self, item: OutboxItem, effects: &mut Effects) {
        if self.outbox.state.policy.is_some() {
            self.outbox.append(item, effects);
        }
    }

    /// Whether the ledger may forget the task for all that the archive needs of it.
    pub(super) fn may_forget_task(&self, finished: (UnixMillis, TaskId)) -> bool {
        let state = &self.outbox.state;
        state.policy.is_none()
            || !self.outbox.places.contains_key(&OutboxItem::Task(finished.1))
                && state.backfill.is_none_or(|backfill| !backfill.covers(finished))
    }

    /// The same for a lost worker.
    pub(super) fn may_forget_worker(&self, id: &WorkerId) -> bool {
        self.outbox.state.policy.is_none()
            || !self.outbox.places.contains_key(&OutboxItem::Worker(id.clone()))
    }

    /// Keeps the outbox free of what the ledger no longer has.
    pub(super) fn note_forgotten(&mut self, item: &OutboxItem, sequence: u64, effects: &mut Effects) {
        self.outbox.withdraw(item, effects);
        let state = &mut self.outbox.state;
        if state.policy.is_some() && sequence > state.newest_forgotten {
            state.newest_forgotten = sequence;
            effects.touched.insert(RecordKey::Archive);
        }
    }

    pub(super) fn set_archive(&mut self, policy: Option<ArchivePolicy>, effects: &mut Effects) -> Decision {
        if policy.is_some_and(|policy| policy.backlog_max == 0) {
            return Err(Rejection::Malformed("backlog_max is zero".into()));
        }
        let before = std::mem::replace(&mut self.outbox.state.policy, policy);
        if before == policy {
            return Ok(Reply::Done);
        }
        effects.touched.insert(RecordKey::Archive);
        match (before, policy) {
            (None, Some(_)) => self.begin_backfill(effects),
            (_, None) => {
                self.outbox.state.backfill = None;
                effects.events.push(Event::OutboxChanged);
            }
            (Some(_), Some(_)) => {}
        }
        Ok(Reply::Done)
    }

    /// The archive lost what it had, or is another one: everything that the ledger still has is put into the outbox again.
    pub(super) fn rearchive(&mut self, effects: &mut Effects) -> Decision {
        if self.outbox.state.policy.is_none() {
            return Err(Rejection::NoArchive);
        }
        self.begin_backfill(effects);
        Ok(Reply::Done)
    }

    /// Circuits and workers at once, since there are few; tasks with the sweeps.
    fn begin_backfill(&mut self, effects: &mut Effects) {
        let circuits = self.circuits.keys().cloned().map(OutboxItem::Circuit);
        let workers = self.workers.keys().cloned().map(OutboxItem::Worker);
        let items: Vec<OutboxItem> = circuits.chain(workers).collect();
        items.into_iter().for_each(|item| self.outbox.append(item, effects));
        self.outbox.state.backfill = Some(Backfill { after: None, until: self.meta.now });
        effects.touched.insert(RecordKey::Archive);
        effects.events.push(Event::OutboxChanged);
    }

    pub(super) fn archived(
        &mut self,
        (proposed, current): (Term, Term),
        position: u64,
        effects: &mut Effects,
    ) -> Decision {
        check_term(proposed, current)?;
        let outbox = &mut self.outbox;
        if outbox.state.policy.is_none() {
            return Err(Rejection::NoArchive);
        }
        if position > outbox.state.last {
            return Err(Rejection::Malformed("a position that was never given out".into()));
        }
        if position > outbox.state.archived {
            outbox.state.archived = position;
            effects.touched.insert(RecordKey::Archive);
            let rest = outbox.entries.split_off(&(position + 1));
            for (position, item) in std::mem::replace(&mut outbox.entries, rest) {
                outbox.places.remove(&item);
                effects.touched.insert(RecordKey::Outbox(position));
            }
        }
        Ok(Reply::Done)
    }

    /// A bounded part of what there is to do when an archive was put in force, or taken away.
    pub(super) fn sweep_outbox(&mut self, effects: &mut Effects) {
        if self.outbox.state.policy.is_none() {
            for _ in 0..Policy::SWEEP_MAX {
                let Some((position, item)) = self.outbox.entries.pop_first() else { return };
                self.outbox.places.remove(&item);
                effects.touched.insert(RecordKey::Outbox(position));
            }
            return;
        }
        let Some(backfill) = self.outbox.state.backfill else { return };
        let from = backfill.after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.index.finished.range((from, Bound::Unbounded));
        let due: Vec<(UnixMillis, TaskId)> = range
            .copied()
            .take_while(|finished| backfill.covers(*finished))
            .take(Policy::SWEEP_MAX)
            .collect();
        for (_, id) in &due {
            if !self.outbox.places.contains_key(&OutboxItem::Task(*id)) {
                self.outbox.append(OutboxItem::Task(*id), effects);
            }
        }
        let is_done = due.len() < Policy::SWEEP_MAX;
        self.outbox.state.backfill =
            due.last().filter(|_| !is_done).map(|last| Backfill { after: Some(*last), ..backfill });
        effects.touched.insert(RecordKey::Archive);
        effects.events.push(Event::OutboxChanged);
    }

    /// Whether [`Self::sweep_outbox`] has something to do.
    pub(super) fn is_outbox_sweep_due(&self) -> bool {
        let outbox = &self.outbox;
        outbox.state.backfill.is_some() || outbox.state.policy.is_none() && !outbox.entries.is_empty()
    }

    pub(super) fn check_backlog(&self) -> Result<(), Rejection> {
        let Some(policy) = self.outbox.state.policy else { return Ok(()) };
        if self.outbox.entries.len() as u64 >= policy.backlog_max {
            let what = LimitedResource::ArchiveBacklog;
            return Err(Rejection::LimitReached { what, limit: policy.backlog_max });
        }
        Ok(())
    }

    /// What the archive is to be told first, at most `limit` things, with their positions.
    #[must_use]
    pub fn outbox(&self, limit: usize) -> Vec<(u64, OutboxContent)> {
        let entries = self.outbox.entries.iter().take(limit);
        entries.filter_map(|(position, item)| Some((*position, self.content(item)?))).collect()
    }

    fn content(&self, item: &OutboxItem) -> Option<OutboxContent> {
        Some(match item {
            OutboxItem::Task(id) => OutboxContent::Task(Box::new(self.tasks.get(id)?.clone())),
            OutboxItem::Circuit(id) => OutboxContent::Circuit(Box::new(self.circuits.get(id)?.clone())),
            OutboxItem::Worker(id) => OutboxContent::Worker(Box::new(self.workers.get(id)?.clone())),
        })
    }

    /// Whether there is anything that an archive would keep.
    #[must_use]
    pub fn has_something_to_archive(&self) -> bool {
        !(self.circuits.is_empty() && self.workers.is_empty() && self.index.finished.is_empty())
    }

    /// How the archive stands.
    #[must_use]
    pub fn archive(&self) -> ArchiveStanding {
        let ArchiveState { policy, last, archived, newest_forgotten, .. } = self.outbox.state;
        ArchiveStanding { policy, last, archived, lag: self.outbox.entries.len() as u64, newest_forgotten }
    }

    /// Why the outbox cannot be that of this ledger, if it cannot.
    pub(super) fn outbox_problem(&self) -> Option<&'static str> {
        let Outbox { state, entries, places } = &self.outbox;
        let is_inverse = places.len() == entries.len()
            && entries.iter().all(|(position, item)| places.get(item) == Some(position));
        let is_known = |item: &OutboxItem| match item {
            OutboxItem::Task(id) => self.tasks.get(id).is_some_and(|task| !task.is_open()),
            OutboxItem::Circuit(id) => self.circuits.contains_key(id),
            OutboxItem::Worker(id) => self.workers.contains_key(id),
        };
        if !is_inverse {
            Some("something stands in the outbox twice")
        } else if state.archived > state.last
            || entries.last_key_value().is_some_and(|(at, _)| *at > state.last)
        {
            Some("the outbox has a position that was never given out")
        } else if entries.first_key_value().is_some_and(|(at, _)| *at <= state.archived) {
            Some("something in the outbox is archived already")
        } else if !entries.values().all(is_known) {
            Some("the outbox names something that the ledger does not have, or a task that is open")
        } else {
            None
        }
    }
}
