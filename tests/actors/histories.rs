//! Random histories over a real PostgreSQL: what the ledger and the archive answer together is what a ledger answers that
//! forgets nothing.
//!
//! The model is a ledger of its own that is told the same commands, has no archive and keeps everything; lists of it are made
//! here, by looking at every task. The node's ledger keeps hardly any finished task. Archiving is held up and let go at random,
//! so that at any moment some tasks are in the one place, some in the other and some in both.

use crate::postgres::{PASSWORD, Postgres, PostgresOptions};
use crate::support::{Options, Rig, Worker, poll_until, quick_policy};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use uuid::Uuid;
use zkpnet::actors::archivist::ArchiveParts;
use zkpnet::actors::tasks::messages::{Cancel, Consistency, GetTask, ListPlace, ListTasks, TaskError};
use zkpnet::archive::{ArchiveStore, RetentionRules};
use zkpnet::ledger::{
    ArchivePolicy, Attempt, CacheUse, Circuit, CircuitId, Command, Digest, FailureCause, FailureKind,
    Incarnation, Ledger, LogIndex, LogPosition, NewTask, Policy, Priority, ProvenResult, Rejection, Reply,
    Task, TaskFilter, TaskId, TaskState, TaskStatus, TenantId, Term, UnixMillis, WorkerId,
};

const CASES: u32 = 6;
const CIRCUITS: u8 = 2;
const TENANTS: [TenantId; 2] = [TenantId::DEFAULT, TenantId(7)];
/// Finished tasks that the node's ledger keeps.
const KEPT: u64 = 3;
/// So far ahead of the node's clock that the commands' own times count, and not those of its ticks.
const AHEAD_MS: u64 = 600_000;

/// How a task is brought on.
#[derive(Clone, Copy, Debug)]
enum Step {
    Cancel,
    Lease,
    Begin,
    Return,
    Complete,
    FailForGood,
    UseUp,
}

#[derive(Clone, Debug)]
enum Op {
    Submit {
        tenant: u8,
        circuit: u8,
        priority: Priority,
        after_ms: u64,
    },
    Bring {
        task: usize,
        step: Step,
    },
    /// Nothing is archived from here on.
    Hold,
    /// Archiving goes on, beside what follows.
    LetGo,
    /// Everything is archived, and what may be forgotten is.
    Forget,
    Look {
        tenant: u8,
        filter: Filter,
        limit: u16,
    },
}

/// A filter; times are those of tasks, by their place.
#[derive(Clone, Debug)]
struct Filter {
    status: Option<TaskStatus>,
    circuit: Option<u8>,
    since: Option<(usize, i64)>,
}

fn filters() -> impl Strategy<Value = Filter> {
    let status = prop::option::of(prop::sample::select(TaskStatus::ALL.to_vec()));
    // One circuit more than there are.
    let circuit = prop::option::of(0..=CIRCUITS);
    let since = prop::option::of((0..60_usize, -1..=1_i64));
    (status, circuit, since).prop_map(|(status, circuit, since)| Filter { status, circuit, since })
}

fn ops() -> impl Strategy<Value = Op> {
    let priorities = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]);
    let steps = prop::sample::select(vec![
        Step::Cancel,
        Step::Lease,
        Step::Begin,
        Step::Return,
        Step::Complete,
        Step::Complete,
        Step::FailForGood,
        Step::UseUp,
    ]);
    prop_oneof![
        8 => (0..2_u8, 0..CIRCUITS, priorities, 0..3_u64).prop_map(|(tenant, circuit, priority, after_ms)| {
            Op::Submit { tenant, circuit, priority, after_ms }
        }),
        10 => (0..60_usize, steps).prop_map(|(task, step)| Op::Bring { task, step }),
        1 => Just(Op::Hold),
        1 => Just(Op::LetGo),
        1 => Just(Op::Forget),
        2 => (0..2_u8, filters(), 1..9_u16)
            .prop_map(|(tenant, filter, limit)| Op::Look { tenant, filter, limit }),
    ]
}

