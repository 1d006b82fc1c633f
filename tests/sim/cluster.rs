//! A small cluster without a network: one log, three replicas, of which each keeps what the state machine would keep on
//! disk (records and bodies), and the world around it (leaders, their clocks, commands under way).

use crate::checks::{check_ends, check_nothing_changed, check_revocations, kinds_of};
use crate::fixtures::{circuit, circuit_id, new_task, worker_id};
use crate::model::{Checked, Model, State};
use crate::ops::{
    AttemptPick, ClockMove, Flaw, Life, Op, ResultPick, Route, Step, Submission, TaskPick, WorkerPick,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use zkpnet::ledger::*;

const REPLICAS: usize = 3;
/// The replica that may fall behind.
const STRAGGLER: usize = 2;
/// Where the first leader's clock stands.
const START_MS: u64 = 1_700_000_000_000;

#[derive(Clone, Default)]
pub(crate) struct Replica {
    pub(crate) ledger: Ledger,
    /// What the state machine keeps on disk.
    records: BTreeMap<RecordKey, Record>,
    bodies: BTreeMap<BodyKey, Vec<u8>>,
    applied_entries: usize,
}

impl Replica {
    fn apply(&mut self, at: LogPosition, command: &Command) -> Outcome {
        let outcome = self.ledger.apply(at, command);
        for key in &outcome.touched {
            match self.ledger.record(key) {
                Some(record) => self.records.insert(key.clone(), record),
                None => self.records.remove(key),
            };
        }
        for operation in &outcome.bodies {
            match operation {
                BodyOp::Put(key, bytes) => self.bodies.insert(*key, bytes.clone()),
                BodyOp::Drop(key) => self.bodies.remove(key),
            };
        }
        self.applied_entries += 1;
        outcome
    }

    /// The process ends and comes back with what it had on disk.
    fn restart(&mut self, shuffle: u64) -> Checked {
        let mut records: Vec<Record> = self.records.values().cloned().collect();
        shuffle_by(&mut records, shuffle);
        let restored = restore(records)?;
        prop_assert_eq!(&restored, &self.ledger, "a restart changed the ledger");
        self.ledger = restored;
        Ok(())
    }

    fn install_snapshot_of(&mut self, other: &Self, shuffle: u64) -> Checked {
        let mut records: Vec<Record> = other.ledger.records().collect();
        shuffle_by(&mut records, shuffle);
        self.ledger = restore(records)?;
        prop_assert_eq!(&self.ledger, &other.ledger, "the snapshot is not its original");
        self.records = self.ledger.records().map(|record| (record.key(), record)).collect();
        self.bodies = other.bodies.clone();
        self.applied_entries = other.applied_entries;
        Ok(())
    }
}

fn restore(records: Vec<Record>) -> Checked<Ledger> {
    Ledger::restore(records).map_err(|error| TestCaseError::fail(format!("restore: {error}")))
}

/// Fisher and Yates' shuffle by a xorshift generator; any order will do, as long as it is the same in a replay.
fn shuffle_by<T>(items: &mut [T], seed: u64) {
    let mut x = seed | 1;
    for end in (1..items.len()).rev() {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        items.swap(end, (x % (end as u64 + 1)) as usize);
    }
}

pub(crate) struct Cluster {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) model: Model,
    log: Vec<(LogPosition, Command)>,
    is_straggler_paused: bool,
    pub(crate) term: Term,
    /// The clock of the present leader.
    clock_ms: u64,
    fresh_ids: u64,
    proposed: Vec<Command>,
    held: Vec<Command>,
    /// Every kind of answer and event so far, by its name.
    pub(crate) seen: BTreeSet<String>,
}

