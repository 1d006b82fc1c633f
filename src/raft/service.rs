//! A node's Raft as the rest of zkpnet uses it: a cloneable handle that may be used from any thread and any runtime.
//!
//! Owned here: Raft's thread ([`thread`]), the batching of proposals ([`batcher`]), current reads ([`read`]), what is said
//! of Raft's state ([`status`]), and the management of the cluster ([`manage`]). Every call is bounded in time, and every refusal says whether the command may still take effect.

mod batcher;
mod freeze;
pub(super) mod local;
mod manage;
mod outcomes;
pub(super) mod peers;
mod read;
pub(super) mod status;
mod thread;

pub use batcher::Committed;
pub use local::NodeAbout;
pub use status::{RaftStatus, Role};

use super::config::RaftConfig;
use super::error::{AdminError, ProposeError, ReadError, StartError, StoreError};
use super::events::EventStream;
use super::files::lock;
use super::transfer::Waiting;
use super::transport::PeerTransport;
use super::types::{ClusterId, Member, NodeId, StoreId};
use crate::codec;
use crate::ledger::{BodyKey, Command, Ledger, LogIndex};
use batcher::{Answer, Proposal};
use local::Local;
use outcomes::Outcomes;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use thread::{Control, RaftThread, Started};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

/// The handle. Raft stops when [`RaftService::shutdown`] is called, or when the last handle is dropped.
#[derive(Clone)]
pub struct RaftService {
    inner: Arc<Inner>,
}

struct Inner {
    local: Arc<Local>,
    runtime: Handle,
    status: watch::Receiver<RaftStatus>,
    proposals: mpsc::Sender<Proposal>,
    outcomes: Arc<Outcomes>,
    waiting: Waiting,
    entry_bytes_max: u64,
    hand_over_time_limit: Duration,
    control: mpsc::Sender<Control>,
    ended: watch::Receiver<Option<Result<(), AdminError>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl fmt::Debug for RaftService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RaftService").field("node", &self.inner.local.node).finish_non_exhaustive()
    }
}

impl RaftService {
    /// Opens the node's files and starts Raft on a thread of its own.
    ///
    /// # Errors
    /// When a setting makes no sense, or the files are in use, damaged, or another node's.
    pub async fn start(
        config: RaftConfig,
        transport: Arc<dyn PeerTransport>,
    ) -> Result<(Self, EventStream), StartError> {
        config.to_openraft()?;
        let (node, entry_bytes_max, hand_over_time_limit) =
            (config.node, config.entry_bytes_max, config.hand_over_time_limit);
        let permits =
            usize::try_from(config.proposal_bytes_max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let (proposals, queue) = mpsc::channel(config.proposals_waiting_max as usize);
        let (control, orders) = mpsc::channel(4);
        let (ready, started) = oneshot::channel();
        let (end, ended) = watch::channel(None);
        let raft = RaftThread { config, transport, proposals: queue, control: orders };
        let thread = std::thread::Builder::new()
            .name(format!("raft-{node}"))
            .spawn(move || raft.run(ready, end))
            .map_err(StartError::Thread)?;
        let gone =
            |_| Err(StartError::Thread(std::io::Error::other("the thread ended before raft had started")));
        let Started { local, runtime, status, events } = started.await.unwrap_or_else(gone)?;
        let inner = Inner {
            local,
            runtime,
            status,
            proposals,
            outcomes: Arc::new(Outcomes::new()),
            waiting: Waiting { room: Arc::new(Semaphore::new(permits)), permits },
            entry_bytes_max,
            hand_over_time_limit,
            control,
            ended,
            thread: Mutex::new(Some(thread)),
        };
        Ok((Self { inner: Arc::new(inner) }, events))
    }

    /// This node's number.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.local.node
    }

    /// The name of this node's storage.
    #[must_use]
    pub fn store_id(&self) -> StoreId {
        self.inner.local.stores.log.store_id()
    }

