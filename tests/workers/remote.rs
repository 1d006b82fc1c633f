//! A worker port in front of a rig, and a worker's side that reaches it over TCP.

use crate::support::{Rig, profile};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use zkpnet::actors::cpu_pool::CpuPool;
use zkpnet::actors::guardian::{Guardian, GuardianHandle};
use zkpnet::actors::prover_pool::{ProofMaker, ProverPool, ProverPoolHandle};
use zkpnet::actors::session::{Session, SessionHandle};
use zkpnet::proof::KeyStore;
use zkpnet::raft::NodeId;
use zkpnet::rpc::{ClientOptions, RemoteCoordinator, RunningRpc, ServeOptions, Topology, serve};
use zkpnet::tls::{ClusterToken, TlsMaterial};

/// What a worker port may be given.
#[derive(Default)]
pub(crate) struct Guards {
    pub(crate) token: Option<ClusterToken>,
    pub(crate) tls: Option<TlsMaterial>,
}

/// A listener on a free port of this machine.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// Serves one rig of a cluster, whose ports are these.
pub(crate) fn open(
    rig: &Rig,
    listener: TcpListener,
    ports: &BTreeMap<u64, SocketAddr>,
    keys: &Path,
    guards: Guards,
) -> RunningRpc {
    let (raft, ports) = (rig.raft.clone(), ports.clone());
    let address = move |node: NodeId| ports.get(&node.0).map(ToString::to_string);
    let topology = move || Topology {
        leader_grpc: raft.status().leader.and_then(|leader| address(leader.id)),
        all_grpc: (1..=3).filter_map(|number| address(NodeId(number))).collect(),
    };
    let Guards { token, tls } = guards;
    let keys = KeyStore::open(keys).unwrap();
    let registry = rig.registry.clone();
    serve(listener, ServeOptions { registry, keys, topology: Arc::new(topology), token, tls }).unwrap()
}

/// Serves the rig of a cluster of one.
pub(crate) async fn open_one(rig: &Rig, keys: &Path, guards: Guards) -> RunningRpc {
    let (listener, addr) = listener().await;
    open(rig, listener, &BTreeMap::from([(1, addr)]), keys, guards)
}

/// Reaches coordinators, first of all this one.
pub(crate) fn reach(addr: &SocketAddr, guards: Guards) -> RemoteCoordinator {
    let Guards { token, tls } = guards;
    RemoteCoordinator::new(ClientOptions { coordinators: vec![addr.to_string()], token, tls }).unwrap()
}

/// A worker as its process has it.
pub(crate) struct Remote {
    pub(crate) session: SessionHandle,
    pub(crate) coordinator: RemoteCoordinator,
    pub(crate) pool: ProverPoolHandle,
    pub(crate) guardian: GuardianHandle,
}

impl Remote {
    /// A worker that makes one proof at a time.
    pub(crate) async fn start(
        name: &str,
        coordinator: RemoteCoordinator,
        prover: Arc<dyn ProofMaker>,
    ) -> Self {
        let (guardian, _) = Guardian::launch();
        let threads = CpuPool::start("prover", 1, 8).unwrap();
        let pool = ProverPool::launch(&guardian, threads, prover).await;
        let session = Session::launch(&guardian, profile(name), coordinator.clone(), pool.clone()).await;
        Self { session, coordinator, pool, guardian }
    }

    /// Ends it, as a process does after its drain.
    pub(crate) async fn end(self) {
        self.session.drain(Duration::from_secs(5)).await;
        self.guardian.retire().await;
    }
}