impl Cluster {
    /// A cluster with circuits and a worker, so that even short histories get somewhere.
    pub(crate) fn new() -> Checked<Self> {
        let mut cluster = Self {
            replicas: vec![Replica::default(); REPLICAS],
            model: Model::default(),
            log: Vec::new(),
            is_straggler_paused: false,
            term: Term(1),
            clock_ms: START_MS,
            fresh_ids: 0,
            proposed: Vec::new(),
            held: Vec::new(),
            seen: BTreeSet::new(),
        };
        cluster.deliver(&Command::RegisterCircuit(Box::new(circuit(0, 0))))?;
        cluster.deliver(&Command::RegisterCircuit(Box::new(circuit(1, 0))))?;
        cluster.run(Step {
            op: Op::RegisterWorker { worker: 0, life: Life::Fitting, session: 0, capacity: 2, circuits: 7 },
            route: Route::Direct,
        })?;
        Ok(cluster)
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.replicas[0].ledger
    }

    pub(crate) fn at(&self) -> UnixMillis {
        UnixMillis(self.clock_ms)
    }

    pub(crate) fn set_clock(&mut self, at: UnixMillis) {
        self.clock_ms = at.0;
    }

    pub(crate) fn run(&mut self, step: Step) -> Checked {
        let commands = self.commands_of(&step.op)?;
        for command in commands {
            self.proposed.push(command.clone());
            match step.route {
                Route::Held => self.held.push(command),
                Route::Direct => self.deliver(&command)?,
                Route::Twice => {
                    self.deliver(&command)?;
                    self.deliver(&command)?;
                }
            }
        }
        Ok(())
    }

    /// Appends a command to the log, applies it everywhere, and checks everything that must be true afterwards.
    pub(crate) fn deliver(&mut self, command: &Command) -> Checked {
        self.deliver_and_check(command).map_err(|error| {
            TestCaseError::fail(format!("{error}\nafter entry {}: {command:?}", self.log.len()))
        })
    }

    fn deliver_and_check(&mut self, command: &Command) -> Checked {
        // Commands that travelled in one batch share an entry, and so their position.
        let index = LogIndex(self.log.len() as u64 * 2 / 3 + 1);
        let position = LogPosition { term: self.term, index };
        self.log.push((position, command.clone()));
        let before = self.replicas[0].ledger.clone();
        let outcome = self.replicas[0].apply(position, command);
        for replica in 1..REPLICAS {
            if replica != STRAGGLER || !self.is_straggler_paused {
                let other = self.replicas[replica].apply(position, command);
                prop_assert_eq!(&other.reply, &outcome.reply);
                prop_assert_eq!(&other.events, &outcome.events);
                prop_assert_eq!(&other.touched, &outcome.touched);
                prop_assert_eq!(&other.bodies, &outcome.bodies);
            }
        }
        let expected = self.model.apply(self.term, command);
        match (&outcome.reply, &expected) {
            (Err(Rejection::Malformed(_)), Err(Rejection::Malformed(_))) => {}
            (found, expected) => prop_assert_eq!(found, expected),
        }
        if outcome.reply.is_err() {
            check_nothing_changed(&before, self.ledger(), &outcome)?;
        }
        self.seen.extend(kinds_of(&outcome));
        check_revocations(command, &before, self.ledger(), &outcome)?;
        check_ends(&before, self.ledger(), &outcome)?;
        self.check_replicas()?;
        let ledger = self.replicas[0].ledger.clone();
        self.model.compare(&ledger)
    }

    fn check_replicas(&self) -> Checked {
        let first = &self.replicas[0];
        first
            .ledger
            .check_invariants()
            .map_err(|violation| TestCaseError::fail(format!("invariant: {violation}")))?;
        let records: BTreeMap<RecordKey, Record> =
            first.ledger.records().map(|record| (record.key(), record)).collect();
        prop_assert_eq!(&records, &first.records, "the records on disk are not the ledger's");
        let mut bodies = BTreeMap::new();
        for task in self.model.tasks.iter().filter(|task| !task.is_forgotten) {
            match &task.state {
                State::Completed { proof, .. } => {
                    bodies.insert(BodyKey::Proof(task.id), proof.clone());
                }
                State::Cancelled { .. } => {}
                State::Waiting(_) | State::Leased | State::Failed { .. } => {
                    bodies.insert(BodyKey::Input(task.id), task.sealed.clone());
                }
            }
        }
        prop_assert_eq!(&first.bodies, &bodies, "the bodies on disk");
        for other in self.replicas.iter().skip(1).filter(|r| r.applied_entries == first.applied_entries) {
            prop_assert_eq!(&other.ledger, &first.ledger, "replicas differ");
            prop_assert_eq!(&other.records, &first.records);
            prop_assert_eq!(&other.bodies, &first.bodies);
        }
        Ok(())
    }

