//! What the ledger decides is a format too: replicas of two builds that decide differently are no replicas. A long history of
//! commands, good and bad, is applied, and the answers and what became of tasks, workers and circuits are pinned.
//!
//! `docs/decisions/0011` says what a change of these needs. Before there is a release, `REGENERATE=1 cargo test --test
//! operations rules` writes them anew.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use std::fmt::Write as _;
use std::path::Path;
use zkpnet::codec;
use zkpnet::ledger::{
    Attempt, CacheUse, Circuit, CircuitId, Command, Digest, FailureCause, FailureKind, IdempotencyKey,
    Incarnation, Ledger, LogIndex, LogPosition, NewTask, Policy, Priority, ProvenResult, Record, TaskId,
    TenantId, Term, UnixMillis, WorkerId,
};

const ENTRIES: u64 = 6_000;
/// One line for so many entries: a difference is found to this many.
const ENTRIES_A_LINE: u64 = 500;
const BEGAN: u64 = 1_800_000_000_000;

struct History {
    rng: ChaCha8Rng,
    now: u64,
    submitted: u64,
}

impl History {
    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    fn task(&mut self) -> TaskId {
        // Mostly recent ones, of which more is open; some that are not there.
        let back = self.below(60);
        task_id(self.submitted.saturating_sub(back))
    }

    fn worker(&mut self) -> WorkerId {
        WorkerId::new(&format!("worker-{}", self.below(4))).unwrap()
    }

    fn submit(&mut self) -> Command {
        self.submitted += 1;
        let number = self.submitted;
        let mut fingerprint = [0; 32];
        // Few requests, so that keys and the cache answer, and a task collects more keys than it keeps.
        fingerprint[0] = self.below(12) as u8;
        let key = self.below(3) > 0;
        let summary_length = if self.below(40) == 0 { 300 } else { 20 };
        Command::SubmitTask(Box::new(NewTask {
            id: task_id(number),
            tenant: TenantId(self.below(2)),
            circuit: CircuitId::new("pinned").unwrap(),
            public_inputs: vec![Digest([9; 32]); if self.below(50) == 0 { 17 } else { 1 }],
            sealed_input: vec![7; self.below(64) as usize],
            fingerprint: Digest(fingerprint),
            idempotency_key: key.then(|| IdempotencyKey::new(&format!("key-{}", number / 2)).unwrap()),
            cache: if self.below(3) == 0 { CacheUse::Bypassed } else { CacheUse::Allowed },
            summary: Some("s".repeat(summary_length).into()),
            priority: [Priority::Low, Priority::Normal, Priority::High][self.below(3) as usize],
            deadline_ms: (self.below(5) == 0).then(|| 1_000 + number),
            max_attempts: [None, Some(1), Some(3), Some(17)][self.below(4) as usize],
            at: UnixMillis(self.now),
        }))
    }

