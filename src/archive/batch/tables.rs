//! The rows that a batch writes, table by table.

use super::super::error::ArchiveError;
use super::super::form::{self, number};
use super::OPERATION;
use super::columns::columns;
use crate::ledger::{
    AttemptEnd, AttemptRecord, Circuit, FailureCause, FailureReason, Task, TaskId, TaskState, UnixMillis,
    Worker,
};
use uuid::Uuid;

columns! {
    /// Rows of `tasks`.
    TaskColumns into "tasks" by ["id"], epoch true {
        id: "uuid" Uuid,
        tenant: "bigint" i64,
        sequence: "bigint" i64,
        position: "bigint" i64,
        circuit: "text" String,
        status: "text" &'static str,
        priority: "text" &'static str,
        created_ms: "bigint" i64,
        finished_ms: "bigint" i64,
        deadline_ms: "bigint" Option<i64>,
        max_attempts: "bigint" i64,
        attempts_used: "bigint" i64,
        latest_attempt: "bigint" i64,
        input_bytes: "bigint" i64,
        worker: "text" Option<String>,
        attempt: "bigint" Option<i64>,
        verifying_key: "bytea" Option<Vec<u8>>,
        queued_ms: "bigint" Option<i64>,
        proving_ms: "bigint" Option<i64>,
        verifying_ms: "bigint" Option<i64>,
        failure_reason: "text" Option<&'static str>,
        failure_kind: "text" Option<&'static str>,
        failure_message: "text" Option<String>,
        summary: "text" Option<String>,
        // Arrays of arrays cannot be taken apart row by row: the inputs, of 32 bytes each, travel as one string of bytes.
        public_inputs: "bytea" Vec<u8> as "ARRAY(SELECT substring({} FROM 32 * i + 1 FOR 32) \
            FROM generate_series(0, length({}) / 32 - 1) AS i ORDER BY i)",
        proof: "bytea" Option<Vec<u8>>,
    }
}

impl TaskColumns {
    /// The tasks' ids.
    pub(super) fn ids(&self) -> &[Uuid] {
        &self.id
    }

    /// Adds a row.
    ///
    /// # Errors
    /// The task is open.
    pub(super) fn add(
        &mut self,
        position: u64,
        task: &Task,
        proof: Option<&[u8]>,
    ) -> Result<(), ArchiveError> {
        let Some(finished_at) = task.finished_at() else {
            let detail = format!("task {} is {}, not finished", task.id, task.status().as_str());
            return Err(ArchiveError::Rejected { operation: OPERATION, detail });
        };
        self.id.push(task.id.0);
        self.tenant.push(number(task.tenant.0));
        self.sequence.push(number(task.sequence));
        self.position.push(number(position));
        self.circuit.push(form::text(task.circuit.as_str()));
        self.status.push(task.status().as_str());
        self.priority.push(form::priority(task.priority));
        self.created_ms.push(number(task.created_at.0));
        self.finished_ms.push(number(finished_at.0));
        self.deadline_ms.push(millis(task.deadline));
        self.max_attempts.push(task.max_attempts.into());
        self.attempts_used.push(task.attempts_used.into());
        self.latest_attempt.push(task.latest_attempt.0.into());
        self.input_bytes.push(task.input_bytes.into());
        self.summary.push(task.summary.as_deref().map(form::text));
        self.public_inputs.push(task.public_inputs.iter().flat_map(|input| input.0).collect());
        self.proof.push(proof.map(<[u8]>::to_vec));
        self.add_completion(&task.state);
        self.add_failure(&task.state);
        Ok(())
    }

    fn add_completion(&mut self, state: &TaskState) {
        let completed = match state {
            TaskState::Completed { worker, attempt, verifying_key, timings, .. } => {
                Some((worker, attempt, verifying_key, timings))
            }
            _ => None,
        };
        self.worker.push(completed.map(|(worker, ..)| worker.as_str().to_owned()));
        self.attempt.push(completed.map(|(_, attempt, ..)| attempt.0.into()));
        self.verifying_key.push(completed.map(|(_, _, key, _)| key.0.to_vec()));
        self.queued_ms.push(completed.map(|(.., timings)| number(timings.queued_ms)));
        self.proving_ms.push(completed.map(|(.., timings)| number(timings.proving_ms)));
        self.verifying_ms.push(completed.map(|(.., timings)| number(timings.verifying_ms)));
    }

