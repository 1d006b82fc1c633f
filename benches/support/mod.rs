//! What the benches propose: tasks, each of which is another one.

#![allow(dead_code, reason = "each bench uses its part of this")]

use zkpnet::ledger::{CacheUse, CircuitId, Command, Digest, NewTask, Priority, TaskId, TenantId, UnixMillis};

/// The id of the task of this number.
pub(crate) fn task_id(number: u64) -> TaskId {
    TaskId(uuid::Uuid::from_u128(u128::from(number) + 1))
}

/// Submits the task of this number.
pub(crate) fn submit(
    number: u64,
    circuit: CircuitId,
    public_inputs: Vec<Digest>,
    sealed_input: Vec<u8>,
) -> Command {
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&number.to_le_bytes());
    Command::SubmitTask(Box::new(NewTask {
        id: task_id(number),
        tenant: TenantId::DEFAULT,
        circuit,
        public_inputs,
        sealed_input,
        fingerprint: Digest(fingerprint),
        idempotency_key: None,
        cache: CacheUse::Bypassed,
        summary: None,
        priority: Priority::Normal,
        deadline_ms: None,
        max_attempts: None,
        at: UnixMillis(1_000),
    }))
}
