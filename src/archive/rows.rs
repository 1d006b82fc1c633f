//! From rows to tasks.

use super::error::ArchiveError;
use super::form::{self, from_number};
use super::item::{ArchivePlace, ArchivedTask};
use crate::ledger::{
    Attempt, AttemptEnd, AttemptRecord, CircuitId, Digest, FailureCause, FailureReason, Task, TaskId,
    TaskState, TaskStatus, TenantId, Timings, UnixMillis, WorkerId,
};
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

/// The columns that a task is made of, without the proof. `t` is the task's row, `a` its attempts, as arrays in their order.
pub(super) const TASK_COLUMNS: &str = "t.id, t.tenant, t.epoch, t.sequence, t.circuit, t.status, t.priority, \
    t.created_ms, t.finished_ms, t.deadline_ms, t.max_attempts, t.attempts_used, t.latest_attempt, \
    t.input_bytes, t.worker, t.attempt, t.verifying_key, t.queued_ms, t.proving_ms, t.verifying_ms, \
    t.failure_reason, t.failure_kind, t.failure_message, t.summary, t.public_inputs, \
    a.attempts, a.workers, a.granted, a.started, a.ended, a.outcomes, a.kinds, a.messages";

/// The attempts of `t`. In the task's own statement, so that both are of one moment.
pub(super) const ATTEMPTS_OF_TASK: &str = "CROSS JOIN LATERAL (SELECT \
    array_agg(attempt ORDER BY attempt) AS attempts, array_agg(worker ORDER BY attempt) AS workers, \
    array_agg(granted_ms ORDER BY attempt) AS granted, array_agg(started_ms ORDER BY attempt) AS started, \
    array_agg(ended_ms ORDER BY attempt) AS ended, array_agg(outcome ORDER BY attempt) AS outcomes, \
    array_agg(failure_kind ORDER BY attempt) AS kinds, \
    array_agg(failure_message ORDER BY attempt) AS messages \
    FROM attempts WHERE task_id = t.id) AS a";

/// What is wrong with a row.
type Flaw = String;

/// The task of a row of [`TASK_COLUMNS`]; the proof is for who asked for it.
pub(super) fn archived_task(row: &Row) -> Result<ArchivedTask, ArchiveError> {
    let id = get::<Uuid>(row, "id")
        .map_err(|detail| ArchiveError::Damaged { row: "a task".to_owned(), detail })?;
    read(row, TaskId(id)).map_err(|detail| ArchiveError::Damaged { row: format!("task {id}"), detail })
}

fn read(row: &Row, id: TaskId) -> Result<ArchivedTask, Flaw> {
    let place = ArchivePlace { epoch: get(row, "epoch")?, sequence: from_number(get(row, "sequence")?) };
    let inputs: Vec<Vec<u8>> = get(row, "public_inputs")?;
    let task = Task {
        id,
        tenant: TenantId(from_number(get(row, "tenant")?)),
        sequence: place.sequence,
        circuit: named("circuit", CircuitId::new(get(row, "circuit")?))?,
        public_inputs: inputs.iter().map(|input| digest("public_inputs", input)).collect::<Result<_, _>>()?,
        fingerprint: Digest([0; 32]),
        idempotency_keys: Vec::new(),
        summary: text(row, "summary")?,
        priority: known("priority", form::from_priority(get(row, "priority")?))?,
        created_at: UnixMillis(from_number(get(row, "created_ms")?)),
        deadline: get::<Option<i64>>(row, "deadline_ms")?.map(millis),
        max_attempts: small("max_attempts", get(row, "max_attempts")?)?,
        input_bytes: small("input_bytes", get(row, "input_bytes")?)?,
        state: state(row)?,
        latest_attempt: Attempt(small("latest_attempt", get(row, "latest_attempt")?)?),
        attempts_used: small("attempts_used", get(row, "attempts_used")?)?,
        attempts: attempts(row)?,
    };
    Ok(ArchivedTask { task, proof: None, place })
}