    fn next(&mut self, ledger: &Ledger) -> Command {
        self.now += self.below(400);
        let (at, term) = (UnixMillis(self.now), Term(1 + self.below(20) / 19));
        let (task, worker) = (self.task(), self.worker());
        let known = ledger.task(task);
        // Mostly the lease that there is; sometimes another one.
        let worker = known
            .and_then(|task| task.lease())
            .map_or(worker.clone(), |lease| if self.below(8) == 0 { worker } else { lease.worker.clone() });
        let attempt = Attempt(known.map_or(0, |task| task.latest_attempt.0) + self.below(8) as u32 / 7);
        let incarnation = Incarnation(ledger.worker(&worker).map_or(1, |worker| worker.incarnation.0));
        match self.below(100) {
            0..30 => self.submit(),
            30..50 => {
                let attempt = Attempt(attempt.0 + 1);
                Command::GrantLease { term, task, attempt, worker, incarnation, at }
            }
            50..58 => Command::StartAttempt { task, attempt, worker, at },
            58..68 => {
                let result = ProvenResult {
                    proof: vec![7; 4],
                    public_inputs: vec![Digest([9; 32])],
                    verifying_key: Digest([5; 32]),
                    proving_ms: 80,
                    verifying_ms: 2,
                };
                Command::CompleteTask { task, attempt, worker, result: Box::new(result), at }
            }
            68..76 => {
                let kind =
                    [FailureKind::ProverPanicked, FailureKind::InputUnreadable][self.below(8) as usize / 7];
                Command::FailAttempt { task, attempt, worker, cause: FailureCause::new(kind, "pinned"), at }
            }
            76..80 => Command::ReturnLease { task, attempt, worker, at },
            80..84 => Command::ExpireLease { term, task, attempt, at },
            84..87 => Command::CancelTask { tenant: TenantId(self.below(2)), task, at },
            87..93 => {
                let session = self.below(50);
                let incarnation = Incarnation(incarnation.0 + self.below(2));
                let circuits = vec![CircuitId::new("pinned").unwrap()];
                let version = "0.1.0".into();
                Command::RegisterWorker { worker, incarnation, session, capacity: 4, circuits, version, at }
            }
            93..94 => Command::DrainWorker { worker, incarnation },
            94..96 => Command::LoseWorker { term, worker, incarnation, at },
            _ => Command::AdvanceClock { at },
        }
    }
}

fn task_id(number: u64) -> TaskId {
    TaskId(uuid::Uuid::from_u128(u128::from(number) << 64 | 0x9d))
}

fn pinned(ledger: &Ledger) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    for record in ledger.records() {
        if matches!(record, Record::Task(_) | Record::Worker(_) | Record::Circuit(_)) {
            hasher.update(&codec::encode(&record).unwrap());
        }
    }
    hasher.finalize()
}

#[test]
fn the_ledger_decides_as_version_0_1_0_did() {
    let mut ledger = Ledger::default();
    let mut history = History { rng: ChaCha8Rng::seed_from_u64(11), now: BEGAN, submitted: 0 };
    let circuit = Circuit {
        id: CircuitId::new("pinned").unwrap(),
        constraint_digest: Digest([3; 32]),
        proving_key: Digest([4; 32]),
        verifying_key: Digest([5; 32]),
        verifying_key_bytes: vec![6; 4],
        public_inputs: 1,
        key_origin: "dev".into(),
    };
    // Short enough for everything to come to its end within the history.
    let policy = Policy {
        retention_age_ms: 400_000,
        retention_count: 300,
        open_tasks_max: 500,
        cache_ttl_ms: 20_000,
        retry_backoff_max_ms: 5_000,
        ..Policy::default()
    };
    let mut waiting = vec![Command::RegisterCircuit(Box::new(circuit)), Command::SetPolicy(policy)];
    let mut replies = blake3::Hasher::new();
    let (mut taken, mut refused) = (0, 0);
    let mut text =
        String::from("# Written by tests/operations/rules.rs: after entry, answers so far, records\n");
    for index in 1..=ENTRIES {
        let command = waiting.pop().unwrap_or_else(|| history.next(&ledger));
        let at = LogPosition { term: Term(1), index: LogIndex(index) };
        let reply = ledger.apply(at, &command).reply;
        if reply.is_ok() {
            taken += 1
        } else {
            refused += 1
        }
        replies.update(&codec::encode(&reply).unwrap());
        if index % ENTRIES_A_LINE == 0 {
            writeln!(text, "{index} {} {}", replies.finalize(), pinned(&ledger)).unwrap();
        }
    }
    assert!(
        taken > ENTRIES / 4 && refused > ENTRIES / 20,
        "{taken} taken, {refused} refused: a poor history"
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats-0.1.0/rules.txt");
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let held = std::fs::read_to_string(&file).unwrap();
    let differs = held.lines().zip(text.lines()).find(|(held, now)| held != now);
    assert!(held == text, "the ledger decides otherwise; the first difference lies before: {differs:?}");
}
