//! The front desk: what clients ask for, in their terms, made into commands and questions to the ledger.
//!
//! A submission is reduced on a bounded pool of threads to what its circuit needs, sealed, and only then proposed; the
//! tree that it came from is not kept anywhere. No request waits in its client's task: a client that hangs up leaves either
//! a whole task or none.

mod archived;
mod handle;
pub mod messages;
mod reduce;
mod reducer;
mod wait;

pub use handle::TasksHandle;
pub(in crate::actors) use reduce::{as_field_elements, open as open_input};

use super::archivist::ArchivistHandle;
use super::ask::{Ask, AskError, ReplyTo};
use super::cpu_pool::CpuPool;
use super::disk_room::{DiskRoom, Shortage};
use super::events::{Committed, Completeness, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::raft_node::{Decided, QueryError, RaftNodeHandle, WithBody, leading_term};
use super::scheduler::SchedulerHandle;
use super::verifier::{CheckError, CheckProof, VerifierHandle};
use crate::ledger::{
    BodyKey, Circuit, CircuitId, Command, Event, KeyAnswer, Ledger, LimitedResource, NewTask, Rejection,
    Reply, TaskId, TaskState, TenantId, Worker,
};
use crate::proof::catalog;
use crate::raft::{ProposeError, ReadError};
use crate::sealing::DataKey;
use crate::telemetry::table;
use actix::{Actor, Context, Handler, Message};
use messages::{
    Accepted, AwaitTask, Cancel, Cancelled, CircuitView, Consistency, GetCircuits, GetHealth, GetTask,
    GetWorkers, HealthView, ListTasks, Submit, TaskError, TaskOptions, TaskView, VerifyProof, WorkerView,
};
use reduce::{QUICK_LEAVES_MAX, Raw, Reduced};
use reducer::Reducer;
use std::sync::Arc;
use tokio::sync::Semaphore;
use wait::Waiters;

/// Requests in hand at once. Most of them wait for a quorum or for a proof and cost a few hundred bytes.
const IN_HAND_MAX: usize = 16_384;
/// Submissions in hand at once: each may hold megabytes of leaves.
const SUBMISSIONS_IN_HAND_MAX: usize = 512;

/// A submission under the id that its task will have: whoever loses the answer still knows what to ask for.
pub(super) struct SubmitAs {
    id: TaskId,
    request: Submit,
}

impl Message for SubmitAs {
    type Result = Result<Accepted, TaskError>;
}

/// What the front desk works with. Cheap to clone: every request takes one along.
#[derive(Clone)]
pub(super) struct Desk {
    coordinator_id: Arc<str>,
    node_id: Arc<str>,
    raft: RaftNodeHandle,
    verifier: VerifierHandle,
    scheduler: SchedulerHandle,
    archivist: ArchivistHandle,
    room: DiskRoom,
    reducer: Reducer,
    tree_builder: Reducer,
    waiters: Waiters,
}

/// The actor.
pub struct Tasks {
    desk: Desk,
    in_hand: Arc<Semaphore>,
    submissions: Arc<Semaphore>,
}

/// What a front desk is made of.
pub struct TasksParts {
    /// The coordinator's configured id, shown in its health.
    pub coordinator_id: String,
    /// The node's name in Raft's membership.
    pub node_id: String,
    /// The ledger's door.
    pub raft: RaftNodeHandle,
    /// Checks proofs for clients.
    pub verifier: VerifierHandle,
    /// Its state is shown in the health.
    pub scheduler: SchedulerHandle,
    /// Has what the ledger has forgotten.
    pub archivist: ArchivistHandle,
    /// Says when the disk has too little room for further tasks.
    pub room: DiskRoom,
    /// Threads on which small submissions are reduced.
    pub reducer: CpuPool,
    /// Threads for large trees, which take seconds: the small ones do not wait behind them.
    pub tree_builder: CpuPool,
    /// Seals inputs.
    pub data_key: DataKey,
}

impl Tasks {
    /// Starts the actor.
    pub async fn launch(guardian: &GuardianHandle, parts: TasksParts) -> TasksHandle {
        let TasksParts {
            coordinator_id,
            node_id,
            raft,
            verifier,
            scheduler,
            archivist,
            room,
            reducer,
            tree_builder,
            data_key,
        } = parts;
        let waiters = Waiters::default();
        let (coordinator_id, node_id) = (coordinator_id.into(), node_id.into());
        let desk = Desk {
            coordinator_id,
            node_id,
            raft: raft.clone(),
            verifier,
            scheduler,
            archivist,
            room,
            reducer: Reducer::new(reducer, data_key.clone()),
            tree_builder: Reducer::new(tree_builder, data_key),
            waiters,
        };
        let in_hand = Arc::new(Semaphore::new(IN_HAND_MAX));
        let submissions = Arc::new(Semaphore::new(SUBMISSIONS_IN_HAND_MAX));
        let factory = move || Self {
            desk: desk.clone(),
            in_hand: Arc::clone(&in_hand),
            submissions: Arc::clone(&submissions),
        };
        let address = guardian.supervise(factory).await;
        if let Err(error) = raft.subscribe(Subscriber::new(&address, |event| ended(event).is_some())) {
            tracing::error!(%error, "the front desk will not hear of finished tasks");
        }
        TasksHandle::new(address)
    }

    /// Fulfils a request apart from the mailbox, if the desk has room for it.
    fn take<R: 'static, F>(&self, gate: &Arc<Semaphore>, reply: ReplyTo<Result<R, TaskError>>, work: F)
    where
        F: AsyncFnOnce(Desk) -> Result<R, TaskError> + 'static,
    {
        let Ok(permit) = Arc::clone(gate).try_acquire_owned() else {
            reply.send(Err(TaskError::Overloaded("too many requests are in hand".into())));
            return;
        };
        let desk = self.desk.clone();
        actix_rt::spawn(async move {
            let _permit = permit;
            reply.send(work(desk).await);
        });
    }
}

impl Supervised for Tasks {
    const NAME: &'static str = "front desk";
    const MAILBOX_CAPACITY: usize = 1024;
}

impl Actor for Tasks {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        // The waiters outlive a failed predecessor, and the news in its mailbox did not.
        self.desk.waiters.wake_all();
    }
}

