//! Snapshots as files: how one is written, checked, published and found again.
//!
//! A snapshot is `zkpsnap1`, the length (4 bytes, little-endian) and frame of its openraft metadata, then items: a kind
//! (1 record, 2 body), the lengths of key and value (4 bytes each), both as they lie in `ledger.redb`, that is, with the
//! value's own version and checksum; then kind 0, the numbers of records and bodies (8 bytes each), and the BLAKE3 hash
//! of everything before it. Nothing of a file is used before all of it has been checked.
//!
//! A file becomes a snapshot by being renamed, after its content has been fsynced; the directory is fsynced after that.
//! Only the newest is kept: a transfer that still reads an older one has it open.

mod directory;

pub(super) use directory::SnapshotDirectory;

use super::error::StoreError;
use super::types::SnapshotMeta;
use crate::codec;
use crate::ledger::{Ledger, Record};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"zkpsnap1";
const KIND_END: u8 = 0;
const KIND_RECORD: u8 = 1;
const KIND_BODY: u8 = 2;
/// Keys are a kind and an id; the longest id has 128 characters.
const KEY_BYTES_MAX: u32 = 1024;
const VALUE_BYTES_MAX: u32 = (codec::DECODE_BYTES_MAX + codec::HEADER_BYTES) as u32;
const BUFFER_BYTES: usize = 1 << 20;

/// Writes a snapshot that nobody can see yet: to a file of its own, or into something larger.
#[derive(Debug)]
pub(super) struct SnapshotWriter<W = BufWriter<File>> {
    path: PathBuf,
    out: W,
    hasher: blake3::Hasher,
    records: u64,
    bodies: u64,
}

impl SnapshotWriter {
    pub(super) fn create(path: &Path, meta: &SnapshotMeta) -> Result<Self, StoreError> {
        let file = File::create(path).map_err(file_error(path, "creating"))?;
        Self::new(BufWriter::with_capacity(BUFFER_BYTES, file), path, meta)
    }

    /// Ends the file and waits until it is on disk; gives its size.
    pub(super) fn finish(self) -> Result<u64, StoreError> {
        let path = self.path.clone();
        let out = self.end()?;
        let file = out.into_inner().map_err(|error| file_error(&path, "writing")(error.into_error()))?;
        file.sync_all().map_err(file_error(&path, "syncing"))?;
        file.metadata().map(|metadata| metadata.len()).map_err(file_error(&path, "reading"))
    }
}

impl<W: Write> SnapshotWriter<W> {
    /// Begins a snapshot; `path` is what errors call it.
    pub(super) fn new(out: W, path: &Path, meta: &SnapshotMeta) -> Result<Self, StoreError> {
        let mut writer =
            Self { path: path.to_owned(), out, hasher: blake3::Hasher::new(), records: 0, bodies: 0 };
        let frame = codec::encode(meta)?;
        writer.put(MAGIC)?;
        writer.put(&(frame.len() as u32).to_le_bytes())?;
        writer.put(&frame)?;
        Ok(writer)
    }

    pub(super) fn record(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.records += 1;
        self.item(KIND_RECORD, key, value)
    }

    pub(super) fn body(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.bodies += 1;
        self.item(KIND_BODY, key, value)
    }

    /// Writes the end, and gives what was written to back.
    pub(super) fn end(mut self) -> Result<W, StoreError> {
        let (records, bodies) = (self.records.to_le_bytes(), self.bodies.to_le_bytes());
        self.put(&[KIND_END])?;
        self.put(&records)?;
        self.put(&bodies)?;
        let hash = self.hasher.finalize();
        self.put(hash.as_bytes())?;
        Ok(self.out)
    }

    /// How many records and bodies there are so far.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.records, self.bodies)
    }

    fn item(&mut self, kind: u8, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.put(&[kind])?;
        self.put(&(key.len() as u32).to_le_bytes())?;
        self.put(&(value.len() as u32).to_le_bytes())?;
        self.put(key)?;
        self.put(value)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(bytes);
        self.out.write_all(bytes).map_err(file_error(&self.path, "writing"))
    }
}

/// One thing in a snapshot, key and value as they lie in `ledger.redb`.
#[derive(Debug)]
pub(super) enum Item {
    Record { key: Vec<u8>, value: Vec<u8> },
    Body { key: Vec<u8>, value: Vec<u8> },
}

/// Reads a snapshot from its beginning; what it says counts once the end has been reached without an error.
#[derive(Debug)]
pub(super) struct SnapshotReader<R = BufReader<File>> {
    path: PathBuf,
    source: R,
    hasher: blake3::Hasher,
    meta: SnapshotMeta,
    records: u64,
    bodies: u64,
    has_ended: bool,
}

impl SnapshotReader {
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let file = File::open(path).map_err(file_error(path, "opening"))?;
        Self::new(BufReader::with_capacity(BUFFER_BYTES, file), path)
    }
}

