//! What is written to disk is a file format: the bytes of every command and of every kind of record are pinned, so that a
//! change that would make older files unreadable is seen before it is made.
//!
//! After a deliberate change (with a new format version) `REGENERATE=1 cargo test --test raft formats` writes the file anew.

use std::fmt::Write as _;
use std::path::Path;
use zkpnet::codec;
use zkpnet::ledger::{
    ArchivePolicy, Attempt, CacheUse, Circuit, CircuitId, Command, Digest, FailureCause, FailureKind,
    IdempotencyKey, Incarnation, Ledger, LogIndex, LogPosition, NewTask, Policy, Priority, ProvenResult,
    Record, RecordKey, TaskId, TenantId, Term, UnixMillis, WorkerId,
};

const AT: UnixMillis = UnixMillis(1_800_000_000_000);

fn task(number: u128) -> TaskId {
    TaskId(uuid::Uuid::from_u128(number))
}

fn circuit() -> CircuitId {
    CircuitId::new("merkle-poseidon-4").unwrap()
}

fn worker() -> WorkerId {
    WorkerId::new("worker-1").unwrap()
}

fn submit(number: u128, key: Option<&str>) -> Command {
    Command::SubmitTask(Box::new(NewTask {
        id: task(number),
        tenant: TenantId::DEFAULT,
        circuit: circuit(),
        public_inputs: vec![Digest([9; 32])],
        sealed_input: vec![1, 2, 3],
        fingerprint: Digest([number as u8; 32]),
        idempotency_key: key.map(|key| IdempotencyKey::new(key).unwrap()),
        cache: CacheUse::Bypassed,
        summary: Some("a summary".into()),
        priority: Priority::High,
        deadline_ms: Some(3_600_000),
        max_attempts: Some(2),
        at: AT,
    }))
}

fn grant(number: u128, attempt: u32) -> Command {
    let (task, attempt) = (task(number), Attempt(attempt));
    Command::GrantLease {
        term: Term(1),
        task,
        attempt,
        worker: worker(),
        incarnation: Incarnation(1),
        at: AT,
    }
}

/// Every command, in an order in which the ledger takes each of them.
fn commands() -> Vec<(&'static str, Command)> {
    let (worker, at) = (worker(), AT);
    let result = ProvenResult {
        proof: vec![7; 4],
        public_inputs: vec![Digest([9; 32])],
        verifying_key: Digest([5; 32]),
        proving_ms: 80,
        verifying_ms: 2,
    };
    let registered = Circuit {
        id: circuit(),
        constraint_digest: Digest([3; 32]),
        proving_key: Digest([4; 32]),
        verifying_key: Digest([5; 32]),
        verifying_key_bytes: vec![6; 4],
        public_inputs: 1,
        key_origin: "dev".into(),
    };
    let register = Command::RegisterWorker {
        worker: worker.clone(),
        incarnation: Incarnation(1),
        session: 77,
        capacity: 4,
        circuits: vec![circuit()],
        version: "0.1.0".into(),
        at,
    };
    let cause = FailureCause::new(FailureKind::ProverPanicked, "a prover job panicked");
    let attempt = Attempt(1);
    vec![
        ("set policy", Command::SetPolicy(Policy { retry_backoff_base_ms: 0, ..Policy::default() })),
        ("register circuit", Command::RegisterCircuit(Box::new(registered))),
        ("register worker", register),
        ("submit", submit(1, Some("key"))),
        ("submit", submit(2, None)),
        ("submit", submit(3, None)),
        ("submit", submit(4, None)),
        ("submit", submit(5, None)),
        ("grant", grant(1, 1)),
        ("start", Command::StartAttempt { task: task(1), attempt, worker: worker.clone(), at }),
        (
            "complete",
            Command::CompleteTask {
                task: task(1),
                attempt,
                worker: worker.clone(),
                result: Box::new(result),
                at,
            },
        ),
        ("grant", grant(2, 1)),
        ("fail", Command::FailAttempt { task: task(2), attempt, worker: worker.clone(), cause, at }),
        ("grant", grant(3, 1)),
        ("return", Command::ReturnLease { task: task(3), attempt, worker: worker.clone(), at }),
        ("grant", grant(4, 1)),
        ("expire", Command::ExpireLease { term: Term(1), task: task(4), attempt, at }),
        ("cancel", Command::CancelTask { tenant: TenantId::DEFAULT, task: task(5), at }),
        ("advance clock", Command::AdvanceClock { at }),
        ("drain", Command::DrainWorker { worker: worker.clone(), incarnation: Incarnation(1) }),
        ("lose", Command::LoseWorker { term: Term(1), worker, incarnation: Incarnation(1), at }),
    ]
}

/// What came later: appended, so that everything above keeps its bytes.
fn archive_commands() -> Vec<(&'static str, Command)> {
    let term = Term(1);
    vec![
        ("set archive", Command::SetArchive(Some(ArchivePolicy { backlog_max: 1000 }))),
        ("archived", Command::Archived { term, position: 1 }),
        ("rearchive", Command::Rearchive { term }),
        ("advance clock", Command::AdvanceClock { at: AT }),
        ("set archive", Command::SetArchive(None)),
        ("set archive", Command::SetArchive(Some(ArchivePolicy { backlog_max: 1 }))),
        ("advance clock", Command::AdvanceClock { at: AT }),
    ]
}

#[test]
fn the_bytes_of_commands_and_records_are_those_of_the_file() {
    let mut ledger = Ledger::default();
    let mut text = String::from("# Written by tests/raft/formats.rs: name, and the framed bytes.\n");
    commands().into_iter().for_each(|command| apply(&mut ledger, command, &mut text));
    write_records(&ledger, |_| true, &mut text);
    archive_commands().into_iter().for_each(|command| apply(&mut ledger, command, &mut text));
    write_records(&ledger, |key| matches!(key, RecordKey::Archive | RecordKey::Outbox(_)), &mut text);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats.txt");
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let pinned = std::fs::read_to_string(&file).unwrap();
    assert!(pinned == text, "the encoding has changed; files written before cannot be read:\n{text}");
}

fn apply(ledger: &mut Ledger, (name, command): (&str, Command), text: &mut String) {
    let at = LogPosition { term: Term(1), index: LogIndex(ledger.applied().0 + 1) };
    let outcome = ledger.apply(at, &command);
    assert!(outcome.reply.is_ok(), "{name}: {:?}", outcome.reply);
    let bytes = codec::encode(&command).unwrap();
    assert_eq!(codec::decode::<Command>(&bytes).unwrap(), command);
    writeln!(text, "command {name} {}", hex::encode(bytes)).unwrap();
}

fn write_records(ledger: &Ledger, is_wanted: fn(&RecordKey) -> bool, text: &mut String) {
    for record in ledger.records().filter(|record| is_wanted(&record.key())) {
        let bytes = codec::encode(&record).unwrap();
        assert_eq!(codec::decode::<Record>(&bytes).unwrap(), record);
        writeln!(text, "record {:?} {}", record.key(), hex::encode(bytes)).unwrap();
    }
}
