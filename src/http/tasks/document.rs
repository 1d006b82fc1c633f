//! A task as the API shows it. What is not known yet is absent; nothing of the input is ever shown.

use super::super::time_text::rfc3339;
use super::submission::PriorityName;
use crate::actors::tasks::messages::{AsOf, TaskView};
use crate::ledger::{
    AttemptEnd, AttemptRecord, FailureCause, FailureReason, Task, TaskState, TaskStatus, Timings, UnixMillis,
    WaitingFor,
};
use crate::proof::catalog;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A task.
#[derive(Serialize, ToSchema)]
#[schema(as = Task)]
pub(in crate::http) struct TaskDocument {
    /// Always true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    success: Option<bool>,
    /// Its id.
    #[schema(format = Uuid)]
    task_id: String,
    /// Where it stands.
    status: StatusName,
    /// What is proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "merkle_proof")]
    circuit_type: Option<&'static str>,
    /// The circuit's name.
    #[schema(example = "merkle-poseidon-4")]
    circuit: String,
    /// The Groth16 proof in hexadecimal: A, B and C, compressed, 192 bytes. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    proof: Option<String>,
    /// The tree's root.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    merkle_root: Option<String>,
    /// The public inputs by name, as canonical field elements.
    #[schema(value_type = std::collections::HashMap<String, String>)]
    public_inputs: BTreeMap<String, String>,
    /// The digest of the verifying key that the proof was checked with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    verifying_key: Option<String>,
    /// How many times the task was given to a worker.
    attempts: u32,
    /// How many attempts may fail.
    max_attempts: u32,
    /// Every attempt that failed or was lost, and the latest ones given back; absent when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    attempt_history: Vec<AttemptDocument>,
    /// Why it failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    error: Option<String>,
    /// Why it failed, for programs: `attempts_exhausted`, `deadline_passed`, or the kind of a permanent failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    error_code: Option<&'static str>,
    /// Who proves or has proved it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    worker_id: Option<String>,
    /// How urgent it is.
    priority: PriorityName,
    /// As submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    summary: Option<String>,
    /// When it was submitted.
    #[schema(format = DateTime)]
    created_at: String,
    /// When the latest attempt began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    started_at: Option<String>,
    /// When it ended, whichever way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    completed_at: Option<String>,
    /// When it fails unless it is completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    deadline: Option<String>,
    /// Where the time went.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    timings_ms: Option<TimingsDocument>,
    /// Why a pending task waits. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "no worker holds circuit merkle-poseidon-20")]
    waiting_for: Option<String>,
    /// How many tasks stand before a pending one. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    queue_position: Option<u64>,
    /// How current a stale answer is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    as_of: Option<AsOfDocument>,
    /// The request's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    request_id: Option<String>,
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = TaskList)]
pub(in crate::http) struct TaskListAnswer {
    /// Always true.
    pub(super) success: bool,
    /// The tasks, newest first.
    pub(super) tasks: Vec<TaskDocument>,
    /// Give it back as `cursor` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub(super) next_cursor: Option<String>,
    /// How current the list is.
    pub(super) as_of: AsOfDocument,
    /// The request's id.
    pub(super) request_id: String,
}

/// How current an answer is.
#[derive(Serialize, ToSchema)]
#[schema(as = AsOf)]
pub(in crate::http) struct AsOfDocument {
    /// The last log entry that it reflects.
    index: u64,
    /// For a stale answer of a node that does not lead: milliseconds since it last heard of a leader.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    age_ms: Option<u64>,
}

impl AsOfDocument {
    pub(super) fn of(as_of: &AsOf) -> Self {
        let age_ms = as_of.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Self { index: as_of.index.0, age_ms }
    }
}

/// Where a completed task's time went, in milliseconds.
#[derive(Serialize, ToSchema)]
#[schema(as = Timings)]
pub(in crate::http) struct TimingsDocument {
    /// From submission to the lease that proved it.
    queued: u64,
    /// In the prover.
    proving: u64,
    /// Checking the proof. Where worker and coordinator are one process this is a part of `proving`.
    verifying: u64,
}

impl From<&Timings> for TimingsDocument {
    fn from(timings: &Timings) -> Self {
        Self { queued: timings.queued_ms, proving: timings.proving_ms, verifying: timings.verifying_ms }
    }
}

/// An attempt to prove a task.
#[derive(Serialize, ToSchema)]
#[schema(as = Attempt)]
pub(in crate::http) struct AttemptDocument {
    /// Its number, from 1.
    attempt: u32,
    /// Who held the lease.
    worker_id: String,
    /// When the lease was granted.
    #[schema(format = DateTime)]
    granted_at: String,
    /// When the worker began, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    started_at: Option<String>,
    /// When it ended, if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, format = DateTime)]
    ended_at: Option<String>,
    /// `running`, `completed`, `failed`, `worker_lost`, `lease_expired`, `returned`, `superseded` or `worker_restarted`.
    outcome: &'static str,
    /// The kind of failure, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "prover_error")]
    cause: Option<&'static str>,
    /// The failure, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    message: Option<String>,
}

/// Where a task stands.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TaskStatus)]
pub(in crate::http) enum StatusName {
    /// Waiting in the queue.
    Pending,
    /// Leased, not begun.
    Assigned,
    /// Being proved.
    InProgress,
    /// A verified proof is stored.
    Completed,
    /// Will not be proved.
    Failed,
    /// Withdrawn.
    Cancelled,
}

