//! The thread that Raft lives on, from opening the files to letting go of them. Its runtime serves nothing else, so that
//! neither a slow request nor a proof can keep a heartbeat waiting.

use super::batcher::{BatchLimits, Batcher, Proposal};
use super::local::{Gate, Local, Mute, NodeAbout, Timing};
use super::peers::PeerBoard;
use super::status::{self, QuorumClock, RaftStatus, Stores};
use crate::raft::config::RaftConfig;
use crate::raft::endpoint::PeerEndpoint;
use crate::raft::error::{AdminError, StartError, StoreError};
use crate::raft::events::{self, EventStream};
use crate::raft::guard;
use crate::raft::log_store::{LogLimits, LogProgress, LogStore};
use crate::raft::members;
use crate::raft::network::Links;
use crate::raft::refound;
use crate::raft::state_machine::{LedgerReader, StateMachine};
use crate::raft::transport::{LeaderHeard, PeerTransport};
use crate::raft::types::{ClusterId, Member, NodeId, Raft};
use openraft::error::{InitializeError, RaftError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Two: openraft's core on one, applying, replication and batching on the other.
const WORKER_THREADS: usize = 2;
/// How often the log's size is looked at.
const LOG_SIZE_EVERY: Duration = Duration::from_millis(250);
/// How often the size of all files is looked at.
const FILES_SIZE_EVERY: Duration = Duration::from_secs(5);

/// What is asked of the thread.
pub(super) enum Control {
    Initialize { members: BTreeMap<NodeId, Member>, answer: oneshot::Sender<Result<ClusterId, AdminError>> },
    Shutdown,
}

/// What the thread hands out once Raft runs.
pub(super) struct Started {
    pub(super) local: Arc<Local>,
    pub(super) runtime: Handle,
    pub(super) status: watch::Receiver<RaftStatus>,
    pub(super) events: EventStream,
}

pub(super) struct RaftThread {
    pub(super) config: RaftConfig,
    pub(super) transport: Arc<dyn PeerTransport>,
    pub(super) proposals: mpsc::Receiver<Proposal>,
    pub(super) control: mpsc::Receiver<Control>,
}

/// The parts that use the files.
struct Running {
    raft: Raft,
    log: LogStore,
    machine: StateMachine,
    batcher: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

impl RaftThread {
    /// Runs Raft until it is told to stop, or nobody is left to tell it.
    pub(super) fn run(
        mut self,
        started: oneshot::Sender<Result<Started, StartError>>,
        ended: watch::Sender<Option<Result<(), AdminError>>>,
    ) {
        let runtime = match self.runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = started.send(Err(StartError::Thread(error)));
                return;
            }
        };
        let result = runtime.block_on(self.start(runtime.handle().clone()));
        let (running, ledger) = match result {
            Ok((running, handed_out)) => {
                let ledger = handed_out.local.stores.ledger.clone();
                if started.send(Ok(handed_out)).is_err() {
                    tracing::debug!("nobody waited for raft to start");
                }
                (running, ledger)
            }
            Err(error) => {
                runtime.shutdown_timeout(self.config.shutdown_time_limit);
                let _ = started.send(Err(error));
                return;
            }
        };
        let deadline = runtime.block_on(async {
            self.serve(&running).await;
            Instant::now() + self.config.shutdown_time_limit
        });
        let flushed = runtime.block_on(self.stop(running, deadline));
        runtime.shutdown_timeout(deadline.saturating_duration_since(Instant::now()));
        let closed = await_closed(&ledger, deadline);
        let _ = ended.send(Some(flushed.and(closed)));
    }

    fn runtime(&self) -> std::io::Result<Runtime> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKER_THREADS)
            .thread_name(format!("raft-{}-rt", self.config.node))
            .enable_all()
            .build()
    }

    async fn start(&mut self, runtime: Handle) -> Result<(Running, Started), StartError> {
        let openraft_config = Arc::new(self.config.to_openraft()?);
        let (sink, events) = events::channel(self.config.events_waiting_max as usize);
        let (log, machine) = open(&self.config, sink).await?;
        let mute = Mute::default();
        let links = Links {
            node: self.config.node,
            transport: self.transport.clone(),
            retry_pause: self.config.heartbeat,
            mute: mute.clone(),
        };
        let raft = Raft::new(self.config.node, openraft_config, links, log.clone(), machine.clone()).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        let local = Arc::new(self.local(raft.clone(), &log, &machine, mute));
        self.transport.serve(PeerEndpoint::new(local.clone()));

        let (publisher, status) = watch::channel(local.status());
        let (unused, proposals) = (mpsc::channel(1).1, &mut self.proposals);
        let limits = BatchLimits {
            commands_max: self.config.entry_commands_max as usize,
            bytes_max: self.config.entry_bytes_max,
            in_flight_max: self.config.entries_in_flight_max as usize,
            time_limit: self.config.proposal_time_limit,
        };
        let batcher = Batcher::new(raft.clone(), std::mem::replace(proposals, unused), limits);
        let tasks = vec![
            tokio::spawn(local.quorum.clone().follow(raft.metrics())),
            tokio::spawn(status::publish(
                raft.metrics(),
                local.stores.clone(),
                local.quorum.clone(),
                publisher,
            )),
            tokio::spawn(guard::run(local.clone())),
            tokio::spawn(members::look_after(local.clone())),
            tokio::spawn(measure_files(local.clone(), self.config.directory.clone())),
            tokio::spawn(bound_log(raft.clone(), log.progress(), self.config.clone())),
            tokio::spawn(learn_cluster(raft.clone(), log.clone())),
        ];
        let started = Started { local, runtime, status, events };
        Ok((Running { raft, log, machine, batcher: tokio::spawn(batcher.run()), tasks }, started))
    }

    fn local(&self, raft: Raft, log: &LogStore, machine: &StateMachine, mute: Mute) -> Local {
        let timing = Timing::new(&self.config);
        Local {
            node: self.config.node,
            metrics: raft.metrics(),
            raft,
            stores: Stores { log: log.progress(), ledger: machine.reader() },
            transport: self.transport.clone(),
            timing,
            heard: LeaderHeard::default(),
            quorum: QuorumClock::new(timing.lease()),
            peers: PeerBoard::default(),
            gate: Gate::default(),
            mute,
            admin: tokio::sync::Mutex::new(()),
            admitted: Mutex::default(),
            shelf: Mutex::default(),
            about: Mutex::new(NodeAbout::default()),
            store_bytes: AtomicU64::new(0),
            snapshot_bytes_max: self.config.snapshot_bytes_max,
        }
    }

    async fn serve(&mut self, running: &Running) {
        while let Some(Control::Initialize { members, answer }) = self.control.recv().await {
            let _ = answer.send(initialize(running, self.config.node, members).await);
        }
    }

    /// Ends Raft first, then makes what it applied durable. Whatever hangs is left behind at the deadline.
    async fn stop(&self, running: Running, deadline: Instant) -> Result<(), AdminError> {
        let late = || AdminError::Store("raft did not stop in time".to_owned());
        let Running { raft, log, machine, batcher, tasks } = running;
        batcher.abort();
        self.transport.close();
        let stopped =
            tokio::time::timeout_at(deadline.into(), raft.shutdown()).await.map_err(|_| late()).map(drop);
        tasks.iter().for_each(JoinHandle::abort);
        drop(log);
        let flush = tokio::task::spawn_blocking(move || machine.flush());
        let flushed = tokio::time::timeout_at(deadline.into(), flush).await;
        let flushed = match flushed {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(AdminError::Store(error.to_string())),
            Ok(Err(error)) => Err(AdminError::Store(error.to_string())),
            Err(_) => Err(late()),
        };
        stopped.and(flushed)
    }
}

