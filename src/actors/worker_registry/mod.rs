//! The worker registry: who is alive, who holds which keys, and the way to each worker. Liveness stays here, on the
//! leader; only transitions (joined, draining, lost) are replicated.
//!
//! What workers say is made into commands here, and the ledger judges it. A proof that came over a network passes the
//! verifier before `Complete` is proposed; one that this process made has been checked where it was made.

mod dispatch;
mod handle;
mod liveness;
mod messages;
mod meters;
mod report;

pub use handle::WorkerRegistryHandle;
pub use messages::{
    Assignment, Dispatch, Drain, GetFleet, Heartbeat, LeaseTimes, News, Order, OrderSink, Register,
    Registered, Report, WorkerError, WorkerLink,
};

use super::ask::{Ask, ReplyTo};
use super::events::{Committed, Completeness, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised, Thread};
use super::raft_node::{RaftNodeHandle, leading_term};
use super::verifier::VerifierHandle;
use crate::ledger::{
    Attempt, CircuitId, Command, Event, FleetMember, Incarnation, Ledger, Rejection, TaskId, Term, WorkerId,
};
use crate::sealing::DataKey;
use actix::{Actor, AsyncContext, Context, Handler};
use meters::Meters;
use report::{propose, register};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// A worker that was heard of.
struct Live {
    incarnation: Incarnation,
    session: u64,
    link: WorkerLink,
    held_keys: BTreeSet<CircuitId>,
    seen: Instant,
    /// Leases of the ledger that the worker does not speak of, and since when: orders that were lost on the way.
    unspoken: BTreeMap<(TaskId, Attempt), Instant>,
}

/// The actor.
pub struct WorkerRegistry {
    parts: Parts,
    live: BTreeMap<WorkerId, Live>,
    /// Workers of the ledger that this leader has not heard of, and since when it waits for them.
    awaited: BTreeMap<Life, Instant>,
    term: Option<Term>,
    is_looking: bool,
    /// When liveness was last looked at.
    ticked: Instant,
    /// Counts registrations, for whoever has work to hand out.
    changes: Arc<watch::Sender<u64>>,
    /// How many workers are silent for longer than they should be.
    suspects: Arc<watch::Sender<u64>>,
}

/// One life of a worker.
type Life = (WorkerId, Incarnation);

#[derive(Clone)]
struct Parts {
    raft: RaftNodeHandle,
    verifier: VerifierHandle,
    data_key: DataKey,
    times: LeaseTimes,
    meters: Meters,
}

impl WorkerRegistry {
    /// Starts the actor.
    pub async fn launch(
        guardian: &GuardianHandle,
        raft: RaftNodeHandle,
        verifier: VerifierHandle,
        data_key: DataKey,
        times: LeaseTimes,
    ) -> WorkerRegistryHandle {
        let parts = Parts { raft: raft.clone(), verifier, data_key, times, meters: Meters::new() };
        let changes = Arc::new(watch::Sender::new(0));
        let fleet_changes = changes.subscribe();
        let factory_changes = changes;
        let suspects = Arc::new(watch::Sender::new(0));
        let suspect_count = suspects.subscribe();
        let factory = move || Self {
            parts: parts.clone(),
            live: BTreeMap::new(),
            awaited: BTreeMap::new(),
            term: leading_term(&parts.raft.leadership()),
            is_looking: false,
            ticked: Instant::now(),
            changes: Arc::clone(&factory_changes),
            suspects: Arc::clone(&suspects),
        };
        let address = guardian.supervise(factory).await;
        if let Err(error) = raft.subscribe(Subscriber::new(&address, is_of_workers)) {
            tracing::error!(%error, "the worker registry will not hear of revoked leases");
        }
        WorkerRegistryHandle { address, fleet_changes, suspect_count }
    }
}

impl Supervised for WorkerRegistry {
    const NAME: &'static str = "worker registry";
    const MAILBOX_CAPACITY: usize = 4096;
    const THREAD: Thread = Thread::Shared;
}

impl Actor for WorkerRegistry {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(self.parts.times.liveness_tick(), Self::liveness_tick);
    }
}

impl Handler<LeadershipChanged> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, message: LeadershipChanged, _: &mut Self::Context) {
        self.adopt_term(leading_term(&message));
    }
}

/// Whether a worker, or what is known of one, is to be told.
const fn is_of_workers(event: &Event) -> bool {
    matches!(event, Event::LeaseRevoked { .. } | Event::WorkerLost { .. })
}

