//! A worker's session with a coordinator: registers, takes orders, has them proved, and reports until it is heard.
//!
//! A finished proof is kept until it is acknowledged or refused, over any number of coordinators; a report that may have
//! been lost is said again, and the ledger sees to it that it counts once. The session knows neither the network nor who
//! leads: that is the [`Coordinator`]'s.

mod coordinator;
mod errand;
mod held;
mod spool;

pub use coordinator::{CallError, Coordinator};
pub use spool::{Spool, SpoolError, UnreportedProof};

use super::ask::{Address, Ask};
use super::guardian::{GuardianHandle, Supervised, Thread};
use super::prover_pool::ProverPoolHandle;
use super::worker_registry::{
    Assignment, Drain, Heartbeat, News, Order, Register, Registered, Report, WorkerLink,
};
use crate::ledger::{CircuitId, Incarnation, WorkerId};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use errand::Errand;
use held::Held;
use rand_core::{OsRng, RngCore};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// The first pause before something is said again; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
/// See [`RETRY_PAUSE_MIN`]. An election takes a few seconds; its outcome is to be found soon after.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);
/// Heartbeats within the time of a lease: a few may be lost.
const HEARTBEATS_PER_LEASE: u32 = 5;

/// What a worker is.
#[derive(Clone, Debug)]
pub struct WorkerProfile {
    /// Its configured name.
    pub worker: WorkerId,
    /// How many tasks it proves at once.
    pub capacity: u32,
    /// The circuits it can prove.
    pub circuits: Vec<CircuitId>,
}

/// A cloneable handle of the session.
#[derive(Clone)]
pub struct SessionHandle {
    address: Address<Session>,
    held: Held,
    slots: Arc<Semaphore>,
    state: watch::Receiver<Option<Incarnation>>,
    problem: watch::Receiver<Option<String>>,
    is_draining: Arc<AtomicBool>,
}

/// How a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionStatus {
    /// The life under which the coordinator knows the worker; none while it looks for one.
    pub incarnation: Option<Incarnation>,
    /// Leases in hand, finished ones included.
    pub leases: usize,
    /// Finished proofs that nobody has acknowledged.
    pub unacknowledged: usize,
    /// Why the last registration failed, while there is none.
    pub problem: Option<String>,
}

impl SessionHandle {
    /// Waits until the worker is registered.
    pub async fn registered(&self) {
        // The sender lives as long as the session's factory, that is, as long as anybody could wait.
        let _ = self.state.clone().wait_for(Option::is_some).await;
    }

    /// Takes no more orders, and waits for at most `grace` until those in hand are proved and acknowledged. What is left
    /// then is given back.
    pub async fn drain(&self, grace: Duration) {
        // Noted here, so that an actor that is just being rebuilt knows it too. The answer means that every order which came
        // before is in hand, and is waited for.
        self.is_draining.store(true, Ordering::SeqCst);
        self.slots.close();
        if let Err(error) = self.address.ask(StartDrain, GIVE_BACK_LIMIT).await {
            tracing::debug!(%error, "the drain is announced by the rebuilt session");
        }
        if tokio::time::timeout(grace, self.held.emptied()).await.is_err() {
            tracing::warn!(left = self.held.count(), "gives back what could not be finished in time");
            let _ = self.address.ask(GiveBackAll, GIVE_BACK_LIMIT).await;
        }
    }

    /// The proofs that are made and that nobody has acknowledged.
    #[must_use]
    pub fn unreported(&self) -> Vec<UnreportedProof> {
        self.held.unreported()
    }

