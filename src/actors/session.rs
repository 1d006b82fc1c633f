//! A worker's session with a coordinator: registers, takes orders, has them proved, and reports until it is heard.
//!
//! A finished proof is kept until it is acknowledged or refused; a report that may have been lost is said again, and the
//! ledger sees to it that it counts once.

use super::ask::{Address, Ask};
use super::guardian::{GuardianHandle, Supervised};
use super::prover_pool::{NoProof, Prove, ProverPoolHandle};
use super::worker_registry::{
    Assignment, Drain, Heartbeat, News, Order, Register, Registered, Report, WorkerError, WorkerLink,
    WorkerRegistryHandle,
};
use crate::ledger::{Attempt, CircuitId, Incarnation, Rejection, TaskId, WorkerId};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use rand_core::{OsRng, RngCore};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

/// The first pause before something is said again; it doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(50);
/// See [`RETRY_PAUSE_MIN`].
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);
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
    is_draining: Arc<AtomicBool>,
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
            tracing::warn!(left = self.held.leases().len(), "gives back what could not be finished in time");
            let _ = self.address.ask(GiveBackAll, GIVE_BACK_LIMIT).await;
        }
    }
}

/// Giving everything back takes one proposal each.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(5);

#[derive(Message)]
#[rtype(result = "()")]
struct StartDrain;

#[derive(Message)]
#[rtype(result = "()")]
struct GiveBackAll;

/// Leases, each with what is notified when it is revoked.
type Revocable = BTreeMap<(TaskId, Attempt), Arc<Notify>>;

/// The leases in hand. It outlives the actor, so that a rebuilt one speaks of them in its heartbeats.
#[derive(Clone)]
struct Held {
    leases: Arc<Mutex<Revocable>>,
    count: Arc<watch::Sender<usize>>,
}

impl Held {
    fn new() -> Self {
        Self { leases: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }

    fn lock(&self) -> MutexGuard<'_, Revocable> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> BTreeSet<(TaskId, Attempt)> {
        self.lock().keys().copied().collect()
    }

    /// Takes a lease in hand, unless it is already; what it gives is notified when the lease is revoked.
    fn add(&self, lease: (TaskId, Attempt)) -> Option<Arc<Notify>> {
        let mut leases = self.lock();
        if leases.contains_key(&lease) {
            return None;
        }
        let revoked = Arc::new(Notify::new());
        leases.insert(lease, Arc::clone(&revoked));
        self.count.send_replace(leases.len());
        Some(revoked)
    }

    fn remove(&self, lease: (TaskId, Attempt)) {
        let mut leases = self.lock();
        leases.remove(&lease);
        self.count.send_replace(leases.len());
    }

    fn revoke(&self, lease: (TaskId, Attempt)) {
        if let Some(revoked) = self.lock().get(&lease) {
            revoked.notify_one();
        }
    }

