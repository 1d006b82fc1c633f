//! The state machine: the applied [`Ledger`] in memory, kept on disk by [`LedgerStore`], and its snapshots.
//!
//! Owned here: the only lock around the ledger. It is held for writing while a run of entries is applied in memory and for
//! nothing longer; all file work happens on blocking threads, outside of that lock. The file lags behind by some entries
//! even while nothing fails: after a crash the log restores them, as it does what redb had not made durable.
//!
//! Refused: applying after a failed write. The entry is committed, and this node cannot follow: it stops with an error
//! instead of going on with a state that its disk does not have.

mod at_once;
mod reader;

pub(super) use reader::LedgerReader;

use super::error::StoreError;
use super::events::{AppliedEvents, EventSink};
use super::files::lock;
use super::ledger_store::{ChangedRecords, LedgerStore, Progress, WriteSet};
use super::snapshot::{SnapshotDirectory, SnapshotReader, SnapshotWriter, file_error};
use super::state_hash::{StateHash, frame_of};
use super::types::{Applied, Entry, LogId, SnapshotMeta, StorageError, StoredMembership, TypeConfig};
use crate::ledger::{Ledger, LogIndex, LogPosition, Term};
use crate::telemetry::table;
use metrics::{Gauge, Histogram};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, ErrorVerb, OptionalSend, RaftSnapshotBuilder, Snapshot};
use redb::{Durability, ReadTransaction};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Instant;

/// Entries that are applied under one lock of the ledger.
const RUN_ENTRIES_MAX: usize = 512;
/// Bodies that one transaction takes, by size; at least one entry's.
const RUN_BYTES_MAX: usize = 8 << 20;
/// So many entries share a transaction of `ledger.redb`, unless their bodies fill one before. What a transaction costs by itself
/// is shared by all of them, and records that change with every entry are written once; more would let one entry
/// in so many wait for longer than the others.
const WRITE_AFTER_ENTRIES: usize = 64;
/// After this many entries, or bytes of bodies, a commit is made durable: it bounds what a restart applies again and what
/// redb keeps in memory, and it is rare enough to cost nothing.
const DURABLE_AFTER_ENTRIES: usize = 4096;
const DURABLE_AFTER_BYTES: usize = 32 << 20;

/// The state machine; clones share everything.
#[derive(Clone, Debug)]
pub(super) struct StateMachine {
    core: Arc<Core>,
}

#[derive(Debug)]
struct Core {
    store: LedgerStore,
    snapshots: SnapshotDirectory,
    ledger: Arc<RwLock<Ledger>>,
    hash: Arc<Mutex<StateHash>>,
    pending: Pending,
    /// A copy of the state's, for readers: the state's lock is held while files are written.
    membership: Arc<Mutex<StoredMembership>>,
    state: Mutex<State>,
    events: EventSink,
    has_failed: AtomicBool,
    /// The first error that was given to openraft, which stops at it and may later name a consequence of it instead.
    failure: Arc<OnceLock<String>>,
    times: Times,
}

/// What is measured of the state machine.
#[derive(Debug)]
struct Times {
    apply: Histogram,
    build: Histogram,
    install: Histogram,
    snapshot_bytes: Gauge,
}

impl Times {
    fn new() -> Self {
        let snapshot = |kind| table::RAFT_SNAPSHOT_DURATION.histogram(&[kind]);
        Self {
            apply: table::RAFT_APPLY_DURATION.histogram(&[]),
            build: snapshot("build"),
            install: snapshot("install"),
            snapshot_bytes: table::RAFT_SNAPSHOT_BYTES.gauge(&[]),
        }
    }
}

/// Bodies that are applied and not yet in the file, the newest last.
type Pending = Arc<Mutex<Vec<Arc<WriteSet>>>>;

#[derive(Debug, Default)]
struct State {
    progress: Progress,
    /// Records that are applied and not yet in the file.
    unwritten: ChangedRecords,
    unwritten_entries: usize,
    entries_since_durable: usize,
    bytes_since_durable: usize,
}

/// Everything that was applied at one moment, as it lies in the file: it stays as it is however long it is read, and the file
/// stays open that long.
#[derive(Debug)]
pub(super) struct FrozenLedger {
    core: Arc<Core>,
    view: ReadTransaction,
    pub(super) progress: Progress,
}

impl FrozenLedger {
    pub(super) fn path(&self) -> &Path {
        &self.core.store.file.path
    }

