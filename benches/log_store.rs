//! How many commands a second become durable: one node and three, one proposer and 64, with the batcher and without it
//! (an entry for every command, all of them in flight at once).
//!
//! `raft.redb` is fsynced for every entry, so the absolute numbers are those of the disk under `$TMPDIR`; the ratio between
//! the batched and the unbatched rows is what the batcher is worth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use zkpnet::ledger::{Circuit, CircuitId, Command, Digest, Policy};
use zkpnet::raft::{InProcessNetwork, Member, NodeId, RaftConfig, RaftService, Role};

/// About what a sealed Merkle input of depth 4 takes.
const INPUT_BYTES: usize = 256;

struct Nodes {
    leader: RaftService,
    all: Vec<(RaftService, TempDir)>,
    next: Arc<AtomicU64>,
}

impl Nodes {
    async fn start(count: u64, is_batched: bool) -> Self {
        let network = InProcessNetwork::default();
        let mut all = Vec::new();
        for id in (1..=count).map(NodeId) {
            let directory = tempfile::tempdir().unwrap();
            let mut config = RaftConfig::new(id, directory.path());
            if !is_batched {
                config.entry_commands_max = 1;
                config.entries_in_flight_max = 64;
            }
            all.push((RaftService::start(config, network.transport(id)).await.unwrap().0, directory));
        }
        let members: BTreeMap<_, _> = (1..=count).map(|id| (NodeId(id), Member::new("bench", ""))).collect();
        all[0].0.initialize(members).await.unwrap();
        let leader = loop {
            match all.iter().find(|(raft, _)| raft.status().role == Role::Leader) {
                Some((raft, _)) => break raft.clone(),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        let many = Policy { open_tasks_max: u64::MAX, open_input_bytes_max: u64::MAX, ..Policy::default() };
        leader.propose(Command::SetPolicy(many)).await.unwrap().reply.unwrap();
        leader.propose(circuit()).await.unwrap().reply.unwrap();
        Self { leader, all, next: Arc::default() }
    }

    /// The time in which `proposers` have `count` commands committed between them.
    async fn run(&self, proposers: u64, count: u64) -> Duration {
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for proposer in 0..proposers {
            let share = count / proposers + u64::from(proposer < count % proposers);
            let (leader, next) = (self.leader.clone(), self.next.clone());
            tasks.spawn(async move {
                for _ in 0..share {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    black_box(leader.propose(task(number)).await.unwrap().reply.unwrap());
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        begun.elapsed()
    }

    async fn stop(self) {
        for (raft, _) in &self.all {
            raft.shutdown().await.unwrap();
        }
    }
}

fn circuit() -> Command {
    Command::RegisterCircuit(Box::new(Circuit {
        id: CircuitId::new("bench").unwrap(),
        constraint_digest: Digest([1; 32]),
        proving_key: Digest([2; 32]),
        verifying_key: Digest([3; 32]),
        verifying_key_bytes: vec![4; 48],
        public_inputs: 1,
        key_origin: "dev".into(),
    }))
}

fn task(number: u64) -> Command {
    let circuit = CircuitId::new("bench").unwrap();
    support::submit(number, circuit, vec![Digest([5; 32])], vec![6; INPUT_BYTES])
}

fn log_append(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("log_append");
    group.throughput(Throughput::Elements(1)).sample_size(10).measurement_time(Duration::from_secs(4));
    for nodes in [1, 3] {
        for (name, is_batched) in [("batched", true), ("one entry each", false)] {
            for proposers in [1, 64] {
                let cluster = runtime.block_on(Nodes::start(nodes, is_batched));
                let id = BenchmarkId::new(format!("{nodes} nodes, {name}"), format!("{proposers} proposers"));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|count| runtime.block_on(cluster.run(proposers, count)));
                });
                runtime.block_on(cluster.stop());
            }
        }
    }
    group.finish();
}

criterion_group!(benches, log_append);
criterion_main!(benches);