fn circuit_id(number: u8) -> CircuitId {
    CircuitId::new(&format!("circuit-{number}")).unwrap()
}

fn circuit(number: u8) -> Circuit {
    Circuit {
        id: circuit_id(number),
        constraint_digest: Digest([number; 32]),
        proving_key: Digest([100 + number; 32]),
        verifying_key: Digest([200 + number; 32]),
        verifying_key_bytes: vec![number],
        public_inputs: 1,
        key_origin: "test".into(),
    }
}

fn worker_id() -> WorkerId {
    WorkerId::new("by-hand").unwrap()
}

fn proof_of(task: TaskId) -> Vec<u8> {
    task.0.as_bytes().repeat(12)
}

/// A task as the archive knows it: without what only the ledger needs.
fn archived(task: &Task) -> Task {
    Task { fingerprint: Digest([0; 32]), idempotency_keys: Vec::new(), ..task.clone() }
}

/// When something happened to it last.
fn newest_time(task: &Task) -> UnixMillis {
    let ended = match &task.state {
        TaskState::Completed { at, .. } | TaskState::Failed { at, .. } | TaskState::Cancelled { at, .. } => {
            Some(*at)
        }
        TaskState::Pending { .. } | TaskState::Leased(_) => None,
    };
    let attempts = task.attempts.iter().flat_map(|attempt| {
        let end = attempt.end.as_ref().map(|(at, _)| *at);
        [Some(attempt.granted_at), attempt.started_at, end]
    });
    attempts.chain([ended]).flatten().fold(task.created_at, UnixMillis::max)
}

struct World {
    rig: Rig,
    /// Forgets nothing.
    model: Ledger,
    log: u64,
    now: UnixMillis,
    /// In the order of their submission.
    tasks: Vec<TaskId>,
    /// Holds archiving up while a transaction is open on it.
    brake: tokio_postgres::Client,
    is_held: bool,
}

