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
mod reading;

use reading::Epoch;
pub use reading::{ArchiveHealth, ArchivistHandle, ReadingError};

use super::events::{Committed, Completeness, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::raft_node::{RaftNodeHandle, leading_term};
use crate::archive::{ArchiveStore, RetentionRules};
use crate::ledger::{ArchivePolicy, Event, Term};
use crate::raft::RaftService;
use crate::telemetry::table;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use batches::{BATCH_MAX, Claimed, End, Round, Rounded, Upkeep};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The first pause after a failure; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest pause: PostgreSQL is found to be back within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often an idle node looks whether PostgreSQL answers, and the leader after retention and the list of coordinators.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);
/// The same while there is more to remove than one call removes.
const UPKEEP_AGAIN: Duration = Duration::from_millis(500);

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
    claim_at: Instant,
    upkeep_at: Instant,
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
        }
        let (health, watched) = watch::channel(ArchiveHealth::default());
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
            claim_at: Instant::now(),
            upkeep_at: Instant::now(),
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
        let claimed = self.claimed.take().filter(|_| self.claim_at > now);
        let round = Round {
            term: self.term,
            claimed,
            is_upkeep_due: self.upkeep_at <= now,
            batch_max: self.batch_max,
        };
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
        if rounded.was_claimed {
            self.claim_at = now + UPKEEP_EVERY;
        }
        match rounded.upkeep {
            Upkeep::NotDone => {}
            Upkeep::Done => self.upkeep_at = now + UPKEEP_EVERY,
            Upkeep::HasMore => self.upkeep_at = now + UPKEEP_AGAIN,
        }
        self.tell(&rounded.end);
        let pause = match rounded.end {
            End::Failed(_) | End::Quiet => {
                self.failures = self.failures.saturating_add(1);
                self.batch_max = (self.batch_max / 2).max(1);
                BACKOFF_MIN.saturating_mul(1 << self.failures.min(6).saturating_sub(1)).min(BACKOFF_MAX)
            }
            End::Good | End::Idle => {
                self.failures = 0;
                self.batch_max = self.batch_max.saturating_mul(2).min(BATCH_MAX);
                if rounded.has_more || self.is_woken || term != self.term {
                    return self.run(context);
                }
                self.upkeep_at.saturating_duration_since(now).max(BACKOFF_MIN)
            }
        };
        self.timer = Some(context.notify_later(Wake, pause));
    }

    /// Publishes how PostgreSQL does, where the round has seen it; a change of it is logged, once.
    fn tell(&self, end: &End) {
        let error = match end {
            End::Good => None,
            End::Failed(error) => Some(error.clone()),
            End::Idle | End::Quiet => return,
        };
        let before = self.health.borrow().error.clone();
        match &error {
            Some(error) if before.as_ref() != Some(error) => {
                tracing::warn!(%error, "the archive does not take anything; finished tasks wait in the ledger");
            }
            None if before.is_some() => tracing::info!("the archive works again"),
            _ => {}
        }
        self.health.send_replace(ArchiveHealth { is_configured: true, error });
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
        let term = leading_term(&message);
        if term != self.term {
            self.term = term;
            self.claimed = None;
            self.failures = 0;
            self.run(context);
        }
    }
}

impl Handler<Committed> for Archivist {
    type Result = ();

    fn handle(&mut self, message: Committed, context: &mut Self::Context) {
        if message.completeness == Completeness::AfterGap {
            self.term = leading_term(&self.parts.raft.leadership());
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
