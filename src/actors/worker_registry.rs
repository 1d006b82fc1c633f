//! The worker registry: who is alive, who holds which keys, and the way to each worker. Liveness stays here, on the
//! leader; only transitions (joined, draining, lost) are replicated.
//!
//! What workers say is made into commands here, and the ledger judges it. A proof passes the verifier before `Complete` is
//! proposed.

use super::ask::{Address, Ask, AskError, ReplyTo};
use super::events::{Committed, Completeness, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::raft_node::{QueryError, RaftNodeHandle, leading_term};
use super::tasks::messages::Consistency;
use super::verifier::{CheckError, CheckProof, VerifierHandle};
use crate::ledger::{
    Attempt, Circuit, CircuitId, Command, Digest, Event, FailureCause, FailureKind, FleetMember, Incarnation,
    Ledger, Placement, ProvenResult, Rejection, TaskId, Term, WorkerId, WorkerState,
};
use crate::proof::CircuitInput;
use crate::raft::{ProposeError, ReadError};
use crate::sealing::DataKey;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A worker's request waits this long: a proposal's quorum and a check included.
const REQUEST_LIMIT: Duration = Duration::from_secs(40);

/// A task that could not be read for its worker is handed out again after this pause.
const DISPATCH_PAUSE: Duration = Duration::from_secs(1);

/// A worker's process introduces itself.
#[derive(Message)]
#[rtype(result = "Result<Registered, WorkerError>")]
pub struct Register {
    /// Its name.
    pub worker: WorkerId,
    /// A random number drawn by the process.
    pub session: u64,
    /// How many tasks it proves at once.
    pub capacity: u32,
    /// The circuits it can prove.
    pub circuits: Vec<CircuitId>,
    /// The version of its software.
    pub version: Box<str>,
    /// The circuits whose key it has at hand.
    pub held_keys: BTreeSet<CircuitId>,
    /// The way to it.
    pub link: WorkerLink,
}

/// The worker is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its life; to be named in everything that it says.
    pub incarnation: Incarnation,
    /// It must be heard of within this time, or its leases are taken from it.
    pub lease: Duration,
}

/// What the registry sends to a worker: puts an order into its bounded queue, or fails at once.
pub type WorkerLink = Arc<dyn Fn(Order) -> Result<(), AskError> + Send + Sync>;

/// An order to a worker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Order {
    /// Prove this.
    Assign(Assignment),
    /// The lease is no longer yours.
    Revoke {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
    },
    /// This coordinator does not know you any more: register again.
    Reregister,
}

/// A task to prove.
#[derive(Debug)]
pub struct Assignment {
    /// Which task.
    pub task: TaskId,
    /// The lease.
    pub attempt: Attempt,
    /// The circuit.
    pub circuit: CircuitId,
    /// The proving key.
    pub proving_key: Digest,
    /// The witness.
    pub input: CircuitInput,
}

/// A sign of life.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), WorkerError>")]
pub struct Heartbeat {
    /// Who.
    pub worker: WorkerId,
    /// In which life.
    pub incarnation: Incarnation,
    /// The leases that it works on or has results of.
    pub holds: BTreeSet<(TaskId, Attempt)>,
    /// The circuits whose key it has at hand.
    pub held_keys: BTreeSet<CircuitId>,
}

/// What a worker says of a lease.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), WorkerError>")]
pub struct Report {
    /// Who.
    pub worker: WorkerId,
    /// Which task.
    pub task: TaskId,
    /// The lease.
    pub attempt: Attempt,
    /// What.
    pub news: News,
}

/// See [`Report`].
#[derive(Clone, Debug)]
pub enum News {
    /// It has begun.
    Started,
    /// It has made a proof.
    Proven {
        /// The proof's compressed encoding.
        proof: Vec<u8>,
        /// How long it took.
        proving: Duration,
    },
    /// It has failed.
    Failed(FailureCause),
    /// It gives the lease back unharmed.
    GivenBack,
}

/// A worker takes nothing new from now on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), WorkerError>")]
pub struct Drain {
    /// Who.
    pub worker: WorkerId,
    /// In which life.
    pub incarnation: Incarnation,
}

