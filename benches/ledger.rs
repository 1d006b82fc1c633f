//! How fast the ledger decides, and what a queued task costs in memory.
//!
//! `cargo bench --bench ledger` (or `-- --quick`). The memory figure is counted by the allocator and printed first: it is
//! what a hundred thousand waiting tasks hold, records and indices together, without their inputs, which live on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unsafe_code)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use uuid::Uuid;
use zkpnet::ledger::*;

/// The system's allocator, with a count of the bytes in use.
struct Counting;

static BYTES_IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged; the counter does not touch the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES_IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps `GlobalAlloc::alloc`'s contract, which is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES_IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `alloc` above with the same layout, and so from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const TERM: Term = Term(1);
const MANY: u64 = 100_000;

struct World {
    ledger: Ledger,
    index: u64,
    ids: u64,
    now: UnixMillis,
}

fn worker_id(n: u64) -> WorkerId {
    WorkerId::new(&format!("worker-{n:04}")).unwrap()
}

fn circuit(depth: u64) -> CircuitId {
    CircuitId::new(&format!("merkle-poseidon-{depth}")).unwrap()
}

impl World {
    /// Tasks of four circuits that wait, and workers of capacity 4 that prove all of them.
    fn new(tasks: u64, workers: u64) -> Self {
        let now = UnixMillis(1_700_000_000_000);
        let mut world = Self { ledger: Ledger::default(), index: 0, ids: 0, now };
        // Room for the tasks that a benchmark adds to those that wait.
        let policy =
            Policy { open_tasks_max: 10_000_000, open_input_bytes_max: 1 << 40, ..Policy::default() };
        world.apply(Command::SetPolicy(policy));
        for depth in 0..4 {
            world.apply(Command::RegisterCircuit(Box::new(Circuit {
                id: circuit(depth),
                constraint_digest: Digest([1; 32]),
                proving_key: Digest([2; 32]),
                verifying_key: Digest([3; 32]),
                verifying_key_bytes: vec![4; 1_000],
                public_inputs: 1,
                key_origin: "dev".into(),
            })));
        }
        for n in 0..workers {
            world.apply(Command::RegisterWorker {
                worker: worker_id(n),
                incarnation: Incarnation(1),
                session: n,
                capacity: 4,
                circuits: (0..4).map(circuit).collect(),
                version: "0.1.0".into(),
                at: now,
            });
        }
        for _ in 0..tasks {
            world.submit();
        }
        world
    }

    fn apply(&mut self, command: Command) {
        self.index += 1;
        let outcome = self.ledger.apply(LogPosition { term: TERM, index: LogIndex(self.index) }, &command);
        assert!(outcome.reply.is_ok(), "{command:?}: {:?}", outcome.reply);
        black_box(outcome);
    }

    fn submit(&mut self) -> TaskId {
        self.ids += 1;
        self.now = self.now.plus(1);
        // Like version 7: ascending, with scattered low bits.
        let id = TaskId(Uuid::from_u64_pair(self.now.0 << 16, self.ids.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        let mut fingerprint = [0; 32];
        fingerprint[..8].copy_from_slice(&self.ids.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
        self.apply(Command::SubmitTask(Box::new(NewTask {
            id,
            tenant: TenantId::DEFAULT,
            circuit: circuit(self.ids % 4),
            public_inputs: vec![Digest(fingerprint)],
            sealed_input: vec![0; 600],
            fingerprint: Digest(fingerprint),
            idempotency_key: None,
            cache: CacheUse::Allowed,
            summary: None,
            priority: Priority::Normal,
            deadline_ms: None,
            max_attempts: None,
            at: self.now,
        })));
        id
    }

    /// The four commands of a task's life.
    fn cycle(&mut self) {
        let task = self.submit();
        let (attempt, worker, at) = (Attempt(1), worker_id(self.ids % 4), self.now);
        let incarnation = Incarnation(1);
        self.apply(Command::GrantLease {
            term: TERM,
            task,
            attempt,
            worker: worker.clone(),
            incarnation,
            at,
        });
        self.apply(Command::StartAttempt { task, attempt, worker: worker.clone(), at });
        let result = Box::new(ProvenResult {
            proof: vec![0; 192],
            public_inputs: self.ledger.task(task).unwrap().public_inputs.clone(),
            verifying_key: Digest([3; 32]),
            proving_ms: 100,
            verifying_ms: 3,
        });
        self.apply(Command::CompleteTask { task, attempt, worker, result, at });
        // Retention, so that finished tasks do not heap up while the benchmark runs.
        if self.ids.is_multiple_of(256) {
            self.apply(Command::AdvanceClock { at });
        }
    }

    fn fleet(&self) -> Vec<FleetMember> {
        let member = |(n, worker): (usize, &Worker)| FleetMember {
            worker: worker.id.clone(),
            incarnation: worker.incarnation,
            held_keys: [circuit(n as u64 % 4)].into(),
        };
        self.ledger.workers().enumerate().map(member).collect()
    }
}

fn cycles(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    for (name, waiting) in [("1k waiting", 1_000), ("100k waiting", MANY)] {
        let mut world = World::new(waiting, 4);
        let policy = Policy { retention_count: 1_000, ..world.ledger.policy().clone() };
        world.apply(Command::SetPolicy(policy));
        group.throughput(Throughput::Elements(4));
        group.bench_function(format!("submit, grant, start, complete; {name}"), |bencher| {
            bencher.iter(|| world.cycle());
        });
    }
    group.finish();
}

fn placements(criterion: &mut Criterion) {
    let world = World::new(MANY, 1_000);
    let fleet = world.fleet();
    let mut group = criterion.benchmark_group("place; 1k workers, 100k waiting");
    for limit in [1, 64, 4_000] {
        group.throughput(Throughput::Elements(limit));
        group.bench_function(format!("{limit} leases"), |bencher| {
            bencher.iter(|| {
                let placements = world.ledger.place(&fleet, world.now, limit as usize);
                assert_eq!(placements.len() as u64, limit);
                placements
            });
        });
    }
    group.finish();
}

fn restores(criterion: &mut Criterion) {
    let world = World::new(MANY, 4);
    let records: Vec<Record> = world.ledger.records().collect();
    let mut group = criterion.benchmark_group("restore");
    group.sample_size(10);
    group.throughput(Throughput::Elements(MANY));
    group.bench_function("100k waiting", |bencher| {
        bencher.iter_batched(
            || records.clone(),
            |records| Ledger::restore(records).unwrap(),
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn print_memory() {
    let in_use = || BYTES_IN_USE.load(Ordering::Relaxed);
    let start = in_use();
    let empty = World::new(0, 4);
    let before = in_use();
    let full = World::new(MANY, 4);
    let tasks = in_use() - before - (before - start);
    println!(
        "memory: {} bytes for each of {MANY} waiting tasks (record and indices; the input is on disk)",
        tasks / MANY as usize
    );
    drop((empty, full));
}

criterion_group!(benches, cycles, placements, restores);

fn main() {
    print_memory();
    benches();
    Criterion::default().configure_from_args().final_summary();
}
