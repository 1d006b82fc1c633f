//! A thousand workers and a hundred thousand queued tasks on one leader of three: does it keep its heartbeats, does it assign
//! as fast as workers finish, and what does a queued task take of its memory?
//!
//! The workers are simulated: each holds one lease, takes between one and four seconds for it, and reports a proof that was
//! made once (all tasks state the same). Everything from the report on is real: every proof is verified, every decision
//! committed by three nodes. Prints figures; asserts only what must hold on any machine (no election, nothing refused).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use zkpnet::actors::ask::AskError;
use zkpnet::actors::clock::Clock;
use zkpnet::actors::cpu_pool::CpuPool;
use zkpnet::actors::guardian::Guardian;
use zkpnet::actors::raft_node::RaftNode;
use zkpnet::actors::scheduler::Scheduler;
use zkpnet::actors::verifier::Verifier;
use zkpnet::actors::worker_registry::{
    Heartbeat, LeaseTimes, News, Order, Register, Report, WorkerRegistry, WorkerRegistryHandle,
};
use zkpnet::codec;
use zkpnet::ledger::{Circuit, CircuitId, Command, Digest, Policy, WorkerId};
use zkpnet::proof::{Bytes32, CircuitInput, MerkleWitness, ProvingKey, catalog};
use zkpnet::raft::{InProcessNetwork, Member, NodeId, RaftConfig, RaftService};
use zkpnet::sealing::DataKey;

const WORKERS: u64 = 1_000;
const TASKS: u64 = 100_000;
const SUBMITTERS: u64 = 64;
/// How long the fleet works.
const WORK: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_secs(30);

/// What a simulated worker takes for a proof: between these, 2.5 s on average.
const PROVING_MS: std::ops::Range<u64> = 1_000..4_000;

/// What all tasks state, and its proof.
struct Statement {
    circuit: Circuit,
    input: CircuitInput,
    public_inputs: Vec<Digest>,
    proof: Vec<u8>,
}

fn statement() -> Statement {
    let spec = catalog::find("merkle-poseidon-4").unwrap();
    let key = ProvingKey::generate(spec, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let witness = MerkleWitness::open(&[Bytes32::new([7; 32]), Bytes32::new([8; 32])], 0).unwrap();
    let input = CircuitInput::MerklePoseidon(witness);
    let manifest = key.manifest();
    Statement {
        circuit: Circuit {
            id: CircuitId::new(spec.name).unwrap(),
            constraint_digest: Digest(*manifest.constraint_digest.as_bytes()),
            proving_key: Digest(*manifest.proving_key.as_bytes()),
            verifying_key: Digest(*manifest.verifying_key.as_bytes()),
            verifying_key_bytes: key.verifying_key().as_bytes().to_vec(),
            public_inputs: u32::try_from(spec.public_inputs.len()).unwrap(),
            key_origin: "dev".into(),
        },
        public_inputs: input.public_inputs().unwrap().iter().map(|x| Digest(*x.as_bytes())).collect(),
        proof: key.prove(&input).unwrap().as_bytes().to_vec(),
        input,
    }
}

fn task(statement: &Statement, data_key: &DataKey, number: u64) -> Command {
    let input = codec::encode(&statement.input).unwrap();
    let sealed = data_key.seal(support::task_id(number), &input).unwrap();
    support::submit(number, statement.circuit.id.clone(), statement.public_inputs.clone(), sealed)
}

/// Bytes of memory that the process holds, by the system's own account.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

async fn three_nodes(folder: &std::path::Path) -> (RaftService, zkpnet::raft::EventStream, Vec<RaftService>) {
    let network = InProcessNetwork::default();
    let mut started = Vec::new();
    for id in (1..=3).map(NodeId) {
        let config = RaftConfig {
            heartbeat: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(400),
            election_timeout_max: Duration::from_millis(700),
            ..RaftConfig::new(id, folder.join(id.to_string()))
        };
        started.push(RaftService::start(config, network.transport(id)).await.unwrap());
    }
    let members: BTreeMap<_, _> =
        (1..=3).map(|id| (NodeId(id), Member::new(format!("node-{id}"), format!("node-{id}:1")))).collect();
    started[0].0.initialize(members).await.unwrap();
    let leader = loop {
        if let Some(at) = started.iter().position(|(raft, _)| raft.status().is_leading()) {
            break at;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let (raft, events) = started.swap_remove(leader);
    (raft, events, started.into_iter().map(|(raft, _)| raft).collect())
}

async fn submit_all(raft: &RaftService, statement: &Arc<Statement>, data_key: &DataKey) {
    let next = Arc::new(AtomicU64::new(0));
    let mut submitters = tokio::task::JoinSet::new();
    for _ in 0..SUBMITTERS {
        let (raft, statement, data_key, next) =
            (raft.clone(), statement.clone(), data_key.clone(), next.clone());
        submitters.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= TASKS {
                    return;
                }
                raft.propose(task(&statement, &data_key, number)).await.unwrap().reply.unwrap();
            }
        });
    }
    while let Some(done) = submitters.join_next().await {
        done.unwrap();
    }
}

/// Counts of the whole fleet.
#[derive(Default)]
struct Tally {
    finished: AtomicU64,
    /// Time between the report of a proof and the next order, in microseconds, over all workers.
    idle_us: AtomicU64,
    waits: AtomicU64,
    refused: AtomicU64,
}