    /// See [`LedgerStore::export`].
    pub(super) fn export<W: Write>(
        &self,
        writer: &mut SnapshotWriter<W>,
        each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        self.core.store.export(&self.view, writer, each)
    }
}

impl StateMachine {
    /// Opens the files in `directory`. Blocks.
    pub(super) fn open(
        directory: &Path,
        snapshot_bytes_max: u64,
        events: EventSink,
    ) -> Result<Self, StoreError> {
        let opened = LedgerStore::open(&directory.join("ledger.redb"))?;
        Self::with_store(opened, directory, snapshot_bytes_max, events)
    }

    /// The same for a store that is open already.
    pub(super) fn with_store(
        (store, ledger, progress): (LedgerStore, Ledger, Progress),
        directory: &Path,
        snapshot_bytes_max: u64,
        events: EventSink,
    ) -> Result<Self, StoreError> {
        let snapshots = SnapshotDirectory::open(&directory.join("snapshots"), snapshot_bytes_max)?;
        let hash = StateHash::of(&ledger, progress.applied.map(|id| LogIndex(id.index)))?;
        let machine = Self {
            core: Arc::new(Core {
                store,
                snapshots,
                ledger: Arc::new(RwLock::new(ledger)),
                hash: Arc::new(Mutex::new(hash)),
                pending: Arc::default(),
                membership: Arc::new(Mutex::new(progress.membership.clone())),
                state: Mutex::new(State { progress, ..State::default() }),
                events,
                has_failed: AtomicBool::new(false),
                failure: Arc::default(),
                times: Times::new(),
            }),
        };
        // A received snapshot is published before the ledger's file takes it over: a crash in between is mended here.
        if let Some((meta, path)) = machine.core.snapshots.current()
            && meta.last_log_id > machine.applied()
        {
            machine.core.take_over(&path)?;
        }
        Ok(machine)
    }

    pub(super) fn reader(&self) -> LedgerReader {
        LedgerReader {
            ledger: self.core.ledger.clone(),
            hash: self.core.hash.clone(),
            pending: self.core.pending.clone(),
            membership: self.core.membership.clone(),
            store: Arc::downgrade(&self.core),
            failure: self.core.failure.clone(),
            path: self.core.store.file.path.clone(),
        }
    }

    pub(super) fn applied(&self) -> Option<LogId> {
        lock(&self.core.state).progress.applied
    }

    /// Makes everything applied durable. Blocks.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.core.catch_up()?;
        self.core.store.flush()
    }

    /// See [`LedgerReader::freeze`].
    pub(super) fn freeze(&self) -> Result<FrozenLedger, StoreError> {
        self.core.clone().freeze()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let core = self.core.clone();
        let (path, failure) = (core.store.file.path.clone(), core.failure.clone());
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&core);
            drop(core);
            result
        });
        // A panic in the work arrives here as an error, and so does a runtime that is shutting down.
        let result = done.await.unwrap_or(Err(StoreError::Failed { file: path }));
        result.inspect_err(|error| drop(failure.set(error.to_string())))
    }
}

impl Core {
    fn apply(&self, entries: &[Entry]) -> Result<Vec<Applied>, StoreError> {
        let began = Instant::now();
        let mut state = self.begin()?;
        let mut replies = Vec::with_capacity(entries.len());
        let mut rest = entries;
        while !rest.is_empty() {
            let ledger = self.ledger.write().unwrap_or_else(PoisonError::into_inner);
            let (events, applied) = self.apply_run(rest, &mut state, ledger)?;
            rest = rest.get(applied.len()..).unwrap_or_default();
            replies.extend(applied);
            if state.unwritten_entries >= WRITE_AFTER_ENTRIES || self.pending_bytes() >= RUN_BYTES_MAX {
                self.write_out(&mut state)?;
            }
            for events in events {
                self.events.send(events);
            }
        }
        self.note_end();
        self.times.apply.record(began.elapsed());
        Ok(replies)
    }