    fn add_failure(&mut self, state: &TaskState) {
        let (reason, cause) = match state {
            TaskState::Failed { reason: FailureReason::AttemptsExhausted, .. } => {
                (Some("attempts_exhausted"), None)
            }
            TaskState::Failed { reason: FailureReason::DeadlinePassed, .. } => {
                (Some("deadline_passed"), None)
            }
            TaskState::Failed { reason: FailureReason::Permanent(cause), .. } => {
                (Some("permanent"), Some(cause))
            }
            _ => (None, None),
        };
        self.failure_reason.push(reason);
        self.failure_kind.push(cause.map(|cause| cause.kind.as_str()));
        self.failure_message.push(cause.map(|cause| form::text(cause.message())));
    }
}

columns! {
    /// Rows of `attempts`.
    AttemptColumns into "attempts" by ["task_id", "attempt"], epoch false {
        task_id: "uuid" Uuid,
        attempt: "bigint" i64,
        worker: "text" String,
        granted_ms: "bigint" i64,
        started_ms: "bigint" Option<i64>,
        ended_ms: "bigint" Option<i64>,
        outcome: "text" Option<&'static str>,
        failure_kind: "text" Option<&'static str>,
        failure_message: "text" Option<String>,
    }
}

impl AttemptColumns {
    /// Adds a row.
    pub(super) fn add(&mut self, task: TaskId, record: &AttemptRecord) {
        let cause: Option<&FailureCause> = match &record.end {
            Some((_, AttemptEnd::Failed(cause))) => Some(cause),
            _ => None,
        };
        self.task_id.push(task.0);
        self.attempt.push(record.attempt.0.into());
        self.worker.push(record.worker.as_str().to_owned());
        self.granted_ms.push(number(record.granted_at.0));
        self.started_ms.push(millis(record.started_at));
        self.ended_ms.push(record.end.as_ref().map(|(at, _)| number(at.0)));
        self.outcome.push(record.end.as_ref().map(|(_, end)| form::attempt_end(end)));
        self.failure_kind.push(cause.map(|cause| cause.kind.as_str()));
        self.failure_message.push(cause.map(|cause| form::text(cause.message())));
    }
}

columns! {
    /// Rows of `workers`.
    WorkerColumns into "workers" by ["epoch", "id"], epoch true {
        id: "text" String,
        incarnation: "bigint" i64,
        session: "bigint" i64,
        capacity: "bigint" i64,
        // See `public_inputs` of a task; a circuit's name has no comma.
        circuits: "text" String as "string_to_array({}, ',')",
        version: "text" String,
        state: "text" &'static str,
        registered_ms: "bigint" i64,
        lost_ms: "bigint" Option<i64>,
        position: "bigint" i64,
    }
}

impl WorkerColumns {
    /// Adds a row.
    pub(super) fn add(&mut self, position: u64, worker: &Worker) {
        let circuits: Vec<&str> = worker.circuits.iter().map(|circuit| circuit.as_str()).collect();
        self.id.push(worker.id.as_str().to_owned());
        self.incarnation.push(number(worker.incarnation.0));
        self.session.push(number(worker.session));
        self.capacity.push(worker.capacity.into());
        self.circuits.push(circuits.join(","));
        self.version.push(form::text(&worker.version));
        self.state.push(form::worker_state(worker.state));
        self.registered_ms.push(number(worker.registered_at.0));
        self.lost_ms.push(millis(worker.lost_at));
        self.position.push(number(position));
    }
}

columns! {
    /// Rows of `circuits`.
    CircuitColumns into "circuits" by ["epoch", "id"], epoch true {
        id: "text" String,
        constraint_digest: "bytea" Vec<u8>,
        proving_key: "bytea" Vec<u8>,
        verifying_key: "bytea" Vec<u8>,
        verifying_key_bytes: "bytea" Vec<u8>,
        public_inputs: "bigint" i64,
        key_origin: "text" String,
        position: "bigint" i64,
    }
}

impl CircuitColumns {
    /// Adds a row.
    pub(super) fn add(&mut self, position: u64, circuit: &Circuit) {
        self.id.push(circuit.id.as_str().to_owned());
        self.constraint_digest.push(circuit.constraint_digest.0.to_vec());
        self.proving_key.push(circuit.proving_key.0.to_vec());
        self.verifying_key.push(circuit.verifying_key.0.to_vec());
        self.verifying_key_bytes.push(circuit.verifying_key_bytes.clone());
        self.public_inputs.push(circuit.public_inputs.into());
        self.key_origin.push(form::text(&circuit.key_origin));
        self.position.push(number(position));
    }
}

fn millis(time: Option<UnixMillis>) -> Option<i64> {
    time.map(|time| number(time.0))
}