async fn work(
    registry: WorkerRegistryHandle,
    number: u64,
    proof: Vec<u8>,
    circuit: CircuitId,
    tally: Arc<Tally>,
) {
    let worker = WorkerId::new(&format!("worker-{number}")).unwrap();
    let mut random = ChaCha20Rng::seed_from_u64(number);
    let (sender, mut orders) = mpsc::channel(64);
    let push = move |order| sender.try_send(order).map_err(|_| AskError::Full("a simulated worker"));
    let request = Register {
        worker: worker.clone(),
        session: number,
        capacity: 1,
        circuits: vec![circuit.clone()],
        version: "bench".into(),
        held_keys: BTreeSet::from([circuit.clone()]),
        link: Arc::new(push),
    };
    let registered = registry.register(request).await.unwrap();
    let heart = {
        let (registry, worker) = (registry.clone(), worker.clone());
        actix_rt::spawn(async move {
            loop {
                tokio::time::sleep(LEASE / 6).await;
                let held_keys = BTreeSet::from([circuit.clone()]);
                let beat = Heartbeat {
                    worker: worker.clone(),
                    incarnation: registered.incarnation,
                    holds: BTreeSet::new(),
                    held_keys,
                };
                let _ = registry.heartbeat(beat).await;
            }
        })
    };
    let mut idle_since = Instant::now();
    while let Some(order) = orders.recv().await {
        let Order::Assign(assignment) = order else { continue };
        tally.idle_us.fetch_add(u64::try_from(idle_since.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
        tally.waits.fetch_add(1, Ordering::Relaxed);
        let span = PROVING_MS.end - PROVING_MS.start;
        let proving = Duration::from_millis(PROVING_MS.start + random.next_u64() % span);
        let say = |news| Report {
            worker: worker.clone(),
            task: assignment.task,
            attempt: assignment.attempt,
            news,
            trace: None,
        };
        let _ = registry.report(say(News::Started)).await;
        tokio::time::sleep(proving).await;
        idle_since = Instant::now();
        match registry.report(say(News::Proven { proof: proof.clone(), proving, checked: None })).await {
            Ok(()) => tally.finished.fetch_add(1, Ordering::Relaxed),
            Err(_) => tally.refused.fetch_add(1, Ordering::Relaxed),
        };
    }
    heart.abort();
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let statement = Arc::new(statement());
    let data_key = DataKey::from_bytes(&[9; 32]);
    let (raft, events, others) = three_nodes(folder.path()).await;
    let policy = Policy { open_tasks_max: u64::MAX, open_input_bytes_max: u64::MAX, ..Policy::default() };
    raft.propose(Command::SetPolicy(policy.clone())).await.unwrap().reply.unwrap();
    let circuit = Box::new(statement.circuit.clone());
    raft.propose(Command::RegisterCircuit(circuit)).await.unwrap().reply.unwrap();

    let before = resident_bytes();
    let began = Instant::now();
    submit_all(&raft, &statement, &data_key).await;
    let took = began.elapsed();
    let each = (resident_bytes() - before) / TASKS / 3;
    println!(
        "{TASKS} tasks queued in {:.1} s, {:.0}/s",
        took.as_secs_f64(),
        TASKS as f64 / took.as_secs_f64()
    );
    println!("memory per queued task and node: {each} bytes (growth of the process with three nodes, by 3)");

    let (guardian, _given_up) = Guardian::launch();
    let node = RaftNode::launch(&guardian, raft.clone(), events, Clock::start()).await;
    let verifier = Verifier::launch(&guardian, CpuPool::start("verifier", 2, 2_048).unwrap()).await;
    let times = LeaseTimes { lease: LEASE };
    let registry = WorkerRegistry::launch(&guardian, node.clone(), verifier, data_key, times).await;
    let _scheduler = Scheduler::launch(&guardian, node, registry.clone(), policy).await;

    let term = raft.status().term;
    let tally = Arc::new(Tally::default());
    let began = Instant::now();
    for number in 0..WORKERS {
        let (registry, tally) = (registry.clone(), tally.clone());
        let (proof, circuit) = (statement.proof.clone(), statement.circuit.id.clone());
        actix_rt::spawn(work(registry, number, proof, circuit, tally));
    }
    let mut silence_max = Duration::ZERO;
    while began.elapsed() < WORK {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let heard = others.iter().filter_map(RaftService::leader_heard_ago).max().unwrap_or_default();
        silence_max = silence_max.max(heard);
    }
    let took = began.elapsed().as_secs_f64();
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (finished, waits) = (of(&tally.finished), of(&tally.waits));
    let mean_proving = (PROVING_MS.start + PROVING_MS.end) as f64 / 2_000.0;
    println!(
        "{WORKERS} workers for {took:.0} s: {waits} leases handed out, {finished} proofs verified and committed"
    );
    println!(
        "{:.0} proofs/s; {WORKERS} workers that never wait would make {:.0}/s",
        finished as f64 / took,
        WORKERS as f64 / mean_proving
    );
    println!(
        "from a proof's report to the worker's next order: {:.0} ms on average, verification and commit included",
        of(&tally.idle_us) as f64 / waits.max(1) as f64 / 1_000.0
    );
    println!("longest silence of the leader at a follower: {} ms", silence_max.as_millis());
    assert_eq!(of(&tally.refused), 0, "proofs were refused");
    assert_eq!(raft.status().term, term, "there was an election");
    assert!(raft.status().is_leading(), "the leader lost its majority");
    guardian.retire().await;
    for node in others.iter().chain([&raft]) {
        node.shutdown().await.unwrap();
    }
}

fn main() {
    // `cargo test` runs benches too, to see that they build; the figures are asked for with `cargo bench --bench fleet`.
    if std::env::args().all(|argument| argument != "--bench") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    actix_rt::System::with_tokio_rt(move || runtime).block_on(run());
}