    /// Applies as many entries as one transaction takes, in memory.
    fn apply_run(
        &self,
        entries: &[Entry],
        state: &mut State,
        mut ledger: RwLockWriteGuard<'_, Ledger>,
    ) -> Result<(Vec<AppliedEvents>, Vec<Applied>), StoreError> {
        let mut set = WriteSet::default();
        let mut replies = Vec::new();
        let mut all_events = Vec::new();
        for entry in entries.iter().take(RUN_ENTRIES_MAX) {
            let term = Term(entry.log_id.leader_id.term);
            let index = LogIndex(entry.log_id.index);
            let mut applied = Applied::default();
            let mut events = Vec::new();
            let mut touched = BTreeSet::new();
            match &entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Membership(membership) => {
                    let applied = StoredMembership::new(Some(entry.log_id), membership.clone());
                    lock(&self.membership).clone_from(&applied);
                    state.progress.membership = applied;
                }
                EntryPayload::Normal(batch) => {
                    for command in batch.commands.iter() {
                        let outcome = ledger.apply(LogPosition { term, index }, command);
                        touched.extend(outcome.touched);
                        outcome.bodies.into_iter().for_each(|operation| set.body(operation));
                        events.extend(outcome.events);
                        applied.replies.push(outcome.reply);
                    }
                }
            }
            // What is hashed is what is stored: each record is encoded once for both.
            let mut hash = lock(&self.hash);
            for key in touched {
                let frame = frame_of(ledger.record(&key).as_ref())?;
                hash.change(&key, frame.as_deref());
                state.unwritten.insert(key, frame);
            }
            hash.remember(index);
            drop(hash);
            state.progress.applied = Some(entry.log_id);
            state.unwritten_entries += 1;
            replies.push(applied);
            if !events.is_empty() {
                all_events.push(AppliedEvents { index, term, events });
            }
            if set.bytes() >= RUN_BYTES_MAX {
                break;
            }
        }
        // Before the ledger is let go: whoever sees a completed task also finds its proof.
        lock(&self.pending).push(Arc::new(set));
        drop(ledger);
        Ok((all_events, replies))
    }

    /// Bytes of the bodies that are not in the file yet.
    fn pending_bytes(&self) -> usize {
        lock(&self.pending).iter().map(|set| set.bytes()).sum()
    }

    /// Begins something that must not be followed by anything should it fail: until its end is reached it counts as failed, so that
    /// a panic in between does.
    fn begin(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = lock(&self.state);
        self.note_begin()?;
        Ok(state)
    }

    /// The same under the state's lock, since whoever holds it may be in the middle of its own.
    fn note_begin(&self) -> Result<(), StoreError> {
        if self.has_failed.swap(true, Ordering::AcqRel) {
            return Err(StoreError::Failed { file: self.store.file.path.clone() });
        }
        Ok(())
    }

    fn note_end(&self) {
        self.has_failed.store(false, Ordering::Release);
    }

    /// Brings the file up to what is applied in memory.
    fn catch_up(&self) -> Result<(), StoreError> {
        let mut state = self.begin()?;
        self.write_out(&mut state)?;
        self.note_end();
        Ok(())
    }

    fn write_out(&self, state: &mut State) -> Result<(), StoreError> {
        if state.unwritten_entries == 0 {
            return Ok(());
        }
        // They stay where readers find them until they are in the file.
        let sets = lock(&self.pending).clone();
        state.entries_since_durable += state.unwritten_entries;
        state.bytes_since_durable += sets.iter().map(|set| set.bytes()).sum::<usize>();
        let is_due = state.entries_since_durable >= DURABLE_AFTER_ENTRIES
            || state.bytes_since_durable >= DURABLE_AFTER_BYTES;
        let durability = if is_due { Durability::Immediate } else { Durability::None };
        self.store.write(&state.unwritten, &sets, &state.progress, durability)?;
        if is_due {
            state.entries_since_durable = 0;
            state.bytes_since_durable = 0;
        }
        state.unwritten.clear();
        state.unwritten_entries = 0;
        lock(&self.pending).clear();
        Ok(())
    }

    fn freeze(self: Arc<Self>) -> Result<FrozenLedger, StoreError> {
        self.catch_up()?;
        let view = self.store.read()?;
        let progress = self.store.progress(&view)?;
        Ok(FrozenLedger { core: self, view, progress })
    }

    fn build_snapshot(&self) -> Result<(SnapshotMeta, File), StoreError> {
        let began = Instant::now();
        self.catch_up()?;
        let view = self.store.read()?;
        // After the view was taken: a published snapshot lets the log be purged, so what it holds must be durable first.
        self.store.flush()?;
        let progress = self.store.progress(&view)?;
        let index = progress.applied.map_or(0, |id| id.index);
        let meta = SnapshotMeta {
            last_log_id: progress.applied,
            last_membership: progress.membership,
            snapshot_id: format!("{index}-{}", uuid::Uuid::now_v7().simple()),
        };
        let part = self.snapshots.part();
        let mut writer = SnapshotWriter::create(&part, &meta)?;
        self.store.export(&view, &mut writer, |_, _| {})?;
        let bytes = writer.finish()?;
        drop(view);
        let (meta, path) = self.snapshots.publish(&part, &meta)?;
        self.times.build.record(began.elapsed());
        self.times.snapshot_bytes.set(bytes as f64);
        tracing::info!(index, bytes, "built a snapshot of the ledger");
        let file = File::open(&path).map_err(file_error(&path, "opening"))?;
        Ok((meta, file))
    }

    fn install(&self, meta: &SnapshotMeta, received: &File) -> Result<(), StoreError> {
        let began = Instant::now();
        let part = self.snapshots.copy(received)?;
        let (found, _) = SnapshotReader::open(&part)?.validate()?;
        if found != *meta {
            let detail = format!("it holds {found}, and was announced as {meta}");
            return Err(StoreError::Snapshot { file: part, detail });
        }
        // Published first: with the file in place a crash before the ledger has taken it over is mended at the next start,
        // while a ledger ahead of both the log and every snapshot could not serve its followers.
        let (_, path) = self.snapshots.publish(&part, meta)?;
        self.take_over(&path)?;
        self.times.install.record(began.elapsed());
        Ok(())
    }

    /// Replaces the ledger, on disk and in memory, by a snapshot.
    fn take_over(&self, path: &Path) -> Result<(), StoreError> {
        let (meta, ledger) = SnapshotReader::open(path)?.validate()?;
        let progress = Progress { applied: meta.last_log_id, membership: meta.last_membership };
        let hash = StateHash::of(&ledger, progress.applied.map(|id| LogIndex(id.index)))?;
        let mut state = lock(&self.state);
        self.has_failed.store(true, Ordering::Release);
        self.store.replace(&mut SnapshotReader::open(path)?, &progress)?;
        lock(&self.pending).clear();
        *self.ledger.write().unwrap_or_else(PoisonError::into_inner) = ledger;
        *lock(&self.hash) = hash;
        lock(&self.membership).clone_from(&progress.membership);
        *state = State { progress, ..State::default() };
        self.note_end();
        drop(state);
        self.events.gap();
        Ok(())
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<TypeConfig>, StorageError> {
        let built = self.run(Core::build_snapshot).await;
        let (meta, file) = built.map_err(|error| error.in_snapshot(ErrorVerb::Write))?;
        Ok(Snapshot { meta, snapshot: Box::new(tokio::fs::File::from_std(file)) })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let progress = lock(&self.core.state).progress.clone();
        Ok((progress.applied, progress.membership))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Applied>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let applied = match self.core.apply_at_once(&entries) {
            Some(applied) => applied.inspect_err(|error| drop(self.core.failure.set(error.to_string()))),
            None => self.run(move |core| core.apply(&entries)).await,
        };
        applied.map_err(StoreError::writing_ledger)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<tokio::fs::File>, StorageError> {
        let created = self.run(|core| {
            let part = core.snapshots.part();
            let options = File::options().read(true).write(true).create_new(true).open(&part);
            let file = options.map_err(file_error(&part, "creating"))?;
            // The handle is all that is needed. Without a name an abandoned transfer leaves nothing behind; where a name
            // cannot be removed from an open file, the next start removes it.
            let _ = std::fs::remove_file(&part);
            Ok(file)
        });
        let file = created.await.map_err(|error| error.in_snapshot(ErrorVerb::Write))?;
        Ok(Box::new(tokio::fs::File::from_std(file)))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<tokio::fs::File>,
    ) -> Result<(), StorageError> {
        let (meta, file) = (meta.clone(), snapshot.into_std().await);
        let installed = self.run(move |core| core.install(&meta, &file)).await;
        installed.map_err(|error| error.in_snapshot(ErrorVerb::Write))
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<TypeConfig>>, StorageError> {
        let found = self.run(|core| {
            let Some((meta, path)) = core.snapshots.current() else { return Ok(None) };
            let file = File::open(&path).map_err(file_error(&path, "opening"))?;
            Ok(Some((meta, file)))
        });
        let found = found.await.map_err(|error| error.in_snapshot(ErrorVerb::Read))?;
        Ok(found.map(|(meta, file)| Snapshot { meta, snapshot: Box::new(tokio::fs::File::from_std(file)) }))
    }
}
