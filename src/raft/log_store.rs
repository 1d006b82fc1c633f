//! Raft's log, vote and names in `raft.redb`.
//!
//! Owned here: what must be on disk before this node says anything to another. Every append, vote, truncation and purge is
//! fsynced by one writer thread before it is acknowledged ([`writer`]); every record is a checksummed frame, checked when
//! the store is opened and again when it is read. Reads come from memory as far as that goes ([`tail`]) and otherwise run
//! on a blocking thread, never on the runtime that heartbeats depend on.
//!
//! Refused: a file that another process has open, one of another node, a damaged record (an error that names file, table
//! and key), a log with a hole, and every write after one that failed.

mod identity;
mod tail;
mod writer;

pub use identity::StoreIdentity;
pub(super) use identity::{LogContents, contents};

use super::error::{StartError, StoreError};
use super::files::{DatabaseFile, guarded, lock};
use super::types::{ClusterId, Entry, LogId, NodeId, StorageError, StoreId, TypeConfig};
use crate::codec;
use crate::telemetry::table;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, Vote};
use redb::{ReadableTable as _, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tail::Tail;
use tokio::sync::{mpsc, oneshot};
use writer::{Job, QUEUE_MAX, Writer};

/// Entries by index.
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// What there is one of; the keys are in [`meta`].
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");

/// The keys of the meta table.
pub(super) mod meta {
    pub(in crate::raft) const VOTE: &str = "vote";
    /// The vote in words, for whoever looks at the file with `strings`, as the cluster's documents do. Never read.
    pub(in crate::raft) const VOTE_IN_WORDS: &str = "vote in words";
    pub(in crate::raft) const COMMITTED: &str = "committed";
    pub(in crate::raft) const PURGED: &str = "purged";
    pub(in crate::raft) const NODE: &str = "node";
    pub(in crate::raft) const STORE: &str = "store";
    pub(in crate::raft) const CLUSTER: &str = "cluster";
}

/// redb's own cache for this file: the newest entries are in [`Tail`], so it serves little but the tree's inner pages.
pub(super) const DATABASE_CACHE_BYTES: usize = 16 << 20;

/// Limits of the log store.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    /// Entries kept in memory, by size.
    pub(super) cache_bytes_max: u64,
    /// Entries sent to a follower in one message, by size; one entry always goes.
    pub(super) message_bytes_max: u64,
}

/// What is kept in memory of the file.
#[derive(Debug)]
pub(super) struct Keep {
    tail: Tail,
    vote: Option<Vote<NodeId>>,
    purged: Option<LogId>,
    committed: Option<LogId>,
    cluster: Option<ClusterId>,
    /// The first error that made this store, or its use, impossible.
    failure: Option<String>,
}

impl Keep {
    fn fail(&mut self, error: &StoreError) {
        self.failure.get_or_insert_with(|| error.to_string());
    }
}