/// What a worker said was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorkerError {
    /// *Refused*: the ledger said no; saying it again does not help.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// *Unavailable* or *outcome unknown*: say it again; it has its effect once.
    #[error("{0}")]
    TryAgain(String),
    /// *Unavailable*: this coordinator does not lead.
    #[error("not leader{}", leader_address.as_ref().map(|a| format!(", connect to: {a}")).unwrap_or_default())]
    NotLeader {
        /// Where the leader is, when known.
        leader_address: Option<String>,
    },
}

/// Asks for the workers that are alive.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<FleetMember>")]
pub struct GetFleet;

/// Sends a granted lease's task to its worker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Dispatch(pub Placement);

/// What a silent worker is allowed.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTimes {
    /// A worker not heard of for this long loses its leases.
    pub lease: Duration,
}

impl LeaseTimes {
    /// How often liveness is looked at: a lease ends at most this much late.
    fn liveness_tick(self) -> Duration {
        (self.lease / 8).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }
}

/// A cloneable handle of the worker registry.
#[derive(Clone)]
pub struct WorkerRegistryHandle {
    address: Address<WorkerRegistry>,
    fleet_changes: watch::Receiver<u64>,
}

impl WorkerRegistryHandle {
    /// Introduces a worker.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn register(&self, request: Register) -> Result<Registered, WorkerError> {
        self.address.ask(request, REQUEST_LIMIT).await.unwrap_or_else(|error| Err(try_again(error)))
    }

    /// Takes a sign of life.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn heartbeat(&self, request: Heartbeat) -> Result<(), WorkerError> {
        self.address.ask(request, REQUEST_LIMIT).await.unwrap_or_else(|error| Err(try_again(error)))
    }

    /// Takes news of a lease.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn report(&self, request: Report) -> Result<(), WorkerError> {
        self.address.ask(request, REQUEST_LIMIT).await.unwrap_or_else(|error| Err(try_again(error)))
    }

    /// Stops giving work to a worker.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn drain(&self, request: Drain) -> Result<(), WorkerError> {
        self.address.ask(request, REQUEST_LIMIT).await.unwrap_or_else(|error| Err(try_again(error)))
    }

    /// The workers that are alive.
    ///
    /// # Errors
    /// When the actor does not take the question or does not answer.
    pub async fn fleet(&self) -> Result<Vec<FleetMember>, AskError> {
        self.address.ask(GetFleet, REQUEST_LIMIT).await
    }

    /// Changes whenever a worker has registered and can be given work.
    #[must_use]
    pub fn fleet_changes(&self) -> watch::Receiver<u64> {
        self.fleet_changes.clone()
    }

    /// Sends a granted lease's task to its worker; one that cannot be sent returns to the queue.
    ///
    /// # Errors
    /// When the actor does not take it. The lease then ends by its time.
    pub fn dispatch(&self, placement: Placement) -> Result<(), AskError> {
        self.address.tell(Dispatch(placement))
    }
}

fn try_again(error: AskError) -> WorkerError {
    WorkerError::TryAgain(error.to_string())
}

/// A worker that was heard of.
struct Live {
    incarnation: Incarnation,
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
    /// Counts registrations, for whoever has work to hand out.
    changes: Arc<watch::Sender<u64>>,
}

/// One life of a worker.
type Life = (WorkerId, Incarnation);

