//! A node without HTTP, in a temporary folder, with the prover of the test's choice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zkpnet::actors::clock::Clock;
use zkpnet::actors::cpu_pool::CpuPool;
use zkpnet::actors::guardian::{Guardian, GuardianHandle};
use zkpnet::actors::key_keeper::KeyKeeper;
use zkpnet::actors::prover_pool::{Groth16Prover, ProofMaker, Prove, ProverPool};
use zkpnet::actors::raft_node::{RaftNode, RaftNodeHandle};
use zkpnet::actors::scheduler::{Scheduler, SchedulerHandle};
use zkpnet::actors::session::{Session, SessionHandle, WorkerProfile};
use zkpnet::actors::tasks::messages::{Consistency, GetTask, Statement, Submit, TaskOptions, TaskView};
use zkpnet::actors::tasks::{Tasks, TasksHandle, TasksParts};
use zkpnet::actors::verifier::{Verifier, VerifierHandle};
use zkpnet::actors::worker_registry::{LeaseTimes, WorkerRegistry, WorkerRegistryHandle};
use zkpnet::ledger::{CacheUse, CircuitId, FailureCause, Policy, TaskId, TenantId, WorkerId};
use zkpnet::proof::{Bytes32, KeyStore, ProofBytes, ProvingKey, catalog};
use zkpnet::raft::{InProcessNetwork, Member, NodeId, RaftConfig, RaftService};
use zkpnet::sealing::DataKey;

/// No wait of a test is longer: when it is reached something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

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

/// A folder with the key of the smallest circuit, made once for all tests.
pub(crate) fn shared_keys() -> &'static Path {
    static KEYS: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::open(folder.path()).unwrap();
        let key =
            ProvingKey::generate(catalog::find("merkle-poseidon-4").unwrap(), &mut rand_core::OsRng).unwrap();
        store.store(&key).unwrap();
        let path = folder.path().to_owned();
        (folder, path)
    });
    path
}

/// The real prover with the shared keys.
pub(crate) fn real_prover() -> Arc<dyn ProofMaker> {
    Arc::new(Groth16Prover::new(KeyStore::open(shared_keys()).unwrap()))
}

/// A prover that does what a function says, given the number of the call (from 0) and the real prover.
pub(crate) struct Scripted<F> {
    pub(crate) calls: std::sync::atomic::AtomicU32,
    pub(crate) real: Arc<dyn ProofMaker>,
    pub(crate) script: F,
}

impl<F> Scripted<F>
where
    F: Fn(u32, &Prove, &dyn ProofMaker) -> Result<ProofBytes, FailureCause> + Send + Sync + 'static,
{
    pub(crate) fn prover(script: F) -> Arc<dyn ProofMaker> {
        Arc::new(Self { calls: 0.into(), real: real_prover(), script })
    }
}

impl<F> ProofMaker for Scripted<F>
where
    F: Fn(u32, &Prove, &dyn ProofMaker) -> Result<ProofBytes, FailureCause> + Send + Sync + 'static,
{
    fn make(&self, request: &Prove) -> Result<ProofBytes, FailureCause> {
        let call = self.calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        (self.script)(call, request, &*self.real)
    }

    fn held_keys(&self) -> BTreeSet<CircuitId> {
        self.real.held_keys()
    }
}

/// Who works for a rig.
pub(crate) enum Worker {
    /// A session with this prover.
    Session(Arc<dyn ProofMaker>),
    /// Nobody: the test speaks to the registry itself.
    None,
}

/// The actors of one node.
pub(crate) struct Rig {
    pub(crate) raft: RaftService,
    pub(crate) guardian: GuardianHandle,
    pub(crate) node: RaftNodeHandle,
    pub(crate) verifier: VerifierHandle,
    pub(crate) registry: WorkerRegistryHandle,
    pub(crate) scheduler: SchedulerHandle,
    pub(crate) tasks: TasksHandle,
    pub(crate) session: Option<SessionHandle>,
    pub(crate) reducer: CpuPool,
}

/// A policy with short waits.
pub(crate) fn quick_policy() -> Policy {
    Policy { retry_backoff_base_ms: 10, retry_backoff_max_ms: 50, ..Policy::default() }
}

