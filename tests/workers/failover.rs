//! Three coordinators: a worker that was told of one follows the leader, and loses nothing when it changes.

use crate::provers::{Gate, real_prover, shared_keys};
use crate::remote::{Guards, Remote, listener, open, reach};
use crate::support::{LONG_LEASE, Options, Rig, Worker, members, poll_until};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use zkpnet::actors::session::{CallError, Coordinator};
use zkpnet::actors::worker_registry::{News, Report};
use zkpnet::ledger::{Attempt, TaskId, TaskStatus, WorkerId};
use zkpnet::raft::{InProcessNetwork, NodeId};
use zkpnet::rpc::RunningRpc;

struct Three {
    network: InProcessNetwork,
    rigs: Vec<Rig>,
    ports: Vec<Option<RunningRpc>>,
    addresses: BTreeMap<u64, SocketAddr>,
}

impl Three {
    async fn start(folder: &Path, lease: Duration) -> Self {
        let network = InProcessNetwork::default();
        let (mut rigs, mut listeners) = (Vec::new(), Vec::new());
        for number in 1..=3 {
            let options = Options { lease, ..Options::default() };
            rigs.push(Rig::member(number, folder, &network, Worker::None, options).await);
            listeners.push(listener().await);
        }
        let addresses: BTreeMap<u64, SocketAddr> = (1..).zip(listeners.iter().map(|l| l.1)).collect();
        let served = rigs.iter().zip(listeners);
        let ports = served.map(|(rig, (listener, _))| {
            Some(open(rig, listener, &addresses, shared_keys(), Guards::default()))
        });
        let ports = ports.collect();
        rigs[0].raft.initialize(members(3)).await.unwrap();
        Self { network, rigs, ports, addresses }
    }

    async fn leader(&self, may: impl Fn(usize) -> bool) -> usize {
        poll_until("somebody leads", async || {
            self.rigs.iter().enumerate().position(|(place, rig)| may(place) && rig.scheduler.is_enabled())
        })
        .await
    }

    fn address(&self, place: usize) -> SocketAddr {
        self.addresses[&(place as u64 + 1)]
    }

    /// The coordinator is gone, for the others and for workers.
    async fn crash(&mut self, place: usize) {
        self.network.isolate(NodeId(place as u64 + 1), (1..=3).map(NodeId));
        self.ports[place].take().unwrap().stop(Duration::ZERO).await;
    }

    async fn end(self) {
        for port in self.ports.into_iter().flatten() {
            port.stop(Duration::ZERO).await;
        }
        for rig in &self.rigs {
            rig.guardian.retire().await;
            rig.raft.shutdown().await.unwrap();
        }
    }
}

#[actix_rt::test]
async fn a_worker_that_was_told_of_a_follower_finds_the_leader() {
    let folder = tempfile::tempdir().unwrap();
    let three = Three::start(folder.path(), LONG_LEASE).await;
    let leader = three.leader(|_| true).await;
    let follower = three.address((leader + 1) % 3);
    poll_until("the follower knows the leader", async || three.rigs[(leader + 1) % 3].raft.status().leader)
        .await;
    // In words that the first releases had, and that the client follows.
    let coordinator = reach(&follower, Guards::default());
    let report = Report {
        worker: WorkerId::new("worker-1").unwrap(),
        task: TaskId(uuid::Uuid::from_u128(1)),
        attempt: Attempt(1),
        news: News::Started,
        trace: None,
    };
    match Coordinator::report(&coordinator, report).await {
        Err(CallError::Unavailable(text)) => {
            let leader = three.address(leader);
            assert_eq!(text, format!("{follower}: not leader, connect to: {leader}"));
        }
        other => panic!("{other:?}"),
    }
    let remote = Remote::start("worker-1", reach(&follower, Guards::default()), real_prover()).await;
    remote.session.registered().await;
    assert_eq!(remote.coordinator.registered_with(), Some(three.address(leader).to_string()));
    let task = three.rigs[leader].submit(1).await;
    assert_eq!(three.rigs[leader].ended(task).await.task.status(), TaskStatus::Completed);
    three.end().await;
}

/// The proof is finished while there is no leader. Nobody restarts the worker, and it was told of one coordinator only: the
/// one that is gone.
#[actix_rt::test]
async fn a_proof_that_is_finished_during_a_failover_is_taken_by_the_next_leader() {
    let folder = tempfile::tempdir().unwrap();
    let mut three = Three::start(folder.path(), LONG_LEASE).await;
    let old = three.leader(|_| true).await;
    let gate = Gate::closed();
    let coordinator = reach(&three.address(old), Guards::default());
    let remote = Remote::start("worker-1", coordinator, gate.prover()).await;
    let task = three.rigs[old].submit(1).await;
    three.rigs[old]
        .ledger_says("it has begun", |ledger| {
            (ledger.task(task)?.status() == TaskStatus::InProgress).then_some(())
        })
        .await;
    three.crash(old).await;
    gate.open();
    let new = three.leader(|place| place != old).await;
    let view = three.rigs[new].ended(task).await;
    assert_eq!((view.task.status(), view.task.attempts.len()), (TaskStatus::Completed, 1));
    poll_until("the worker follows", async || {
        (remote.coordinator.registered_with() == Some(three.address(new).to_string())).then_some(())
    })
    .await;
    let another = three.rigs[new].submit(2).await;
    assert_eq!(three.rigs[new].ended(another).await.task.status(), TaskStatus::Completed);
    three.end().await;
}