impl Handler<Committed> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, message: Committed, _: &mut Self::Context) {
        if message.completeness == Completeness::AfterGap {
            self.adopt_term(leading_term(&self.parts.raft.leadership()));
        }
        // A task that goes back to the queue is still open: its former holder may finish the proof first.
        let is_open = |task: &TaskId| {
            message
                .events
                .iter()
                .any(|event| matches!(event, Event::TaskRequeued { task: open, .. } if open == task))
        };
        for event in message.events.iter() {
            match event {
                Event::LeaseRevoked { task, attempt, worker } => {
                    if let Some(live) = self.live.get(worker).filter(|_| !is_open(task)) {
                        // A worker that misses this proves in vain; the ledger refuses or takes the proof.
                        let _ = live.link.push(Order::Revoke { task: *task, attempt: *attempt });
                    }
                }
                Event::WorkerLost { worker, incarnation } => {
                    self.forget(&(worker.clone(), *incarnation));
                }
                _ => {}
            }
        }
    }
}

impl Handler<Ask<Register>> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, ask: Ask<Register>, context: &mut Self::Context) {
        let Ask { message, reply } = ask;
        if self.is_at_work(&message.worker, message.session) {
            reply.send(Err(WorkerError::NameInUse(message.worker)));
            return;
        }
        let raft = self.parts.raft.clone();
        let lease = self.parts.times.lease;
        let work = async move {
            let registered = register(&raft, &message).await;
            (registered, message, reply)
        };
        type Done = (Result<Incarnation, WorkerError>, Register, ReplyTo<Result<Registered, WorkerError>>);
        let record = move |done: Done, registry: &mut Self, _: &mut Context<Self>| {
            let (registered, message, reply) = done;
            reply.send(registered.map(|incarnation| {
                let Register { worker, session, link, held_keys, .. } = message;
                registry.awaited.remove(&(worker.clone(), incarnation));
                let (seen, unspoken) = (Instant::now(), BTreeMap::new());
                let live = Live { incarnation, session, link, held_keys, seen, unspoken };
                registry.live.insert(worker, live);
                registry.changes.send_modify(|changes| *changes += 1);
                Registered { incarnation, lease }
            }));
        };
        context.spawn(actix::fut::ActorFutureExt::map(actix::fut::wrap_future(work), record));
    }
}

impl Handler<Ask<Heartbeat>> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, ask: Ask<Heartbeat>, context: &mut Self::Context) {
        let Ask { message: Heartbeat { worker, incarnation, holds, held_keys }, reply } = ask;
        if self.term.is_none() {
            // Not a word of comfort from who does not lead, or was cut off: the worker looks for another one.
            reply.send(Err(WorkerError::NotLeader { leader_address: None }));
            return;
        }
        let Some(live) = self.live.get_mut(&worker).filter(|live| live.incarnation == incarnation) else {
            reply.send(Err(WorkerError::Refused(Rejection::UnknownWorker(worker))));
            return;
        };
        live.seen = Instant::now();
        live.held_keys = held_keys;
        reply.send(Ok(()));
        let raft = self.parts.raft.clone();
        let name = worker.clone();
        let look = async move {
            let question = move |ledger: &Ledger| -> BTreeSet<(TaskId, Attempt)> {
                let of_worker = ledger.leases().filter(|(_, lease)| lease.worker == name);
                of_worker.map(|(task, lease)| (task, lease.attempt)).collect()
            };
            raft.local(question).await.ok()
        };
        let update =
            move |leases: Option<BTreeSet<(TaskId, Attempt)>>, registry: &mut Self, _: &mut Context<Self>| {
                if let Some(leases) = leases {
                    registry.expire_unspoken(&worker, leases, &holds);
                }
            };
        context.spawn(actix::fut::ActorFutureExt::map(actix::fut::wrap_future(look), update));
    }
}

impl Handler<Ask<GetFleet>> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, ask: Ask<GetFleet>, _: &mut Self::Context) {
        let members = self.live.iter().map(|(worker, live)| FleetMember {
            worker: worker.clone(),
            incarnation: live.incarnation,
            held_keys: live.held_keys.clone(),
        });
        ask.reply.send(members.collect());
    }
}

impl Handler<Ask<Drain>> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, ask: Ask<Drain>, _: &mut Self::Context) {
        let raft = self.parts.raft.clone();
        actix_rt::spawn(async move {
            let Ask { message: Drain { worker, incarnation }, reply } = ask;
            reply.send(propose(&raft, Command::DrainWorker { worker, incarnation }).await);
        });
    }
}
