//! Ledger and archive together: whatever leaders, databases and messages do, a task that a client was told the end of is
//! found in the ledger or in the archive, as it ended.
//!
//! The archive here is what PostgreSQL is to the archivist: rows, and a cursor that a claim and a compare-and-swap guard. The
//! leaders are several, each with a copy of the ledger that may be old, and each may have been deposed without knowing.

use crate::fixtures::{circuit, new_task, worker_id};
use crate::harness::check;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::BTreeMap;
use zkpnet::ledger::*;

/// Leaders that a history knows; each has its own view.
const LEADERS: u8 = 2;

#[derive(Clone, Debug)]
enum Op {
    Submit,
    Finish {
        task: u16,
        how: u8,
    },
    Worker {
        worker: u8,
        how: u8,
    },
    Sweep {
        after_ms: u64,
    },
    Retention {
        count: u64,
        age_ms: u64,
    },
    SetArchive {
        backlog_max: Option<u64>,
    },
    Elect {
        leader: u8,
    },
    /// The leader's copy becomes the ledger as it is.
    CatchUp {
        leader: u8,
    },
    Claim {
        leader: u8,
    },
    /// A batch is written, and perhaps the ledger is told: at once, later, or never.
    Write {
        leader: u8,
        limit: usize,
        told: Told,
    },
    TellLate {
        message: u16,
    },
    /// The database is put back to an earlier state of it.
    LoseRows {
        keep: u16,
    },
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    AtOnce,
    Late,
    Never,
}

fn op() -> impl Strategy<Value = Op> {
    let leader = 0..LEADERS;
    let told = prop_oneof![6 => Just(Told::AtOnce), 2 => Just(Told::Late), 2 => Just(Told::Never)];
    prop_oneof![
        12 => Just(Op::Submit),
        12 => (any::<u16>(), 0_u8..3).prop_map(|(task, how)| Op::Finish { task, how }),
        4 => (0_u8..3, 0_u8..3).prop_map(|(worker, how)| Op::Worker { worker, how }),
        8 => (0_u64..20_000).prop_map(|after_ms| Op::Sweep { after_ms }),
        2 => (0_u64..6, 0_u64..30_000).prop_map(|(count, age_ms)| Op::Retention { count, age_ms }),
        1 => prop::option::weighted(0.8, 1_u64..20).prop_map(|backlog_max| Op::SetArchive { backlog_max }),
        3 => leader.clone().prop_map(|leader| Op::Elect { leader }),
        8 => leader.clone().prop_map(|leader| Op::CatchUp { leader }),
        6 => leader.clone().prop_map(|leader| Op::Claim { leader }),
        12 => (leader, 1_usize..6, told).prop_map(|(leader, limit, told)| Op::Write { leader, limit, told }),
        3 => any::<u16>().prop_map(|message| Op::TellLate { message }),
        1 => any::<u16>().prop_map(|keep| Op::LoseRows { keep }),
        2 => Just(Op::Restart),
    ]
}

/// The database.
#[derive(Clone, Debug, Default)]
struct Database {
    tasks: BTreeMap<TaskId, Task>,
    workers: BTreeMap<WorkerId, Worker>,
    circuits: BTreeMap<CircuitId, Circuit>,
    cursor: u64,
    term: u64,
    /// The latest claim; a number that is never used again.
    claim: u64,
}

#[derive(Clone, Debug, Default)]
struct Leader {
    view: Ledger,
    term: u64,
    /// The claim, and where it believes the cursor to be.
    claim: Option<(u64, u64)>,
}

struct World {
    ledger: Ledger,
    log: u64,
    term: u64,
    now: UnixMillis,
    ids: u128,
    leaders: Vec<Leader>,
    database: Database,
    /// Earlier states of the database.
    backups: Vec<Database>,
    claims: u64,
    under_way: Vec<Command>,
    /// What clients were told, by task. Tasks that were forgotten without an archive, or whose rows the database lost after
    /// the ledger had forgotten them, are taken out: nobody promised those.
    told: BTreeMap<TaskId, Task>,
    /// Rows were lost, and no leader has seen it yet.
    is_loss_unseen: bool,
    reached: Reached,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    archived_and_forgotten: u64,
    fenced: u64,
    backlog_full: u64,
    rearchived: u64,
    caught_up_by_cursor: u64,
}