    async fn emptied(&self) {
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// The actor.
pub struct Session {
    profile: WorkerProfile,
    number: u64,
    registry: WorkerRegistryHandle,
    pool: ProverPoolHandle,
    held: Held,
    /// As many leases are proved at a time as the pool has threads for; the others wait here, where they can be revoked.
    slots: Arc<Semaphore>,
    state: Arc<watch::Sender<Option<Incarnation>>>,
    own_address: watch::Receiver<Option<Address<Self>>>,
    /// Outlives the actor: a rebuilt one must not take work again.
    is_draining: Arc<AtomicBool>,
    is_registering: bool,
    beating: Option<SpawnHandle>,
}

impl Session {
    /// Starts the actor; it registers by itself, and again whenever the coordinator does not know it.
    pub async fn launch(
        guardian: &GuardianHandle,
        profile: WorkerProfile,
        registry: WorkerRegistryHandle,
        pool: ProverPoolHandle,
    ) -> SessionHandle {
        let held = Held::new();
        let slots = Arc::new(Semaphore::new(pool.slots()));
        let state = Arc::new(watch::Sender::new(None));
        let (address_sender, own_address) = watch::channel(None);
        let number = OsRng.next_u64();
        let factory_slots = Arc::clone(&slots);
        let (factory_held, factory_state) = (held.clone(), Arc::clone(&state));
        let is_draining = Arc::new(AtomicBool::new(false));
        let factory_is_draining = Arc::clone(&is_draining);
        let factory = move || Self {
            profile: profile.clone(),
            number,
            registry: registry.clone(),
            pool: pool.clone(),
            held: factory_held.clone(),
            slots: Arc::clone(&factory_slots),
            state: Arc::clone(&factory_state),
            own_address: own_address.clone(),
            is_draining: Arc::clone(&factory_is_draining),
            is_registering: false,
            beating: None,
        };
        let address = guardian.supervise(factory).await;
        address_sender.send_replace(Some(address.clone()));
        SessionHandle { address, held, slots, state: state.subscribe(), is_draining }
    }

    fn register(&mut self, context: &mut Context<Self>) {
        if self.is_registering {
            return;
        }
        self.is_registering = true;
        self.state.send_replace(None);
        let (profile, number) = (self.profile.clone(), self.number);
        let (registry, pool, mut own_address) =
            (self.registry.clone(), self.pool.clone(), self.own_address.clone());
        let work = async move {
            // The address is published right after the actor's start.
            let address = own_address.wait_for(Option::is_some).await.ok()?.clone()?;
            let link: WorkerLink = Arc::new(move |order| address.tell(order));
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
                match registry.register(request).await {
                    Ok(registered) => return Some(registered),
                    Err(error) => tracing::debug!(%error, "registers again"),
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
        };
        context.spawn(actix::fut::wrap_future(work).map(record));
    }

    /// Sends heartbeats for as long as the registration holds.
    fn beat(&mut self, registered: Registered, context: &mut Context<Self>) {
        // One heart: a registration that was asked for again may have given the same incarnation.
        if let Some(beating) = self.beating.take() {
            context.cancel_future(beating);
        }
        let (registry, pool, held) = (self.registry.clone(), self.pool.clone(), self.held.clone());
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
                match registry.heartbeat(heartbeat).await {
                    Err(WorkerError::Refused(Rejection::UnknownWorker(_))) => return,
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
        let (registry, worker) = (self.registry.clone(), self.profile.worker.clone());
        actix_rt::spawn(async move {
            let mut pause = RETRY_PAUSE_MIN;
            loop {
                let drain = Drain { worker: worker.clone(), incarnation };
                match registry.drain(drain).await {
                    Ok(()) | Err(WorkerError::Refused(_)) => return,
                    Err(error) => tracing::debug!(%error, "announces the drain again"),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
            }
        });
    }

    fn take(&self, assignment: Assignment) {
        let lease = (assignment.task, assignment.attempt);
        let Some(revoked) = self.held.add(lease) else { return };
        let errand = Errand {
            worker: self.profile.worker.clone(),
            lease,
            registry: self.registry.clone(),
            held: self.held.clone(),
        };
        if self.is_draining.load(Ordering::SeqCst) {
            // In hand until it is given back: the drain waits for it.
            actix_rt::spawn(errand.give_back());
        } else {
            let (pool, slots) = (self.pool.clone(), Arc::clone(&self.slots));
            actix_rt::spawn(async move {
                // A lease that is taken away while it waits for its turn costs nothing more.
                let slot = tokio::select! {
                    biased;
                    () = revoked.notified() => return errand.held.remove(lease),
                    slot = slots.acquire_owned() => slot,
                };
                match slot {
                    Ok(slot) => errand.run(pool, assignment, slot).await,
                    // The drain began: what was not begun is given back.
                    Err(_) => errand.give_back().await,
                }
            });
        }
    }
}

/// One lease, from the order to the acknowledgement.
struct Errand {
    worker: WorkerId,
    lease: (TaskId, Attempt),
    registry: WorkerRegistryHandle,
    held: Held,
}

impl Errand {
    async fn give_back(self) {
        self.report(News::GivenBack).await;
        self.held.remove(self.lease);
    }

    async fn run(self, pool: ProverPoolHandle, assignment: Assignment, slot: OwnedSemaphorePermit) {
        let (task, attempt) = self.lease;
        let started = Report { worker: self.worker.clone(), task, attempt, news: News::Started };
        let registry = self.registry.clone();
        // Proving does not wait for the quorum that notes its beginning.
        let notes_start = actix_rt::spawn(async move {
            let _ = registry.report(started).await;
        });
        let Assignment { circuit, proving_key, input, .. } = assignment;
        let proven = pool.prove(Prove { circuit, proving_key, input }).await;
        drop(slot);
        let _ = notes_start.await;
        // A revoked lease's proof is still a proof: the ledger takes it if the task is open.
        let news = match proven {
            Ok(proven) => News::Proven { proof: proven.proof, proving: proven.took },
            Err(NoProof::Failed(cause)) => News::Failed(cause),
            Err(NoProof::NotTried(reason)) => {
                tracing::error!(%task, reason, "the worker cannot prove this now and gives it back");
                News::GivenBack
            }
        };
        self.report(news).await;
        self.held.remove(self.lease);
    }

    /// Says it until it is acknowledged or refused.
    async fn report(&self, news: News) {
        let (task, attempt) = self.lease;
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let report = Report { worker: self.worker.clone(), task, attempt, news: news.clone() };
            match self.registry.report(report).await {
                Ok(()) => return,
                Err(WorkerError::Refused(rejection)) => {
                    tracing::debug!(%task, attempt = attempt.0, %rejection, "a report was refused");
                    return;
                }
                Err(error) => tracing::debug!(%task, attempt = attempt.0, %error, "reports again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }
}

impl Supervised for Session {
    const NAME: &'static str = "worker session";
    const MAILBOX_CAPACITY: usize = 1024;
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
                // Once begun, bellman cannot be stopped; the proof is then offered all the same.
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
        let (registry, worker, held) =
            (self.registry.clone(), self.profile.worker.clone(), self.held.clone());
        actix_rt::spawn(async move {
            let give_back = held.leases().into_iter().map(|(task, attempt)| {
                registry.report(Report { worker: worker.clone(), task, attempt, news: News::GivenBack })
            });
            futures_util::future::join_all(give_back).await;
            ask.reply.send(());
        });
    }
}