    /// The name of the cluster, once this node belongs to one.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.inner.local.stores.log.cluster()
    }

    /// Proposes a command: the answer comes when a majority has stored it and this node has applied it. Dropping the future
    /// does not withdraw the command.
    ///
    /// # Errors
    /// [`ProposeError::is_refused`] tells a command that has no effect from one whose outcome is unknown.
    pub async fn propose(&self, command: Command) -> Result<Committed, ProposeError> {
        let (sender, result) = oneshot::channel();
        // Whoever asked may have gone; the command stands.
        self.propose_for(command, move |answer| drop(sender.send(answer)));
        // An answer is never dropped without having been given.
        result.await.unwrap_or(Err(ProposeError::Stopped))
    }

    /// The same for somebody else: `deliver` is called once, on Raft's thread or on this one, with what [`Self::propose`] would
    /// give; it should only pass that on.
    pub fn propose_for(
        &self,
        command: Command,
        deliver: impl FnOnce(Result<Committed, ProposeError>) + Send + 'static,
    ) {
        let outcomes = self.inner.outcomes.clone();
        let deliver = move |result: Result<Committed, ProposeError>| {
            outcomes.count(&result);
            deliver(result);
        };
        match self.judge(&command) {
            Ok((bytes, room)) => {
                let answer = Answer::new(room, Box::new(deliver));
                if let Err(error) = self.inner.proposals.try_send(Proposal { command, bytes, answer }) {
                    let (reason, proposal) = match error {
                        mpsc::error::TrySendError::Full(proposal) => (ProposeError::Overloaded, proposal),
                        mpsc::error::TrySendError::Closed(proposal) => (ProposeError::Stopped, proposal),
                    };
                    proposal.answer.give(Err(reason));
                }
            }
            Err(refusal) => deliver(Err(refusal)),
        }
    }

    /// The command's size in the log, and room for it among those that wait.
    fn judge(&self, command: &Command) -> Result<(u64, OwnedSemaphorePermit), ProposeError> {
        let bytes_max = self.inner.entry_bytes_max;
        // A command that cannot be encoded has no size that would fit.
        let bytes = codec::encoded_length(command).unwrap_or(u64::MAX);
        if bytes > bytes_max {
            return Err(ProposeError::TooLarge { bytes, bytes_max });
        }
        if self.inner.local.gate.is_closed() || self.inner.local.is_fenced() {
            // No majority would confirm it in time, or another node leads in a moment.
            return Err(ProposeError::NotLeader { leader: None });
        }
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.inner.waiting.room.clone().try_acquire_many_owned(permits);
        Ok((bytes, room.map_err(|_| ProposeError::Overloaded)?))
    }

    /// Waits until this node's ledger holds everything that was committed when this was called: a majority confirms that
    /// the leader leads, and the leader tells this node, if that is another one, how far to apply. A read through
    /// [`Self::with_ledger`] after it is linearizable. While leadership moves it is tried again within the time limit.
    ///
    /// # Errors
    /// When no leader is found in time, or none that can be confirmed.
    pub async fn read_barrier(&self) -> Result<LogIndex, ReadError> {
        self.on_runtime(read::barrier(self.inner.local.clone())).await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Reads the ledger as it is applied here. Applying waits for the reader: be quick, and do not wait for anything.
    pub fn with_ledger<R>(&self, read: impl FnOnce(&Ledger) -> R) -> R {
        self.inner.local.stores.ledger.with(read)
    }

    /// A body that the ledger's records speak of: from memory, or read from disk, off the caller's runtime.
    ///
    /// # Errors
    /// When it is damaged, the disk fails, or Raft has stopped.
    pub async fn body(&self, key: BodyKey) -> Result<Option<Vec<u8>>, StoreError> {
        let ledger = self.inner.local.stores.ledger.clone();
        if let Some(body) = ledger.unwritten_body(key) {
            return Ok(body);
        }
        let closed = ledger.closed();
        let read = self.inner.runtime.spawn_blocking(move || ledger.body(key));
        read.await.unwrap_or(Err(closed))
    }

    /// Raft's state now.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let mut now = self.inner.local.status();
        if self.inner.ended.borrow().is_some() {
            now.role = Role::Stopped;
            now.leader = None;
        }
        now
    }

    /// How long ago this node last accepted a leader's message; `None` when it has not since it was started.
    #[must_use]
    pub fn leader_heard_ago(&self) -> Option<Duration> {
        self.inner.local.heard.age()
    }

    /// Raft's state whenever role, term, leader or health change, and a few times a second while its numbers do.
    #[must_use]
    pub fn watch_status(&self) -> watch::Receiver<RaftStatus> {
        self.inner.status.clone()
    }

    /// Whether this node belongs to a cluster.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn is_initialized(&self) -> Result<bool, AdminError> {
        let raft = self.inner.local.raft.clone();
        let asked = self.on_runtime(async move { raft.is_initialized().await }).await;
        asked.and_then(Result::ok).ok_or(AdminError::Stopped)
    }

    /// Founds a cluster of these members, this node among them, and gives its name. Ask one node only: it passes the
    /// membership on to the others. Asking again is harmless and changes nothing.
    ///
    /// # Errors
    /// When this node is not among the members, or Raft or its files have failed.
    pub async fn initialize(&self, members: BTreeMap<NodeId, Member>) -> Result<ClusterId, AdminError> {
        let (answer, result) = oneshot::channel();
        let order = Control::Initialize { members, answer };
        self.inner.control.send(order).await.map_err(|_| AdminError::Stopped)?;
        result.await.unwrap_or(Err(AdminError::Stopped))
    }

    /// Has this node stand for election now. It is elected if its log is as new as the others' and enough of them may vote:
    /// a follower of a healthy leader refuses, and a leader grants its vote only some time (the lease, as long as
    /// [`RaftConfig::election_timeout_max`]) after its own election. A vain attempt costs an election.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn trigger_elect(&self) -> Result<(), AdminError> {
        let raft = self.inner.local.raft.clone();
        let asked = self.on_runtime(async move { raft.trigger().elect().await }).await;
        asked.and_then(Result::ok).ok_or(AdminError::Stopped)
    }

    /// Has a snapshot built now; [`RaftStatus::snapshot`] tells when it is there.
    ///
    /// # Errors
    /// When Raft has stopped.
    pub async fn trigger_snapshot(&self) -> Result<(), AdminError> {
        let raft = self.inner.local.raft.clone();
        let asked = self.on_runtime(async move { raft.trigger().snapshot().await }).await;
        asked.and_then(Result::ok).ok_or(AdminError::Stopped)
    }

    /// Stops Raft, makes what it has applied durable, and waits until the files may be opened again. A leader hands over
    /// before, if another voter is in reach. Calling it again gives the same answer.
    ///
    /// # Errors
    /// When something failed or hung on the way; whatever was acknowledged is on disk nevertheless.
    pub async fn shutdown(&self) -> Result<(), AdminError> {
        self.hand_over_before_the_end().await;
        // When nobody listens any more it has been told already.
        let _ = self.inner.control.send(Control::Shutdown).await;
        let mut ended = self.inner.ended.clone();
        let result = match ended.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err(AdminError::Store("raft's thread ended without a word".to_owned())),
        };
        // It has said its last word, so this does not wait.
        let thread = lock(&self.inner.thread).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        result
    }

    /// Runs a future where Raft's timers are; `None` when Raft has stopped meanwhile.
    async fn on_runtime<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        self.inner.runtime.spawn(future).await.ok()
    }
}