/// The log store; clones share one file and one writer thread.
#[derive(Clone, Debug)]
pub(super) struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: Arc<DatabaseFile>,
    keep: Arc<Mutex<Keep>>,
    store: StoreId,
    limits: LogLimits,
    /// Taken when the last clone goes, so that the thread ends; then the thread, to wait for it.
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Waiting keeps the promise that the file can be opened again once the last clone is gone.
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl LogStore {
    /// Opens or makes the file and checks all of it. Blocks.
    pub(super) fn open(path: &Path, node: NodeId, limits: LogLimits) -> Result<Self, StartError> {
        let file = DatabaseFile::open(path, DATABASE_CACHE_BYTES)?;
        Self::with_file(file, node, limits)
    }

    /// The same for a database that is open already.
    pub(super) fn with_file(file: DatabaseFile, node: NodeId, limits: LogLimits) -> Result<Self, StartError> {
        let path = file.path.clone();
        let store = identity::claim(&file, Some(node))?.store;
        let keep = guarded(&path, || load(&file, limits))?;
        let (file, keep) = (Arc::new(file), Arc::new(Mutex::new(keep)));
        let (jobs, receiver) = mpsc::channel(QUEUE_MAX);
        let fsync_seconds = table::RAFT_FSYNC_DURATION.histogram(&[]);
        let writer = Writer { file: file.clone(), keep: keep.clone(), jobs: receiver, fsync_seconds };
        let thread = std::thread::Builder::new()
            .name(format!("raft-{node}-log"))
            .spawn(move || writer.run())
            .map_err(StartError::Thread)?;
        Ok(Self {
            inner: Arc::new(Inner { file, keep, store, limits, jobs: Some(jobs), thread: Some(thread) }),
        })
    }

    pub(super) fn store_id(&self) -> StoreId {
        self.inner.store
    }

    /// Records the cluster that this node belongs to, once and for all.
    pub(super) async fn join_cluster(&self, cluster: ClusterId) -> Result<(), StoreError> {
        match self.progress().cluster() {
            Some(known) if known == cluster => Ok(()),
            Some(known) => Err(self.inner.file.inconsistent(format!(
                "it belongs to cluster {known}, but the configuration that it received is of cluster {cluster}"
            ))),
            None => {
                self.write_meta(meta::CLUSTER, &cluster).await?;
                lock(&self.inner.keep).cluster = Some(cluster);
                Ok(())
            }
        }
    }

    /// A view of the log that keeps no file open.
    pub(super) fn progress(&self) -> LogProgress {
        LogProgress { keep: self.inner.keep.clone(), store: self.inner.store }
    }

    async fn write_meta<T: Serialize>(&self, key: &'static str, value: &T) -> Result<(), StoreError> {
        let records = vec![(key, codec::encode(value)?)];
        self.write(|done| Job::Meta { records, done }).await
    }

    async fn write_vote(&self, vote: &Vote<NodeId>) -> Result<(), StoreError> {
        let (term, node) = (vote.leader_id.term, vote.leader_id.node_id);
        let words =
            format!("term {term}, {} node {node}", if vote.committed { "led by" } else { "voted for" });
        let records = vec![(meta::VOTE, codec::encode(vote)?), (meta::VOTE_IN_WORDS, codec::encode(&words)?)];
        self.write(|done| Job::Meta { records, done }).await
    }

    /// Queues a job and waits until it is on disk.
    async fn write(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<(), Arc<StoreError>>>) -> Job,
    ) -> Result<(), StoreError> {
        let (done, answer) = oneshot::channel();
        self.queue(job(done)).await?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Arc::try_unwrap(error).unwrap_or_else(|shared| {
                // Several jobs of one transaction failed together: each gets the cause as text.
                StoreError::File {
                    file: self.inner.file.path.clone(),
                    doing: "writing",
                    source: std::io::Error::other(shared.to_string()),
                }
            })),
            Err(_) => Err(self.inner.file.closed()),
        }
    }

    async fn queue(&self, job: Job) -> Result<(), StoreError> {
        let jobs = self.inner.jobs.as_ref().ok_or_else(|| self.inner.file.closed())?;
        jobs.send(job).await.map_err(|_| self.inner.file.closed())
    }

    /// The entries of `[start, end)`, as far as they exist.
    async fn entries(&self, start: u64, end: u64) -> Result<Vec<Entry>, StoreError> {
        let (mut next, end) = {
            let keep = lock(&self.inner.keep);
            (start.max(keep.tail.first()), end.min(keep.tail.end()))
        };
        let mut entries = Vec::new();
        while next < end {
            let (cached, cold_end) = {
                let keep = lock(&self.inner.keep);
                (keep.tail.cached(next, end), keep.tail.cached_first().min(end))
            };
            // Between these two lines the cache may let go of more: then the next round reads that from the file.
            let found = match cached {
                Some(found) => found,
                None => self.read(next, cold_end.max(next + 1)).await?,
            };
            let Some(last) = found.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(found);
        }
        Ok(entries)
    }

    async fn read(&self, start: u64, end: u64) -> Result<Vec<Entry>, StoreError> {
        let file = self.inner.file.clone();
        let path = file.path.clone();
        let read = move || guarded(&file.path, || read_entries(&file, start, end));
        tokio::task::spawn_blocking(read).await.unwrap_or(Err(StoreError::Closed { file: path }))
    }
}

/// What is known of the log without its file; it outlives the store.
#[derive(Clone, Debug)]
pub(super) struct LogProgress {
    keep: Arc<Mutex<Keep>>,
    store: StoreId,
}

impl LogProgress {
    pub(super) fn store_id(&self) -> StoreId {
        self.store
    }

    pub(super) fn cluster(&self) -> Option<ClusterId> {
        lock(&self.keep).cluster
    }

    /// Why the log cannot be written or used any longer, if so.
    pub(super) fn failure(&self) -> Option<String> {
        lock(&self.keep).failure.clone()
    }

    pub(super) fn fail(&self, error: &StoreError) {
        lock(&self.keep).fail(error);
    }

    /// The newest entry that this node knows to be committed.
    pub(super) fn committed(&self) -> Option<LogId> {
        lock(&self.keep).committed
    }

    /// The newest entry that is gone from the log.
    pub(super) fn purged(&self) -> Option<LogId> {
        lock(&self.keep).purged
    }

    /// Bytes of the entries after `index`.
    pub(super) fn bytes_after(&self, index: Option<u64>) -> u64 {
        lock(&self.keep).tail.bytes_after(index)
    }