/// Opens both files and sees whether they belong together.
async fn open(config: &RaftConfig, sink: events::EventSink) -> Result<(LogStore, StateMachine), StartError> {
    let (directory, node, bytes_max) = (config.directory.clone(), config.node, config.snapshot_bytes_max);
    let limits = LogLimits {
        cache_bytes_max: config.log_cache_bytes_max,
        message_bytes_max: config.message_bytes_max,
    };
    let open = move || {
        make_directory(&directory)?;
        refound::refuse_unfinished(&directory)?;
        let log = LogStore::open(&directory.join("raft.redb"), node, limits)?;
        let machine = StateMachine::open(&directory, bytes_max, sink)?;
        let (purged, applied) = (log.progress().purged(), machine.applied());
        if purged > applied {
            return Err(StartError::Store(StoreError::Inconsistent {
                file: directory.join("ledger.redb"),
                detail: format!(
                    "it ends at {applied:?}, and the log has dropped what follows, up to {purged:?}"
                ),
            }));
        }
        Ok((log, machine))
    };
    tokio::task::spawn_blocking(open).await.unwrap_or_else(|error| Err(StartError::Thread(error.into())))
}

fn make_directory(directory: &Path) -> Result<(), StoreError> {
    std::fs::create_dir_all(directory).map_err(|source| StoreError::File {
        file: directory.to_owned(),
        doing: "creating",
        source,
    })
}

