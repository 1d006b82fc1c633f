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

pub use reading::{ArchiveHealth, ArchivistHandle, ReadingError};

use super::events::{Committed, Completeness, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::raft_node::{RaftNodeHandle, leading_term};
use crate::archive::{ArchiveStore, RetentionRules};
use crate::ledger::{ArchivePolicy, Event, Term};
use crate::raft::RaftService;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use batches::{Claimed, Round, Rounded};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The first pause after a failure; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
/// The longest pause: PostgreSQL is found to be back within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How often an idle node looks whether PostgreSQL answers, and the leader after retention and the list of coordinators.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);

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
        let (health, watched) = watch::channel(ArchiveHealth::default());
        let handle =
            ArchivistHandle::new(archive.as_ref().map(|a| a.store.clone()), service.clone(), watched);
        let parts = Parts { raft: raft.clone(), service, archive, coordinator };
        let factory = move || Self {
            parts: parts.clone(),
            health: health.clone(),
            term: None,
            claimed: None,
            is_busy: false,
            is_woken: false,
            failures: 0,
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
        let is_upkeep_due = self.upkeep_at <= Instant::now();
        let round = Round { term: self.term, claimed: self.claimed.take(), is_upkeep_due };
        let (parts, term) = (self.parts.clone(), self.term);
        let work = actix::fut::wrap_future(async move { parts.round(round).await });
        context.spawn(work.map(move |rounded, archivist: &mut Self, context| {
            archivist.finish(term, rounded, context);
        }));
    }

    fn finish(&mut self, term: Option<Term>, rounded: Rounded, context: &mut Context<Self>) {
        self.is_busy = false;
        // After a change of leadership a claim of the old term is of no use.
        if term == self.term {
            self.claimed = rounded.claimed;
        }
        if rounded.was_upkept {
            self.upkeep_at = Instant::now() + UPKEEP_EVERY;
        }
        self.tell(&rounded.failure);
        let pause = if rounded.failure.is_some() {
            self.failures = self.failures.saturating_add(1);
            BACKOFF_MIN.saturating_mul(1 << self.failures.min(6).saturating_sub(1)).min(BACKOFF_MAX)
        } else {
            self.failures = 0;
            if rounded.has_more || self.is_woken || term != self.term {
                return self.run(context);
            }
            self.upkeep_at.saturating_duration_since(Instant::now())
        };
        self.timer = Some(context.notify_later(Wake, pause));
    }

    /// Publishes how PostgreSQL does; a change of it is logged, once.
    fn tell(&self, failure: &Option<String>) {
        if self.parts.archive.is_none() {
            return;
        }
        let was_down = self.health.borrow().error.is_some();
        match failure {
            Some(error) if !was_down => {
                tracing::warn!(%error, "the archive does not take anything; finished tasks wait in the ledger");
            }
            None if was_down => tracing::info!("the archive works again"),
            _ => {}
        }
        self.health.send_replace(ArchiveHealth { is_configured: true, error: failure.clone() });
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
