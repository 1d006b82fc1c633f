//! The applied ledger on disk: `ledger.redb` holds its records, the bodies that are too large for records (sealed inputs,
//! proofs), and how far the log has been applied, all three changed in one transaction.
//!
//! **Why most commits here need no fsync.** The Raft log is the truth and is fsynced before anything is applied. After a
//! crash redb opens at its last durable commit, which is an earlier whole state with its own applied index, and openraft
//! applies the entries after it again; applying is deterministic, so the same state results. That holds as long as the log
//! still has those entries. The log is purged only up to a snapshot, and a snapshot is published only after a durable
//! commit that contains it ([`LedgerStore::flush`]), so no entry is purged that the durable state lacks.
//!
//! Refused: damaged records and bodies (an error that names file, table and key), and records that make no ledger.

use super::error::StoreError;
use super::files::{DatabaseFile, guarded};
use super::snapshot::{Item, SnapshotReader, SnapshotWriter};
use super::types::{LogId, StoredMembership};
use crate::codec;
use crate::ledger::{BodyKey, BodyOp, Ledger, Record, RecordKey};
use redb::{Durability, ReadTransaction, ReadableTable as _, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Records by [`record_key`].
pub(super) const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");
/// Bodies by [`body_key`].
pub(super) const BODIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bodies");
/// [`Progress`] under [`PROGRESS`].
pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const PROGRESS: &str = "progress";

/// redb's cache for this file. Records are in memory as the ledger; this serves writes and the reading of bodies.
const DATABASE_CACHE_BYTES: usize = 64 << 20;

/// How far the log has been applied, and the newest membership applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) applied: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// What a run of applied entries changes on disk besides records: for each body the last word.
#[derive(Debug, Default)]
pub(super) struct WriteSet {
    bodies: BTreeMap<BodyKey, Option<Vec<u8>>>,
    bytes: usize,
}

impl WriteSet {
    pub(super) fn body(&mut self, operation: BodyOp) {
        match operation {
            BodyOp::Put(key, body) => {
                self.bytes += body.len();
                self.bodies.insert(key, Some(body));
            }
            BodyOp::Drop(key) => {
                self.bodies.insert(key, None);
            }
        }
    }

    /// What this will make of a body, if it concerns it.
    pub(super) fn pending_body(&self, key: BodyKey) -> Option<Option<&[u8]>> {
        self.bodies.get(&key).map(Option::as_deref)
    }

    /// The size of the bodies to write.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Changed records by key: the new content, encoded, or nothing when the record is to be deleted.
pub(super) type ChangedRecords = BTreeMap<RecordKey, Option<Vec<u8>>>;

/// The file; clones share it.
#[derive(Clone, Debug)]
pub(super) struct LedgerStore {
    pub(super) file: Arc<DatabaseFile>,
}

impl LedgerStore {
    /// Opens or makes the file, and rebuilds the ledger from it. Blocks.
    pub(super) fn open(path: &Path) -> Result<(Self, Ledger, Progress), StoreError> {
        Self::with_file(DatabaseFile::open(path, DATABASE_CACHE_BYTES)?)
    }

    /// The same for a database that is open already.
    pub(super) fn with_file(file: DatabaseFile) -> Result<(Self, Ledger, Progress), StoreError> {
        let path = file.path.clone();
        let (ledger, progress) = guarded(&path, || {
            make_tables(&file)?;
            load(&file)
        })?;
        Ok((Self { file: Arc::new(file) }, ledger, progress))
    }

    /// Writes what has changed, of bodies the oldest first, together with the applied index. Blocks.
    pub(super) fn write(
        &self,
        records: &ChangedRecords,
        sets: &[Arc<WriteSet>],
        progress: &Progress,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let file = &*self.file;
        let transaction = self.begin(durability)?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(file.failed("writing"))?;
            for (key, frame) in records {
                let key = record_key(key);
                match frame {
                    Some(frame) => {
                        table.insert(key.as_slice(), frame.as_slice()).map_err(file.failed("writing"))?;
                    }
                    None => {
                        table.remove(key.as_slice()).map_err(file.failed("writing"))?;
                    }
                }
            }
            let mut table = transaction.open_table(BODIES).map_err(file.failed("writing"))?;
            for (key, body) in sets.iter().flat_map(|set| &set.bodies) {
                let key = body_key(*key);
                match body {
                    Some(body) => {
                        let frame = codec::frame_bytes(body);
                        table.insert(key.as_slice(), frame.as_slice()).map_err(file.failed("writing"))?;
                    }
                    None => {
                        table.remove(key.as_slice()).map_err(file.failed("writing"))?;
                    }
                }
            }
        }
        self.write_progress(&transaction, progress)?;
        transaction.commit().map_err(file.failed("writing"))
    }

    /// Makes everything written so far durable. Blocks.
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        self.begin(Durability::Immediate)?.commit().map_err(self.file.failed("flushing"))
    }

    /// A body. Blocks.
    pub(super) fn body(&self, key: BodyKey) -> Result<Option<Vec<u8>>, StoreError> {
        let file = &*self.file;
        guarded(&file.path, || {
            let table = self.read()?.open_table(BODIES).map_err(file.failed("reading"))?;
            let name = body_key(key);
            let Some(value) = table.get(name.as_slice()).map_err(file.failed("reading"))? else {
                return Ok(None);
            };
            let body = codec::open_frame(value.value()).map_err(damaged(file, "bodies", &name))?;
            Ok(Some(body.to_vec()))
        })
    }

    /// A consistent view of everything written so far, however long it is read.
    pub(super) fn read(&self) -> Result<ReadTransaction, StoreError> {
        self.file.begin_read()
    }

    /// How far the view has been applied.
    pub(super) fn progress(&self, view: &ReadTransaction) -> Result<Progress, StoreError> {
        let file = &*self.file;
        let table = view.open_table(META).map_err(file.failed("reading"))?;
        let Some(value) = table.get(PROGRESS).map_err(file.failed("reading"))? else {
            return Ok(Progress::default());
        };
        codec::decode(value.value()).map_err(damaged(file, "meta", PROGRESS.as_bytes()))
    }

    /// Copies all records and bodies of the view; `each` sees every record's key and value. Blocks.
    pub(super) fn export<W: Write>(
        &self,
        view: &ReadTransaction,
        writer: &mut SnapshotWriter<W>,
        mut each: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let file = &*self.file;
        let table = view.open_table(RECORDS).map_err(file.failed("reading"))?;
        for item in table.iter().map_err(file.failed("reading"))? {
            let (key, value) = item.map_err(file.failed("reading"))?;
            codec::open_frame(value.value()).map_err(damaged(file, "records", key.value()))?;
            each(key.value(), value.value());
            writer.record(key.value(), value.value())?;
        }
        let table = view.open_table(BODIES).map_err(file.failed("reading"))?;
        for item in table.iter().map_err(file.failed("reading"))? {
            let (key, value) = item.map_err(file.failed("reading"))?;
            codec::open_frame(value.value()).map_err(damaged(file, "bodies", key.value()))?;
            writer.body(key.value(), value.value())?;
        }
        Ok(())
    }

    /// Replaces everything by a snapshot's content, durably and in one transaction: a crash leaves either the old state or
    /// the new one. Blocks.
    pub(super) fn replace(
        &self,
        snapshot: &mut SnapshotReader,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        let file = &*self.file;
        let transaction = self.begin(Durability::Immediate)?;
        transaction.delete_table(RECORDS).map_err(file.failed("replacing"))?;
        transaction.delete_table(BODIES).map_err(file.failed("replacing"))?;
        {
            let mut records = transaction.open_table(RECORDS).map_err(file.failed("replacing"))?;
            let mut bodies = transaction.open_table(BODIES).map_err(file.failed("replacing"))?;
            while let Some(item) = snapshot.next_item()? {
                let (table, key, value) = match &item {
                    Item::Record { key, value } => (&mut records, key, value),
                    Item::Body { key, value } => (&mut bodies, key, value),
                };
                table.insert(key.as_slice(), value.as_slice()).map_err(file.failed("replacing"))?;
            }
        }
        self.write_progress(&transaction, progress)?;
        transaction.commit().map_err(file.failed("replacing"))
    }

    fn begin(&self, durability: Durability) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.file.begin_write(durability)?;
        // Durable commits are rare here and the file may be large: saving the allocator's state with them spares a walk
        // through the whole file after a crash.
        transaction.set_quick_repair(matches!(durability, Durability::Immediate));
        Ok(transaction)
    }

    fn write_progress(&self, transaction: &WriteTransaction, progress: &Progress) -> Result<(), StoreError> {
        let file = &*self.file;
        let frame = codec::encode(progress)?;
        let mut table = transaction.open_table(META).map_err(file.failed("writing"))?;
        table.insert(PROGRESS, frame.as_slice()).map_err(file.failed("writing"))?;
        Ok(())
    }
}