impl Rig {
    /// A node of its own cluster.
    pub(crate) async fn single(folder: &Path, worker: Worker, lease: Duration) -> Self {
        let network = InProcessNetwork::default();
        let rig = Self::member(1, folder, network, worker, lease).await;
        rig.raft.initialize(members(1)).await.unwrap();
        if let Some(session) = &rig.session {
            session.registered().await;
        }
        rig
    }

    /// A node that is still to be made a member.
    pub(crate) async fn member(
        number: u64,
        folder: &Path,
        network: InProcessNetwork,
        worker: Worker,
        lease: Duration,
    ) -> Self {
        let config = RaftConfig::new(NodeId(number), folder.join(format!("raft-{number}")));
        let (raft, events) = RaftService::start(config, network.transport(NodeId(number))).await.unwrap();
        let (guardian, _) = Guardian::launch();
        let data_key = DataKey::from_bytes(&[7; 32]);
        let node = RaftNode::launch(&guardian, raft.clone(), events, Clock::start()).await;
        let verifier = Verifier::launch(&guardian, CpuPool::start("verifier", 1, 64).unwrap()).await;
        let times = LeaseTimes { lease };
        let registry =
            WorkerRegistry::launch(&guardian, node.clone(), verifier.clone(), data_key.clone(), times).await;
        let scheduler = Scheduler::launch(&guardian, node.clone(), registry.clone(), quick_policy()).await;
        let reducer = CpuPool::start("reducer", 1, 64).unwrap();
        let parts = TasksParts {
            coordinator_id: format!("coordinator-{number}"),
            node_id: format!("coordinator-{number}"),
            raft: node.clone(),
            verifier: verifier.clone(),
            scheduler: scheduler.clone(),
            reducer: reducer.clone(),
            data_key,
        };
        let tasks = Tasks::launch(&guardian, parts).await;
        let store = KeyStore::open(shared_keys()).unwrap();
        let maker = CpuPool::start("key-maker", 1, 1).unwrap();
        let preload = vec![CircuitId::new("merkle-poseidon-4").unwrap()];
        KeyKeeper::launch(&guardian, node.clone(), store, maker, preload).await;
        let session = match worker {
            Worker::None => None,
            Worker::Session(prover) => {
                let pool = CpuPool::start("prover", 1, 8).unwrap();
                let pool = ProverPool::launch(&guardian, pool, prover).await;
                let profile = profile(&format!("worker-{number}"));
                Some(Session::launch(&guardian, profile, registry.clone(), pool).await)
            }
        };
        Self { raft, guardian, node, verifier, registry, scheduler, tasks, session, reducer }
    }

    /// The task, read linearizably.
    pub(crate) async fn view(&self, task: TaskId) -> TaskView {
        let request = GetTask { tenant: TenantId::DEFAULT, task, consistency: Consistency::Linearizable };
        self.tasks.get(request).await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.guardian.retire().await;
        self.raft.shutdown().await.unwrap();
    }
}

/// A worker that proves every circuit, one at a time.
pub(crate) fn profile(name: &str) -> WorkerProfile {
    let circuits = catalog::all().iter().map(|spec| CircuitId::new(spec.name).unwrap()).collect();
    WorkerProfile { worker: WorkerId::new(name).unwrap(), capacity: 1, circuits }
}

pub(crate) fn members(count: u64) -> BTreeMap<NodeId, Member> {
    (1..=count)
        .map(|n| (NodeId(n), Member::new(format!("coordinator-{n}"), format!("coordinator-{n}:7000"))))
        .collect()
}

/// A submission of a two-leaf tree; different numbers are different requests.
pub(crate) fn submission(number: u64) -> Submit {
    let mut leaf = [0xfe; 32];
    leaf[24..].copy_from_slice(&number.to_be_bytes());
    let leaves = vec![Bytes32::new(leaf), Bytes32::new([0x12; 32])];
    Submit {
        tenant: TenantId::DEFAULT,
        statement: Statement::MerkleLeaves { leaves, leaf_index: 0 },
        options: TaskOptions::default(),
        idempotency_key: None,
        cache: CacheUse::Allowed,
    }
}