    /// Reports proofs that an earlier life of this worker has left.
    pub fn resume(&self, proofs: Vec<UnreportedProof>) {
        // One message for all: a mailbox has fewer places than a spool.
        if let Err(error) = self.address.tell(Deliver(proofs)) {
            tracing::error!(%error, "proofs of an earlier life are not reported");
        }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> SessionStatus {
        SessionStatus {
            incarnation: *self.state.borrow(),
            leases: self.held.count(),
            unacknowledged: self.held.unreported().len(),
            problem: self.problem.borrow().clone(),
        }
    }
}

/// Giving everything back takes one proposal each.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(3);
/// Leases in hand for each that is proved at once: results that wait for a coordinator, and what came before it was told to
/// stop. More are given back.
const HELD_PER_CAPACITY: usize = 4;

#[derive(Message)]
#[rtype(result = "()")]
struct StartDrain;

#[derive(Message)]
#[rtype(result = "()")]
struct GiveBackAll;

#[derive(Message)]
#[rtype(result = "()")]
struct Deliver(Vec<UnreportedProof>);

/// The actor.
pub struct Session {
    profile: WorkerProfile,
    number: u64,
    coordinator: Arc<dyn Coordinator>,
    pool: ProverPoolHandle,
    held: Held,
    /// As many leases are proved at a time as the pool has threads for; the others wait here, where they can be revoked.
    slots: Arc<Semaphore>,
    state: Arc<watch::Sender<Option<Incarnation>>>,
    own_address: watch::Receiver<Option<Address<Self>>>,
    /// Outlives the actor: a rebuilt one must not take work again.
    is_draining: Arc<AtomicBool>,
    problem: Arc<watch::Sender<Option<String>>>,
    is_registering: bool,
    /// The registration that is under way was overtaken by events.
    is_wanted_again: bool,
    beating: Option<SpawnHandle>,
}

impl Session {
    /// Starts the actor; it registers by itself, and again whenever the coordinator does not know it.
    pub async fn launch(
        guardian: &GuardianHandle,
        profile: WorkerProfile,
        coordinator: impl Coordinator,
        pool: ProverPoolHandle,
    ) -> SessionHandle {
        let coordinator: Arc<dyn Coordinator> = Arc::new(coordinator);
        let held = Held::new();
        let slots = Arc::new(Semaphore::new(pool.slots()));
        let state = Arc::new(watch::Sender::new(None));
        let (address_sender, own_address) = watch::channel(None);
        let number = OsRng.next_u64();
        let factory_slots = Arc::clone(&slots);
        let (factory_held, factory_state) = (held.clone(), Arc::clone(&state));
        let is_draining = Arc::new(AtomicBool::new(false));
        let factory_is_draining = Arc::clone(&is_draining);
        let problem = Arc::new(watch::Sender::new(None));
        let factory_problem = Arc::clone(&problem);
        let factory = move || Self {
            profile: profile.clone(),
            number,
            coordinator: Arc::clone(&coordinator),
            pool: pool.clone(),
            held: factory_held.clone(),
            slots: Arc::clone(&factory_slots),
            state: Arc::clone(&factory_state),
            own_address: own_address.clone(),
            is_draining: Arc::clone(&factory_is_draining),
            problem: Arc::clone(&factory_problem),
            is_registering: false,
            is_wanted_again: false,
            beating: None,
        };
        let address = guardian.supervise(factory).await;
        address_sender.send_replace(Some(address.clone()));
        SessionHandle {
            address,
            held,
            slots,
            state: state.subscribe(),
            problem: problem.subscribe(),
            is_draining,
        }
    }

