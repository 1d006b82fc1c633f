//! A node without HTTP, in a temporary folder, with the prover of the test's choice.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use zkpnet::actors::archivist::{ArchiveParts, Archivist};
use zkpnet::actors::clock::Clock;
use zkpnet::actors::cpu_pool::CpuPool;
use zkpnet::actors::disk_room::DiskRoom;
use zkpnet::actors::events::Leadership;
use zkpnet::actors::guardian::{GivenUp, Guardian, GuardianHandle};
use zkpnet::actors::key_keeper::KeyKeeper;
use zkpnet::actors::key_spread::KeySpread;
use zkpnet::actors::prover_pool::ProverPool;
use zkpnet::actors::raft_node::{RaftNode, RaftNodeHandle};
use zkpnet::actors::scheduler::{Scheduler, SchedulerHandle};
use zkpnet::actors::session::{Session, SessionHandle, WorkerProfile};
use zkpnet::actors::tasks::messages::{
    AwaitTask, Consistency, GetTask, Statement, Submit, TaskOptions, TaskView,
};
use zkpnet::actors::tasks::{Tasks, TasksHandle, TasksParts};
use zkpnet::actors::verifier::{Verifier, VerifierHandle};
use zkpnet::actors::worker_registry::{LeaseTimes, WorkerRegistry, WorkerRegistryHandle};
use zkpnet::ledger::{CacheUse, CircuitId, Counters, Ledger, Policy, TaskId, TenantId, WorkerId};
use zkpnet::proof::{Bytes32, KeyStore, catalog};
use zkpnet::raft::{InProcessNetwork, Member, NodeId, RaftConfig, RaftService};
use zkpnet::sealing::DataKey;

pub(crate) use crate::provers::{Gate, Prover, Scripted, prover_elsewhere, real_prover, shared_keys};
pub(crate) use crate::workers::Hand;

/// No wait of a test is longer: when it is reached something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// A lease that does not end within a test.
pub(crate) const LONG_LEASE: Duration = Duration::from_secs(600);
/// A lease that a test waits out.
pub(crate) const SHORT_LEASE: Duration = Duration::from_millis(400);

/// Polls until `what` is so.
pub(crate) async fn poll_until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Who works for a rig.
pub(crate) enum Worker {
    /// A session with this prover.
    Session(Prover),
    /// Nobody: the test speaks to the registry itself.
    None,
}

/// What a test may want otherwise.
pub(crate) struct Options<'a> {
    pub(crate) lease: Duration,
    pub(crate) policy: Policy,
    pub(crate) keys: &'a Path,
    pub(crate) preload: &'a [&'a str],
    pub(crate) data_key: [u8; 32],
    pub(crate) reducer_queue: usize,
    pub(crate) archive: Option<ArchiveParts>,
    pub(crate) room: DiskRoom,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            lease: LONG_LEASE,
            policy: quick_policy(),
            keys: shared_keys(),
            preload: &["merkle-poseidon-4"],
            data_key: [7; 32],
            reducer_queue: 64,
            archive: None,
            room: DiskRoom::watch(0, LIMIT, Box::new(|| None)).unwrap(),
        }
    }
}

/// A policy with short waits.
pub(crate) fn quick_policy() -> Policy {
    Policy { retry_backoff_base_ms: 10, retry_backoff_max_ms: 50, ..Policy::default() }
}

/// The actors of one node.
pub(crate) struct Rig {
    pub(crate) raft: RaftService,
    pub(crate) guardian: GuardianHandle,
    pub(crate) given_up: mpsc::Receiver<GivenUp>,
    pub(crate) node: RaftNodeHandle,
    pub(crate) verifier: VerifierHandle,
    pub(crate) registry: WorkerRegistryHandle,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) tasks: TasksHandle,
    pub(crate) session: Option<SessionHandle>,
    pub(crate) reducer: CpuPool,
    pub(crate) verifier_pool: CpuPool,
    pub(crate) key_maker: CpuPool,
}

impl Rig {
    /// A node of its own cluster.
    pub(crate) async fn single(folder: &Path, worker: Worker, lease: Duration) -> Self {
        Self::single_with(folder, worker, Options { lease, ..Options::default() }).await
    }

    pub(crate) async fn single_with(folder: &Path, worker: Worker, options: Options<'_>) -> Self {
        let rig = Self::lone(folder, worker, options).await;
        rig.found().await;
        if let Some(session) = &rig.session {
            session.registered().await;
        }
        rig
    }

    /// A node that has founded no cluster yet: there is no leader.
    pub(crate) async fn lone(folder: &Path, worker: Worker, options: Options<'_>) -> Self {
        Self::member(1, folder, &InProcessNetwork::default(), worker, options).await
    }

    pub(crate) async fn found(&self) {
        self.raft.initialize(members(1)).await.unwrap();
        poll_until("this node leads", async || {
            (self.node.leadership().role == Leadership::Leading).then_some(())
        })
        .await;
        // The Raft node looks at what was published between two messages, so after these everybody has been told; what a
        // test tells the scheduler afterwards is the last word.
        for _ in 0..3 {
            self.node.local(|_: &Ledger| ()).await.unwrap();
        }
        poll_until("the scheduler is enabled", async || self.scheduler.is_enabled().then_some(())).await;
    }

