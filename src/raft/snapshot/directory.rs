//! The directory that snapshots lie in: one published file, and parts that nobody has finished.

use super::{SnapshotReader, file_error};
use crate::raft::error::StoreError;
use crate::raft::files::{lock, sync_directory};
use crate::raft::types::SnapshotMeta;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const PUBLISHED: &str = "zkpsnap";
const PART: &str = "part";

/// The directory and what is published in it.
#[derive(Debug)]
pub(in crate::raft) struct SnapshotDirectory {
    path: PathBuf,
    bytes_max: u64,
    current: Mutex<Option<(SnapshotMeta, PathBuf)>>,
    parts: AtomicU64,
}

impl SnapshotDirectory {
    /// Opens or makes the directory, removes unfinished parts, and finds the newest snapshot that is whole. Blocks.
    ///
    /// A damaged snapshot is set aside and not an error: the ledger's own file does not depend on it, and openraft asks for
    /// a new one where it needs one.
    pub(in crate::raft) fn open(path: &Path, bytes_max: u64) -> Result<Self, StoreError> {
        fs::create_dir_all(path).map_err(file_error(path, "creating"))?;
        let directory =
            Self { path: path.to_owned(), bytes_max, current: Mutex::new(None), parts: AtomicU64::new(0) };
        let mut published = Vec::new();
        for file in directory.files()? {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some(PART) => fs::remove_file(&file).map_err(file_error(&file, "removing"))?,
                Some(PUBLISHED) => published.push(file),
                _ => {}
            }
        }
        // Names begin with the index in twenty digits: their order is that of the log.
        published.sort();
        if let Some(file) = published.pop() {
            match SnapshotReader::open(&file).and_then(SnapshotReader::validate) {
                Ok((meta, _)) => *lock(&directory.current) = Some((meta, file)),
                Err(error) => {
                    tracing::warn!(%error, "a damaged snapshot is set aside");
                    let aside = file.with_extension("damaged");
                    fs::rename(&file, &aside).map_err(file_error(&file, "renaming"))?;
                }
            }
        }
        Ok(directory)
    }

    /// The published snapshot.
    pub(in crate::raft) fn current(&self) -> Option<(SnapshotMeta, PathBuf)> {
        lock(&self.current).clone()
    }

    /// A new name for a part.
    pub(in crate::raft) fn part(&self) -> PathBuf {
        let number = self.parts.fetch_add(1, Ordering::Relaxed);
        self.path.join(format!("{number}.{PART}"))
    }

    /// Copies a received file, from its beginning, to a part of our own, and waits until it is on disk. The sender's
    /// handle has no name that could be renamed.
    pub(in crate::raft) fn copy(&self, mut received: &fs::File) -> Result<PathBuf, StoreError> {
        let part = self.part();
        received.seek(SeekFrom::Start(0)).map_err(file_error(&part, "reading"))?;
        let mut file = fs::File::create(&part).map_err(file_error(&part, "creating"))?;
        let limit = self.bytes_max.saturating_add(1);
        let copied =
            std::io::copy(&mut received.take(limit), &mut file).map_err(file_error(&part, "writing"))?;
        if copied > self.bytes_max {
            let _ = fs::remove_file(&part);
            let detail = format!("it has more than {} bytes", self.bytes_max);
            return Err(StoreError::Snapshot { file: part, detail });
        }
        file.sync_all().map_err(file_error(&part, "syncing"))?;
        Ok(part)
    }

    /// Publishes a finished part, durably, and removes what it replaces; discards the part instead if a newer snapshot has
    /// been published meanwhile, because one was received while it was built. Gives what is then published.
    pub(in crate::raft) fn publish(
        &self,
        part: &Path,
        meta: &SnapshotMeta,
    ) -> Result<(SnapshotMeta, PathBuf), StoreError> {
        let mut current = lock(&self.current);
        if let Some(newer) =
            current.as_ref().filter(|(published, _)| published.last_log_id > meta.last_log_id)
        {
            fs::remove_file(part).map_err(file_error(part, "removing"))?;
            return Ok(newer.clone());
        }
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let name = format!("{index:020}-{}.{PUBLISHED}", uuid::Uuid::now_v7().simple());
        let file = self.path.join(name);
        fs::rename(part, &file).map_err(file_error(part, "renaming"))?;
        sync_directory(&self.path)?;
        *current = Some((meta.clone(), file.clone()));
        for other in self.files()? {
            let is_old = other != file && other.extension().is_some_and(|extension| extension == PUBLISHED);
            if is_old && let Err(error) = fs::remove_file(&other) {
                // Some systems refuse while it is being sent; the next publication tries again.
                tracing::warn!(file = %other.display(), %error, "an old snapshot was not removed");
            }
        }
        Ok((meta.clone(), file))
    }

    fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let entries = fs::read_dir(&self.path).map_err(file_error(&self.path, "reading"))?;
        let files = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>();
        files.map_err(file_error(&self.path, "reading"))
    }
}
