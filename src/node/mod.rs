//! The composition root: builds a role out of actors, and takes it down again.
//!
//! This is the one place that knows which parts a process has. Parts are started from the ledger upwards, so that nobody
//! speaks to somebody who is not there, and stopped the other way round.

mod demo;
mod dev;
mod gateway;
mod parts;

pub use demo::run_demo;
pub use dev::run_dev;
pub use gateway::run_gateway;

use crate::actors::clock::Clock;
use crate::actors::cpu_pool::CpuPool;
use crate::actors::guardian::{GivenUp, Guardian, GuardianHandle};
use crate::actors::key_keeper::KeyKeeper;
use crate::actors::prover_pool::{Groth16Prover, ProverPool};
use crate::actors::raft_node::{RaftNode, RaftNodeHandle};
use crate::actors::scheduler::Scheduler;
use crate::actors::session::{Session, SessionHandle};
use crate::actors::tasks::{Tasks, TasksHandle, TasksParts};
use crate::actors::verifier::Verifier;
use crate::actors::worker_registry::WorkerRegistry;
use crate::config::Config;
use crate::http::{self, AppState, Readiness, RunningServer};
use crate::proof::{KeyError, KeyStore};
use crate::raft::{AdminError, InProcessNetwork, Member, NodeId, RaftService, StartError};
use crate::sealing::{DataKey, DataKeyError};
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Large trees that may wait to be hashed; each holds megabytes.
const TREE_QUEUE: usize = 8;
/// Submissions that may wait to be reduced.
const REDUCER_QUEUE: usize = 256;
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
    raft: RaftService,
    raft_node: RaftNodeHandle,
    tasks: TasksHandle,
    session: SessionHandle,
    guardian: GuardianHandle,
    given_up: mpsc::Receiver<GivenUp>,
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
        let data_dir = &config.storage.data_dir;
        make_folder(data_dir)?;
        parts::raise_file_limit();
        let key_file = config.storage.key_file.clone().unwrap_or_else(|| data_dir.join("data.key"));
        make_folder(&config.raft.data_dir)?;
        let data_key = DataKey::for_store(&key_file, &config.raft.data_dir.join("data-key.id"))?;
        let store = KeyStore::open(&config.storage.keys_dir)?;
        let (raft, events) = start_raft(config).await?;
        let (guardian, given_up) = Guardian::launch();
        let pool = |name, threads, queue| CpuPool::start(name, threads, queue).map_err(NodeError::Threads);

        let raft_node = RaftNode::launch(&guardian, raft.clone(), events, Clock::start()).await;
        let verifier_pool =
            pool("verifier", config.verifier.threads as usize, config.verifier.queue as usize)?;
        let verifier = Verifier::launch(&guardian, verifier_pool).await;
        let times = parts::lease_times(config);
        let registry =
            WorkerRegistry::launch(&guardian, raft_node.clone(), verifier.clone(), data_key.clone(), times)
                .await;
        let scheduler =
            Scheduler::launch(&guardian, raft_node.clone(), registry.clone(), parts::policy(config)).await;
        let parts = TasksParts {
            coordinator_id: config.coordinator.id.as_str().to_owned(),
            node_id: config.raft.node_id.as_str().to_owned(),
            raft: raft_node.clone(),
            verifier,
            scheduler,
            reducer: pool("reducer", 1, REDUCER_QUEUE)?,
            tree_builder: pool("tree-builder", 1, TREE_QUEUE)?,
            data_key,
        };
        let tasks = Tasks::launch(&guardian, parts).await;
        let preload = parts::preload(config)?;
        KeyKeeper::launch(
            &guardian,
            raft_node.clone(),
            store.clone(),
            pool("key-maker", 1, 1)?,
            preload.clone(),
        )
        .await;

        parts::build_proving_threads(config);
        let slots = parts::slots(config);
        let profile = parts::profile(config)?;
        let prover = Arc::new(Groth16Prover::new(store));
        let prover_pool =
            ProverPool::launch(&guardian, pool("prover", slots, profile.capacity as usize)?, prover).await;
        let session = Session::launch(&guardian, profile, registry, prover_pool).await;

        let readiness = Readiness::starting();
        let state = AppState::new(tasks.clone(), readiness.clone(), metrics);
        let server = http::start(&parts::http_options(config), state)?;
        let node = Self { raft, raft_node, tasks, session, guardian, given_up, server, readiness };
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
        &self.tasks
    }

    /// The ledger's door.
    #[must_use]
    pub const fn raft_node(&self) -> &RaftNodeHandle {
        &self.raft_node
    }

    /// Comes back when the node cannot go on: an actor that was given up, a server that ended, Raft's fatal error.
    pub async fn failed(&mut self) -> String {
        let mut status = self.raft.watch_status();
        let raft_failed = async {
            match status.wait_for(|status| status.fatal.is_some()).await {
                Ok(status) => status.fatal.clone().unwrap_or_default(),
                Err(_) => "raft has stopped".to_owned(),
            }
        };
        tokio::select! {
            Some(given_up) = self.given_up.recv() => given_up.to_string(),
            ended = self.server.ended() => match ended {
                Ok(()) => "the HTTP server has ended".to_owned(),
                Err(error) => format!("the HTTP server has failed: {error}"),
            },
            error = raft_failed => error,
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
        self.guardian.retire().await;
        if let Err(error) = self.raft.shutdown().await {
            // What was acknowledged is in the log all the same.
            tracing::error!(%error, "raft did not stop in order");
        }
    }
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

fn make_folder(path: &Path) -> Result<(), NodeError> {
    std::fs::create_dir_all(path).map_err(|source| NodeError::Folder { path: path.into(), source })
}