fn make_tables(file: &DatabaseFile) -> Result<(), StoreError> {
    let transaction = file.begin_write(Durability::Immediate)?;
    transaction.open_table(RECORDS).map_err(file.failed("opening"))?;
    transaction.open_table(BODIES).map_err(file.failed("opening"))?;
    transaction.open_table(META).map_err(file.failed("opening"))?;
    transaction.commit().map_err(file.failed("opening"))
}

/// Rebuilds the ledger from the file. Blocks.
pub(super) fn load(file: &DatabaseFile) -> Result<(Ledger, Progress), StoreError> {
    let transaction = file.begin_read()?;
    let table = transaction.open_table(META).map_err(file.failed("reading"))?;
    let progress = match table.get(PROGRESS).map_err(file.failed("reading"))? {
        Some(value) => codec::decode(value.value()).map_err(damaged(file, "meta", PROGRESS.as_bytes()))?,
        None => Progress::default(),
    };
    let table = transaction.open_table(RECORDS).map_err(file.failed("reading"))?;
    let mut records = Vec::new();
    for item in table.iter().map_err(file.failed("reading"))? {
        let (key, value) = item.map_err(file.failed("reading"))?;
        let record: Record = codec::decode(value.value()).map_err(damaged(file, "records", key.value()))?;
        if record_key(&record.key()) != key.value() {
            let found = hex::encode(key.value());
            return Err(file.inconsistent(format!("record {found} holds {:?}", record.key())));
        }
        records.push(record);
    }
    let ledger =
        Ledger::restore(records).map_err(|source| StoreError::Restore { file: file.path.clone(), source })?;
    Ok((ledger, progress))
}

