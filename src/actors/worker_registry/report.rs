//! What workers say, made into commands. A proof from elsewhere passes the verifier first; the ledger judges everything.

use super::messages::{News, Register, Report, WorkerError};
use super::meters::record_completed;
use super::{Parts, WorkerRegistry};
use crate::actors::ask::Ask;
use crate::actors::clock::nearest_millis;
use crate::actors::raft_node::{QueryError, RaftNodeHandle};
use crate::actors::tasks::as_field_elements;
use crate::actors::tasks::messages::Consistency;
use crate::actors::verifier::{CheckError, CheckProof, Verdict};
use crate::ledger::{
    Attempt, Circuit, Command, Digest, FailureCause, FailureKind, Incarnation, Ledger, ProvenResult,
    Rejection, TaskId, UnixMillis, WorkerId, WorkerState,
};
use crate::proof::{CheckedProof, Digest32};
use crate::raft::{ProposeError, ReadError};
use crate::telemetry::trace::{self, Span, SpanKind, TraceContext};
use actix::Handler;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    let Report { worker, task, attempt, news, trace } = report;
    parts.meters.count(&news);
    let at = parts.raft.now();
    let command = match news {
        News::Started => Command::StartAttempt { task, attempt, worker, at },
        News::GivenBack => Command::ReturnLease { task, attempt, worker, at },
        News::Failed(cause) => Command::FailAttempt { task, attempt, worker, cause, at },
        News::Proven { proof, proving, checked } => {
            let proven = Proven { worker, task, attempt, proof, proving, checked };
            let parent = trace.unwrap_or_else(|| trace::of_task(task.0.as_u128()));
            return complete(parts, proven, &parent).await;
        }
    };
    propose(&parts.raft, command).await
}

/// A proof that a worker has sent.
struct Proven {
    worker: WorkerId,
    task: TaskId,
    attempt: Attempt,
    proof: Vec<u8>,
    proving: Duration,
    checked: Option<Arc<CheckedProof>>,
}

/// What a proof of an open task must state.
struct Statement {
    circuit: Circuit,
    public_inputs: Vec<Digest>,
    submitted_at: UnixMillis,
}

/// Has a proof verified, and tells the ledger.
async fn complete(parts: &Parts, proven: Proven, parent: &TraceContext) -> Result<(), WorkerError> {
    let (task, attempt, worker) = (proven.task, proven.attempt, proven.worker.clone());
    let statement = statement(&parts.raft, task).await?;
    let (circuit, submitted_at) = (statement.circuit.id.clone(), statement.submitted_at);
    let mut verifying = Span::begin("verify", SpanKind::Internal, parent);
    verifying.tell_text("zkpnet.task_id", task);
    verifying.tell_text("zkpnet.worker_id", &worker);
    let command = judge(parts, statement, proven).await.inspect_err(|_| verifying.fail())?;
    let completes = matches!(command, Command::CompleteTask { .. });
    drop(verifying);
    let mut completing =
        Span::begin(if completes { "complete" } else { "reject" }, SpanKind::Internal, parent);
    completing.tell_text("zkpnet.task_id", task);
    propose(&parts.raft, command).await.inspect_err(|_| completing.fail())?;
    if completes {
        let age_ms = parts.raft.now().0.saturating_sub(submitted_at.0);
        record_completed(&circuit, Duration::from_millis(age_ms));
        trace::forget_task(task.0.as_u128());
        tracing::info!(%task, attempt = attempt.0, %worker, trace_id = %parent.trace(), age_ms, "completed a task");
    }
    Ok(())
}

/// The key and the public inputs of an open task.
async fn statement(raft: &RaftNodeHandle, task: TaskId) -> Result<Statement, WorkerError> {
    let question = move |ledger: &Ledger| -> Result<Statement, Rejection> {
        let record = ledger.task(task).ok_or(Rejection::UnknownTask(task))?;
        if !record.is_open() {
            return Err(Rejection::TaskFinished { task, status: record.status() });
        }
        let circuit = ledger.circuit(&record.circuit).ok_or(Rejection::CircuitUnknown)?;
        let (public_inputs, submitted_at) = (record.public_inputs.clone(), record.created_at);
        Ok(Statement { circuit: circuit.clone(), public_inputs, submitted_at })
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
async fn judge(parts: &Parts, statement: Statement, proven: Proven) -> Result<Command, WorkerError> {
    let Statement { circuit, public_inputs, .. } = statement;
    let Proven { worker, task, attempt, proof, proving, checked } = proven;
    let check = CheckProof {
        key: circuit.verifying_key,
        key_bytes: circuit.verifying_key_bytes,
        proof: proof.clone(),
        public_inputs: as_field_elements(&public_inputs),
    };
    let verdict = verify(parts, check, checked.as_deref()).await;
    let at = parts.raft.now();
    let invalid = |reason: &str| {
        let cause = FailureCause::new(FailureKind::InvalidProof, reason);
        Command::FailAttempt { task, attempt, worker: worker.clone(), cause, at }
    };
    match verdict {
        Ok(verdict) if verdict.is_valid => {
            let result = ProvenResult {
                proof,
                public_inputs,
                verifying_key: circuit.verifying_key,
                proving_ms: nearest_millis(proving),
                verifying_ms: nearest_millis(verdict.took),
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

/// What the verifier says of a proof. One that this process made has been through the same pairing, which is not computed again: the value
/// that says so says of which bytes and which statement. What comes over a network has none.
async fn verify(
    parts: &Parts,
    check: CheckProof,
    checked: Option<&CheckedProof>,
) -> Result<Verdict, CheckError> {
    let key = Digest32::new(check.key.0);
    match checked {
        Some(checked) if checked.shows(&check.proof, &key, &check.public_inputs) => {
            Ok(Verdict { is_valid: true, took: checked.took() })
        }
        _ => parts.verifier.check(check).await,
    }
}

pub(super) async fn register(raft: &RaftNodeHandle, request: &Register) -> Result<Incarnation, WorkerError> {
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

pub(super) async fn propose(raft: &RaftNodeHandle, command: Command) -> Result<(), WorkerError> {
    match raft.propose(command).await {
        Ok(decided) => Ok(decided.reply.map(|_| ())?),
        Err(ProposeError::NotLeader { leader }) => {
            Err(WorkerError::NotLeader { leader_address: leader.map(|leader| leader.address) })
        }
        Err(error) => Err(WorkerError::TryAgain(error.to_string())),
    }
}