    /// A node that is still to be made a member.
    pub(crate) async fn member(
        number: u64,
        folder: &Path,
        network: &InProcessNetwork,
        worker: Worker,
        options: Options<'_>,
    ) -> Self {
        let config = RaftConfig::new(NodeId(number), folder.join(format!("raft-{number}")));
        let (raft, events) = RaftService::start(config, network.transport(NodeId(number))).await.unwrap();
        let (guardian, given_up) = Guardian::launch();
        let data_key = DataKey::from_bytes(&options.data_key);
        let node = RaftNode::launch(&guardian, raft.clone(), events, Clock::start()).await;
        let verifier_pool = CpuPool::start("verifier", 1, 4).unwrap();
        let verifier = Verifier::launch(&guardian, verifier_pool.clone()).await;
        let times = LeaseTimes { lease: options.lease };
        let registry =
            WorkerRegistry::launch(&guardian, node.clone(), verifier.clone(), data_key.clone(), times).await;
        let scheduler = Scheduler::launch(&guardian, node.clone(), registry.clone(), options.policy).await;
        let name = format!("coordinator-{number}");
        let archivist =
            Archivist::launch(&guardian, node.clone(), raft.clone(), options.archive, name.clone()).await;
        let reducer = CpuPool::start("reducer", 1, options.reducer_queue).unwrap();
        let parts = TasksParts {
            coordinator_id: name.clone(),
            node_id: name,
            raft: node.clone(),
            verifier: verifier.clone(),
            scheduler: scheduler.clone(),
            archivist,
            room: options.room,
            reducer: reducer.clone(),
            tree_builder: CpuPool::start("tree-builder", 1, 4).unwrap(),
            data_key,
        };
        let tasks = Tasks::launch(&guardian, parts).await;
        let key_maker = CpuPool::start("key-maker", 1, 1).unwrap();
        let store = KeyStore::open(options.keys).unwrap();
        let preload = options.preload.iter().map(|name| CircuitId::new(name).unwrap()).collect();
        let spread = KeySpread::new(raft.clone(), store.clone(), CpuPool::start("key-files", 1, 16).unwrap());
        raft.set_key_shelf(std::sync::Arc::new(spread.clone()));
        KeyKeeper::launch(&guardian, node.clone(), store, key_maker.clone(), spread, preload).await;
        let mut rig = Self {
            raft,
            guardian,
            given_up,
            node,
            verifier,
            registry,
            scheduler,
            tasks,
            session: None,
            reducer,
            verifier_pool,
            key_maker,
        };
        if let Worker::Session(prover) = worker {
            rig.session = Some(rig.employ(&format!("worker-{number}"), prover).await);
        }
        rig
    }

    /// Starts a worker that makes one proof at a time.
    pub(crate) async fn employ(&self, name: &str, prover: Prover) -> SessionHandle {
        let pool = CpuPool::start("prover", 1, 8).unwrap();
        let pool = ProverPool::launch(&self.guardian, pool, prover).await;
        Session::launch(&self.guardian, profile(name), self.registry.clone(), pool).await
    }

    /// Submits the task of that number.
    pub(crate) async fn submit(&self, number: u64) -> TaskId {
        self.tasks.submit(submission(number)).await.unwrap().task
    }

    /// The task, read linearizably.
    pub(crate) async fn view(&self, task: TaskId) -> TaskView {
        let request = GetTask { tenant: TenantId::DEFAULT, task, consistency: Consistency::Linearizable };
        self.tasks.get(request).await.unwrap()
    }

    /// The task once it has ended.
    pub(crate) async fn ended(&self, task: TaskId) -> TaskView {
        let view = self.tasks.wait(waiting_for(task, LIMIT)).await.unwrap();
        assert!(!view.task.is_open(), "it did not end: {:?}", view.task);
        view
    }

    /// Polls the ledger's copy of this node.
    pub(crate) async fn ledger_says<T>(&self, what: &str, probe: impl Fn(&Ledger) -> Option<T>) -> T {
        poll_until(what, async || self.raft.with_ledger(&probe)).await
    }

    pub(crate) fn counters(&self) -> Counters {
        self.raft.with_ledger(|ledger| *ledger.counters())
    }

    pub(crate) async fn stop(&self) {
        self.raft.with_ledger(|ledger| ledger.check_invariants().unwrap());
        self.guardian.retire().await;
        self.raft.shutdown().await.unwrap();
    }
}

pub(crate) const fn waiting_for(task: TaskId, limit: Duration) -> AwaitTask {
    AwaitTask { tenant: TenantId::DEFAULT, task, limit }
}

/// A worker that proves every circuit, one at a time.
pub(crate) fn profile(name: &str) -> WorkerProfile {
    WorkerProfile { worker: WorkerId::new(name).unwrap(), capacity: 1, circuits: all_circuits() }
}

pub(crate) fn all_circuits() -> Vec<CircuitId> {
    catalog::all().iter().map(|spec| CircuitId::new(spec.name).unwrap()).collect()
}

pub(crate) fn members(count: u64) -> BTreeMap<NodeId, Member> {
    (1..=count)
        .map(|n| (NodeId(n), Member::new(format!("coordinator-{n}"), format!("coordinator-{n}:7000"))))
        .collect()
}

/// The secret of the task of that number: a value above the field's modulus, with bytes that nothing else has.
pub(crate) fn leaf(number: u64) -> [u8; 32] {
    let mut leaf = [0xfe; 32];
    leaf[24..].copy_from_slice(&number.to_be_bytes());
    leaf
}

/// A submission of a two-leaf tree; different numbers are different requests.
pub(crate) fn submission(number: u64) -> Submit {
    let leaves = vec![Bytes32::new(leaf(number)), Bytes32::new([0x12; 32])];
    Submit {
        tenant: TenantId::DEFAULT,
        statement: Statement::MerkleLeaves { leaves, leaf_index: 0 },
        options: TaskOptions::default(),
        idempotency_key: None,
        cache: CacheUse::Allowed,
    }
}

/// The same request, and yet a task of its own: its proof is made once for all of them.
pub(crate) fn uncached(number: u64) -> Submit {
    Submit { cache: CacheUse::Bypassed, ..submission(number) }
}