macro_rules! takes {
    ($message:ty, $gate:ident, $work:expr) => {
        impl Handler<Ask<$message>> for Tasks {
            type Result = ();

            fn handle(&mut self, ask: Ask<$message>, _: &mut Self::Context) {
                let Ask { message, reply } = ask;
                self.take(&self.$gate, reply, async move |desk: Desk| $work(desk, message).await);
            }
        }
    };
}

takes!(GetTask, in_hand, Desk::get);
takes!(AwaitTask, in_hand, Desk::wait);
takes!(ListTasks, in_hand, Desk::list);
takes!(Cancel, in_hand, Desk::cancel);
takes!(VerifyProof, in_hand, Desk::verify);
takes!(GetCircuits, in_hand, Desk::circuits);
takes!(GetWorkers, in_hand, Desk::workers);
takes!(GetHealth, in_hand, Desk::health);

impl Handler<Ask<SubmitAs>> for Tasks {
    type Result = ();

    /// Not waited for by any task: the reducer's thread hands the proposal on, and Raft's thread answers.
    fn handle(&mut self, ask: Ask<SubmitAs>, _: &mut Self::Context) {
        let Ask { message, reply } = ask;
        if let Some(shortage) = self.desk.shortage_of_leader() {
            table::STORAGE_REFUSALS.counter(&[]).increment(1);
            return reply.send(Err(TaskError::StorageLow(shortage)));
        }
        let Ok(permit) = Arc::clone(&self.submissions).try_acquire_owned() else {
            return reply.send(Err(TaskError::Overloaded("too many submissions are in hand".into())));
        };
        let answer = move |answer| {
            drop(permit);
            reply.send(answer);
        };
        self.desk.submit(message, ReplyTo::new(answer));
    }
}