#[derive(Clone)]
struct Parts {
    raft: RaftNodeHandle,
    verifier: VerifierHandle,
    data_key: DataKey,
    times: LeaseTimes,
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
        let parts = Parts { raft: raft.clone(), verifier, data_key, times };
        let changes = Arc::new(watch::Sender::new(0));
        let fleet_changes = changes.subscribe();
        let factory_changes = changes;
        let factory = move || Self {
            parts: parts.clone(),
            live: BTreeMap::new(),
            awaited: BTreeMap::new(),
            term: leading_term(&parts.raft.leadership()),
            is_looking: false,
            changes: Arc::clone(&factory_changes),
        };
        let address = guardian.supervise(factory).await;
        if let Err(error) = raft.subscribe(Subscriber::new(&address)) {
            tracing::error!(%error, "the worker registry will not hear of revoked leases");
        }
        WorkerRegistryHandle { address, fleet_changes }
    }

    /// Looks for workers that have kept silent past the lease, and for such that the ledger counts as lost while this
    /// registry still knows them (the news can have been dropped). One look at a time: it may wait for a quorum.
    fn liveness_tick(&mut self, context: &mut Context<Self>) {
        let Some(term) = self.term.filter(|_| !self.is_looking) else { return };
        let (now, lease) = (Instant::now(), self.parts.times.lease);
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
            }
        };
        context.spawn(actix::fut::ActorFutureExt::map(actix::fut::wrap_future(look), update));
    }

    fn is_live(&self, (worker, incarnation): &Life) -> bool {
        self.live.get(worker).is_some_and(|live| live.incarnation == *incarnation)
    }

    /// Compares the workers that were live before the ledger was read with those that the ledger had then.
    fn compare(&mut self, known: &[Life], there: &BTreeSet<Life>) {
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
    fn forget(&mut self, life: &Life) {
        if self.is_live(life)
            && let Some(live) = self.live.remove(&life.0)
        {
            // Should the order not reach it, its next heartbeat tells it.
            let _ = (live.link)(Order::Reregister);
        }
    }

    fn adopt_term(&mut self, term: Option<Term>) {
        if term != self.term {
            // A new leader arms every lease anew: nobody is lost because of what this node did not hear as a follower.
            let now = Instant::now();
            self.live.values_mut().for_each(|live| {
                live.seen = now;
                live.unspoken.clear();
            });
            self.awaited.clear();
        }
        self.term = term;
    }

    /// Notes which leases of the ledger a worker does not speak of, and ends those that it has not spoken of for a lease's
    /// time: their order was lost.
    fn expire_unspoken(
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
fn log_refusal(what: &str, decided: Result<super::raft_node::Decided, ProposeError>) {
    match decided {
        Ok(decided) => {
            if let Err(rejection) = decided.reply {
                tracing::debug!(what, %rejection, "the ledger refused");
            }
        }
        Err(error) => tracing::debug!(what, %error, "not proposed"),
    }
}

impl Supervised for WorkerRegistry {
    const NAME: &'static str = "worker registry";
    const MAILBOX_CAPACITY: usize = 4096;
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

impl Handler<Committed> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, message: Committed, _: &mut Self::Context) {
        if message.completeness == Completeness::AfterGap {
            self.adopt_term(leading_term(&self.parts.raft.leadership()));
        }
        for event in message.events.iter() {
            match event {
                Event::LeaseRevoked { task, attempt, worker } => {
                    if let Some(live) = self.live.get(worker) {
                        // A worker that misses this proves in vain; the ledger refuses or takes the proof.
                        let _ = (live.link)(Order::Revoke { task: *task, attempt: *attempt });
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
                let Register { worker, link, held_keys, .. } = message;
                registry.awaited.remove(&(worker.clone(), incarnation));
                let live =
                    Live { incarnation, link, held_keys, seen: Instant::now(), unspoken: BTreeMap::new() };
                registry.live.insert(worker, live);
                registry.changes.send_modify(|changes| *changes += 1);
                Registered { incarnation, lease }
            }));
        };
        context.spawn(actix::fut::ActorFutureExt::map(actix::fut::wrap_future(work), record));
    }
}

async fn register(raft: &RaftNodeHandle, request: &Register) -> Result<Incarnation, WorkerError> {
    let name = request.worker.clone();
    let question = move |ledger: &Ledger| ledger.worker(&name).map(|w| (w.incarnation, w.session, w.state));
    let known = raft.local(question).await.map_err(|error| WorkerError::TryAgain(error.to_string()))?;
    let incarnation = match known {
        Some((incarnation, session, state)) if session == request.session && state != WorkerState::Lost => {
            incarnation
        }
        Some((incarnation, _, _)) => Incarnation(incarnation.0.saturating_add(1)),
        None => Incarnation(1),
    };
    let command = Command::RegisterWorker {
        worker: request.worker.clone(),
        incarnation,
        session: request.session,
        capacity: request.capacity,
        circuits: request.circuits.clone(),
        version: request.version.clone(),
        at: raft.now(),
    };
    match propose(raft, command).await {
        // Another registration came in between: look again.
        Err(WorkerError::Refused(Rejection::StaleIncarnation(_))) => {
            Err(WorkerError::TryAgain("another process registers under this name".into()))
        }
        Err(error) => Err(error),
        Ok(()) => Ok(incarnation),
    }
}

async fn propose(raft: &RaftNodeHandle, command: Command) -> Result<(), WorkerError> {
    match raft.propose(command).await {
        Ok(decided) => Ok(decided.reply.map(|_| ())?),
        Err(ProposeError::NotLeader { leader }) => {
            Err(WorkerError::NotLeader { leader_address: leader.map(|leader| leader.address) })
        }
        Err(error) => Err(WorkerError::TryAgain(error.to_string())),
    }
}

impl Handler<Ask<Heartbeat>> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, ask: Ask<Heartbeat>, context: &mut Self::Context) {
        let Ask { message: Heartbeat { worker, incarnation, holds, held_keys }, reply } = ask;
        let Some(live) = self.live.get_mut(&worker).filter(|live| live.incarnation == incarnation) else {
            reply.send(Err(WorkerError::Refused(Rejection::UnknownWorker(worker))));
            return;
        };
        live.seen = Instant::now();
        live.held_keys = held_keys;
        reply.send(Ok(()));
        if self.term.is_none() {
            return;
        }
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

impl Handler<Dispatch> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, message: Dispatch, context: &mut Self::Context) {
        let Dispatch(placement) = message;
        let live = self.live.get(&placement.worker).filter(|live| live.incarnation == placement.incarnation);
        let link = live.map(|live| Arc::clone(&live.link));
        let (parts, own_address) = (self.parts.clone(), context.address());
        actix_rt::spawn(async move { dispatch(&parts, &own_address, link, placement).await });
    }
}