    fn register(&mut self, context: &mut Context<Self>) {
        if self.is_registering {
            self.is_wanted_again = true;
            return;
        }
        self.is_registering = true;
        self.is_wanted_again = false;
        self.state.send_replace(None);
        let (profile, number) = (self.profile.clone(), self.number);
        let (coordinator, pool, mut own_address) =
            (Arc::clone(&self.coordinator), self.pool.clone(), self.own_address.clone());
        let problem = Arc::clone(&self.problem);
        let work = async move {
            // The address is published right after the actor's start.
            let address = own_address.wait_for(Option::is_some).await.ok()?.clone()?;
            let link: WorkerLink = Arc::new(move |order: Order| address.tell(order));
            let mut pause = RETRY_PAUSE_MIN;
            loop {
                let request = Register {
                    worker: profile.worker.clone(),
                    session: number,
                    capacity: profile.capacity,
                    circuits: profile.circuits.clone(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    held_keys: pool.held_keys(),
                    link: Arc::clone(&link),
                };
                match coordinator.register(request).await {
                    Ok(registered) => {
                        problem.send_replace(None);
                        return Some(registered);
                    }
                    Err(error) => note(&problem, &error),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        };
        let record = |registered: Option<Registered>, session: &mut Self, context: &mut Context<Self>| {
            session.is_registering = false;
            if let Some(registered) = registered {
                tracing::info!(worker = %session.profile.worker, incarnation = registered.incarnation.0, "registered");
                session.state.send_replace(Some(registered.incarnation));
                session.beat(registered, context);
                session.announce_drain();
            }
            if session.is_wanted_again {
                session.register(context);
            }
        };
        context.spawn(actix::fut::wrap_future(work).map(record));
    }

    /// Sends heartbeats for as long as the registration holds.
    fn beat(&mut self, registered: Registered, context: &mut Context<Self>) {
        // One heart: a registration that was asked for again may have given the same incarnation.
        if let Some(beating) = self.beating.take() {
            context.cancel_future(beating);
        }
        let (coordinator, pool, held) = (Arc::clone(&self.coordinator), self.pool.clone(), self.held.clone());
        let worker = self.profile.worker.clone();
        let work = async move {
            let interval = registered.lease / HEARTBEATS_PER_LEASE;
            loop {
                tokio::time::sleep(interval).await;
                let heartbeat = Heartbeat {
                    worker: worker.clone(),
                    incarnation: registered.incarnation,
                    holds: held.leases(),
                    held_keys: pool.held_keys(),
                };
                match coordinator.heartbeat(heartbeat).await {
                    Err(CallError::UnknownWorker) => return,
                    Err(error) => tracing::debug!(%error, "a heartbeat was not taken"),
                    Ok(()) => {}
                }
            }
        };
        let again = move |(): (), session: &mut Self, context: &mut Context<Self>| {
            if *session.state.borrow() == Some(registered.incarnation) {
                session.register(context);
            }
        };
        self.beating = Some(context.spawn(actix::fut::wrap_future(work).map(again)));
    }

    /// Says, when it is so, that this worker takes nothing new, until it is heard or refused; a later registration says it
    /// again.
    fn announce_drain(&self) {
        let Some(incarnation) = *self.state.borrow() else { return };
        if !self.is_draining.load(Ordering::SeqCst) {
            return;
        }
        let (coordinator, worker) = (Arc::clone(&self.coordinator), self.profile.worker.clone());
        actix_rt::spawn(async move {
            let mut pause = RETRY_PAUSE_MIN;
            loop {
                let drain = Drain { worker: worker.clone(), incarnation };
                match coordinator.drain(drain).await {
                    Ok(()) | Err(CallError::Refused(_) | CallError::UnknownWorker) => return,
                    Err(error) => tracing::debug!(%error, "announces the drain again"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        });
    }

    fn errand(&self, lease: held::LeaseName) -> Errand {
        Errand {
            worker: self.profile.worker.clone(),
            lease,
            coordinator: Arc::clone(&self.coordinator),
            held: self.held.clone(),
        }
    }

    fn take(&self, assignment: Assignment) {
        let lease = (assignment.task, assignment.attempt);
        let Some(revoked) = self.held.add(lease) else { return };
        let errand = self.errand(lease);
        let held_max = (self.profile.capacity as usize).saturating_mul(HELD_PER_CAPACITY);
        if self.is_draining.load(Ordering::SeqCst) || self.held.count() > held_max {
            // In hand until it is given back: the drain waits for it.
            actix_rt::spawn(errand.give_back());
        } else {
            let (pool, slots) = (self.pool.clone(), Arc::clone(&self.slots));
            actix_rt::spawn(async move {
                // A lease that is taken away while it waits for its turn costs nothing more.
                let slot = tokio::select! {
                    biased;
                    () = revoked.notified() => return errand.drop_unreported(),
                    slot = slots.acquire_owned() => slot,
                };
                match slot {
                    Ok(slot) => errand.run(pool, assignment, slot, revoked).await,
                    // The drain began: what was not begun is given back.
                    Err(_) => errand.give_back().await,
                }
            });
        }
    }
}

impl Supervised for Session {
    const NAME: &'static str = "worker session";
    const MAILBOX_CAPACITY: usize = 1024;
    const THREAD: Thread = Thread::Shared;
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.register(context);
    }
}

impl Handler<Order> for Session {
    type Result = ();

    fn handle(&mut self, order: Order, context: &mut Self::Context) {
        match order {
            Order::Assign(assignment) => self.take(assignment),
            Order::Revoke { task, attempt } => {
                // One that was begun ends between two phases of the proof.
                self.held.revoke((task, attempt));
            }
            Order::Reregister => self.register(context),
        }
    }
}

impl Handler<Ask<StartDrain>> for Session {
    type Result = ();

    fn handle(&mut self, ask: Ask<StartDrain>, _: &mut Self::Context) {
        self.announce_drain();
        ask.reply.send(());
    }
}

impl Handler<Ask<GiveBackAll>> for Session {
    type Result = ();

    fn handle(&mut self, ask: Ask<GiveBackAll>, _: &mut Self::Context) {
        let (coordinator, worker, held) =
            (Arc::clone(&self.coordinator), self.profile.worker.clone(), self.held.clone());
        actix_rt::spawn(async move {
            // A finished proof is not given back: it is still being reported.
            let give_back = held.unfinished().into_iter().map(|(task, attempt)| {
                coordinator.report(Report {
                    worker: worker.clone(),
                    task,
                    attempt,
                    news: News::GivenBack,
                    trace: None,
                })
            });
            futures_util::future::join_all(give_back).await;
            ask.reply.send(());
        });
    }
}

impl Handler<Deliver> for Session {
    type Result = ();

    fn handle(&mut self, message: Deliver, _: &mut Self::Context) {
        for proof in message.0 {
            let lease = (proof.task, proof.attempt);
            if self.held.add(lease).is_some() {
                self.held.finish(lease, &proof.proof, proof.proving);
                actix_rt::spawn(self.errand(lease).deliver(proof));
            }
        }
    }
}

/// Notes why a registration failed, and logs what somebody has to look at, once.
fn note(problem: &watch::Sender<Option<String>>, error: &CallError) {
    let text = error.to_string();
    let is_news = problem.send_if_modified(|noted| {
        let is_news = noted.as_ref() != Some(&text);
        *noted = Some(text.clone());
        is_news
    });
    match error {
        CallError::NameInUse(_) | CallError::Refused(_) if is_news => {
            tracing::error!(%error, "the worker cannot register");
        }
        _ if is_news => tracing::info!(%error, "the worker is not registered and tries again"),
        _ => tracing::debug!(%error, "registers again"),
    }
}