impl Handler<Committed> for Tasks {
    type Result = ();

    fn handle(&mut self, message: Committed, _: &mut Self::Context) {
        if message.completeness == Completeness::AfterGap {
            self.desk.waiters.wake_all();
        }
        message.events.iter().filter_map(ended).for_each(|task| self.desk.waiters.wake(task));
    }
}

/// The task that ended, if it is such an event.
const fn ended(event: &Event) -> Option<TaskId> {
    match event {
        Event::TaskCompleted(task) | Event::TaskCancelled(task) | Event::TaskFailed { task, .. } => {
            Some(*task)
        }
        _ => None,
    }
}

impl Handler<LeadershipChanged> for Tasks {
    type Result = ();

    /// Nothing here depends on who leads: proposals and reads find out by themselves.
    fn handle(&mut self, _: LeadershipChanged, _: &mut Self::Context) {}
}

impl Desk {
    /// What the disk lacks for further tasks. Only the leader's counts: another node would not store the task, and says who does.
    fn shortage_of_leader(&self) -> Option<Shortage> {
        self.room.shortage().filter(|_| leading_term(&self.raft.leadership()).is_some())
    }

    /// Has a submission reduced, sealed and proposed.
    fn submit(&self, request: SubmitAs, reply: ReplyTo<Result<Accepted, TaskError>>) {
        let SubmitAs { id, request: Submit { tenant, statement, options, idempotency_key, cache } } = request;
        let reducer =
            if reduce::weight(&statement) <= QUICK_LEAVES_MAX { &self.reducer } else { &self.tree_builder };
        let (raft, scheduler) = (self.raft.clone(), self.scheduler.clone());
        let TaskOptions { priority, deadline, max_attempts, summary } = options.clone();
        let propose = move |reduced: Result<Reduced, TaskError>| {
            let reduced = match reduced {
                Ok(reduced) => reduced,
                Err(error) => return reply.send(Err(error)),
            };
            let circuit = reduced.circuit.clone();
            let command = Command::SubmitTask(Box::new(NewTask {
                id,
                tenant,
                circuit: reduced.circuit,
                public_inputs: reduced.public_inputs,
                sealed_input: reduced.sealed_input,
                fingerprint: reduced.fingerprint,
                idempotency_key,
                cache,
                summary,
                priority,
                deadline_ms: deadline.map(super::clock::millis),
                max_attempts,
                at: raft.now(),
            }));
            raft.propose_for(command, ReplyTo::new(move |decided| reply.send(accepted(id, decided))));
            scheduler.lease_with_submission(&raft, id, &circuit);
        };
        reducer.reduce(Raw { id, tenant, statement, options }, ReplyTo::new(propose));
    }

    async fn get(self, request: GetTask) -> Result<TaskView, TaskError> {
        self.view(request.tenant, request.task, request.consistency).await
    }

    async fn view(
        &self,
        tenant: TenantId,
        id: TaskId,
        consistency: Consistency,
    ) -> Result<TaskView, TaskError> {
        let now = self.raft.now();
        let question = move |ledger: &Ledger| {
            let task = ledger.task_of(tenant, id);
            let proof = task.filter(|task| matches!(task.state, TaskState::Completed { .. }));
            let found =
                task.map(|task| (task.clone(), ledger.waiting_for(task, now), ledger.queue_position(task)));
            ((found, ledger.archive()), proof.map(|_| BodyKey::Proof(id)))
        };
        let answer = self.raft.query_body(question, consistency).await.map_err(query_error)?;
        let WithBody { found: (found, standing), body } = answer.value;
        let Some((task, waiting_for, queue_position)) = found else {
            return self.archived_view(tenant, id, answer.as_of, standing).await;
        };
        let proof = body.map_err(|error| TaskError::Internal(error.to_string()))?;
        if proof.is_none() && matches!(task.state, TaskState::Completed { .. }) {
            // Retention took it between the two reads.
            return self.archived_view(tenant, id, answer.as_of, standing).await;
        }
        Ok(TaskView { task, proof, waiting_for, queue_position, as_of: answer.as_of })
    }

