//! The ledger's rules, one test each. Random histories are in `tests/sim`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod leases;
mod placement;
mod queries;
mod restore;
mod submit;
mod time;
mod workers;

use super::*;
use uuid::Uuid;

const START: UnixMillis = UnixMillis(1_000_000);
const TERM: Term = Term(3);

fn worker() -> WorkerId {
    WorkerId::new("worker").unwrap()
}

fn key(text: &str) -> IdempotencyKey {
    IdempotencyKey::new(text).unwrap()
}

fn circuit() -> Circuit {
    Circuit {
        id: CircuitId::new("circuit").unwrap(),
        constraint_digest: Digest([1; 32]),
        proving_key: Digest([2; 32]),
        verifying_key: Digest([3; 32]),
        verifying_key_bytes: vec![4],
        public_inputs: 1,
        key_origin: "dev".into(),
    }
}

/// A ledger with a clock and short words for what is done to it.
struct World {
    ledger: Ledger,
    now: UnixMillis,
    log: u64,
    ids: u128,
}

impl World {
    fn new() -> Self {
        let mut world = Self { ledger: Ledger::default(), now: START, log: 0, ids: 0 };
        world.sweep();
        world
    }

    /// With the circuit, and a worker of that capacity in its first life.
    fn with_worker(capacity: u32) -> Self {
        let mut world = Self::new();
        world.done(Command::RegisterCircuit(Box::new(circuit())));
        world.register(worker(), 1, 11, capacity);
        world
    }

    fn apply(&mut self, command: Command) -> Outcome {
        self.log += 1;
        let outcome = self.ledger.apply(LogPosition { term: TERM, index: LogIndex(self.log) }, &command);
        self.ledger.check_invariants().unwrap();
        outcome
    }

    fn done(&mut self, command: Command) -> Outcome {
        let outcome = self.apply(command);
        assert_eq!(outcome.reply, Ok(Reply::Done));
        outcome
    }

    /// Lets time pass, for the leader.
    fn now(&mut self, milliseconds: u64) {
        self.now = self.now.plus(milliseconds);
    }

    fn sweep(&mut self) -> Outcome {
        self.done(Command::AdvanceClock { at: self.now })
    }

    fn set_policy(&mut self, change: impl FnOnce(&mut Policy)) {
        let mut policy = self.ledger.policy().clone();
        change(&mut policy);
        self.done(Command::SetPolicy(policy));
    }

    fn registration(&self, worker: WorkerId, life: u64, session: u64, capacity: u32) -> Command {
        Command::RegisterWorker {
            worker,
            incarnation: Incarnation(life),
            session,
            capacity,
            circuits: vec![circuit().id],
            version: "1".into(),
            at: self.now,
        }
    }

    fn register(&mut self, worker: WorkerId, life: u64, session: u64, capacity: u32) -> Outcome {
        self.done(self.registration(worker, life, session, capacity))
    }

    fn lose(&mut self, life: u64) -> Outcome {
        self.done(Command::LoseWorker {
            term: TERM,
            worker: worker(),
            incarnation: Incarnation(life),
            at: self.now,
        })
    }

    fn fresh_id(&mut self) -> TaskId {
        self.ids += 1;
        TaskId(Uuid::from_u128(self.ids))
    }

    /// A request; all of them are equal.
    fn new_task(&self, id: TaskId) -> NewTask {
        NewTask {
            id,
            tenant: TenantId::DEFAULT,
            circuit: circuit().id,
            public_inputs: vec![Digest([5; 32])],
            sealed_input: vec![6; 10],
            fingerprint: Digest([7; 32]),
            idempotency_key: None,
            cache: CacheUse::Allowed,
            summary: None,
            priority: Priority::Normal,
            deadline_ms: None,
            max_attempts: None,
            at: self.now,
        }
    }

    fn apply_submit(&mut self, new: NewTask) -> Outcome {
        self.apply(Command::SubmitTask(Box::new(new)))
    }

    /// Submits a task of its own, whatever there is in the cache.
    fn submit(&mut self) -> TaskId {
        self.submit_with(|_| {})
    }

    fn submit_with(&mut self, change: impl FnOnce(&mut NewTask)) -> TaskId {
        let id = self.fresh_id();
        let mut new = self.new_task(id);
        new.cache = CacheUse::Bypassed;
        change(&mut new);
        assert_eq!(self.apply_submit(new).reply, Ok(Reply::Submitted { task: id }));
        id
    }

    fn task(&self, id: TaskId) -> &Task {
        self.ledger.task(id).unwrap()
    }

    fn grant_command(&self, task: TaskId, worker: WorkerId, life: u64) -> Command {
        Command::GrantLease {
            term: TERM,
            task,
            attempt: Attempt(self.task(task).latest_attempt.0 + 1),
            worker,
            incarnation: Incarnation(life),
            at: self.now,
        }
    }

    /// Leases the task to the worker's first life.
    fn grant(&mut self, task: TaskId) -> Attempt {
        self.done(self.grant_command(task, worker(), 1));
        self.task(task).latest_attempt
    }

    fn proof(&self, proof: u8) -> Box<ProvenResult> {
        Box::new(ProvenResult {
            proof: vec![proof],
            public_inputs: vec![Digest([5; 32])],
            verifying_key: circuit().verifying_key,
            proving_ms: 30,
            verifying_ms: 4,
        })
    }

    fn complete_command(&self, task: TaskId, attempt: Attempt, proof: u8) -> Command {
        Command::CompleteTask { task, attempt, worker: worker(), result: self.proof(proof), at: self.now }
    }

    fn complete(&mut self, task: TaskId) -> Outcome {
        let attempt = self.task(task).latest_attempt;
        self.done(self.complete_command(task, attempt, 1))
    }

    /// Submits, leases and proves a task.
    fn completed(&mut self) -> TaskId {
        let task = self.submit();
        self.grant(task);
        self.complete(task);
        task
    }

    fn fail(&mut self, task: TaskId, kind: FailureKind) -> Outcome {
        let attempt = self.task(task).latest_attempt;
        let cause = FailureCause::new(kind, "because");
        self.done(Command::FailAttempt { task, attempt, worker: worker(), cause, at: self.now })
    }

    fn give_back(&mut self, task: TaskId) -> Outcome {
        let attempt = self.task(task).latest_attempt;
        self.done(Command::ReturnLease { task, attempt, worker: worker(), at: self.now })
    }

    fn cancel(&mut self, task: TaskId) -> Outcome {
        self.done(Command::CancelTask { tenant: TenantId::DEFAULT, task, at: self.now })
    }

    fn fleet(&self) -> Vec<FleetMember> {
        let member = |worker: &Worker| FleetMember {
            worker: worker.id.clone(),
            incarnation: worker.incarnation,
            held_keys: Default::default(),
        };
        self.ledger.workers().map(member).collect()
    }
}