type Checked = Result<(), TestCaseError>;

impl World {
    fn new() -> Self {
        let mut world = Self {
            ledger: Ledger::default(),
            log: 0,
            term: 1,
            now: UnixMillis(1_000_000),
            ids: 0,
            leaders: vec![Leader::default(); usize::from(LEADERS)],
            database: Database::default(),
            backups: Vec::new(),
            claims: 0,
            under_way: Vec::new(),
            told: BTreeMap::new(),
            is_loss_unseen: false,
            reached: Reached::default(),
        };
        world.leaders[0].term = 1;
        for number in 0..crate::ops::CIRCUITS {
            drop(world.apply(&Command::RegisterCircuit(Box::new(circuit(number, 0)))));
        }
        world
    }

    fn apply(&mut self, command: &Command) -> Result<Reply, Rejection> {
        self.log += 1;
        let position = LogPosition { term: Term(self.term), index: LogIndex(self.log) };
        let is_archive_in_force = self.ledger.archive().policy.is_some();
        let outcome = self.ledger.apply(position, command);
        for event in &outcome.events {
            match event {
                Event::TaskFailed { task, .. } | Event::TaskCancelled(task) | Event::TaskCompleted(task) => {
                    let record = self.ledger.task(*task).expect("a task that has just ended").clone();
                    self.told.insert(*task, record);
                }
                Event::TaskForgotten(task) if !is_archive_in_force => drop(self.told.remove(task)),
                // Until a leader looks at the cursor, nobody can know that the archive lacks it.
                Event::TaskForgotten(task)
                    if self.is_loss_unseen && !self.database.tasks.contains_key(task) =>
                {
                    drop(self.told.remove(task));
                }
                Event::TaskForgotten(_) => self.reached.archived_and_forgotten += 1,
                _ => {}
            }
        }
        outcome.reply
    }

    fn run(&mut self, op: &Op) -> Checked {
        match op {
            Op::Submit => {
                self.ids += 1;
                let new = new_task(TaskId(uuid::Uuid::from_u128(self.ids)), 1, self.now);
                let taken = self.apply(&Command::SubmitTask(Box::new(new)));
                if let Err(Rejection::LimitReached { what: LimitedResource::ArchiveBacklog, limit }) = taken {
                    self.reached.backlog_full += 1;
                    prop_assert!(self.ledger.archive().lag >= limit, "refused with room left");
                }
            }
            Op::Finish { task, how } => self.finish(*task, *how),
            Op::Worker { worker, how } => self.worker(*worker, *how),
            Op::Sweep { after_ms } => {
                self.now = self.now.plus(*after_ms);
                drop(self.apply(&Command::AdvanceClock { at: self.now }));
            }
            Op::Retention { count, age_ms } => {
                let policy = Policy {
                    retention_count: *count,
                    retention_age_ms: *age_ms,
                    max_attempts_default: 1,
                    ..Policy::default()
                };
                drop(self.apply(&Command::SetPolicy(policy)));
            }
            Op::SetArchive { backlog_max } => {
                let policy = backlog_max.map(|backlog_max| ArchivePolicy { backlog_max });
                drop(self.apply(&Command::SetArchive(policy)));
            }
            Op::Elect { leader } => {
                self.term += 1;
                self.leaders[usize::from(*leader)].term = self.term;
                self.leaders[usize::from(*leader)].claim = None;
            }
            Op::CatchUp { leader } => {
                self.leaders[usize::from(*leader)].view = self.ledger.clone();
            }
            Op::Claim { leader } => self.claim(usize::from(*leader))?,
            Op::Write { leader, limit, told } => self.write(usize::from(*leader), *limit, *told)?,
            Op::TellLate { message } => {
                if let Some(command) = pick(&self.under_way, *message).cloned() {
                    drop(self.apply(&command));
                }
            }
            Op::LoseRows { keep } => self.lose_rows(*keep),
            Op::Restart => {
                let restored = Ledger::restore(self.ledger.records()).expect("its own records");
                prop_assert_eq!(&restored, &self.ledger);
                self.ledger = restored;
            }
        }
        self.check()
    }