    /// Turns an operation into the commands that it proposes; what concerns replicas and clocks happens at once.
    fn commands_of(&mut self, op: &Op) -> Checked<Vec<Command>> {
        let (term, at) = (self.term, self.at());
        Ok(vec![match op {
            Op::Submit(submission) => Command::SubmitTask(Box::new(self.new_task(submission))),
            Op::Cancel { task, tenant } => {
                Command::CancelTask { tenant: TenantId(u64::from(*tenant)), task: self.pick(*task), at }
            }
            Op::RegisterWorker { worker, life, session, capacity, circuits } => {
                let worker = worker_id(*worker);
                let known = self.ledger().worker(&worker).map_or(0, |known| known.incarnation.0);
                Command::RegisterWorker {
                    incarnation: Incarnation(life.of(known + 1)),
                    worker,
                    session: u64::from(*session),
                    capacity: u32::from(*capacity),
                    circuits: (0..crate::ops::CIRCUITS)
                        .filter(|n| circuits & (1 << n) != 0)
                        .map(circuit_id)
                        .collect(),
                    version: "1".into(),
                    at,
                }
            }
            Op::DrainWorker { worker, life } => {
                let (worker, incarnation) = self.worker(*worker, *life);
                Command::DrainWorker { worker, incarnation }
            }
            Op::LoseWorker { worker, life } => {
                let (worker, incarnation) = self.worker(*worker, *life);
                Command::LoseWorker { term, worker, incarnation, at }
            }
            Op::Place { limit, held_keys } => return Ok(self.place(usize::from(*limit), *held_keys)),
            Op::Grant { task, attempt, worker, life } => {
                let task = self.pick(*task);
                let (worker, incarnation) = self.worker(*worker, *life);
                let next = self.ledger().task(task).map_or(0, |task| task.latest_attempt.0) + 1;
                Command::GrantLease { term, task, attempt: attempt.of(next), worker, incarnation, at }
            }
            Op::Start { task, attempt, worker } => {
                let (task, attempt, worker) = self.lease(*task, *attempt, *worker);
                Command::StartAttempt { task, attempt, worker, at }
            }
            Op::Complete { task, attempt, worker, result } => {
                let (task, attempt, worker) = self.lease(*task, *attempt, *worker);
                let result = Box::new(self.result(task, *result));
                Command::CompleteTask { task, attempt, worker, result, at }
            }
            Op::Fail { task, attempt, worker, kind } => {
                let (task, attempt, worker) = self.lease(*task, *attempt, *worker);
                Command::FailAttempt { task, attempt, worker, cause: FailureCause::new(*kind, "because"), at }
            }
            Op::Return { task, attempt, worker } => {
                let (task, attempt, worker) = self.lease(*task, *attempt, *worker);
                Command::ReturnLease { task, attempt, worker, at }
            }
            Op::Expire { task, attempt } => {
                let (task, attempt, _) = self.lease(*task, *attempt, WorkerPick::Holder);
                Command::ExpireLease { term, task, attempt, at }
            }
            Op::AdvanceClock => Command::AdvanceClock { at },
            Op::SetPolicy(policy) => Command::SetPolicy(policy.clone()),
            Op::RegisterCircuit { circuit: number, key } => {
                Command::RegisterCircuit(Box::new(circuit(*number, *key)))
            }
            Op::Redeliver { command } => match choose(&self.proposed, *command) {
                Some(command) => command.clone(),
                None => return Ok(Vec::new()),
            },
            Op::DeliverHeld { command } => {
                if self.held.is_empty() {
                    return Ok(Vec::new());
                }
                self.held.remove(usize::from(*command) % self.held.len())
            }
            _ => {
                self.disturb(op)?;
                return Ok(Vec::new());
            }
        }])
    }