/// A worker could not be given an order.
#[derive(Message)]
#[rtype(result = "()")]
struct Unreachable(Life);

impl Handler<Unreachable> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, message: Unreachable, _: &mut Self::Context) {
        tracing::warn!(worker = %message.0.0, "a worker takes no orders and gets none before it registers again");
        self.forget(&message.0);
    }
}

/// Sends the order, or says in the ledger why it could not be sent.
async fn dispatch(
    parts: &Parts,
    registry: &Addr<WorkerRegistry>,
    link: Option<WorkerLink>,
    placement: Placement,
) {
    let Placement { task, attempt, worker, incarnation } = placement;
    let give_back = |worker| Command::ReturnLease { task, attempt, worker, at: parts.raft.now() };
    let command = match assignment(parts, task, attempt).await {
        Ok(Some(assignment)) => match link.map(|link| link(Order::Assign(assignment))) {
            Some(Ok(())) => return,
            Some(Err(_)) => {
                // First this: the lease that returns would go to the same worker again, and so on without a pause. At most
                // one message for each order, so the mailbox's limit may be passed over.
                registry.do_send(Unreachable((worker.clone(), incarnation)));
                give_back(worker)
            }
            None => give_back(worker),
        },
        // The task ended in between.
        Ok(None) => return,
        Err(DispatchError::Unreadable(reason)) => {
            let cause = FailureCause::new(FailureKind::InputUnreadable, &reason);
            Command::FailAttempt { task, attempt, worker, cause, at: parts.raft.now() }
        }
        Err(DispatchError::NotNow(reason)) => {
            tracing::warn!(%task, reason, "a task could not be handed out");
            // What keeps this node from reading it will not have passed at once: the lease holds the task back meanwhile.
            tokio::time::sleep(DISPATCH_PAUSE).await;
            give_back(worker)
        }
    };
    log_refusal("take back an order", parts.raft.propose(command).await);
}

enum DispatchError {
    Unreadable(String),
    NotNow(String),
}

async fn assignment(
    parts: &Parts,
    task: TaskId,
    attempt: Attempt,
) -> Result<Option<Assignment>, DispatchError> {
    let question = move |ledger: &Ledger| {
        let record = ledger.task(task).filter(|t| t.lease().is_some_and(|lease| lease.attempt == attempt))?;
        let circuit = ledger.circuit(&record.circuit)?;
        Some((record.circuit.clone(), circuit.proving_key))
    };
    let found = parts.raft.local(question).await.map_err(|error| DispatchError::NotNow(error.to_string()))?;
    let Some((circuit, proving_key)) = found else { return Ok(None) };
    let sealed = parts.raft.body(crate::ledger::BodyKey::Input(task)).await;
    let Some(sealed) = sealed.map_err(|error| DispatchError::NotNow(error.to_string()))? else {
        return Ok(None);
    };
    let input = super::tasks::open_input(&parts.data_key, task, &sealed)
        .map_err(|error| DispatchError::Unreadable(error.to_string()))?;
    Ok(Some(Assignment { task, attempt, circuit, proving_key, input }))
}