/// Founds the cluster, if there is none yet.
async fn initialize(
    running: &Running,
    node: NodeId,
    mut members: BTreeMap<NodeId, Member>,
) -> Result<ClusterId, AdminError> {
    let Running { raft, log, .. } = running;
    let is_initialized = raft.is_initialized().await.map_err(|_| AdminError::Stopped)?;
    let cluster = match log.progress().cluster() {
        Some(cluster) => cluster,
        None if is_initialized => {
            return Err(AdminError::Refused("this node is being admitted to a cluster already".to_owned()));
        }
        None => ClusterId::random().map_err(|error| AdminError::Store(error.to_string()))?,
    };
    if is_initialized {
        return Ok(cluster);
    }
    if let Some(id) = members.keys().find(|id| id.0 > members::FOUNDERS_MAX) {
        let max = members::FOUNDERS_MAX;
        return Err(AdminError::Refused(format!("a founder's number is at most {max}, and not {id}")));
    }
    // Before the first entry: a founding that was cut short goes on under the same name.
    log.join_cluster(cluster).await.map_err(|error| AdminError::Store(error.to_string()))?;
    for (&id, member) in &mut members {
        member.cluster = Some(cluster);
        if id == node {
            member.store = Some(log.store_id());
        }
    }
    match raft.initialize(members).await {
        Ok(()) => {
            tracing::info!(%cluster, "Raft cluster bootstrapped successfully");
            Ok(cluster)
        }
        Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(cluster),
        Err(RaftError::APIError(error)) => Err(AdminError::Refused(error.to_string())),
        Err(RaftError::Fatal(_)) => Err(AdminError::Stopped),
    }
}

/// Records the cluster that the membership names; a node that finds itself in two of them stops.
async fn learn_cluster(raft: Raft, log: LogStore) {
    let mut metrics = raft.server_metrics();
    loop {
        let named =
            metrics.borrow_and_update().membership_config.nodes().find_map(|(_, member)| member.cluster);
        if let Some(cluster) = named
            && let Err(error) = log.join_cluster(cluster).await
        {
            tracing::error!(%error, "raft stops: this node's store is of another cluster");
            log.progress().fail(&error);
            let _ = raft.shutdown().await;
            return;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Has a snapshot built when the log has grown by too many bytes since the last one, and drops entries that a snapshot
/// covers when those kept for followers are too many bytes. openraft counts entries only, and entries differ in size.
async fn bound_log(raft: Raft, log: LogProgress, config: RaftConfig) {
    let metrics = raft.data_metrics();
    let mut asked_at_snapshot = None;
    loop {
        tokio::time::sleep(LOG_SIZE_EVERY).await;
        let snapshot = metrics.borrow().snapshot.map(|id| id.index);
        let is_due =
            log.bytes_after(snapshot) > config.snapshot_after_bytes && asked_at_snapshot != Some(snapshot);
        if is_due {
            asked_at_snapshot = Some(snapshot);
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
        let purge = snapshot.and_then(|snapshot| log.purge_point(snapshot, config.snapshot_after_bytes));
        if let Some(upto) = purge
            && raft.trigger().purge_log(upto).await.is_err()
        {
            return;
        }
    }
}

/// Keeps the size of the files up to date for reports.
async fn measure_files(local: Arc<Local>, directory: PathBuf) {
    loop {
        let folders = [directory.clone(), directory.join("snapshots")];
        let measured =
            tokio::task::spawn_blocking(move || folders.iter().map(|folder| folder_bytes(folder)).sum());
        if let Ok(bytes) = measured.await {
            local.store_bytes.store(bytes, Ordering::Relaxed);
        }
        tokio::time::sleep(FILES_SIZE_EVERY).await;
    }
}

/// The bytes of a folder's files. A file that goes away meanwhile has none.
fn folder_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .filter(|data| data.is_file())
        .map(|data| data.len())
        .sum()
}

/// Waits until the last use of the ledger's file has ended, so that whoever waits for the end may open it again.
fn await_closed(ledger: &LedgerReader, deadline: Instant) -> Result<(), AdminError> {
    while !ledger.is_closed() {
        if Instant::now() >= deadline {
            return Err(AdminError::Store("a read of ledger.redb did not end in time".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