fn state(row: &Row) -> Result<TaskState, Flaw> {
    let at = millis(get(row, "finished_ms")?);
    match known("status", form::from_status(get(row, "status")?))? {
        TaskStatus::Completed => Ok(TaskState::Completed {
            at,
            worker: named("worker", WorkerId::new(get(row, "worker")?))?,
            attempt: Attempt(small("attempt", get(row, "attempt")?)?),
            verifying_key: digest("verifying_key", get(row, "verifying_key")?)?,
            timings: Timings {
                queued_ms: from_number(get(row, "queued_ms")?),
                proving_ms: from_number(get(row, "proving_ms")?),
                verifying_ms: from_number(get(row, "verifying_ms")?),
            },
        }),
        TaskStatus::Failed => {
            let reason = match get(row, "failure_reason")? {
                "attempts_exhausted" => FailureReason::AttemptsExhausted,
                "deadline_passed" => FailureReason::DeadlinePassed,
                "permanent" => {
                    let message: &str = get(row, "failure_message")?;
                    FailureReason::Permanent(cause(get(row, "failure_kind")?, message)?)
                }
                _ => return Err(unknown("failure_reason")),
            };
            Ok(TaskState::Failed { at, reason })
        }
        TaskStatus::Cancelled => Ok(TaskState::Cancelled { at }),
        TaskStatus::Pending | TaskStatus::Assigned | TaskStatus::InProgress => Err(unknown("status")),
    }
}

fn attempts(row: &Row) -> Result<Vec<AttemptRecord>, Flaw> {
    let Some(numbers) = get::<Option<Vec<i64>>>(row, "attempts")? else { return Ok(Vec::new()) };
    let workers: Vec<&str> = get(row, "workers")?;
    let granted: Vec<i64> = get(row, "granted")?;
    let started: Vec<Option<i64>> = get(row, "started")?;
    let ended: Vec<Option<i64>> = get(row, "ended")?;
    let outcomes: Vec<Option<&str>> = get(row, "outcomes")?;
    let kinds: Vec<Option<&str>> = get(row, "kinds")?;
    let messages: Vec<Option<&str>> = get(row, "messages")?;
    let ends = ended.into_iter().zip(outcomes).zip(kinds.into_iter().zip(messages));
    let begins = numbers.into_iter().zip(workers).zip(granted.into_iter().zip(started));
    let mut records = Vec::with_capacity(begins.len());
    for (((attempt, worker), (granted, started)), ((ended, outcome), (kind, message))) in begins.zip(ends) {
        let end = match (ended, outcome) {
            (Some(at), Some(word)) => Some((millis(at), attempt_end(word, kind, message)?)),
            _ => None,
        };
        records.push(AttemptRecord {
            attempt: Attempt(small("attempts.attempt", attempt)?),
            worker: named("attempts.worker", WorkerId::new(worker))?,
            granted_at: millis(granted),
            started_at: started.map(millis),
            end,
        });
    }
    Ok(records)
}

fn attempt_end(word: &str, kind: Option<&str>, message: Option<&str>) -> Result<AttemptEnd, Flaw> {
    Ok(match word {
        "completed" => AttemptEnd::Completed,
        "failed" => AttemptEnd::Failed(cause(kind.unwrap_or_default(), message.unwrap_or_default())?),
        "worker_lost" => AttemptEnd::WorkerLost,
        "lease_expired" => AttemptEnd::LeaseExpired,
        "returned" => AttemptEnd::Returned,
        "superseded" => AttemptEnd::Superseded,
        "worker_restarted" => AttemptEnd::WorkerRestarted,
        _ => return Err(unknown("attempts.outcome")),
    })
}

fn cause(kind: &str, message: &str) -> Result<FailureCause, Flaw> {
    let kind = known("failure_kind", form::from_failure_kind(kind))?;
    let message = known("failure_message", form::from_text(message))?;
    Ok(FailureCause::new(kind, &message))
}

fn text(row: &Row, column: &str) -> Result<Option<Box<str>>, Flaw> {
    let Some(stored) = get::<Option<&str>>(row, column)? else { return Ok(None) };
    Ok(Some(known(column, form::from_text(stored))?.into()))
}

/// A column's value. What PostgreSQL's driver says of one that does not fit names its types, not the value.
pub(super) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, Flaw> {
    row.try_get(column).map_err(|error| error.to_string())
}

fn millis(stored: i64) -> UnixMillis {
    UnixMillis(from_number(stored))
}

fn small(column: &str, stored: i64) -> Result<u32, Flaw> {
    u32::try_from(stored).map_err(|_| format!("{column} is no number of 32 bits"))
}

fn digest(column: &str, stored: &[u8]) -> Result<Digest, Flaw> {
    stored.try_into().map(Digest).map_err(|_| format!("{column} has {} bytes instead of 32", stored.len()))
}

fn named<T, E: std::fmt::Display>(column: &str, name: Result<T, E>) -> Result<T, Flaw> {
    name.map_err(|error| format!("{column} {error}"))
}

fn known<T>(column: &str, value: Option<T>) -> Result<T, Flaw> {
    value.ok_or_else(|| unknown(column))
}

fn unknown(column: &str) -> Flaw {
    format!("{column} is none that is known here")
}
