//! Handing a granted lease's task to its worker: the sealed input is read, opened, and pushed with the order.

use super::liveness::log_refusal;
use super::messages::{Assignment, Dispatch, Order, WorkerLink};
use super::{Life, Parts, WorkerRegistry};
use crate::actors::raft_node::WithBody;
use crate::actors::tasks::messages::Consistency;
use crate::ledger::{Attempt, BodyKey, Command, FailureCause, FailureKind, Ledger, Placement, TaskId};
use crate::telemetry::trace::{self, Span, SpanKind, TraceContext};
use actix::{Addr, AsyncContext as _, Handler, Message};
use std::sync::Arc;
use std::time::Duration;

/// A task that could not be read for its worker is handed out again after this pause.
const DISPATCH_PAUSE: Duration = Duration::from_secs(1);

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
    let mut span = Span::begin("lease", SpanKind::Producer, &trace::of_task(task.0.as_u128()));
    span.tell_text("zkpnet.task_id", task);
    span.tell_text("zkpnet.worker_id", &worker);
    span.tell("zkpnet.attempt", || trace::Attribute::Count(u64::from(attempt.0)));
    tracing::info!(%task, attempt = attempt.0, %worker, trace_id = %span.context().trace(), "leased a task");
    let give_back = |worker| Command::ReturnLease { task, attempt, worker, at: parts.raft.now() };
    let command = match assignment(parts, task, attempt, span.context()).await {
        Ok(Some(assignment)) => match link.map(|link| link.push(Order::Assign(assignment))) {
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
    span.fail();
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
    span: TraceContext,
) -> Result<Option<Assignment>, DispatchError> {
    let question = move |ledger: &Ledger| {
        let record = ledger.task(task).filter(|t| t.lease().is_some_and(|lease| lease.attempt == attempt));
        let found = record.and_then(|record| {
            let circuit = ledger.circuit(&record.circuit)?;
            Some((record.circuit.clone(), circuit.proving_key))
        });
        let body = found.is_some().then_some(BodyKey::Input(task));
        (found, body)
    };
    let not_now = |error: &dyn std::error::Error| DispatchError::NotNow(error.to_string());
    let answer =
        parts.raft.query_body(question, Consistency::Stale).await.map_err(|error| not_now(&error))?;
    let WithBody { found, body } = answer.value;
    let sealed = body.map_err(|error| not_now(&error))?;
    let Some(((circuit, proving_key), sealed)) = found.zip(sealed) else { return Ok(None) };
    let input = crate::actors::tasks::open_input(&parts.data_key, task, &sealed)
        .map_err(|error| DispatchError::Unreadable(error.to_string()))?;
    Ok(Some(Assignment { task, attempt, circuit, proving_key, input, trace: Some(span) }))
}
