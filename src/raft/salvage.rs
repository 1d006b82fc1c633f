//! The ledger of a node that does not run, from its files: what is left of a cluster that has lost its majority.
//!
//! The files are copied and the copies are opened, so that the originals stay as they were found, also those of a node that
//! was killed, which must be mended to be read. All entries of the log are applied. Which of the newest were committed
//! nobody can tell who has only one member's files; every entry that was acknowledged was stored by a majority, and what
//! this member stored is in its log, so leaving any out could lose an acknowledged one. An entry that was never
//! acknowledged may be among them: its client was told that the outcome is unknown, or nothing.

use super::error::{StartError, StoreError};
use super::events;
use super::files::DatabaseFile;
use super::image::{ImageError, LedgerImage};
use super::log_store::{LogLimits, LogStore, StoreIdentity};
use super::snapshot::file_error;
use super::state_machine::StateMachine;
use crate::ledger::LogIndex;
use openraft::storage::RaftStateMachine as _;
use openraft::{LogIdOptionExt as _, RaftLogReader as _};
use std::fs;
use std::path::Path;

/// Entries that are read and applied at a time.
const ENTRIES_AT_A_TIME: u64 = 256;
const SNAPSHOT_BYTES_MAX: u64 = u64::MAX - 1;
const CACHE_BYTES: usize = 1 << 20;

/// The ledger of stopped files.
#[derive(Debug)]
pub struct Salvaged {
    /// The ledger after the newest entry of the log.
    pub image: LedgerImage,
    /// The newest entry that the member had noted as committed.
    pub committed: Option<LogIndex>,
}

/// Files cannot be made into a ledger.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// They cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// They hold no ledger.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl From<StoreError> for SalvageError {
    fn from(error: StoreError) -> Self {
        Self::Start(error.into())
    }
}

/// Reads the files in `directory`, by way of copies in `work`, an empty folder. Blocks.
///
/// # Errors
/// A node uses the files, they are damaged or missing, or they hold no ledger.
pub fn salvage(directory: &Path, work: &Path) -> Result<Salvaged, SalvageError> {
    super::refound::refuse_unfinished(directory)?;
    copy_files(directory, work)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(StartError::Thread)?;
    let Some(node) = StoreIdentity::prepare(work)?.node else { return Err(ImageError::NoCluster.into()) };
    let limits = LogLimits { cache_bytes_max: 0, message_bytes_max: 0 };
    let mut log = LogStore::open(&work.join("raft.redb"), node, limits)?;
    // Nobody listens to what is applied.
    let (sink, _events) = events::channel(1);
    let mut machine = StateMachine::open(work, SNAPSHOT_BYTES_MAX, sink)?;
    let progress = log.progress();
    let committed = progress.committed().map(|id| LogIndex(id.index));
    let stored = |error: openraft::StorageError<_>| StartError::Raft(error.to_string());
    runtime.block_on(async {
        loop {
            let next = machine.applied().next_index();
            if progress.purged().next_index() > next {
                let detail = format!("it ends before entry {next}, and the log has dropped what follows");
                let file = directory.join("ledger.redb");
                return Err(StartError::Store(StoreError::Inconsistent { file, detail }));
            }
            let entries = log.try_get_log_entries(next..next + ENTRIES_AT_A_TIME).await.map_err(stored)?;
            if entries.is_empty() {
                return Ok(());
            }
            machine.apply(entries).await.map_err(stored)?;
        }
    })?;
    let image = LedgerImage::new(machine.freeze()?, progress.cluster())?;
    Ok(Salvaged { image, committed })
}

fn copy_files(from: &Path, to: &Path) -> Result<(), StoreError> {
    for name in ["raft.redb", "ledger.redb"] {
        let file = from.join(name);
        // Held while it is copied, so that no node starts on it. One that was not closed in order cannot be held so: that it
        // is in use would have been said first.
        let _held = match DatabaseFile::open_for_reading(&file, CACHE_BYTES) {
            Err(StoreError::NotClosed { .. }) => None,
            opened => Some(opened?),
        };
        fs::copy(&file, to.join(name)).map_err(file_error(&file, "copying"))?;
    }
    let snapshots = from.join("snapshots");
    if !snapshots.exists() {
        return Ok(());
    }
    let copies = to.join("snapshots");
    fs::create_dir_all(&copies).map_err(file_error(&copies, "creating"))?;
    for entry in fs::read_dir(&snapshots).map_err(file_error(&snapshots, "reading"))? {
        let entry = entry.map_err(file_error(&snapshots, "reading"))?;
        let file = entry.path();
        if file.extension().is_some_and(|extension| extension == "zkpsnap") {
            fs::copy(&file, copies.join(entry.file_name())).map_err(file_error(&file, "copying"))?;
        }
    }
    Ok(())
}
