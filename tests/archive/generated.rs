//! Tasks of every state, with the values that are hard to store: numbers up to the largest, texts with any character.

use proptest::prelude::*;
use uuid::Uuid;
use zkpnet::ledger::{
    Attempt, AttemptEnd, AttemptRecord, Circuit, CircuitId, Digest, FailureCause, FailureKind, FailureReason,
    IdempotencyKey, Incarnation, KeyAnswer, KeyUse, Priority, Task, TaskId, TaskState, TenantId, Timings,
    UnixMillis, Worker, WorkerId, WorkerState,
};

/// Any number, those at the edges often.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 1_700_000_000_000_u64..1_800_000_000_000,
        2 => 0_u64..10,
        1 => any::<u64>(),
        1 => prop::sample::select(vec![u64::MAX, 1 << 63, (1 << 63) - 1, 253_402_300_799_999, 253_402_300_800_000]),
    ]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 0_u32..20, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn millis() -> impl Strategy<Value = UnixMillis> {
    number().prop_map(UnixMillis)
}

/// Any text: NUL, the escape itself, quotes, and what PostgreSQL's array syntax is made of.
pub(crate) fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ,;.]{0,30}",
        "[\0\u{F0000}0e\\\\\"'{},NUL\t\n é€𝄞]{0,12}",
        proptest::collection::vec(any::<char>(), 0..20).prop_map(|all| all.into_iter().collect()),
    ]
}

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn worker_id() -> impl Strategy<Value = WorkerId> {
    "[A-Za-z0-9._-]{1,64}".prop_map(|name| WorkerId::new(&name).unwrap())
}

fn circuit_id() -> impl Strategy<Value = CircuitId> {
    "[A-Za-z0-9._-]{1,64}".prop_map(|name| CircuitId::new(&name).unwrap())
}

fn cause() -> impl Strategy<Value = FailureCause> {
    let kinds = vec![
        FailureKind::ProverPanicked,
        FailureKind::ProverError,
        FailureKind::InvalidProof,
        FailureKind::KeyUnavailable,
        FailureKind::InputUnreadable,
        FailureKind::WitnessUnsatisfied,
    ];
    (prop::sample::select(kinds), text()).prop_map(|(kind, message)| FailureCause::new(kind, &message))
}

fn state() -> impl Strategy<Value = TaskState> {
    let timings = (number(), number(), number()).prop_map(|(queued_ms, proving_ms, verifying_ms)| Timings {
        queued_ms,
        proving_ms,
        verifying_ms,
    });
    let reason = prop_oneof![
        Just(FailureReason::AttemptsExhausted),
        Just(FailureReason::DeadlinePassed),
        cause().prop_map(FailureReason::Permanent),
    ];
    prop_oneof![
        (millis(), worker_id(), small(), digest(), timings).prop_map(
            |(at, worker, attempt, verifying_key, timings)| TaskState::Completed {
                at,
                worker,
                attempt: Attempt(attempt),
                verifying_key,
                timings
            }
        ),
        (millis(), reason).prop_map(|(at, reason)| TaskState::Failed { at, reason }),
        millis().prop_map(|at| TaskState::Cancelled { at }),
    ]
}

fn attempts() -> impl Strategy<Value = Vec<AttemptRecord>> {
    let end = prop_oneof![
        Just(AttemptEnd::Completed),
        cause().prop_map(AttemptEnd::Failed),
        Just(AttemptEnd::WorkerLost),
        Just(AttemptEnd::LeaseExpired),
        Just(AttemptEnd::Returned),
        Just(AttemptEnd::Superseded),
        Just(AttemptEnd::WorkerRestarted),
    ];
    let rest = (
        worker_id(),
        millis(),
        proptest::option::of(millis()),
        proptest::option::weighted(0.9, (millis(), end)),
    );
    proptest::collection::btree_map(small(), rest, 0..6).prop_map(|records| {
        let record = |(attempt, (worker, granted_at, started_at, end))| AttemptRecord {
            attempt: Attempt(attempt),
            worker,
            granted_at,
            started_at,
            end,
        };
        records.into_iter().map(record).collect()
    })
}

/// A finished task with its proof, if it has one.
pub(crate) fn task() -> impl Strategy<Value = (Task, Option<Vec<u8>>)> {
    let names = (any::<u128>(), number(), number(), circuit_id(), digest());
    let contents = (
        proptest::collection::vec(digest(), 0..4),
        proptest::option::of(text()),
        prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        any::<bool>(),
    );
    let numbers = (millis(), proptest::option::of(millis()), small(), small(), small(), small());
    (names, contents, numbers, state(), attempts()).prop_map(|(names, contents, numbers, state, attempts)| {
        let (id, tenant, sequence, circuit, fingerprint) = names;
        let (public_inputs, summary, priority, proof, has_key) = contents;
        let (created_at, deadline, max_attempts, input_bytes, latest_attempt, attempts_used) = numbers;
        let key = KeyUse { key: IdempotencyKey::new("a key").unwrap(), answer: KeyAnswer::Submitted };
        let task = Task {
            id: TaskId(Uuid::from_u128(id)),
            tenant: TenantId(tenant),
            sequence,
            circuit,
            public_inputs,
            fingerprint,
            idempotency_keys: if has_key { vec![key] } else { Vec::new() },
            summary: summary.map(Into::into),
            priority,
            created_at,
            deadline,
            max_attempts,
            input_bytes,
            state,
            latest_attempt: Attempt(latest_attempt),
            attempts_used,
            attempts,
        };
        (task, proof)
    })
}

/// A worker.
pub(crate) fn worker() -> impl Strategy<Value = Worker> {
    let states = vec![WorkerState::Active, WorkerState::Draining, WorkerState::Lost];
    let circuits = proptest::collection::vec(circuit_id(), 0..4);
    let rest = (text(), prop::sample::select(states), millis(), proptest::option::of(millis()));
    (worker_id(), number(), any::<u64>(), small(), circuits, rest).prop_map(
        |(id, incarnation, session, capacity, circuits, (version, state, registered_at, lost_at))| Worker {
            id,
            incarnation: Incarnation(incarnation),
            session,
            capacity,
            circuits,
            version: version.into(),
            state,
            registered_at,
            lost_at,
        },
    )
}

/// A circuit.
pub(crate) fn circuit() -> impl Strategy<Value = Circuit> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..100);
    (circuit_id(), digest(), digest(), digest(), bytes, small(), text()).prop_map(
        |(
            id,
            constraint_digest,
            proving_key,
            verifying_key,
            verifying_key_bytes,
            public_inputs,
            key_origin,
        )| {
            Circuit {
                id,
                constraint_digest,
                proving_key,
                verifying_key,
                verifying_key_bytes,
                public_inputs,
                key_origin: key_origin.into(),
            }
        },
    )
}
