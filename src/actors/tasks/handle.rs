//! The front desk's handle, and the figures that its health answer is made of.

use super::messages::{
    Accepted, ArchiveView, AwaitTask, Cancel, Cancelled, CapacityView, CircuitView, GetCircuits, GetHealth,
    GetTask, GetWorkers, HealthView, ListTasks, RaftView, Submit, TaskError, TaskList, TaskView, VerifyProof,
    WorkerView, WorkersView,
};
use super::{SubmitAs, Tasks};
use crate::actors::archivist::ArchiveHealth;
use crate::actors::ask::{Address, Ask, AskError};
use crate::ledger::{ArchiveStanding, Counters, Ledger, TaskId, TaskStatus, WorkerState};
use crate::raft::{RaftStatus, Role};
use crate::telemetry::trace::{self, Span, SpanKind, TraceContext};
use actix::{Context, Handler, Message};
use std::time::Duration;

/// A request waits this long for its answer: longer than a proposal waits for its quorum.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// A cloneable handle of the front desk.
#[derive(Clone)]
pub struct TasksHandle(Address<Tasks>);

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident($message:ty) -> $answer:ty;)*) => {
        impl TasksHandle {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// See [`TaskError`].
                pub async fn $name(&self, request: $message) -> Result<$answer, TaskError> {
                    self.ask(request, REQUEST_LIMIT).await
                }
            )*
        }
    };
}

requests! {
    /// Shows a task.
    get(GetTask) -> TaskView;
    /// Lists tasks.
    list(ListTasks) -> TaskList;
    /// Withdraws a task.
    cancel(Cancel) -> Cancelled;
    /// Checks a proof.
    verify(VerifyProof) -> bool;
}

impl TasksHandle {
    /// Submits a task; answered when it is durable.
    ///
    /// # Errors
    /// See [`TaskError`].
    pub async fn submit(&self, request: Submit) -> Result<Accepted, TaskError> {
        self.submit_as(TaskId(uuid::Uuid::now_v7()), request).await
    }

    /// The same, for a request that is part of a trace, which the task then goes on with.
    ///
    /// # Errors
    /// See [`TaskError`].
    pub async fn submit_traced(
        &self,
        request: Submit,
        request_span: TraceContext,
    ) -> Result<Accepted, TaskError> {
        let id = TaskId(uuid::Uuid::now_v7());
        let mut span = Span::begin("submit", SpanKind::Internal, &request_span);
        // Before it is proposed: its lease may be granted before its client is answered.
        trace::remember_task(id.0.as_u128(), span.context());
        let result = self.submit_as(id, request).await;
        match &result {
            Ok(accepted) => span.tell_text("zkpnet.task_id", accepted.task),
            Err(_) => span.fail(),
        }
        if !result.as_ref().is_ok_and(|accepted| accepted.task == id) && !may_be_done(&result) {
            trace::forget_task(id.0.as_u128());
        }
        result
    }

    async fn submit_as(&self, id: TaskId, request: Submit) -> Result<Accepted, TaskError> {
        match self.ask(SubmitAs { id, request }, REQUEST_LIMIT).await {
            Err(TaskError::OutcomeUnknown { reason, .. }) => {
                Err(TaskError::OutcomeUnknown { task: Some(id), reason })
            }
            answer => answer,
        }
    }

    pub(super) const fn new(address: Address<Tasks>) -> Self {
        Self(address)
    }

    /// Shows a task once it has ended, or as it is when the request's limit has passed.
    ///
    /// # Errors
    /// See [`TaskError`].
    pub async fn wait(&self, request: AwaitTask) -> Result<TaskView, TaskError> {
        self.ask(request, request.limit.saturating_add(REQUEST_LIMIT)).await
    }

    /// Shows the circuits.
    ///
    /// # Errors
    /// See [`TaskError`].
    pub async fn circuits(&self) -> Result<Vec<CircuitView>, TaskError> {
        self.ask(GetCircuits, REQUEST_LIMIT).await
    }