    fn finish(&mut self, task: u16, how: u8) {
        let open: Vec<TaskId> = (1..=self.ids).map(|id| TaskId(uuid::Uuid::from_u128(id))).collect();
        let open: Vec<TaskId> =
            open.into_iter().filter(|id| self.ledger.task(*id).is_some_and(Task::is_open)).collect();
        let Some(&task) = pick(&open, task) else { return };
        let at = self.now;
        if how == 0 {
            drop(self.apply(&Command::CancelTask { tenant: TenantId::DEFAULT, task, at }));
            return;
        }
        let Some(worker) = self.ledger.workers().find(|w| w.state == WorkerState::Active).cloned() else {
            return;
        };
        let record = self.ledger.task(task).expect("an open task").clone();
        let attempt = Attempt(record.latest_attempt.0 + 1);
        let (term, incarnation) = (Term(self.term), worker.incarnation);
        let grant = Command::GrantLease { term, task, attempt, worker: worker.id.clone(), incarnation, at };
        drop(self.apply(&grant));
        if how == 1 {
            let cause = FailureCause::new(FailureKind::WitnessUnsatisfied, "of the simulation");
            drop(self.apply(&Command::FailAttempt { task, attempt, worker: worker.id, cause, at }));
            return;
        }
        let key = self.ledger.circuit(&record.circuit).expect("a circuit").verifying_key;
        let result = Box::new(ProvenResult {
            proof: vec![1],
            public_inputs: record.public_inputs,
            verifying_key: key,
            proving_ms: 1,
            verifying_ms: 1,
        });
        drop(self.apply(&Command::CompleteTask { task, attempt, worker: worker.id, result, at }));
    }

    fn worker(&mut self, number: u8, how: u8) {
        let worker = worker_id(number);
        let known = self.ledger.worker(&worker).cloned();
        let incarnation = known.as_ref().map_or(Incarnation(0), |worker| worker.incarnation);
        let at = self.now;
        let command = match how {
            0 => Command::LoseWorker { term: Term(self.term), worker, incarnation, at },
            1 => Command::DrainWorker { worker, incarnation },
            _ => Command::RegisterWorker {
                worker,
                incarnation: Incarnation(incarnation.0 + 1),
                session: self.log,
                capacity: 4,
                circuits: (0..crate::ops::CIRCUITS).map(crate::fixtures::circuit_id).collect(),
                version: "1".into(),
                at,
            },
        };
        drop(self.apply(&command));
    }

    /// As the archivist does it: the claim first, then what the ledger says, by a linearizable read.
    fn claim(&mut self, leader: usize) -> Checked {
        let term = self.leaders[leader].term;
        if term < self.database.term {
            self.reached.fenced += 1;
            return Ok(());
        }
        if term != self.term {
            // The read is refused to a deposed leader; the claim it has made is made all the same.
            self.claims += 1;
            (self.database.term, self.database.claim) = (term, self.claims);
            return Ok(());
        }
        // The barrier: what this leader proposed before was applied by now, or never will be.
        self.under_way.clear();
        self.claims += 1;
        (self.database.term, self.database.claim) = (term, self.claims);
        let standing = self.ledger.archive();
        let cursor = self.database.cursor;
        prop_assert!(cursor <= standing.last, "the archive is ahead of the ledger");
        if standing.policy.is_none() {
            return Ok(());
        }
        let term = Term(term);
        self.is_loss_unseen &= cursor < standing.archived;
        if cursor > standing.archived {
            self.reached.caught_up_by_cursor += 1;
            prop_assert_eq!(self.apply(&Command::Archived { term, position: cursor }), Ok(Reply::Done));
        } else if cursor < standing.archived {
            self.reached.rearchived += 1;
            self.is_loss_unseen = false;
            prop_assert_eq!(self.apply(&Command::Rearchive { term }), Ok(Reply::Done));
        }
        let view = self.ledger.clone();
        self.leaders[leader] = Leader { view, term: term.0, claim: Some((self.claims, cursor)) };
        Ok(())
    }

