//! The scheduler: proposes leases for pending tasks while this node leads.
//!
//! Event driven. `LeadershipChanged` enables and disables it, applied events wake it, and one timer covers what time alone
//! brings about (back-offs, deadlines, retention). It keeps no state that matters: every placement is judged again by the
//! ledger, so that a scheduler which was not told of its deposition does no harm.
//!
//! While nobody waits it says beforehand who would be given the next task, so that a submission and its lease share an entry of the
//! log.

use super::ask::{Address, AskError, ReplyTo};
use super::events::{Committed, Completeness, Leadership, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::raft_node::{Decided, QueryError, RaftNodeHandle, leading_term};
use super::worker_registry::WorkerRegistryHandle;
use crate::ledger::{
    Attempt, CircuitId, Command, Event, FleetMember, Ledger, Placement, Policy, TaskId, Term, UnixMillis,
};
use crate::raft::ProposeError;
use crate::telemetry::table;
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use futures_util::future::join_all;
use metrics::Histogram;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Leases proposed side by side: they share log entries, and a round stays short.
const ROUND_MAX: usize = 256;
/// The longest that the timer sleeps, and the pause after a round that could not be carried out.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// A round that failed (no quorum, full mailbox) is tried again after this pause.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// A cloneable handle of the scheduler.
#[derive(Clone)]
pub struct SchedulerHandle {
    address: Address<Scheduler>,
    enabled: Arc<AtomicBool>,
    registry: WorkerRegistryHandle,
    vacancies: watch::Receiver<Arc<Vacancies>>,
}

/// Who would be given a task that came now, as the last round that left nothing to do has found.
#[derive(Debug, Default)]
struct Vacancies {
    term: Term,
    by_circuit: BTreeMap<CircuitId, FleetMember>,
    /// One of them was given a task: who would be given the next one is for the next round to say.
    is_used: AtomicBool,
}

impl SchedulerHandle {
    /// Proposes a lease for a task whose submission was proposed just now, when somebody is free for it: both then share an entry, and
    /// the task waits for one commit less. When nothing comes of it the scheduler hears of the task as of any other.
    pub fn lease_with_submission(&self, raft: &RaftNodeHandle, task: TaskId, circuit: &CircuitId) {
        let vacancies = Arc::clone(&self.vacancies.borrow());
        let Some(FleetMember { worker, incarnation, .. }) = vacancies.by_circuit.get(circuit).cloned() else {
            return;
        };
        if vacancies.is_used.swap(true, Ordering::Relaxed) {
            return;
        }
        let placement = Placement { task, attempt: Attempt(1), worker, incarnation };
        let waited = Waited { circuit: circuit.clone(), time: Duration::ZERO };
        let (command, registry) = (lease(raft, vacancies.term, &placement), self.registry.clone());
        let granted = move |decided| {
            hand_out(&registry, decided, placement, Some(waited));
        };
        raft.propose_for(command, ReplyTo::new(granted));
    }

    /// Whether it believes that this node leads.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// How many of the workers that it gives work to are silent for longer than they should be.
    #[must_use]
    pub fn suspect_workers(&self) -> u64 {
        self.registry.suspect_count()
    }

    /// Tells it who leads, as the Raft node does. Its belief saves work and decides nothing.
    ///
    /// # Errors
    /// When its mailbox is full or gone.
    pub fn tell_leadership(&self, message: LeadershipChanged) -> Result<(), AskError> {
        self.address.tell(message)
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Wake;

#[derive(Message)]
#[rtype(result = "()")]
struct FleetChanged;

/// The actor.
pub struct Scheduler {
    raft: RaftNodeHandle,
    registry: WorkerRegistryHandle,
    policy: Policy,
    enabled: Arc<AtomicBool>,
    vacancies: Arc<watch::Sender<Arc<Vacancies>>>,
    term: Option<Term>,
    is_busy: bool,
    is_woken: bool,
    timer: Option<SpawnHandle>,
    round_seconds: Histogram,
}

impl Scheduler {
    /// Starts the actor; it waits for leadership. As a leader's it sees to it that the ledger decides by `policy`.
    pub async fn launch(
        guardian: &GuardianHandle,
        raft: RaftNodeHandle,
        registry: WorkerRegistryHandle,
        policy: Policy,
    ) -> SchedulerHandle {
        let enabled = Arc::new(AtomicBool::new(false));
        let (factory_raft, factory_enabled) = (raft.clone(), Arc::clone(&enabled));
        let factory_registry = registry.clone();
        let vacancies = Arc::new(watch::Sender::default());
        let vacancies_receiver = vacancies.subscribe();
        let round_seconds = table::SCHEDULER_ROUND_DURATION.histogram(&[]);
        let factory = move || Self {
            raft: factory_raft.clone(),
            registry: factory_registry.clone(),
            policy: policy.clone(),
            enabled: Arc::clone(&factory_enabled),
            vacancies: Arc::clone(&vacancies),
            term: None,
            is_busy: false,
            is_woken: false,
            timer: None,
            round_seconds: round_seconds.clone(),
        };
        let address = guardian.supervise(factory).await;
        if let Err(error) = raft.subscribe(Subscriber::new(&address, frees_or_brings_work)) {
            tracing::error!(%error, "the scheduler will not hear of work");
        }
        SchedulerHandle { address, enabled, registry, vacancies: vacancies_receiver }
    }

    fn enable(&mut self, term: Option<Term>, context: &mut Context<Self>) {
        self.term = term;
        self.enabled.store(term.is_some(), Ordering::Relaxed);
        self.vacancies.send_replace(Arc::default());
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.run_round(context);
    }

    /// One round at a time; what wakes it meanwhile leads to another.
    fn run_round(&mut self, context: &mut Context<Self>) {
        let Some(term) = self.term else { return };
        if self.is_busy {
            self.is_woken = true;
            return;
        }
        self.is_busy = true;
        self.is_woken = false;
        // What wakes it may be a task that waits: it goes first.
        self.vacancies.send_replace(Arc::default());
        let (raft, registry, policy) = (self.raft.clone(), self.registry.clone(), self.policy.clone());
        let (began, round_seconds) = (Instant::now(), self.round_seconds.clone());
        let work = actix::fut::wrap_future(async move {
            let ended = round(&raft, &registry, policy, term).await;
            round_seconds.record(began.elapsed());
            ended
        });
        context.spawn(
            work.map(|ended: Ended, scheduler: &mut Self, context| scheduler.finish_round(ended, context)),
        );
    }

    fn finish_round(&mut self, Ended { next, vacancies }: Ended, context: &mut Context<Self>) {
        self.is_busy = false;
        if self.term == Some(vacancies.term) {
            self.vacancies.send_replace(Arc::new(vacancies));
        }
        if self.is_woken || next == Next::AtOnce {
            self.run_round(context);
            return;
        }
        let pause = match next {
            Next::AtOnce => return,
            Next::Retry => RETRY_PAUSE,
            Next::At(None) => SLEEP_MAX,
            Next::At(Some(due)) => {
                let wait_ms = due.0.saturating_sub(self.raft.now().0);
                Duration::from_millis(wait_ms).clamp(Duration::from_millis(1), SLEEP_MAX)
            }
        };
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        self.timer = Some(context.notify_later(Wake, pause));
    }
}

/// When there may be something to do again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    AtOnce,
    Retry,
    At(Option<UnixMillis>),
}

/// How a round ended.
struct Ended {
    next: Next,
    vacancies: Vacancies,
}

impl From<Next> for Ended {
    /// There may still be tasks that wait.
    fn from(next: Next) -> Self {
        Self { next, vacancies: Vacancies::default() }
    }
}

/// How long a task has waited for its first lease.
struct Waited {
    circuit: CircuitId,
    time: Duration,
}

/// What the ledger says at the beginning of a round.
struct Look {
    /// Whether it decides by the leader's configured limits.
    is_in_force: bool,
    /// Whether something is due to be swept.
    is_due: bool,
    placements: Vec<(Placement, Option<Waited>)>,
    vacancies: BTreeMap<CircuitId, FleetMember>,
    /// When there is something to do again without any event.
    next: Option<UnixMillis>,
}

async fn look(raft: &RaftNodeHandle, fleet: Arc<[FleetMember]>, policy: Policy) -> Result<Look, QueryError> {
    let now = raft.now();
    let question = move |ledger: &Ledger| {
        let next_sweep = ledger.next_sweep_at();
        let placements = ledger.place(&fleet, now, ROUND_MAX);
        // While something can be placed there is no use for them.
        let vacancies = if placements.is_empty() { ledger.vacancies(&fleet, now) } else { BTreeMap::new() };
        Look {
            is_in_force: *ledger.policy() == policy,
            is_due: next_sweep.is_some_and(|due| due <= now),
            placements: with_waits(ledger, placements, now),
            vacancies,
            next: [ledger.next_backoff_end(), next_sweep].into_iter().flatten().min(),
        }
    };
    raft.local(question).await
}

fn with_waits(
    ledger: &Ledger,
    placements: Vec<Placement>,
    now: UnixMillis,
) -> Vec<(Placement, Option<Waited>)> {
    let waited = |placement: &Placement| {
        let task = ledger.task(placement.task).filter(|_| placement.attempt == Attempt(1))?;
        let time = Duration::from_millis(now.0.saturating_sub(task.created_at.0));
        Some(Waited { circuit: task.circuit.clone(), time })
    };
    let with_wait = |placement| {
        let waited = waited(&placement);
        (placement, waited)
    };
    placements.into_iter().map(with_wait).collect()
}

/// Sees to it that the ledger decides by the leader's limits, sweeps what is due, places what can be placed, and says when to
/// look again. Most rounds ask the ledger once: there is one after every entry that brings work.
async fn round(raft: &RaftNodeHandle, registry: &WorkerRegistryHandle, policy: Policy, term: Term) -> Ended {
    let Ok(fleet) = registry.fleet().await.map(Arc::from) else { return Next::Retry.into() };
    let Ok(mut seen) = look(raft, Arc::clone(&fleet), policy.clone()).await else {
        return Next::Retry.into();
    };
    if !seen.is_in_force && raft.propose(Command::SetPolicy(policy.clone())).await.is_err() {
        return Next::Retry.into();
    }
    if seen.is_due && raft.propose(Command::AdvanceClock { at: raft.now() }).await.is_err() {
        return Next::Retry.into();
    }
    if !seen.is_in_force || seen.is_due {
        seen = match look(raft, fleet, policy).await {
            Ok(seen) => seen,
            Err(_) => return Next::Retry.into(),
        };
    }
    let Look { placements, vacancies: by_circuit, next, .. } = seen;
    if placements.is_empty() {
        let vacancies = Vacancies { term, by_circuit, is_used: AtomicBool::new(false) };
        return Ended { next: Next::At(next), vacancies };
    }
    let granted = join_all(
        placements.into_iter().map(|(placement, waited)| grant(raft, registry, term, placement, waited)),
    )
    .await;
    // When none was granted the state that was read is behind, or this node does not lead: a pause, not a busy loop.
    if granted.iter().any(|granted| *granted) { Next::AtOnce.into() } else { Next::Retry.into() }
}

async fn grant(
    raft: &RaftNodeHandle,
    registry: &WorkerRegistryHandle,
    term: Term,
    placement: Placement,
    waited: Option<Waited>,
) -> bool {
    let decided = raft.propose(lease(raft, term, &placement)).await;
    hand_out(registry, decided, placement, waited)
}

fn lease(raft: &RaftNodeHandle, term: Term, placement: &Placement) -> Command {
    Command::GrantLease {
        term,
        task: placement.task,
        attempt: placement.attempt,
        worker: placement.worker.clone(),
        incarnation: placement.incarnation,
        at: raft.now(),
    }
}

/// Has a task sent to its worker if the lease was granted, and says whether it was.
fn hand_out(
    registry: &WorkerRegistryHandle,
    decided: Result<Decided, ProposeError>,
    placement: Placement,
    waited: Option<Waited>,
) -> bool {
    match decided.map(|decided| decided.reply) {
        Ok(Ok(_)) => {
            if let Some(Waited { circuit, time }) = waited {
                table::TASK_QUEUE_TIME.histogram(&[circuit.as_str()]).record(time);
            }
            if let Err(error) = registry.dispatch(placement) {
                tracing::warn!(%error, "a granted lease could not be handed out and will expire");
            }
            true
        }
        Ok(Err(rejection)) => {
            tracing::debug!(%rejection, "a lease was refused");
            false
        }
        Err(error) => {
            tracing::debug!(%error, "a lease was not proposed");
            false
        }
    }
}

impl Supervised for Scheduler {
    const NAME: &'static str = "scheduler";
    const MAILBOX_CAPACITY: usize = 1024;
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let leadership = self.raft.leadership();
        self.enable(leading_term(&leadership), context);
        // A worker's registration is committed before the registry knows the way to it, and one that is repeated brings no
        // event at all: without this its first task would wait for the timer.
        let mut changes = self.registry.fleet_changes();
        let own_address = context.address();
        context.spawn(actix::fut::wrap_future(async move {
            while changes.changed().await.is_ok() {
                if own_address.send(FleetChanged).await.is_err() {
                    return;
                }
            }
        }));
    }
}

impl Handler<LeadershipChanged> for Scheduler {
    type Result = ();

    fn handle(&mut self, message: LeadershipChanged, context: &mut Self::Context) {
        if leading_term(&message) != self.term {
            let is_enabled = message.role == Leadership::Leading;
            tracing::info!(term = message.term.0, is_enabled, "scheduler");
        }
        self.enable(leading_term(&message), context);
    }
}

impl Handler<Committed> for Scheduler {
    type Result = ();

    fn handle(&mut self, message: Committed, context: &mut Self::Context) {
        if message.completeness == Completeness::AfterGap {
            self.term = leading_term(&self.raft.leadership());
            self.enabled.store(self.term.is_some(), Ordering::Relaxed);
        }
        let is_work = message.events.iter().any(frees_or_brings_work);
        if is_work || message.completeness == Completeness::AfterGap {
            self.run_round(context);
        }
    }
}

/// Whether a placement may be possible that was not before, or something is to be swept.
const fn frees_or_brings_work(event: &Event) -> bool {
    matches!(
        event,
        Event::TaskSubmitted { .. }
            | Event::TaskRequeued { .. }
            | Event::TaskCompleted(_)
            | Event::TaskFailed { .. }
            | Event::TaskCancelled(_)
            | Event::LeaseRevoked { .. }
            | Event::WorkerRegistered(_)
            | Event::CircuitRegistered(_)
            | Event::OutboxChanged
    )
}

impl Handler<FleetChanged> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: FleetChanged, context: &mut Self::Context) {
        self.run_round(context);
    }
}

impl Handler<Wake> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.timer = None;
        self.run_round(context);
    }
}
