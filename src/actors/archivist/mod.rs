//! The archivist: while this node leads, it brings what stands in the ledger's outbox to PostgreSQL.
//!
//! A batch is written in one transaction that also moves the archive's cursor from where the batch begins to where it ends;
//! then `Archived` is committed through Raft, and only then may the ledger forget. Either step can be lost: a batch whose
//! `Archived` never came is found by the cursor at the next claim, and one that was rolled back is still in the outbox. A
//! leader that was deposed and does not know it finds that its claim is gone, or that the cursor has moved, and its
//! `Archived` carries an old term. Neither of these checks is needed for the archive to be right, since all that is written was
//! committed by Raft before; they keep two leaders from doing the work twice.
//!
//! PostgreSQL may be away, slow, full or read-only at any time: the archivist tries again, with a back-off, and the rest of
//! the node does not wait for it.

mod batches;
mod hindrance;
mod reading;
mod upkeep;

use reading::Epoch;
pub use reading::{ArchiveHealth, ArchivistHandle, ReadingError};

use super::events::{Committed, Completeness, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::raft_node::{RaftNodeHandle, leading_term};
use crate::archive::{ArchiveError, ArchiveStore, RetentionRules};
use crate::ledger::{ArchivePolicy, Event, Term};
use crate::raft::RaftService;
use crate::telemetry::table;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use batches::{BATCH_MAX, Claimed, End, Round, Rounded};
use hindrance::{Change, Hindrance};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use upkeep::Pace;

/// The first pause after a failure; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest pause: PostgreSQL is found to be back within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// An archive, and how it is to be used.
#[derive(Clone)]
pub struct ArchiveParts {
    /// Where to.
    pub store: ArchiveStore,
    /// The limits that the ledger is given.
    pub policy: ArchivePolicy,
    /// What the archive itself forgets.
    pub retention: RetentionRules,
}

/// What the archivist works with.
#[derive(Clone)]
struct Parts {
    raft: RaftNodeHandle,
    service: RaftService,
    archive: Option<ArchiveParts>,
    /// This node's name, for the claim.
    coordinator: String,
    /// Whether the schema was seen to since the last failure.
    is_migrated: Arc<AtomicBool>,
    epoch: Epoch,
}

/// The actor.
pub struct Archivist {
    parts: Parts,
    health: watch::Sender<ArchiveHealth>,
    term: Option<Term>,
    /// What was claimed in `term`.
    claimed: Option<Claimed>,
    is_busy: bool,
    is_woken: bool,
    failures: u32,
    /// Things of the next batch at most: halved with every failure, so that a slow server gets what it can take, and a row that
    /// it refuses stands alone in the end.
    batch_max: usize,
    /// Rounds that this node itself hindered.
    hindrance: Hindrance,
    /// When the archive is to be claimed anew, or looked at.
    look_at: Instant,
    upkeep: Pace,
    timer: Option<SpawnHandle>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Wake;

impl Archivist {
    /// Starts the actor. Without an archive it only sees to it, as the leader's, that the ledger keeps nothing for one.
    pub async fn launch(
        guardian: &GuardianHandle,
        raft: RaftNodeHandle,
        service: RaftService,
        archive: Option<ArchiveParts>,
        coordinator: String,
    ) -> ArchivistHandle {
        if archive.is_some() {
            // Shown from the beginning, so that the first one is seen as a rise.
            table::ARCHIVE_ERRORS.counter(&[]).increment(0);
            table::ARCHIVE_BATCHES.counter(&[]).increment(0);
            table::ARCHIVE_UPKEEP_ERRORS.counter(&[]).increment(0);
        }
        let (health, watched) = watch::channel(ArchiveHealth::at_first(archive.is_some()));
        let epoch = Epoch::default();
        let store = archive.as_ref().map(|archive| archive.store.clone());
        let handle = ArchivistHandle::new(store, service.clone(), watched, epoch.clone());
        let is_migrated = Arc::default();
        let parts = Parts { raft: raft.clone(), service, archive, coordinator, is_migrated, epoch };
        let factory = move || Self {
            parts: parts.clone(),
            health: health.clone(),
            term: None,
            claimed: None,
            is_busy: false,
            is_woken: false,
            failures: 0,
            batch_max: BATCH_MAX,
            hindrance: Hindrance::default(),
            look_at: Instant::now(),
            upkeep: Pace::new(Instant::now()),
            timer: None,
        };
        let address = guardian.supervise(factory).await;
        if let Err(error) = raft.subscribe(Subscriber::new(&address, is_for_the_archive)) {
            tracing::error!(%error, "the archivist will not hear of finished tasks");
        }
        handle
    }

    /// One round at a time; what wakes it meanwhile leads to another.
    fn run(&mut self, context: &mut Context<Self>) {
        if self.is_busy {
            self.is_woken = true;
            return;
        }
        self.is_busy = true;
        self.is_woken = false;
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        let now = Instant::now();
        // Claimed anew now and then, also while nothing is written: a database that was put back to an earlier state shows in
        // its cursor, and what it lacks may still be here.
        let is_look_due = self.look_at <= now;
        let claimed = self.claimed.take().filter(|_| !is_look_due);
        let round = Round { term: self.term, claimed, is_look_due, batch_max: self.batch_max };
        let (parts, term) = (self.parts.clone(), self.term);
        let work = actix::fut::wrap_future(async move { parts.round(round).await });
        context.spawn(work.map(move |rounded, archivist: &mut Self, context| {
            archivist.finish(term, rounded, context);
        }));
    }

    fn finish(&mut self, term: Option<Term>, rounded: Rounded, context: &mut Context<Self>) {
        self.is_busy = false;
        let now = Instant::now();
        // After a change of leadership a claim of the old term is of no use.
        if term == self.term {
            self.claimed = rounded.claimed;
        }
        if let Some(look_in) = rounded.look_in {
            self.look_at = now + look_in;
        }
        let is_reached = rounded.was_claimed && matches!(rounded.end, End::Hindered(_));
        self.tell(if is_reached { &End::Good } else { &rounded.end });
        if term == self.term {
            self.tell_hindrance(&rounded.end);
        }
        match rounded.end {
            End::Failed(_) | End::Quiet | End::Hindered(_) => {
                self.failures = self.failures.saturating_add(1);
                self.batch_max = (self.batch_max / 2).max(1);
                let doubled = BACKOFF_MIN.saturating_mul(1 << self.failures.min(6).saturating_sub(1));
                self.timer = Some(context.notify_later(Wake, doubled.min(BACKOFF_MAX)));
            }
            End::Good | End::Idle => {
                self.failures = 0;
                self.batch_max = self.batch_max.saturating_mul(2).min(BATCH_MAX);
                if self.claimed.is_some() {
                    self.keep_up(context);
                }
                if rounded.has_more || self.is_woken || term != self.term {
                    return self.run(context);
                }
                self.rest(context);
            }
        }
    }

    /// Waits for what is due next, or for news.
    fn rest(&mut self, context: &mut Context<Self>) {
        let now = Instant::now();
        let look_in = self.look_at.saturating_duration_since(now);
        let upkeep_in = self.upkeep.due_in(now).filter(|_| self.claimed.is_some());
        let pause = upkeep_in.map_or(look_in, |upkeep_in| upkeep_in.min(look_in)).max(BACKOFF_MIN);
        if let Some(timer) = self.timer.replace(context.notify_later(Wake, pause)) {
            context.cancel_future(timer);
        }
    }

    /// Begins what is done beside the batches, when it is due: only behind a claim, so that there are a schema and a server.
    fn keep_up(&mut self, context: &mut Context<Self>) {
        let (Some(term), Some(archive)) = (self.term, self.parts.archive.clone()) else { return };
        let Some(rows_max) = self.upkeep.begin(Instant::now()) else { return };
        let parts = self.parts.clone();
        let work = actix::fut::wrap_future(async move { parts.keep_up(&archive, term, rows_max).await });
        context.spawn(work.map(move |result, archivist: &mut Self, context| {
            archivist.upkeep.end(Instant::now(), &result);
            if Some(term) == archivist.term {
                archivist.tell_upkeep(result.err());
            }
            if !archivist.is_busy && archivist.failures == 0 {
                archivist.rest(context);
            }
        }));
    }

    /// Publishes how what is done beside the batches went; a change of it is logged, once.
    fn tell_upkeep(&self, error: Option<ArchiveError>) {
        if error.is_some() {
            table::ARCHIVE_UPKEEP_ERRORS.counter(&[]).increment(1);
        }
        let error = error.map(|error| error.to_string());
        let before = self.health.borrow().upkeep_error.clone();
        match &error {
            Some(error) if before.as_ref() != Some(error) => {
                tracing::warn!(%error, "finished tasks are archived, but the archive's upkeep fails: old tasks stay in it");
            }
            None if before.is_some() => tracing::info!("the archive's upkeep works again"),
            _ => {}
        }
        if error != before {
            self.health.send_modify(|health| health.upkeep_error = error);
        }
    }

    /// Publishes what in this node itself keeps finished tasks from the archive, when that lasts.
    fn tell_hindrance(&mut self, end: &End) {
        match self.hindrance.after(end) {
            Change::None => {}
            Change::Begun(reason) => {
                tracing::warn!(
                    error = reason,
                    "this node leads and cannot archive; finished tasks wait in the ledger"
                );
            }
            Change::Ended => tracing::info!("nothing in this node hinders archiving any more"),
        }
        let reason = self.hindrance.reason().map(str::to_owned);
        self.health.send_if_modified(|health| {
            let is_changed = health.hindrance != reason;
            health.hindrance = reason;
            is_changed
        });
    }

    /// Whether it is another term that this node leads, or none any more: what was claimed and told in the last one is void then.
    fn lead_in(&mut self, term: Option<Term>) -> bool {
        if term == self.term {
            return false;
        }
        self.term = term;
        self.claimed = None;
        self.failures = 0;
        self.hindrance = Hindrance::default();
        self.health.send_modify(|health| {
            health.hindrance = None;
            health.upkeep_error = None;
        });
        true
    }

    /// Publishes how PostgreSQL does, where the round has seen it; a change of it is logged, once.
    fn tell(&mut self, end: &End) {
        let error = match end {
            End::Good => None,
            End::Failed(error) => Some(error.clone()),
            End::Idle | End::Quiet | End::Hindered(_) => return,
        };
        let before = self.health.borrow().error.clone();
        if before == error {
            return;
        }
        match &error {
            Some(error) => {
                tracing::warn!(%error, "the archive does not take anything; finished tasks wait in the ledger");
            }
            None => {
                if before.as_deref() != Some(ArchiveHealth::NOT_REACHED) {
                    tracing::info!("the archive works again");
                }
                // What is done beside the batches may have failed for the same reason.
                self.upkeep.hurry(Instant::now());
            }
        }
        self.health.send_modify(|health| health.error = error);
    }
}

impl Supervised for Archivist {
    const NAME: &'static str = "archivist";
    const MAILBOX_CAPACITY: usize = 1024;
}

impl Actor for Archivist {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.term = leading_term(&self.parts.raft.leadership());
        self.run(context);
    }
}

impl Handler<LeadershipChanged> for Archivist {
    type Result = ();

    fn handle(&mut self, message: LeadershipChanged, context: &mut Self::Context) {
        if self.lead_in(leading_term(&message)) {
            self.run(context);
        }
    }
}

impl Handler<Committed> for Archivist {
    type Result = ();

    fn handle(&mut self, message: Committed, context: &mut Self::Context) {
        if message.completeness == Completeness::AfterGap {
            self.lead_in(leading_term(&self.parts.raft.leadership()));
        }
        // While PostgreSQL is away every finished task would be a reason to try: the timer sets the pace then.
        if self.term.is_some() && self.failures == 0 {
            self.run(context);
        }
    }
}

impl Handler<Wake> for Archivist {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.timer = None;
        self.run(context);
    }
}

/// Whether something may stand in the outbox that did not before.
const fn is_for_the_archive(event: &Event) -> bool {
    matches!(
        event,
        Event::TaskCompleted(_)
            | Event::TaskFailed { .. }
            | Event::TaskCancelled(_)
            | Event::CircuitRegistered(_)
            | Event::WorkerRegistered(_)
            | Event::WorkerDraining(_)
            | Event::WorkerLost { .. }
            | Event::OutboxChanged
    )
}