    fn write(&mut self, leader: usize, limit: usize, told: Told) -> Checked {
        let Leader { view, term, claim: Some((claim, cursor)) } = self.leaders[leader].clone() else {
            return Ok(());
        };
        let batch = view.outbox(limit);
        let Some((position, _)) = batch.last() else { return Ok(()) };
        let position = *position;
        if claim != self.database.claim || cursor != self.database.cursor || position <= cursor {
            self.reached.fenced += 1;
            self.leaders[leader].claim = None;
            return Ok(());
        }
        self.backups.push(self.database.clone());
        for (_, content) in batch {
            match content {
                OutboxContent::Task(task) => drop(self.database.tasks.insert(task.id, *task)),
                OutboxContent::Worker(worker) => {
                    drop(self.database.workers.insert(worker.id.clone(), *worker));
                }
                OutboxContent::Circuit(circuit) => {
                    drop(self.database.circuits.insert(circuit.id.clone(), *circuit));
                }
            }
        }
        self.database.cursor = position;
        self.leaders[leader].claim = Some((claim, position));
        let command = Command::Archived { term: Term(term), position };
        match told {
            Told::AtOnce => drop(self.apply(&command)),
            Told::Late => self.under_way.push(command),
            Told::Never => {}
        }
        Ok(())
    }

    fn lose_rows(&mut self, keep: u16) {
        let Some(backup) = pick(&self.backups, keep).cloned() else { return };
        self.database = backup;
        self.is_loss_unseen = true;
        let rows = self.database.tasks.clone();
        self.told.retain(|id, _| self.ledger.task(*id).is_some() || rows.contains_key(id));
    }

    fn check(&self) -> Checked {
        if let Err(violation) = self.ledger.check_invariants() {
            return Err(TestCaseError::fail(violation.to_string()));
        }
        for (id, told) in &self.told {
            let kept = self.ledger.task(*id).or_else(|| self.database.tasks.get(id));
            prop_assert_eq!(kept, Some(told), "a client was told of {}", id);
        }
        Ok(())
    }

    /// With nothing in the way, everything reaches the archive.
    fn drain(&mut self) -> Checked {
        self.run(&Op::SetArchive { backlog_max: Some(1_000) })?;
        self.run(&Op::Elect { leader: 0 })?;
        self.run(&Op::Claim { leader: 0 })?;
        for _ in 0..400 {
            self.run(&Op::Sweep { after_ms: 0 })?;
            self.run(&Op::CatchUp { leader: 0 })?;
            if self.leaders[0].view.archive().lag == 0 {
                break;
            }
            self.run(&Op::Write { leader: 0, limit: 5, told: Told::AtOnce })?;
        }
        prop_assert_eq!(self.ledger.archive().lag, 0, "the outbox is never empty");
        for (id, told) in &self.told {
            prop_assert_eq!(self.database.tasks.get(id), Some(told), "{} is not archived", id);
        }
        for worker in self.ledger.workers() {
            prop_assert_eq!(self.database.workers.get(&worker.id), Some(worker), "as it was before");
        }
        for circuit in self.ledger.circuits() {
            prop_assert_eq!(self.database.circuits.get(&circuit.id), Some(circuit));
        }
        Ok(())
    }
}

fn pick<T>(among: &[T], number: u16) -> Option<&T> {
    among.get(usize::from(number).checked_rem(among.len())?)
}

#[test]
fn what_a_client_was_told_is_in_the_ledger_or_in_the_archive() {
    let histories = vec(op(), 1..150);
    check("what_a_client_was_told_is_in_the_ledger_or_in_the_archive", 1_500, &histories, |ops| {
        let mut world = World::new();
        for op in &ops {
            world.run(op)?;
        }
        world.drain()
    });
}

/// Histories in which nothing happens to the archive would prove nothing. The seed is fixed: this judges the generator.
#[test]
fn the_histories_reach_every_turn_that_an_archive_can_take() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = vec(op(), 100..150);
    let mut sum = [0; 5];
    for _ in 0..60 {
        let mut world = World::new();
        for op in strategy.new_tree(&mut runner).unwrap().current() {
            world.run(&op).unwrap();
        }
        let Reached { archived_and_forgotten, fenced, backlog_full, rearchived, caught_up_by_cursor } =
            world.reached;
        let reached = [archived_and_forgotten, fenced, backlog_full, rearchived, caught_up_by_cursor];
        sum.iter_mut().zip(reached).for_each(|(sum, n)| *sum += n);
    }
    assert!(sum.iter().all(|n| *n > 0), "never reached: {sum:?}");
}