impl Handler<Ask<Report>> for WorkerRegistry {
    type Result = ();

    fn handle(&mut self, ask: Ask<Report>, _: &mut Self::Context) {
        let parts = self.parts.clone();
        if let Some(live) = self.live.get_mut(&ask.message.worker) {
            live.seen = Instant::now();
        }
        actix_rt::spawn(async move {
            let Ask { message, reply } = ask;
            reply.send(report(&parts, message).await);
        });
    }
}

async fn report(parts: &Parts, report: Report) -> Result<(), WorkerError> {
    let Report { worker, task, attempt, news } = report;
    let at = parts.raft.now();
    let command = match news {
        News::Started => Command::StartAttempt { task, attempt, worker, at },
        News::GivenBack => Command::ReturnLease { task, attempt, worker, at },
        News::Failed(cause) => Command::FailAttempt { task, attempt, worker, cause, at },
        News::Proven { proof, proving } => judge(parts, worker, task, attempt, proof, proving).await?,
    };
    propose(&parts.raft, command).await
}

/// The key and the public inputs of an open task.
async fn statement(raft: &RaftNodeHandle, task: TaskId) -> Result<(Circuit, Vec<Digest>), WorkerError> {
    let question = move |ledger: &Ledger| -> Result<(Circuit, Vec<Digest>), Rejection> {
        let record = ledger.task(task).ok_or(Rejection::UnknownTask(task))?;
        if !record.is_open() {
            return Err(Rejection::TaskFinished { task, status: record.status() });
        }
        let circuit = ledger.circuit(&record.circuit).ok_or(Rejection::CircuitUnknown)?;
        Ok((circuit.clone(), record.public_inputs.clone()))
    };
    // The own copy is enough to check a proof by: the ledger judges again when the command is applied. It is not enough to
    // refuse one, for which the worker would throw it away: a new leader's copy may still lack what is committed.
    if let Ok(Ok(found)) = raft.local(question).await {
        return Ok(found);
    }
    match raft.query(question, Consistency::Linearizable).await {
        Ok(answer) => Ok(answer.value?),
        Err(QueryError::Read(ReadError::NotLeader { leader })) => {
            Err(WorkerError::NotLeader { leader_address: leader.map(|leader| leader.address) })
        }
        Err(error) => Err(WorkerError::TryAgain(error.to_string())),
    }
}

/// Verifies a proof and says by which command the ledger is told.
async fn judge(
    parts: &Parts,
    worker: WorkerId,
    task: TaskId,
    attempt: Attempt,
    proof: Vec<u8>,
    proving: Duration,
) -> Result<Command, WorkerError> {
    let (circuit, public_inputs) = statement(&parts.raft, task).await?;
    let check = CheckProof {
        key: circuit.verifying_key,
        key_bytes: circuit.verifying_key_bytes,
        proof: proof.clone(),
        public_inputs: super::tasks::as_field_elements(&public_inputs),
    };
    let at = parts.raft.now();
    let invalid = |reason: &str| {
        let cause = FailureCause::new(FailureKind::InvalidProof, reason);
        Command::FailAttempt { task, attempt, worker: worker.clone(), cause, at }
    };
    match parts.verifier.check(check).await {
        Ok(verdict) if verdict.is_valid => {
            let result = ProvenResult {
                proof,
                public_inputs,
                verifying_key: circuit.verifying_key,
                proving_ms: super::clock::millis(proving),
                verifying_ms: super::clock::millis(verdict.took),
            };
            Ok(Command::CompleteTask { task, attempt, worker, result: Box::new(result), at })
        }
        Ok(_) => {
            tracing::error!(%task, %worker, "a worker sent a proof that does not verify");
            Ok(invalid("the proof does not verify"))
        }
        Err(CheckError::Refused(refused)) => {
            tracing::error!(%task, %worker, %refused, "a worker sent something that is no proof");
            Ok(invalid(&refused.to_string()))
        }
        Err(error @ (CheckError::Job(_) | CheckError::Ask(_))) => {
            Err(WorkerError::TryAgain(error.to_string()))
        }
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
