//! What every node that holds the ledger has: the front desk, the scheduler, the registry of workers, the verifier and the
//! keeper of keys, over a Raft that runs. Whether the workers are in the same process or far away is not its concern.

use super::figures::NodeFigures;
use super::{NodeError, parts, pool};
use crate::actors::archivist::Archivist;
use crate::actors::clock::Clock;
use crate::actors::cluster_desk::{ClusterDesk, ClusterDeskHandle};
use crate::actors::guardian::{GivenUp, Guardian, GuardianHandle};
use crate::actors::key_keeper::{KeyKeeper, KeyMaker, Workshop};
use crate::actors::key_spread::KeySpread;
use crate::actors::raft_node::{RaftNode, RaftNodeHandle};
use crate::actors::scheduler::Scheduler;
use crate::actors::tasks::{Tasks, TasksHandle, TasksParts};
use crate::actors::verifier::Verifier;
use crate::actors::worker_registry::{WorkerRegistry, WorkerRegistryHandle};
use crate::backup::BackupDesk;
use crate::config::Config;
use crate::proof::KeyStore;
use crate::raft::{EventStream, RaftService};
use crate::sealing::DataKey;
use crate::telemetry::Source;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Large trees that may wait to be hashed; each holds megabytes.
const TREE_QUEUE: usize = 8;
/// Submissions that may wait to be reduced.
const REDUCER_QUEUE: usize = 256;
/// Threads that read and check the files of keys for other nodes, and what may wait for them.
const KEY_FILE_THREADS: usize = 2;
const KEY_FILE_QUEUE: usize = 64;

/// What is opened before Raft starts, so that a node that lacks a file says so before it takes part in anything.
pub(super) struct Files {
    pub(super) data_key: DataKey,
    pub(super) store: KeyStore,
}

impl Files {
    /// Makes the folders, and opens or makes the data key and the folder of proving keys.
    pub(super) fn open(config: &Config) -> Result<Self, NodeError> {
        let data_dir = &config.storage.data_dir;
        make_folder(data_dir)?;
        parts::raise_file_limit();
        let key_file = config.storage.key_file.clone().unwrap_or_else(|| data_dir.join("data.key"));
        make_folder(&config.raft.data_dir)?;
        let data_key = DataKey::for_store(&key_file, &config.raft.data_dir.join("data-key.id"))?;
        Ok(Self { data_key, store: KeyStore::open(&config.storage.keys_dir)? })
    }
}

/// The parts, running.
pub(super) struct Core {
    pub(super) raft: RaftService,
    pub(super) raft_node: RaftNodeHandle,
    pub(super) registry: WorkerRegistryHandle,
    pub(super) tasks: TasksHandle,
    pub(super) cluster: ClusterDeskHandle,
    pub(super) store: KeyStore,
    pub(super) backups: BackupDesk,
    pub(super) guardian: GuardianHandle,
    clock: Clock,
    given_up: mpsc::Receiver<GivenUp>,
}

impl Core {
    /// Starts everything on a Raft that runs, from the ledger upwards. Keys are made in the workshop, if there is one.
    pub(super) async fn start(
        config: &Config,
        files: Files,
        raft: RaftService,
        events: EventStream,
        workshop: Option<Arc<dyn Workshop>>,
    ) -> Result<Self, NodeError> {
        let Files { data_key, store } = files;
        let backups = BackupDesk::new(raft.clone(), store.clone(), data_key.print());
        let (guardian, given_up) = Guardian::launch();
        let clock = Clock::start();
        let raft_node = RaftNode::launch(&guardian, raft.clone(), events, clock.clone()).await;
        let verifier_pool =
            pool("verifier", config.verifier.threads as usize, config.verifier.queue as usize)?;
        let verifier = Verifier::launch(&guardian, verifier_pool).await;
        let times = parts::lease_times(config);
        let registry =
            WorkerRegistry::launch(&guardian, raft_node.clone(), verifier.clone(), data_key.clone(), times)
                .await;
        let scheduler =
            Scheduler::launch(&guardian, raft_node.clone(), registry.clone(), parts::policy(config)).await;
        let archivist = Archivist::launch(
            &guardian,
            raft_node.clone(),
            raft.clone(),
            parts::archive(config)?,
            config.coordinator.id.as_str().to_owned(),
        )
        .await;
        let desk = TasksParts {
            coordinator_id: config.coordinator.id.as_str().to_owned(),
            node_id: config.raft.node_id.as_str().to_owned(),
            raft: raft_node.clone(),
            verifier,
            scheduler,
            archivist,
            room: parts::disk_room(config)?,
            reducer: pool("reducer", 1, REDUCER_QUEUE)?,
            tree_builder: pool("tree-builder", 1, TREE_QUEUE)?,
            data_key,
        };
        let tasks = Tasks::launch(&guardian, desk).await;
        let key_files = pool("key-files", KEY_FILE_THREADS, KEY_FILE_QUEUE)?;
        let spread = KeySpread::new(raft.clone(), store.clone(), key_files);
        raft.set_key_shelf(Arc::new(spread.clone()));
        let preload = parts::preload(config)?;
        let mut key_maker = KeyMaker::from(pool("key-maker", 1, 1)?);
        if let Some(workshop) = workshop {
            key_maker = key_maker.within(workshop);
        }
        KeyKeeper::launch(&guardian, raft_node.clone(), store.clone(), key_maker, spread, preload).await;
        let cluster = ClusterDesk::launch(&guardian, raft.clone()).await;
        Ok(Self { raft, raft_node, registry, tasks, cluster, store, backups, guardian, clock, given_up })
    }

    /// What `/metrics` asks for.
    pub(super) fn figures(&self, config: &Config) -> Vec<Box<dyn Source>> {
        let (raft, clock) = (self.raft.clone(), self.clock.clone());
        vec![Box::new(NodeFigures { raft, clock, data_dir: config.raft.data_dir.clone() })]
    }

    /// Comes back when the node cannot go on: an actor that was given up, or Raft's fatal error.
    pub(super) async fn failed(&mut self) -> String {
        let mut status = self.raft.watch_status();
        let raft_failed = async {
            match status.wait_for(|status| status.fatal.is_some()).await {
                Ok(status) => status.fatal.clone().unwrap_or_default(),
                Err(_) => "raft has stopped".to_owned(),
            }
        };
        tokio::select! {
            Some(given_up) = self.given_up.recv() => given_up.to_string(),
            error = raft_failed => error,
        }
    }

    /// Has another voter lead, when this node leads others.
    pub(super) async fn hand_over(&self) {
        if !self.raft.status().is_leading() || self.raft.members().len() < 2 {
            return;
        }
        match self.raft.transfer_leadership(None).await {
            Ok(to) => tracing::info!(%to, "handed the leadership over"),
            Err(error) => tracing::warn!(%error, "the leadership was not handed over"),
        }
    }

    /// Ends the actors, then Raft, which makes everything durable.
    pub(super) async fn stop(self) {
        self.guardian.retire().await;
        if let Err(error) = self.raft.shutdown().await {
            // What was acknowledged is in the log all the same.
            tracing::error!(%error, "raft did not stop in order");
        }
    }
}

fn make_folder(path: &Path) -> Result<(), NodeError> {
    std::fs::create_dir_all(path).map_err(|source| NodeError::Folder { path: path.into(), source })
}