    fn disturb(&mut self, op: &Op) -> Checked {
        match op {
            Op::Clock(ClockMove::Forward(ms)) => self.clock_ms = self.clock_ms.saturating_add(*ms),
            Op::Clock(ClockMove::Back(ms)) => self.clock_ms = self.clock_ms.saturating_sub(*ms),
            Op::Clock(ClockMove::ToTheEnd) => self.clock_ms = u64::MAX,
            Op::ElectLeader { skew_ms } => {
                self.term.0 += 1;
                self.clock_ms = self.clock_ms.saturating_add_signed(*skew_ms);
            }
            Op::Restart { replica, shuffle } => {
                let replica = usize::from(*replica) % REPLICAS;
                self.replicas[replica].restart(*shuffle)?;
            }
            Op::InstallSnapshot { from, to, shuffle } => {
                let source = self.replicas[usize::from(*from) % STRAGGLER].clone();
                self.replicas[usize::from(*to) % REPLICAS].install_snapshot_of(&source, *shuffle)?;
            }
            Op::Pause => self.is_straggler_paused = true,
            Op::Resume { by_snapshot } => {
                let source = self.replicas[0].clone();
                let straggler = &mut self.replicas[STRAGGLER];
                if *by_snapshot {
                    straggler.install_snapshot_of(&source, 1)?;
                }
                for (position, command) in self.log.iter().skip(straggler.applied_entries) {
                    straggler.apply(*position, command);
                }
                self.is_straggler_paused = false;
            }
            other => return Err(TestCaseError::fail(format!("{other:?} is no disturbance"))),
        }
        // A paused straggler that took a snapshot stays behind; what is level must be equal.
        self.check_replicas()
    }

    fn new_task(&mut self, submission: &Submission) -> NewTask {
        let known = submission.known_id.and_then(|n| choose(&self.model.tasks, n)).map(|task| task.id);
        let id = known.unwrap_or_else(|| {
            self.fresh_ids += 1;
            TaskId(Uuid::from_u64_pair(self.fresh_ids.wrapping_mul(0x9E37_79B9_7F4A_7C15), self.fresh_ids))
        });
        let mut new = new_task(id, submission.request, self.at());
        new.tenant = TenantId(u64::from(submission.tenant));
        new.sealed_input = vec![submission.request; usize::from(submission.input_bytes)];
        new.idempotency_key =
            submission.key.map(|key| IdempotencyKey::new(&format!("key {key}")).expect("a good key"));
        new.cache = if submission.is_cacheable { CacheUse::Allowed } else { CacheUse::Bypassed };
        new.priority = submission.priority;
        new.deadline_ms = submission.deadline_ms;
        new.max_attempts = submission.max_attempts;
        match submission.flaw {
            Some(Flaw::NoPublicInputs) => new.public_inputs.clear(),
            Some(Flaw::TooManyPublicInputs) => new.public_inputs = vec![Digest([0; 32]); 17],
            Some(Flaw::NoInput) => new.sealed_input.clear(),
            Some(Flaw::ZeroAttempts) => new.max_attempts = Some(0),
            Some(Flaw::TooManyAttempts) => new.max_attempts = Some(Policy::MAX_ATTEMPTS_LIMIT + 1),
            Some(Flaw::ZeroDeadline) => new.deadline_ms = Some(0),
            Some(Flaw::LongSummary) => new.summary = Some("x".repeat(201).into()),
            None => {}
        }
        new
    }

    /// The leases that a scheduler would propose now, with a fleet that holds every worker.
    fn place(&self, limit: usize, held_keys: u8) -> Vec<Command> {
        let fleet = self.fleet(held_keys);
        let grant = |placement: Placement| Command::GrantLease {
            term: self.term,
            task: placement.task,
            attempt: placement.attempt,
            worker: placement.worker,
            incarnation: placement.incarnation,
            at: self.at(),
        };
        self.ledger().place(&fleet, self.at(), limit).into_iter().map(grant).collect()
    }

