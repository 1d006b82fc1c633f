//! The composition root: builds a role out of actors, and takes it down again.
//!
//! This is the one place that knows which parts a process has. Parts are started from the ledger upwards, so that nobody
//! speaks to somebody who is not there, and stopped the other way round.

mod coordinator;
mod core;
mod demo;
mod dev;
mod figures;
mod founding;
mod gateway;
mod lookout;
mod parts;
mod process;
mod signals;
mod worker;

pub use coordinator::run_coordinator;
pub use demo::run_demo;
pub use dev::run_dev;
pub use gateway::run_gateway;
pub use worker::run_worker;

use self::core::{Core, Files};
use crate::actors::cpu_pool::CpuPool;
use crate::actors::key_keeper::Workshop;
use crate::actors::prover_pool::ProverPool;
use crate::actors::raft_node::RaftNodeHandle;
use crate::actors::session::{Session, SessionHandle};
use crate::actors::tasks::TasksHandle;
use crate::config::Config;
use crate::http::{self, AppState, Readiness, RunningServer};
use crate::proof::KeyError;
use crate::raft::{AdminError, InProcessNetwork, Member, NodeId, RaftService, StartError};
use crate::sealing::DataKeyError;
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The ledger's door, the front desk and the prover must be there within this time, or something is wrong.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Of a shutdown's grace: what is kept for the time after the leases are finished, to flush and to close.
const CLOSING_SHARE: u32 = 4;

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A folder could not be made.
    #[error("cannot make folder {path}: {source}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The data key could not be had.
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    /// The folder of keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Raft did not start.
    #[error(transparent)]
    Raft(#[from] StartError),
    /// The Raft port could not be had.
    #[error(transparent)]
    Bind(#[from] crate::raft::BindError),
    /// The worker port could not be had.
    #[error(
        "cannot listen for workers on {address}: {source}; set grpc.port to a free port, or stop what uses this one"
    )]
    Grpc {
        /// What was wanted.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The cluster of one could not be founded.
    #[error("the cluster could not be founded: {0}")]
    Found(#[from] AdminError),
    /// A thread could not be started.
    #[error("cannot start threads: {0}")]
    Threads(#[source] std::io::Error),
    /// A configured value cannot be used.
    #[error("{0}")]
    Config(String),
    /// HTTP could not be served.
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// It did not become ready.
    #[error("the node did not become ready within {} s", READY_LIMIT.as_secs())]
    NotReady,
}

/// A whole node in one process: coordinator and worker behind one HTTP port.
pub struct Node {
    core: Core,
    session: SessionHandle,
    server: RunningServer,
    readiness: Readiness,
}

impl Node {
    /// Starts everything, and returns when the node takes tasks.
    ///
    /// Must be called within an actix system.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(config: &Config, metrics: PrometheusHandle) -> Result<Self, NodeError> {
        let files = Files::open(config)?;
        let (raft, events) = start_raft(config).await?;
        parts::build_proving_threads(config);
        let prover = Arc::new(parts::prover(files.store.clone(), config));
        // Keys are made beside proofs here: within what all of them may use.
        let workshop: Arc<dyn Workshop> = prover.clone();
        let core = Core::start(config, files, raft, events, Some(workshop)).await?;

        let slots = parts::slots(config);
        let profile = parts::profile(config, parts::Ahead::One)?;
        let pool = pool("prover", slots, profile.capacity as usize)?;
        let prover_pool = ProverPool::launch(&core.guardian, pool, prover).await;
        let session = Session::launch(&core.guardian, profile, core.registry.clone(), prover_pool).await;

        let readiness = Readiness::starting();
        let (tasks, cluster) = (core.tasks.clone(), core.cluster.clone());
        let state = AppState::new(tasks, cluster, parts::admin_gate(config)?, readiness.clone(), metrics)
            .with_backups(core.backups.clone())
            .with_sources(core.figures(config));
        let server = http::start(&parts::http_options(config), state)?;
        let node = Self { core, session, server, readiness };
        tokio::time::timeout(READY_LIMIT, node.ready()).await.map_err(|_| NodeError::NotReady)?;
        node.readiness.set_ready();
        Ok(node)
    }

    /// Comes back when tasks can be taken and proved.
    async fn ready(&self) {
        self.session.registered().await;
    }

    /// Where HTTP is served.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// The front desk.
    #[must_use]
    pub const fn tasks(&self) -> &TasksHandle {
        &self.core.tasks
    }

    /// The ledger's door.
    #[must_use]
    pub const fn raft_node(&self) -> &RaftNodeHandle {
        &self.core.raft_node
    }

    /// Comes back when the node cannot go on: an actor that was given up, a server that ended, Raft's fatal error.
    pub async fn failed(&mut self) -> String {
        tokio::select! {
            error = self.core.failed() => error,
            error = ended(&mut self.server) => error,
        }
    }

    /// Takes the node down within about `grace`: not ready any more, leases finished or given back, requests answered,
    /// state flushed.
    pub async fn shutdown(self, grace: Duration) {
        self.readiness.set_draining();
        let closing = grace / CLOSING_SHARE;
        self.session.drain(grace.saturating_sub(closing)).await;
        if tokio::time::timeout(closing, self.server.stop()).await.is_err() {
            tracing::warn!("some HTTP connections did not end in time");
        }
        self.core.stop().await;
    }
}

/// Why the HTTP server has ended, which it does by itself only when something is wrong.
async fn ended(server: &mut RunningServer) -> String {
    match server.ended().await {
        Ok(()) => "the HTTP server has ended".to_owned(),
        Err(error) => format!("the HTTP server has failed: {error}"),
    }
}

fn pool(name: &'static str, threads: usize, queue: usize) -> Result<CpuPool, NodeError> {
    CpuPool::start(name, threads, queue).map_err(NodeError::Threads)
}

async fn start_raft(config: &Config) -> Result<(RaftService, crate::raft::EventStream), NodeError> {
    let id = NodeId(1);
    let raft_config = parts::raft_config(id, config);
    let (raft, events) = RaftService::start(raft_config, InProcessNetwork::default().transport(id)).await?;
    let address = config.raft.advertise_address.to_string();
    let member = Member::new(config.raft.node_id.as_str(), address);
    raft.initialize(BTreeMap::from([(id, member)])).await?;
    Ok((raft, events))
}
