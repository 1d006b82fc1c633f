//! The names, circuits and requests that the simulations use.

use zkpnet::ledger::*;

pub(crate) fn worker_id(n: u8) -> WorkerId {
    WorkerId::new(&format!("worker-{n}")).expect("a good name")
}

pub(crate) fn circuit_id(n: u8) -> CircuitId {
    CircuitId::new(&format!("circuit-{n}")).expect("a good name")
}

/// Circuit `number`, with one of several keys.
pub(crate) fn circuit(number: u8, key: u8) -> Circuit {
    Circuit {
        id: circuit_id(number),
        constraint_digest: Digest([number; 32]),
        proving_key: Digest([key; 32]),
        verifying_key: Digest([10 * number + key; 32]),
        verifying_key_bytes: vec![number, key],
        public_inputs: 1,
        key_origin: "dev".into(),
    }
}

/// A plain submission of request `request` of the default tenant.
pub(crate) fn new_task(id: TaskId, request: u8, at: UnixMillis) -> NewTask {
    NewTask {
        id,
        tenant: TenantId::DEFAULT,
        circuit: circuit_id(request % crate::ops::CIRCUITS),
        public_inputs: vec![Digest([request; 32])],
        sealed_input: vec![request; 8],
        fingerprint: Digest([request; 32]),
        idempotency_key: None,
        cache: CacheUse::Bypassed,
        summary: None,
        priority: Priority::Normal,
        deadline_ms: None,
        max_attempts: None,
        at,
    }
}