impl From<TaskStatus> for StatusName {
    fn from(status: TaskStatus) -> Self {
        match status {
            TaskStatus::Pending => Self::Pending,
            TaskStatus::Assigned => Self::Assigned,
            TaskStatus::InProgress => Self::InProgress,
            TaskStatus::Completed => Self::Completed,
            TaskStatus::Failed => Self::Failed,
            TaskStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl TaskDocument {
    /// One task, alone in its answer.
    pub(super) fn of_view(view: &TaskView, as_of: Option<AsOfDocument>, request_id: String) -> Self {
        Self {
            success: Some(true),
            proof: view.proof.as_ref().map(hex::encode),
            waiting_for: view.waiting_for.as_ref().map(waiting_for_text),
            queue_position: view.queue_position,
            as_of,
            request_id: Some(request_id),
            ..Self::of_record(&view.task)
        }
    }

    /// One task of a list.
    pub(super) fn of_record(task: &Task) -> Self {
        let spec = catalog::find(task.circuit.as_str());
        let public_inputs = named_inputs(task, spec.map_or(&[], |spec| spec.public_inputs));
        let (error, error_code) = failure(task).unzip();
        let latest = task.attempts.last();
        let started_at =
            task.lease().map_or(latest.and_then(|attempt| attempt.started_at), |lease| lease.started_at);
        let (verifying_key, timings_ms) = match &task.state {
            TaskState::Completed { verifying_key, timings, .. } => {
                (Some(verifying_key.to_string()), Some(TimingsDocument::from(timings)))
            }
            _ => (None, None),
        };
        Self {
            success: None,
            task_id: task.id.to_string(),
            status: task.status().into(),
            circuit_type: spec.map(|spec| spec.kind.as_str()),
            circuit: task.circuit.to_string(),
            proof: None,
            merkle_root: public_inputs.get("merkle_root").cloned(),
            public_inputs,
            verifying_key,
            attempts: task.latest_attempt.0,
            max_attempts: task.max_attempts,
            attempt_history: history(task),
            error,
            error_code,
            worker_id: worker(task),
            priority: task.priority.into(),
            summary: task.summary.as_ref().map(ToString::to_string),
            created_at: rfc3339(task.created_at),
            started_at: started_at.map(rfc3339),
            completed_at: task.finished_at().map(rfc3339),
            deadline: task.deadline.map(rfc3339),
            timings_ms,
            waiting_for: None,
            queue_position: None,
            as_of: None,
            request_id: None,
        }
    }
}

/// The public inputs by the names of the circuit; by number for a circuit that this version does not know.
fn named_inputs(task: &Task, names: &[&str]) -> BTreeMap<String, String> {
    let inputs = task.public_inputs.iter().enumerate();
    inputs
        .map(|(place, input)| {
            let name = names.get(place).map_or_else(|| format!("input_{place}"), |name| (*name).to_owned());
            (name, format!("0x{input}"))
        })
        .collect()
}

fn worker(task: &Task) -> Option<String> {
    match &task.state {
        TaskState::Leased(lease) => Some(lease.worker.to_string()),
        TaskState::Completed { worker, .. } => Some(worker.to_string()),
        _ => None,
    }
}

fn failure(task: &Task) -> Option<(String, &'static str)> {
    let TaskState::Failed { reason, .. } = &task.state else { return None };
    Some(match reason {
        FailureReason::AttemptsExhausted => (
            format!("all {} attempts failed; attempt_history has their causes", task.attempts_used),
            "attempts_exhausted",
        ),
        FailureReason::DeadlinePassed => ("the deadline passed".to_owned(), "deadline_passed"),
        FailureReason::Permanent(cause) => (cause.message().to_owned(), cause.kind.as_str()),
    })
}

/// The attempts, when there is more to tell than that one is running or has succeeded.
fn history(task: &Task) -> Vec<AttemptDocument> {
    let is_plain = |attempt: &AttemptRecord| matches!(attempt.end, None | Some((_, AttemptEnd::Completed)));
    if task.attempts.iter().all(is_plain) {
        return Vec::new();
    }
    task.attempts.iter().map(attempt).collect()
}

fn attempt(record: &AttemptRecord) -> AttemptDocument {
    let (ended_at, outcome, cause): (Option<UnixMillis>, _, Option<&FailureCause>) = match &record.end {
        None => (None, "running", None),
        Some((at, end)) => {
            let (outcome, cause) = match end {
                AttemptEnd::Completed => ("completed", None),
                AttemptEnd::Failed(cause) => ("failed", Some(cause)),
                AttemptEnd::WorkerLost => ("worker_lost", None),
                AttemptEnd::LeaseExpired => ("lease_expired", None),
                AttemptEnd::Returned => ("returned", None),
                AttemptEnd::Superseded => ("superseded", None),
                AttemptEnd::WorkerRestarted => ("worker_restarted", None),
            };
            (Some(*at), outcome, cause)
        }
    };
    AttemptDocument {
        attempt: record.attempt.0,
        worker_id: record.worker.to_string(),
        granted_at: rfc3339(record.granted_at),
        started_at: record.started_at.map(rfc3339),
        ended_at: ended_at.map(rfc3339),
        outcome,
        cause: cause.map(|cause| cause.kind.as_str()),
        message: cause.map(|cause| cause.message().to_owned()),
    }
}

fn waiting_for_text(reason: &WaitingFor) -> String {
    match reason {
        WaitingFor::CircuitKey(circuit) => format!("the key of circuit {circuit} is being made"),
        WaitingFor::WorkerForCircuit(circuit) => format!("no worker holds circuit {circuit}"),
        WaitingFor::Backoff { until } => format!("the next attempt, not before {}", rfc3339(*until)),
        WaitingFor::FreeWorker => "a free worker".to_owned(),
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
