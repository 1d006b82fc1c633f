//! What is shown of a task in each of its states.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::ledger::{
    Attempt, CircuitId, Digest, FailureKind, Incarnation, Lease, LogIndex, Priority, TaskId, TenantId,
    WorkerId,
};
use serde_json::{Value, json};

fn task(state: TaskState) -> Task {
    Task {
        id: TaskId(uuid::Uuid::from_u128(7)),
        tenant: TenantId::DEFAULT,
        sequence: 1,
        circuit: CircuitId::new("merkle-poseidon-4").unwrap(),
        public_inputs: vec![Digest([0xab; 32])],
        fingerprint: Digest([1; 32]),
        idempotency_keys: Vec::new(),
        summary: None,
        priority: Priority::Normal,
        created_at: UnixMillis(0),
        deadline: None,
        max_attempts: 5,
        input_bytes: 100,
        state,
        latest_attempt: Attempt(0),
        attempts_used: 0,
        attempts: Vec::new(),
    }
}

fn shown(task: Task, proof: Option<Vec<u8>>, waiting_for: Option<WaitingFor>) -> Value {
    let as_of = AsOf { index: LogIndex(9), age: None };
    let view = TaskView { task, proof, waiting_for, queue_position: None, as_of };
    serde_json::to_value(TaskDocument::of_view(&view, None, "r-1".into())).unwrap()
}

fn ended(attempt: u32, end: AttemptEnd) -> AttemptRecord {
    AttemptRecord {
        attempt: Attempt(attempt),
        worker: WorkerId::new("worker-1").unwrap(),
        granted_at: UnixMillis(1_000),
        started_at: Some(UnixMillis(2_000)),
        end: Some((UnixMillis(3_000), end)),
    }
}

#[test]
fn a_waiting_task_says_why_and_shows_nothing_that_is_not_known() {
    let circuit = CircuitId::new("merkle-poseidon-20").unwrap();
    let pending = task(TaskState::Pending { not_before: UnixMillis(0) });
    let document = shown(pending, None, Some(WaitingFor::WorkerForCircuit(circuit)));
    let root = format!("0x{}", "ab".repeat(32));
    assert_eq!(
        document,
        json!({
            "success": true, "task_id": "00000000-0000-0000-0000-000000000007", "status": "pending",
            "circuit_type": "merkle_proof", "circuit": "merkle-poseidon-4", "merkle_root": root,
            "public_inputs": {"merkle_root": root}, "attempts": 0, "max_attempts": 5, "priority": "normal",
            "created_at": "1970-01-01T00:00:00.000Z", "waiting_for": "no worker holds circuit merkle-poseidon-20",
            "request_id": "r-1"
        })
    );
}

#[test]
fn a_completed_task_shows_its_proof_key_worker_and_timings() {
    let worker = WorkerId::new("worker-1").unwrap();
    let timings = Timings { queued_ms: 3, proving_ms: 81, verifying_ms: 2 };
    let mut done = task(TaskState::Completed {
        at: UnixMillis(3_000),
        worker,
        attempt: Attempt(1),
        verifying_key: Digest([2; 32]),
        timings,
    });
    done.latest_attempt = Attempt(1);
    done.attempts = vec![ended(1, AttemptEnd::Completed)];
    let document = shown(done, Some(vec![0xde, 0xad]), None);
    assert_eq!(document["status"], "completed");
    assert_eq!(document["proof"], "dead");
    assert_eq!(document["verifying_key"], "02".repeat(32));
    assert_eq!(document["worker_id"], "worker-1");
    assert_eq!(document["attempts"], 1);
    assert_eq!(document["timings_ms"], json!({"queued": 3, "proving": 81, "verifying": 2}));
    assert_eq!(document["started_at"], "1970-01-01T00:00:02.000Z");
    assert_eq!(document["completed_at"], "1970-01-01T00:00:03.000Z");
    assert_eq!(document.get("attempt_history"), None);
}

#[test]
fn a_failed_task_has_the_cause_of_every_attempt() {
    let mut failed = task(TaskState::Failed { at: UnixMillis(9), reason: FailureReason::AttemptsExhausted });
    let cause = FailureCause::new(FailureKind::ProverError, "the prover failed");
    failed.attempts = vec![ended(1, AttemptEnd::Failed(cause)), ended(2, AttemptEnd::WorkerLost)];
    failed.attempts_used = 2;
    failed.latest_attempt = Attempt(2);
    let document = shown(failed, None, None);
    assert_eq!(document["error_code"], "attempts_exhausted");
    assert_eq!(document["error"], "all 2 attempts failed; attempt_history has their causes");
    let history = document["attempt_history"].as_array().unwrap();
    assert_eq!(history[0]["cause"], "prover_error");
    assert_eq!(history[0]["message"], "the prover failed");
    assert_eq!(history[1]["outcome"], "worker_lost");
}

#[test]
fn a_leased_task_is_assigned_and_then_in_progress() {
    let lease = |started_at| {
        TaskState::Leased(Lease {
            attempt: Attempt(1),
            worker: WorkerId::new("worker-1").unwrap(),
            incarnation: Incarnation(1),
            granted_at: UnixMillis(1_000),
            started_at,
        })
    };
    let assigned = shown(task(lease(None)), None, None);
    assert_eq!((&assigned["status"], assigned.get("started_at")), (&json!("assigned"), None));
    let begun = shown(task(lease(Some(UnixMillis(1_500)))), None, None);
    assert_eq!(begun["status"], "in_progress");
    assert_eq!(begun["started_at"], "1970-01-01T00:00:01.500Z");
}

#[test]
fn a_circuit_that_this_version_does_not_know_is_shown_without_names() {
    let mut other = task(TaskState::Cancelled { at: UnixMillis(5) });
    other.circuit = CircuitId::new("sudoku-9").unwrap();
    let document = shown(other, None, None);
    assert_eq!(document.get("circuit_type"), None);
    assert_eq!(document["public_inputs"], json!({"input_0": format!("0x{}", "ab".repeat(32))}));
}