    async fn wait(self, request: AwaitTask) -> Result<TaskView, TaskError> {
        let deadline = tokio::time::Instant::now() + request.limit;
        let waiting = self.waiters.enter(request.task)?;
        let mut consistency = Consistency::Linearizable;
        loop {
            // Registered before the state is read: an end in between is not missed.
            let woken = waiting.woken();
            let view = self.view(request.tenant, request.task, consistency).await?;
            if !view.task.is_open() || tokio::time::timeout_at(deadline, woken).await.is_err() {
                return Ok(view);
            }
            consistency = Consistency::AtLeast(view.as_of.index);
        }
    }

    async fn cancel(self, request: Cancel) -> Result<Cancelled, TaskError> {
        let Cancel { tenant, task } = request;
        let command = Command::CancelTask { tenant, task, at: self.raft.now() };
        let decided = self.raft.propose(command).await.map_err(|error| propose_error(error, None))?;
        match decided.reply {
            Ok(_) => Ok(Cancelled { task, commit_index: decided.index }),
            Err(Rejection::UnknownTask(_)) => {
                self.cancel_forgotten(tenant, task).await?;
                Ok(Cancelled { task, commit_index: decided.index })
            }
            Err(rejection) => Err(rejection_error(rejection)),
        }
    }

    async fn verify(self, request: VerifyProof) -> Result<bool, TaskError> {
        let name = request.circuit.clone();
        let question = move |ledger: &Ledger| find_circuit(ledger, &name).cloned();
        let found = self.raft.local(question).await.map_err(query_error)?;
        let Some(circuit) = found else {
            return Err(match CircuitId::new(&request.circuit) {
                Ok(id) if catalog::find(id.as_str()).is_some() => TaskError::NoKeyYet(id),
                _ => TaskError::UnknownCircuit(request.circuit),
            });
        };
        let check = CheckProof {
            key: circuit.verifying_key,
            key_bytes: circuit.verifying_key_bytes,
            proof: request.proof,
            public_inputs: request.public_inputs,
        };
        match self.verifier.check(check).await {
            Ok(verdict) => Ok(verdict.is_valid),
            Err(CheckError::Refused(refused)) => Err(TaskError::BadProof(refused)),
            Err(error @ (CheckError::Job(_) | CheckError::Ask(_))) => {
                Err(TaskError::Overloaded(error.to_string()))
            }
        }
    }

    async fn circuits(self, _: GetCircuits) -> Result<Vec<CircuitView>, TaskError> {
        let question = |ledger: &Ledger| ledger.circuits().cloned().collect::<Vec<Circuit>>();
        let registered = self.raft.local(question).await.map_err(query_error)?;
        let views = catalog::all().iter().filter_map(|spec| {
            let id = CircuitId::new(spec.name).ok()?;
            let registered = registered.iter().find(|circuit| circuit.id == id).cloned();
            Some(CircuitView { id, spec, registered })
        });
        Ok(views.collect())
    }

    async fn workers(self, _: GetWorkers) -> Result<Vec<WorkerView>, TaskError> {
        let question = |ledger: &Ledger| {
            let view =
                |worker: &Worker| WorkerView { worker: worker.clone(), held: ledger.leases_of(&worker.id) };
            ledger.workers().map(view).collect()
        };
        self.raft.local(question).await.map_err(query_error)
    }

