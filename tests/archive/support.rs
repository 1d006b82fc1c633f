//! A server that the tests share, a database for each, and short ways to tasks and batches.

use crate::postgres::{Postgres, PostgresOptions};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::mpsc;
use uuid::Uuid;
use zkpnet::archive::{ArchiveItem, ArchiveSettings, ArchiveStore, Claim, ItemContent};
use zkpnet::ledger::{
    Attempt, AttemptEnd, AttemptRecord, CircuitId, Digest, FailureCause, FailureKind, FailureReason,
    Priority, Task, TaskId, TaskState, TaskStatus, TenantId, Timings, UnixMillis, WorkerId,
};

/// A database of its own on the server that is shared while tests use it.
pub(crate) struct Database {
    pub(crate) server: Arc<Postgres>,
    pub(crate) name: String,
}

impl Database {
    /// An empty one.
    pub(crate) fn new() -> Self {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let server = {
            // A test that failed while it started the server has left it unset.
            let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                let server =
                    Arc::new(Postgres::start_with(PostgresOptions { fsync: false, ..Default::default() }));
                *shared = Arc::downgrade(&server);
                server
            })
        };
        let name = format!("archive_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        server.create_database(&name);
        Self { server, name }
    }

    /// One with the schema, and a store.
    pub(crate) async fn migrated() -> (Self, ArchiveStore) {
        let database = Self::new();
        let store = database.store();
        store.migrate().await.unwrap();
        (database, store)
    }

    pub(crate) fn settings(&self) -> ArchiveSettings {
        self.server.settings(&self.name)
    }

    pub(crate) fn store(&self) -> ArchiveStore {
        ArchiveStore::open(self.settings()).unwrap()
    }

    /// What SQL answers, columns separated by `|`.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server.sql(&self.name, sql)
    }
}

/// A completed task with one attempt; what a test is about, it changes.
pub(crate) fn completed(sequence: u64) -> Task {
    let worker = WorkerId::new("worker-1").unwrap();
    let created_at = 1_760_000_000_000 + sequence * 10;
    Task {
        id: TaskId(Uuid::from_u128((1 << 120) + u128::from(sequence))),
        tenant: TenantId::DEFAULT,
        sequence,
        circuit: CircuitId::new("merkle-poseidon-4").unwrap(),
        public_inputs: vec![Digest([7; 32])],
        fingerprint: Digest([0; 32]),
        idempotency_keys: Vec::new(),
        summary: None,
        priority: Priority::Normal,
        created_at: UnixMillis(created_at),
        deadline: None,
        max_attempts: 3,
        input_bytes: 400,
        state: TaskState::Completed {
            at: UnixMillis(created_at + 900),
            worker: worker.clone(),
            attempt: Attempt(1),
            verifying_key: Digest([9; 32]),
            timings: Timings { queued_ms: 100, proving_ms: 700, verifying_ms: 3 },
        },
        latest_attempt: Attempt(1),
        attempts_used: 0,
        attempts: vec![AttemptRecord {
            attempt: Attempt(1),
            worker,
            granted_at: UnixMillis(created_at + 100),
            started_at: Some(UnixMillis(created_at + 110)),
            end: Some((UnixMillis(created_at + 900), AttemptEnd::Completed)),
        }],
    }
}

/// A task of that status that ended at that time.
pub(crate) fn ended(sequence: u64, status: TaskStatus, at: u64) -> Task {
    let at = UnixMillis(at);
    let mut task = completed(sequence);
    if let TaskState::Completed { at: ended, .. } = &mut task.state {
        *ended = at;
    }
    match status {
        TaskStatus::Completed => {}
        TaskStatus::Failed => {
            task.state = TaskState::Failed { at, reason: FailureReason::AttemptsExhausted };
            task.attempts_used = 1;
            let cause = FailureCause::new(FailureKind::ProverError, "no luck");
            task.attempts[0].end = Some((at, AttemptEnd::Failed(cause)));
        }
        TaskStatus::Cancelled => {
            task.state = TaskState::Cancelled { at };
            task.attempts[0].end = Some((at, AttemptEnd::Superseded));
        }
        open => panic!("{open:?} is not an end"),
    }
    task
}

/// The proof that [`items`] gives a task.
pub(crate) fn proof_of(task: &Task) -> Option<Vec<u8>> {
    (task.status() == TaskStatus::Completed).then(|| task.id.0.as_bytes().repeat(12))
}

/// The outbox's entries for tasks, behind `from`.
pub(crate) fn items(from: u64, tasks: &[Task]) -> Vec<ArchiveItem> {
    let content = |task: &Task| ItemContent::Task { task: Box::new(task.clone()), proof: proof_of(task) };
    (from + 1..).zip(tasks).map(|(position, task)| ArchiveItem { position, content: content(task) }).collect()
}

/// Tasks in a batch of [`write_on`].
pub(crate) const BATCH: u64 = 40;

/// Writes batches until one fails; tells each position that was answered.
pub(crate) async fn write_on(store: ArchiveStore, mut claim: Claim, answered: mpsc::UnboundedSender<u64>) {
    loop {
        let from = claim.position;
        let tasks: Vec<_> = (from + 1..=from + BATCH).map(completed).collect();
        match store.write_batch(&claim, from, &items(from, &tasks)).await {
            Ok(advanced) => claim = advanced,
            Err(failure) => {
                assert!(failure.is_unavailable(), "{failure}");
                return;
            }
        }
        answered.send(claim.position).unwrap();
    }
}