    /// Every registered worker; the bits of `held_keys` say who holds which key.
    pub(crate) fn fleet(&self, held_keys: u8) -> Vec<FleetMember> {
        let member = |(n, worker): (usize, &Worker)| FleetMember {
            worker: worker.id.clone(),
            incarnation: worker.incarnation,
            held_keys: (0..crate::ops::CIRCUITS)
                .filter(|c| held_keys.rotate_left(n as u32 * 3) & (1 << c) != 0)
                .map(circuit_id)
                .collect(),
        };
        self.ledger().workers().enumerate().map(member).collect()
    }

    fn pick(&self, pick: TaskPick) -> TaskId {
        let open = || self.model.tasks.iter().filter(|task| !task.is_forgotten && task.is_open());
        let chosen = match pick {
            TaskPick::Open(n) => choose(&open().collect::<Vec<_>>(), n).map(|task| task.id),
            TaskPick::Leased(n) => {
                let leased: Vec<_> = open().filter(|task| task.state == State::Leased).collect();
                choose(&leased, n).map(|task| task.id)
            }
            TaskPick::Any(n) => choose(&self.model.tasks, n).map(|task| task.id),
            TaskPick::Unknown => None,
        };
        chosen.unwrap_or(TaskId(Uuid::max()))
    }

    fn worker(&self, worker: u8, life: Life) -> (WorkerId, Incarnation) {
        let id = worker_id(worker);
        let known = self.ledger().worker(&id).map_or(0, |known| known.incarnation.0);
        (id, Incarnation(life.of(known)))
    }

    fn lease(&self, task: TaskPick, attempt: AttemptPick, worker: WorkerPick) -> (TaskId, Attempt, WorkerId) {
        let id = self.pick(task);
        let task = self.model.known(id);
        let latest = task.and_then(|task| task.leases.last()).map_or(0, |lease| lease.attempt.0);
        let attempt = attempt.of(latest);
        let holder = task.and_then(|task| task.leases.iter().find(|lease| lease.attempt == attempt));
        let worker = match (worker, holder) {
            (WorkerPick::Holder, Some(lease)) => lease.worker.clone(),
            (WorkerPick::Holder, None) => worker_id(0),
            (WorkerPick::Named(n), _) => worker_id(n),
        };
        (id, attempt, worker)
    }

    /// A proof that no other command carries, so that the first valid one can be told from later ones.
    fn result(&self, task: TaskId, pick: ResultPick) -> ProvenResult {
        let task = self.model.known(task);
        let circuit = task.and_then(|task| self.ledger().circuit(&task.circuit));
        let mut result = ProvenResult {
            proof: (self.proposed.len() as u64).to_le_bytes().to_vec(),
            public_inputs: task
                .and_then(|task| self.ledger().task(task.id))
                .map_or(Vec::new(), |task| task.public_inputs.clone()),
            verifying_key: circuit.map_or(Digest([9; 32]), |circuit| circuit.verifying_key),
            proving_ms: 7,
            verifying_ms: 2,
        };
        match pick {
            ResultPick::Valid => {}
            ResultPick::OtherKey => result.verifying_key = Digest([99; 32]),
            ResultPick::OtherInputs => result.public_inputs.push(Digest([99; 32])),
        }
        result
    }
}

impl Life {
    fn of(self, fitting: u64) -> u64 {
        match self {
            Self::Fitting => fitting,
            Self::Earlier => fitting.saturating_sub(1),
            Self::Later => fitting.saturating_add(1),
            Self::Largest => u64::MAX,
        }
    }
}

impl AttemptPick {
    fn of(self, fitting: u32) -> Attempt {
        Attempt(match self {
            Self::Fitting => fitting,
            Self::Earlier(n) => fitting.saturating_sub(u32::from(n)),
            Self::Later(n) => fitting.saturating_add(u32::from(n)),
            Self::Zero => 0,
            Self::Largest => u32::MAX,
        })
    }
}

fn choose<T>(items: &[T], n: u16) -> Option<&T> {
    if items.is_empty() { None } else { items.get(usize::from(n) % items.len()) }
}