    /// Shows the workers.
    ///
    /// # Errors
    /// See [`TaskError`].
    pub async fn workers(&self) -> Result<Vec<WorkerView>, TaskError> {
        self.ask(GetWorkers, REQUEST_LIMIT).await
    }

    /// Shows how the node does.
    ///
    /// # Errors
    /// See [`TaskError`].
    pub async fn health(&self) -> Result<HealthView, TaskError> {
        self.ask(GetHealth, REQUEST_LIMIT).await
    }

    async fn ask<M, R>(&self, message: M, limit: Duration) -> Result<R, TaskError>
    where
        M: Message<Result = Result<R, TaskError>> + Send + 'static,
        R: Send + 'static,
        Tasks: Handler<Ask<M>>,
        Context<Tasks>: actix::dev::ToEnvelope<Tasks, Ask<M>>,
    {
        self.0.ask(message, limit).await.unwrap_or_else(|error| {
            Err(match error {
                AskError::Full(_) => TaskError::Overloaded(error.to_string()),
                AskError::Stopped(_) => TaskError::Unavailable(error.to_string()),
                AskError::NoReply(_) => TaskError::OutcomeUnknown { task: None, reason: error.to_string() },
            })
        })
    }
}

/// The archive, as the ledger and this node see it.
pub(super) fn archive_view(standing: &ArchiveStanding, health: ArchiveHealth) -> ArchiveView {
    let is_unwanted = health.is_configured && standing.policy.is_none();
    let unwanted = is_unwanted.then(|| "the leader keeps nothing for it: has it no database?".to_owned());
    ArchiveView {
        is_configured: health.is_configured,
        lag: standing.lag,
        lag_max: standing.policy.map_or(0, |policy| policy.backlog_max),
        is_up: health.error.is_none(),
        error: health.hindrance.or(health.error).or(unwanted),
        upkeep_error: health.upkeep_error,
    }
}

/// Whether the task may be in the log though its submission was not answered well.
const fn may_be_done(result: &Result<Accepted, TaskError>) -> bool {
    matches!(result, Err(TaskError::OutcomeUnknown { .. }))
}

/// Workers by state, and what those that are not lost may hold and do hold.
pub(super) fn count_workers(ledger: &Ledger) -> (WorkersView, CapacityView) {
    let (mut workers, mut capacity) = (WorkersView::default(), CapacityView::default());
    for worker in ledger.workers() {
        workers.total += 1;
        match worker.state {
            WorkerState::Active => {
                workers.active += 1;
                capacity.total += u64::from(worker.capacity);
            }
            WorkerState::Draining => workers.draining += 1,
            WorkerState::Lost => workers.dead += 1,
        }
        capacity.used += ledger.leases_of(&worker.id);
    }
    (workers, capacity)
}

/// Running totals, tasks by status, bytes of open inputs.
pub(super) fn totals(ledger: &Ledger) -> (Counters, Vec<(TaskStatus, u64)>, u64) {
    let by_status = TaskStatus::ALL.iter().map(|status| (*status, ledger.count(*status))).collect();
    (*ledger.counters(), by_status, ledger.open_input_bytes())
}

pub(super) fn raft_view(status: &RaftStatus, node_id: &str, members_missing: u64) -> RaftView {
    RaftView {
        state: role_name(status.role),
        is_leader: status.role == Role::Leader,
        leader_address: status.leader.as_ref().map(|leader| leader.address.clone()),
        node_id: node_id.to_owned(),
        term: status.term.0,
        commit_index: status.committed.map_or(0, |index| index.0),
        applied_index: status.applied.map_or(0, |index| index.0),
        members_missing,
        fatal_error: status.fatal.clone(),
    }
}

/// The role as the API names it.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "Leader",
        Role::Follower => "Follower",
        Role::Candidate => "Candidate",
        Role::Learner => "Learner",
        Role::Stopped => "Stopped",
    }
}