impl World {
    async fn begin(server: &Postgres, name: &str, folder: &std::path::Path) -> Self {
        server.create_database(name);
        let settings = server.settings(name);
        let mut config = tokio_postgres::Config::new();
        config.host(&settings.host).port(settings.port).user(&settings.user).dbname(name).password(PASSWORD);
        let (brake, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        actix_rt::spawn(async move { drop(connection.await) });
        let archive = ArchiveParts {
            store: ArchiveStore::open(settings).unwrap(),
            policy: ArchivePolicy { backlog_max: 10_000 },
            retention: RetentionRules::default(),
        };
        let policy = Policy { retention_count: KEPT, ..quick_policy() };
        let options = Options { policy, archive: Some(archive), preload: &[], ..Options::default() };
        let rig = Rig::single_with(folder, Worker::None, options).await;
        rig.ledger_says("the archive is in force", |ledger| ledger.archive().policy.map(drop)).await;
        // The schema is there, the cursor claimed, and what is in neither is known to be nowhere.
        poll_until("the archive answers", async || {
            let rows = brake.query("SELECT 1 FROM archive_cursor", &[]).await.ok()?;
            let request = GetTask {
                tenant: TenantId::DEFAULT,
                task: TaskId(Uuid::now_v7()),
                consistency: Consistency::Linearizable,
            };
            let unknown = rig.tasks.get(request).await;
            (rows.len() == 1 && matches!(unknown, Err(TaskError::UnknownTask(_)))).then_some(())
        })
        .await;
        let now = UnixMillis(rig.node.now().0 + AHEAD_MS);
        let mut world =
            Self { rig, model: Ledger::default(), log: 0, now, tasks: Vec::new(), brake, is_held: false };
        let everything = Policy { retention_count: u64::MAX, retention_age_ms: u64::MAX, ..quick_policy() };
        world.tell_model(&Command::SetPolicy(everything)).unwrap();
        for number in 0..CIRCUITS {
            world.tell(Command::RegisterCircuit(Box::new(circuit(number)))).await.unwrap();
        }
        let register = Command::RegisterWorker {
            worker: worker_id(),
            incarnation: Incarnation(1),
            session: 1,
            capacity: 1_000,
            circuits: (0..CIRCUITS).map(circuit_id).collect(),
            version: "1".into(),
            at: world.now,
        };
        world.tell(register).await.unwrap();
        world
    }

    fn term(&self) -> Term {
        self.rig.node.leadership().term
    }

    fn tell_model(&mut self, command: &Command) -> Result<Reply, Rejection> {
        self.log += 1;
        self.model.apply(LogPosition { term: self.term(), index: LogIndex(self.log) }, command).reply
    }

    /// Tells both, which must decide alike.
    async fn tell(&mut self, command: Command) -> Result<Reply, Rejection> {
        let decided = self.rig.node.propose(command.clone()).await.unwrap().reply;
        let command = self.as_it_was_timed(command);
        assert_eq!(self.tell_model(&command), decided, "{command:?}");
        decided
    }

    /// The command with the time that the node's ledger gave it: what the node proposes by itself may have moved that one's clock
    /// on, and the model hears nothing of it.
    fn as_it_was_timed(&self, mut command: Command) -> Command {
        let (task, at) = match &mut command {
            Command::SubmitTask(new) => (new.id, &mut new.at),
            Command::CancelTask { task, at, .. }
            | Command::GrantLease { task, at, .. }
            | Command::StartAttempt { task, at, .. }
            | Command::ReturnLease { task, at, .. }
            | Command::CompleteTask { task, at, .. }
            | Command::FailAttempt { task, at, .. } => (*task, at),
            _ => return command,
        };
        let newest = self.rig.raft.with_ledger(|ledger| ledger.task(task).map(newest_time));
        *at = newest.map_or(*at, |newest| newest.max(*at));
        command
    }

    async fn act(&mut self, op: &Op) {
        match op {
            Op::Submit { tenant, circuit, priority, after_ms } => {
                self.now = self.now.plus(*after_ms);
                self.submit(TENANTS[usize::from(*tenant)], *circuit, *priority).await;
            }
            Op::Bring { task, step } => {
                if let Some(task) = self.tasks.get(task % self.tasks.len().max(1)).copied() {
                    self.now = self.now.plus(1);
                    self.bring(task, *step).await;
                }
            }
            Op::Hold if !self.is_held => {
                self.brake.batch_execute("BEGIN; LOCK TABLE archive_cursor IN EXCLUSIVE MODE").await.unwrap();
                self.is_held = true;
            }
            Op::Hold => {}
            Op::LetGo => self.let_go().await,
            Op::Forget => self.forget().await,
            Op::Look { tenant, filter, limit } => {
                let filter = self.filter(filter);
                self.compare(TENANTS[usize::from(*tenant)], &filter, *limit).await;
            }
        }
    }

    async fn submit(&mut self, tenant: TenantId, circuit: u8, priority: Priority) {
        let number = self.tasks.len() as u8;
        let id = TaskId(Uuid::now_v7());
        self.tasks.push(id);
        let task = NewTask {
            id,
            tenant,
            circuit: circuit_id(circuit),
            public_inputs: vec![Digest([number; 32])],
            sealed_input: vec![number; 8],
            fingerprint: Digest([number; 32]),
            idempotency_key: None,
            cache: CacheUse::Bypassed,
            summary: number.is_multiple_of(3).then(|| format!("number {number}").into()),
            priority,
            deadline_ms: number.is_multiple_of(4).then_some(3_600_000),
            // A failure of the second kind is then the last.
            max_attempts: Some(1),
            at: self.now,
        };
        self.tell(Command::SubmitTask(Box::new(task))).await.unwrap();
    }

    async fn bring(&mut self, id: TaskId, step: Step) {
        let (task, worker, at) = (self.model.task(id).unwrap().clone(), worker_id(), self.now);
        if !task.is_open() {
            return self.withdraw_ended(&task).await;
        }
        let attempt = if task.status() == TaskStatus::Pending && !matches!(step, Step::Cancel) {
            let attempt = Attempt(task.latest_attempt.0 + 1);
            let (worker, incarnation, term) = (worker.clone(), Incarnation(1), self.term());
            let grant = Command::GrantLease { term, task: id, attempt, worker, incarnation, at };
            drop(self.tell(grant).await);
            attempt
        } else {
            task.latest_attempt
        };
        let failed = |kind| FailureCause::new(kind, "of the test");
        let command = match step {
            Step::Lease => return,
            Step::Cancel => Command::CancelTask { tenant: task.tenant, task: id, at },
            Step::Begin => Command::StartAttempt { task: id, attempt, worker, at },
            // A task that was given back too often waits for the node's own clock.
            Step::Return if attempt.0 > 1 => return,
            Step::Return => Command::ReturnLease { task: id, attempt, worker, at },
            Step::Complete => {
                let result = Box::new(ProvenResult {
                    proof: proof_of(id),
                    public_inputs: task.public_inputs.clone(),
                    verifying_key: self.model.circuit(&task.circuit).unwrap().verifying_key,
                    proving_ms: 5,
                    verifying_ms: 1,
                });
                Command::CompleteTask { task: id, attempt, worker, result, at }
            }
            Step::FailForGood => {
                let cause = failed(FailureKind::WitnessUnsatisfied);
                Command::FailAttempt { task: id, attempt, worker, cause, at }
            }
            Step::UseUp => {
                let cause = failed(FailureKind::ProverError);
                Command::FailAttempt { task: id, attempt, worker, cause, at }
            }
        };
        drop(self.tell(command).await);
    }

    /// What has ended cannot be withdrawn, wherever it is, and to withdraw it twice is harmless.
    async fn withdraw_ended(&self, task: &Task) {
        let withdrawn = self.rig.tasks.cancel(Cancel { tenant: task.tenant, task: task.id }).await.map(drop);
        let expected = match task.status() {
            TaskStatus::Cancelled => Ok(()),
            status => Err(TaskError::Finished { task: task.id, status }),
        };
        assert_eq!(withdrawn, expected);
    }

    async fn let_go(&mut self) {
        if self.is_held {
            self.brake.batch_execute("COMMIT").await.unwrap();
            self.is_held = false;
        }
    }

    async fn forget(&mut self) {
        self.let_go().await;
        self.rig
            .ledger_says("everything is archived and hardly anything kept", |ledger| {
                let finished = [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Cancelled];
                let kept: u64 = finished.iter().map(|status| ledger.count(*status)).sum();
                (ledger.archive().lag == 0 && kept <= KEPT).then_some(())
            })
            .await;
    }

    fn filter(&self, filter: &Filter) -> TaskFilter {
        let created = |place: usize| {
            let task = self.tasks.get(place % self.tasks.len().max(1))?;
            Some(self.model.task(*task)?.created_at)
        };
        TaskFilter {
            status: filter.status,
            circuit: filter.circuit.map(circuit_id),
            since: filter.since.and_then(|(place, more)| {
                created(place).map(|at| UnixMillis(at.0.saturating_add_signed(more)))
            }),
        }
    }

    /// What a list must show, newest first.
    fn expected(&self, tenant: TenantId, filter: &TaskFilter) -> Vec<Task> {
        let tasks = self.tasks.iter().map(|id| self.model.task(*id).unwrap());
        let by_sequence: BTreeMap<u64, &Task> = tasks
            .filter(|task| task.tenant == tenant)
            .filter(|task| filter.status.is_none_or(|status| task.status() == status))
            .filter(|task| filter.circuit.as_ref().is_none_or(|circuit| task.circuit == *circuit))
            .filter(|task| filter.since.is_none_or(|since| task.created_at >= since))
            .map(|task| (task.sequence, task))
            .collect();
        by_sequence.into_values().rev().map(archived).collect()
    }

    /// Pages through a list.
    async fn compare(&self, tenant: TenantId, filter: &TaskFilter, limit: u16) {
        let expected = self.expected(tenant, filter);
        let (mut found, mut before): (Vec<Task>, Option<ListPlace>) = (Vec::new(), None);
        for page in 0.. {
            // A page may show less than it might, but not again and again.
            assert!(page <= 2 * self.tasks.len() + 4, "the list has no end: {filter:?}");
            let (filter, consistency) = (filter.clone(), Consistency::Linearizable);
            let request = ListTasks { tenant, filter, before, limit, consistency };
            let page = self.rig.tasks.list(request).await.unwrap();
            assert!(page.tasks.len() <= usize::from(limit));
            found.extend(page.tasks.iter().map(archived));
            before = page.next_before;
            if before.is_none() {
                break;
            }
        }
        let sequences = |tasks: &[Task]| tasks.iter().map(|task| task.sequence).collect::<Vec<_>>();
        assert_eq!(sequences(&found), sequences(&expected), "{tenant:?}, {filter:?}, pages of {limit}");
        assert_eq!(found, expected, "{tenant:?}, {filter:?}, pages of {limit}");
    }

    async fn compare_by_id(&self) {
        for id in &self.tasks {
            let expected = self.model.task(*id).unwrap();
            for tenant in TENANTS {
                let request = GetTask { tenant, task: *id, consistency: Consistency::Linearizable };
                let told = self.rig.tasks.get(request).await;
                if tenant != expected.tenant {
                    assert_eq!(told.unwrap_err(), TaskError::UnknownTask(*id));
                    continue;
                }
                let told = told.unwrap();
                assert_eq!(archived(&told.task), archived(expected));
                let proof = (expected.status() == TaskStatus::Completed).then(|| proof_of(*id));
                assert_eq!(told.proof, proof);
            }
        }
    }

    /// Every combination of filters, each with pages of another size.
    async fn compare_all(&self) {
        let mut limits = [1, 2, 3, 7, 500].into_iter().cycle();
        let middle = self.tasks.len() / 2;
        let sinces = [None, Some((middle, 0)), Some((middle, 1))];
        let statuses = TaskStatus::ALL.iter().copied().map(Some).chain([None]);
        for status in statuses {
            for circuit in [None, Some(0), Some(1)] {
                for since in sinces {
                    let filter = self.filter(&Filter { status, circuit, since });
                    for tenant in TENANTS {
                        self.compare(tenant, &filter, limits.next().unwrap()).await;
                    }
                }
            }
        }
        self.compare_by_id().await;
    }
}

async fn run(server: &Postgres, number: u32, history: &[Op]) {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::begin(server, &format!("history_{number}"), folder.path()).await;
    for op in history {
        world.act(op).await;
    }
    world.compare_by_id().await;
    world.forget().await;
    world.compare_all().await;
    let forgotten =
        world.tasks.iter().filter(|id| world.rig.raft.with_ledger(|ledger| ledger.task(**id).is_none()));
    println!(
        "history {number}: {} tasks, {} of them only in the archive",
        world.tasks.len(),
        forgotten.count()
    );
    world.rig.stop().await;
}

#[test]
fn ledger_and_archive_together_answer_like_a_ledger_that_forgets_nothing() {
    let server = Postgres::start_with(PostgresOptions { fsync: false, ..Default::default() });
    let config =
        Config { cases: CASES, max_shrink_iters: 30, failure_persistence: None, ..Config::default() };
    let numbers = std::cell::Cell::new(0);
    let result = TestRunner::new(config).run(&prop::collection::vec(ops(), 40..90), |history| {
        numbers.set(numbers.get() + 1);
        actix_rt::System::new().block_on(run(&server, numbers.get(), &history));
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}
