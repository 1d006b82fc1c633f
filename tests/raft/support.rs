//! Commands to propose, and nodes to propose them to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zkpnet::ledger::{
    BodyKey, CacheUse, Circuit, CircuitId, Command, Digest, NewTask, Priority, Record, TaskId, TenantId,
    UnixMillis,
};
use zkpnet::raft::{EventStream, InProcessNetwork, Member, NodeId, RaftConfig, RaftService, Role};

/// Long enough for a loaded machine; nothing waits for it unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until `check` gives something.
pub(crate) async fn poll_until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn register() -> Command {
    Command::RegisterCircuit(Box::new(Circuit {
        id: circuit(),
        constraint_digest: Digest([1; 32]),
        proving_key: Digest([2; 32]),
        verifying_key: Digest([3; 32]),
        verifying_key_bytes: vec![4; 48],
        public_inputs: 1,
        key_origin: "dev".into(),
    }))
}

fn circuit() -> CircuitId {
    CircuitId::new("test").unwrap()
}

/// A task of its own for each number.
pub(crate) fn submit(number: u64, input_bytes: usize) -> Command {
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&number.to_le_bytes());
    Command::SubmitTask(Box::new(NewTask {
        id: task_id(number),
        tenant: TenantId::DEFAULT,
        circuit: circuit(),
        public_inputs: vec![Digest([5; 32])],
        sealed_input: input(number, input_bytes),
        fingerprint: Digest(fingerprint),
        idempotency_key: None,
        cache: CacheUse::Bypassed,
        summary: None,
        priority: Priority::Normal,
        deadline_ms: None,
        max_attempts: None,
        at: UnixMillis(1_000),
    }))
}

pub(crate) fn task_id(number: u64) -> TaskId {
    TaskId(uuid::Uuid::from_u128(u128::from(number) + 1))
}

pub(crate) fn input(number: u64, bytes: usize) -> Vec<u8> {
    number.to_le_bytes().iter().copied().cycle().take(bytes.max(1)).collect()
}

/// Short timeouts, so that elections do not make the tests slow; a loaded machine still meets them.
pub(crate) fn config(node: NodeId, directory: &Path) -> RaftConfig {
    RaftConfig {
        heartbeat: Duration::from_millis(60),
        election_timeout_min: Duration::from_millis(300),
        election_timeout_max: Duration::from_millis(600),
        proposal_time_limit: Duration::from_secs(3),
        read_time_limit: Duration::from_secs(1),
        ..RaftConfig::new(node, directory)
    }
}

pub(crate) async fn start_single(config: RaftConfig) -> (RaftService, EventStream) {
    let node = config.node;
    let (raft, events) =
        RaftService::start(config, InProcessNetwork::default().transport(node)).await.unwrap();
    raft.initialize(BTreeMap::from([(node, Member::new("one", "127.0.0.1:7000"))])).await.unwrap();
    poll_until("the single node leads", || (raft.status().role == Role::Leader).then_some(())).await;
    // A leader commits what its log holds only once it has been elected: until then its ledger may lag behind.
    raft.read_barrier().await.unwrap();
    (raft, events)
}

pub(crate) fn has_task(raft: &RaftService, number: u64) -> bool {
    raft.with_ledger(|ledger| ledger.task(task_id(number)).is_some())
}

pub(crate) fn records(raft: &RaftService) -> Vec<Record> {
    raft.with_ledger(|ledger| ledger.records().collect())
}

pub(crate) async fn assert_input(raft: &RaftService, number: u64, bytes: usize) {
    let body = raft.body(BodyKey::Input(task_id(number))).await.unwrap();
    assert_eq!(body, Some(input(number, bytes)), "the input of task {number}");
}

/// Nodes 1 to n in this process, on a network that can be cut.
pub(crate) struct Cluster {
    pub(crate) network: InProcessNetwork,
    nodes: BTreeMap<NodeId, (TempDir, Option<RaftService>)>,
    adjust: fn(&mut RaftConfig),
}

impl Cluster {
    pub(crate) async fn start(size: u64, adjust: fn(&mut RaftConfig)) -> Self {
        let nodes = (1..=size).map(|id| (NodeId(id), (tempfile::tempdir().unwrap(), None))).collect();
        let mut cluster = Self { network: InProcessNetwork::default(), nodes, adjust };
        for id in cluster.ids() {
            cluster.start_node(id).await;
        }
        let members =
            cluster.ids().into_iter().map(|id| (id, Member::new(format!("node-{id}"), format!("mem:{id}"))));
        cluster.node(NodeId(1)).initialize(members.collect()).await.unwrap();
        cluster
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn folder(&self, id: NodeId) -> &Path {
        self.nodes[&id].0.path()
    }

    pub(crate) fn others(&self, id: NodeId) -> Vec<NodeId> {
        self.ids().into_iter().filter(|&other| other != id).collect()
    }

    pub(crate) fn node(&self, id: NodeId) -> &RaftService {
        self.nodes[&id].1.as_ref().unwrap()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &RaftService> {
        self.nodes.values().filter_map(|(_, raft)| raft.as_ref())
    }

    pub(crate) async fn start_node(&mut self, id: NodeId) {
        let (directory, raft) = self.nodes.get_mut(&id).unwrap();
        let mut config = config(id, directory.path());
        (self.adjust)(&mut config);
        *raft = Some(RaftService::start(config, self.network.transport(id)).await.unwrap().0);
    }

    pub(crate) async fn stop_node(&mut self, id: NodeId) {
        let raft = self.nodes.get_mut(&id).unwrap().1.take().unwrap();
        raft.shutdown().await.unwrap();
    }

    /// A leader among `ids` that all of them follow.
    pub(crate) async fn leader_among(&self, ids: &[NodeId]) -> NodeId {
        poll_until("a leader that all follow", || {
            let statuses: Vec<_> = ids.iter().map(|&id| self.node(id).status()).collect();
            let leader = statuses.iter().find(|status| status.role == Role::Leader)?.node;
            let all_follow = statuses.iter().all(|status| {
                status.leader.as_ref().is_some_and(|known| known.id == leader)
                    && status.term == statuses[0].term
            });
            all_follow.then_some(leader)
        })
        .await
    }

    pub(crate) async fn leader(&self) -> NodeId {
        let running: Vec<_> = self.running().map(RaftService::node).collect();
        self.leader_among(&running).await
    }

    /// Proposes until a leader commits it. Each command is its own task, so repeating is harmless.
    pub(crate) async fn commit(&self, command: Command) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for raft in self.running().filter(|raft| raft.status().role == Role::Leader) {
                if let Ok(committed) = raft.propose(command.clone()).await {
                    committed.reply.unwrap();
                    return;
                }
            }
            assert!(Instant::now() < deadline, "nobody committed {command:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until all that run have applied the same, and compares their ledgers record by record.
    pub(crate) async fn assert_equal_ledgers(&self) {
        poll_until("all have applied the whole log", || {
            let statuses: Vec<_> = self.running().map(RaftService::status).collect();
            let last = statuses.iter().map(|status| status.last_log).max()?;
            statuses.iter().all(|status| status.applied == last && status.last_log == last).then_some(())
        })
        .await;
        let mut running = self.running();
        let first = running.next().unwrap();
        for other in running {
            assert_eq!(records(first), records(other), "nodes {} and {}", first.node(), other.node());
        }
    }
}