fn damaged<'a>(
    file: &'a DatabaseFile,
    table: &'static str,
    key: &'a [u8],
) -> impl FnOnce(codec::CodecError) -> StoreError + use<'a> {
    move |source| {
        let key = match std::str::from_utf8(key) {
            Ok(text) if text.chars().all(|c| c.is_ascii_graphic()) => text.to_owned(),
            _ => hex::encode(key),
        };
        StoreError::Record { file: file.path.clone(), table, key, source }
    }
}

/// What the keys of circuits' records begin with.
pub(super) const CIRCUIT_KIND: u8 = 1;

/// A record's key: one byte for the kind, then the id as it is.
pub(super) fn record_key(key: &RecordKey) -> Vec<u8> {
    let position;
    let (kind, id): (u8, &[u8]) = match key {
        RecordKey::Meta => (0, &[]),
        RecordKey::Circuit(id) => (CIRCUIT_KIND, id.as_str().as_bytes()),
        RecordKey::Worker(id) => (2, id.as_str().as_bytes()),
        RecordKey::Task(id) => (3, id.0.as_bytes()),
        RecordKey::Archive => (4, &[]),
        RecordKey::Outbox(at) => {
            position = at.to_be_bytes();
            (5, &position)
        }
    };
    [&[kind], id].concat()
}

/// A body's key, likewise.
pub(super) fn body_key(key: BodyKey) -> Vec<u8> {
    let (kind, task) = match key {
        BodyKey::Input(task) => (0, task),
        BodyKey::Proof(task) => (1, task),
    };
    [&[kind], task.0.as_bytes().as_slice()].concat()
}