    async fn health(self, _: GetHealth) -> Result<HealthView, TaskError> {
        let (counts, totals, standing) = self
            .raft
            .local(|ledger: &Ledger| {
                (handle::count_workers(ledger), handle::totals(ledger), ledger.archive())
            })
            .await
            .map_err(query_error)?;
        let (mut workers, capacity) = counts;
        workers.suspect = self.scheduler.suspect_workers();
        let (counters, tasks, open_input_bytes) = totals;
        let mut raft = handle::raft_view(&self.raft.status(), &self.node_id, self.raft.members_missing());
        raft.leader_address = raft.leader_address.filter(|_| self.raft.has_leader());
        Ok(HealthView {
            coordinator_id: self.coordinator_id.to_string(),
            raft,
            workers,
            capacity,
            scheduler_enabled: self.scheduler.is_enabled(),
            counters,
            tasks,
            open_input_bytes,
            archive: handle::archive_view(&standing, self.archivist.health()),
            shortage: self.room.shortage(),
        })
    }
}

/// What a client is told of the ledger's decision about its submission.
fn accepted(id: TaskId, decided: Result<Decided, ProposeError>) -> Result<Accepted, TaskError> {
    let decided = decided.map_err(|error| propose_error(error, Some(id)))?;
    let (task, answer) = match decided.reply.map_err(rejection_error)? {
        Reply::Submitted { task } => (task, KeyAnswer::Submitted),
        Reply::Cached { task } => (task, KeyAnswer::Cached),
        Reply::Replayed { task, answer } => (task, answer),
        Reply::Done => return Err(TaskError::Internal("the ledger gave no task id".into())),
    };
    Ok(Accepted { task, answer, commit_index: decided.index })
}

/// A registered circuit by its name, or by the digest of its verifying key.
fn find_circuit<'a>(ledger: &'a Ledger, name: &str) -> Option<&'a Circuit> {
    ledger.circuits().find(|circuit| circuit.id.as_str() == name || circuit.verifying_key.to_string() == name)
}

fn propose_error(error: ProposeError, task: Option<TaskId>) -> TaskError {
    match error {
        ProposeError::NotLeader { leader } => {
            TaskError::NoLeader { leader_address: leader.map(|leader| leader.address) }
        }
        ProposeError::Overloaded => TaskError::Overloaded("too many proposals are waiting".into()),
        ProposeError::TooLarge { bytes, bytes_max } => TaskError::Invalid {
            field: "body".into(),
            reason: format!("takes {bytes} bytes in the log, at most {bytes_max} fit"),
        },
        ProposeError::Stopped => TaskError::Unavailable("the node is stopping".into()),
        ProposeError::OutcomeUnknown { reason } => {
            TaskError::OutcomeUnknown { task, reason: reason.to_string() }
        }
    }
}

fn rejection_error(rejection: Rejection) -> TaskError {
    match rejection {
        Rejection::UnknownTask(task) => TaskError::UnknownTask(task),
        Rejection::TaskFinished { task, status } => TaskError::Finished { task, status },
        Rejection::IdempotencyConflict => TaskError::IdempotencyConflict,
        Rejection::LimitReached {
            what: LimitedResource::OpenTasks | LimitedResource::OpenInputBytes,
            ..
        } => TaskError::LimitReached(rejection.to_string()),
        Rejection::LimitReached { what: LimitedResource::ArchiveBacklog, .. } => {
            TaskError::ArchiveBehind(rejection.to_string())
        }
        other => TaskError::Internal(other.to_string()),
    }
}

fn query_error(error: QueryError) -> TaskError {
    match error {
        QueryError::Read(ReadError::NotLeader { leader }) => {
            TaskError::NoLeader { leader_address: leader.map(|leader| leader.address) }
        }
        QueryError::Read(ReadError::Unconfirmed) => TaskError::NoLeader { leader_address: None },
        QueryError::Read(ReadError::Stopped) => TaskError::Unavailable("the node is stopping".into()),
        QueryError::Ask(error @ AskError::Full(_)) => TaskError::Overloaded(error.to_string()),
        QueryError::Ask(error @ (AskError::Stopped(_) | AskError::NoReply(_))) => {
            TaskError::Unavailable(error.to_string())
        }
    }
}