    /// Up to which entry the log may be dropped so that at most `bytes_max` of what lies up to `snapshot` remain; `None`
    /// when no more than that is there.
    pub(super) fn purge_point(&self, snapshot: u64, bytes_max: u64) -> Option<u64> {
        lock(&self.keep).tail.purge_point(snapshot, bytes_max)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let start = match range.start_bound() {
            Bound::Included(&index) => index,
            Bound::Excluded(&index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => index.saturating_add(1),
            Bound::Excluded(&index) => index,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start, end).await.map_err(StoreError::reading_logs)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        let end = lock(&self.inner.keep).tail.limit(start, end, self.inner.limits.message_bytes_max);
        self.entries(start, end).await.map_err(StoreError::reading_logs)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let keep = lock(&self.inner.keep);
        Ok(LogState { last_purged_log_id: keep.purged, last_log_id: keep.tail.last().or(keep.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<NodeId>) -> Result<(), StorageError> {
        let error =
            |error: StoreError| error.into_raft(openraft::ErrorSubject::Vote, openraft::ErrorVerb::Write);
        self.write_vote(vote).await.map_err(error)?;
        lock(&self.inner.keep).vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<NodeId>>, StorageError> {
        Ok(lock(&self.inner.keep).vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        // Written along with the next append: it is safe to lose, because the leader says it again.
        lock(&self.inner.keep).committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(lock(&self.inner.keep).committed)
    }

    async fn append<I>(&mut self, entries: I, flushed: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut frames = Vec::new();
        for entry in entries {
            if let openraft::EntryPayload::Normal(batch) = &entry.payload {
                batch.mark.set();
            }
            let index = entry.log_id.index;
            let frame = codec::encode(&entry).map_err(|error| StoreError::from(error).writing_logs())?;
            let mut keep = lock(&self.inner.keep);
            if !keep.tail.accepts(index) {
                let detail = format!("entry {index} cannot follow: the log ends before {}", keep.tail.end());
                return Err(self.inner.file.inconsistent(detail).writing_logs());
            }
            keep.tail.push(entry, frame.len() as u64);
            frames.push((index, frame));
        }
        self.queue(Job::Append { entries: frames, flushed }).await.map_err(StoreError::writing_logs)
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let from = log_id.index;
        let before = from.saturating_sub(1);
        let previous = self.entries(before, from).await.map_err(StoreError::reading_logs)?;
        lock(&self.inner.keep).tail.truncate(from, previous.last().map(|entry| entry.log_id));
        self.write(|done| Job::Truncate { from, done }).await.map_err(StoreError::writing_logs)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        self.write(|done| Job::Purge { upto, done }).await.map_err(StoreError::writing_logs)?;
        let mut keep = lock(&self.inner.keep);
        keep.tail.purge(upto.index);
        keep.purged = Some(upto);
        Ok(())
    }
}

/// Reads the whole file once: every entry is checked, the newest stay in memory.
fn load(file: &DatabaseFile, limits: LogLimits) -> Result<Keep, StoreError> {
    let transaction = file.begin_read()?;
    let records = transaction.open_table(META).map_err(file.failed("reading"))?;
    let purged: Option<LogId> = decode_meta(file, &records, meta::PURGED)?;
    let mut tail = Tail::new(limits.cache_bytes_max);
    if let Some(purged) = purged {
        tail.purge(purged.index);
    }
    let log = transaction.open_table(LOG).map_err(file.failed("reading"))?;
    for item in log.iter().map_err(file.failed("reading"))? {
        let (key, value) = item.map_err(file.failed("reading"))?;
        let (index, frame) = (key.value(), value.value());
        let entry = decode_entry(file, index, frame)?;
        if !tail.accepts(index) {
            return Err(file.inconsistent(format!("its log has no entry {}, but entry {index}", tail.end())));
        }
        tail.push(entry, frame.len() as u64);
        tail.flushed(index + 1);
    }
    Ok(Keep {
        tail,
        vote: decode_meta(file, &records, meta::VOTE)?,
        purged,
        committed: decode_meta(file, &records, meta::COMMITTED)?,
        cluster: decode_meta(file, &records, meta::CLUSTER)?,
        failure: None,
    })
}

fn read_entries(file: &DatabaseFile, start: u64, end: u64) -> Result<Vec<Entry>, StoreError> {
    let transaction = file.begin_read()?;
    let log = transaction.open_table(LOG).map_err(file.failed("reading"))?;
    let mut entries = Vec::new();
    for item in log.range(start..end).map_err(file.failed("reading"))? {
        let (key, value) = item.map_err(file.failed("reading"))?;
        entries.push(decode_entry(file, key.value(), value.value())?);
    }
    Ok(entries)
}

fn decode_entry(file: &DatabaseFile, index: u64, frame: &[u8]) -> Result<Entry, StoreError> {
    let entry: Entry = codec::decode(frame).map_err(|source| StoreError::Record {
        file: file.path.clone(),
        table: "log",
        key: index.to_string(),
        source,
    })?;
    if entry.log_id.index == index {
        Ok(entry)
    } else {
        Err(file.inconsistent(format!("the record of entry {index} holds entry {}", entry.log_id.index)))
    }
}

pub(super) fn decode_meta<T: DeserializeOwned>(
    file: &DatabaseFile,
    records: &impl redb::ReadableTable<&'static str, &'static [u8]>,
    key: &'static str,
) -> Result<Option<T>, StoreError> {
    let Some(value) = records.get(key).map_err(file.failed("reading"))? else { return Ok(None) };
    codec::decode(value.value()).map(Some).map_err(|source| StoreError::Record {
        file: file.path.clone(),
        table: "meta",
        key: key.to_owned(),
        source,
    })
}