impl<R: Read> SnapshotReader<R> {
    /// Begins to read; `path` is what errors call it.
    pub(super) fn new(source: R, path: &Path) -> Result<Self, StoreError> {
        let mut reader = Self {
            path: path.to_owned(),
            source,
            hasher: blake3::Hasher::new(),
            meta: SnapshotMeta::default(),
            records: 0,
            bodies: 0,
            has_ended: false,
        };
        if reader.take(MAGIC.len())? != MAGIC {
            return Err(reader.refused("it does not begin like a snapshot of this version"));
        }
        let length = reader.length(VALUE_BYTES_MAX)?;
        let frame = reader.take(length)?;
        reader.meta =
            codec::decode(&frame).map_err(|error| reader.refused(format!("its header is {error}")))?;
        Ok(reader)
    }

    /// What openraft has to know of it.
    pub(super) const fn meta(&self) -> &SnapshotMeta {
        &self.meta
    }

    /// How many records and bodies were read.
    pub(super) const fn counts(&self) -> (u64, u64) {
        (self.records, self.bodies)
    }

    /// The next item; `None` when the end has been reached and everything agrees.
    pub(super) fn next_item(&mut self) -> Result<Option<Item>, StoreError> {
        if self.has_ended {
            return Ok(None);
        }
        let kind = self.take(1)?;
        if kind == [KIND_END] {
            self.end()?;
            return Ok(None);
        }
        let (key, value) = (self.length(KEY_BYTES_MAX)?, self.length(VALUE_BYTES_MAX)?);
        let (key, value) = (self.take(key)?, self.take(value)?);
        codec::open_frame(&value)
            .map_err(|error| self.refused(format!("item {} is damaged: {error}", hex::encode(&key))))?;
        match kind.as_slice() {
            [KIND_RECORD] => {
                self.records += 1;
                Ok(Some(Item::Record { key, value }))
            }
            [KIND_BODY] => {
                self.bodies += 1;
                Ok(Some(Item::Body { key, value }))
            }
            other => Err(self.refused(format!("it has an item of unknown kind {other:?}"))),
        }
    }

    /// Reads all of it: checks every item and the end, and gives the ledger that the records make.
    pub(super) fn validate(mut self) -> Result<(SnapshotMeta, Ledger), StoreError> {
        let ledger = self.validate_each(|_, _| {})?;
        Ok((self.meta, ledger))
    }

    /// The same; `each` sees every record's key and value as they are stored.
    pub(super) fn validate_each(&mut self, mut each: impl FnMut(&[u8], &[u8])) -> Result<Ledger, StoreError> {
        let mut records = Vec::new();
        while let Some(item) = self.next_item()? {
            if let Item::Record { key, value } = item {
                each(&key, &value);
                let record: Record = codec::decode(&value).map_err(|error| {
                    self.refused(format!("record {} is damaged: {error}", hex::encode(&key)))
                })?;
                if super::ledger_store::record_key(&record.key()) != key {
                    return Err(self.refused(format!(
                        "record {} holds {:?}",
                        hex::encode(&key),
                        record.key()
                    )));
                }
                records.push(record);
            }
        }
        Ledger::restore(records).map_err(|error| self.refused(format!("its records make no ledger: {error}")))
    }

    fn end(&mut self) -> Result<(), StoreError> {
        let (records, bodies) = (self.count()?, self.count()?);
        if (records, bodies) != (self.records, self.bodies) {
            return Err(self.refused(format!(
                "it claims {records} records and {bodies} bodies, and has {} and {}",
                self.records, self.bodies
            )));
        }
        let computed = self.hasher.finalize();
        if self.take(blake3::OUT_LEN)? != computed.as_bytes() {
            return Err(self.refused("its hash does not match its content"));
        }
        let mut more = [0];
        match self.source.read(&mut more) {
            Ok(0) => {
                self.has_ended = true;
                Ok(())
            }
            Ok(_) => Err(self.refused("something follows its end")),
            Err(error) => Err(file_error(&self.path, "reading")(error)),
        }
    }

    fn length(&mut self, max: u32) -> Result<usize, StoreError> {
        let bytes = self.take(4)?;
        let length = bytes.first_chunk().copied().map_or(u32::MAX, u32::from_le_bytes);
        if length > max {
            return Err(self.refused(format!("it has a part of {length} bytes, at most {max} are allowed")));
        }
        Ok(length as usize)
    }

    fn count(&mut self) -> Result<u64, StoreError> {
        let bytes = self.take(8)?;
        Ok(bytes.first_chunk().copied().map_or(u64::MAX, u64::from_le_bytes))
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        let read = (&mut self.source).take(length as u64).read_to_end(&mut bytes);
        let read = read.map_err(file_error(&self.path, "reading"))?;
        if read < length {
            return Err(self.refused("it is cut short"));
        }
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    fn refused(&self, detail: impl Into<String>) -> StoreError {
        StoreError::Snapshot { file: self.path.clone(), detail: detail.into() }
    }
}

pub(super) fn file_error(
    path: &Path,
    doing: &'static str,
) -> impl FnOnce(std::io::Error) -> StoreError + use<> {
    let file = path.to_owned();
    move |source| StoreError::File { file, doing, source }
}
