//! What is wrong with a backup, or with the place that it is restored to.

use super::container::FORMAT;
use crate::ledger::{CircuitId, Digest};
use crate::proof::KeyError;
use crate::raft::{SalvageError, StartError, StoreError};
use crate::sealing::DataKeyError;
use std::io;
use std::path::{Path, PathBuf};

/// A backup was not taken, is not whole, or was not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The operating system refused.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file is something else.
    #[error("{} is no backup: it does not begin like one", path.display())]
    NoBackup {
        /// Which file.
        path: PathBuf,
    },
    /// A later version wrote it.
    #[error(
        "{} has format {found}, and this version of zkpnet ({}) reads format {FORMAT}: use the version that wrote it, or a later one",
        path.display(),
        env!("CARGO_PKG_VERSION")
    )]
    OtherFormat {
        /// Which file.
        path: PathBuf,
        /// What it claims.
        found: u32,
    },
    /// It ends too early.
    #[error("{} is cut short: taking it was interrupted, or copying it", path.display())]
    CutShort {
        /// Which file.
        path: PathBuf,
    },
    /// Its content is not what was written.
    #[error("{} is damaged: {detail}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        detail: String,
    },
    /// The ledger could not be read, or is damaged.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// The new files could not be made.
    #[error(transparent)]
    Files(#[from] StartError),
    /// The stopped node's files give no ledger.
    #[error(transparent)]
    Salvage(#[from] SalvageError),
    /// A key could not be read or stored.
    #[error("the key of {circuit}: {source}")]
    Key {
        /// Whose.
        circuit: CircuitId,
        /// Why.
        #[source]
        source: KeyError,
    },
    /// The data key could not be read.
    #[error(transparent)]
    DataKey(#[from] DataKeyError),
    /// There is no data key where the configuration says.
    #[error(
        "there is no data key at {}: the inputs in this backup are sealed with the key of print {}, which is in no backup; \
         put the operator's copy of it there (storage.key_file)",
        path.display(),
        short(expected)
    )]
    NoDataKey {
        /// Where it should be.
        path: PathBuf,
        /// The print of the right one.
        expected: String,
    },
    /// The data key is another one.
    #[error(
        "the data key at {} is another one (print {}) than the inputs in this backup are sealed with (print {}): name the right \
         one in storage.key_file",
        path.display(),
        short(found),
        short(expected)
    )]
    OtherDataKey {
        /// Where it lies.
        path: PathBuf,
        /// Its print.
        found: String,
        /// The print of the right one.
        expected: String,
    },
    /// The stopped node's folder does not say which data key it was begun with.
    #[error("{} is missing or no print of a data key: is this the raft.data_dir of a coordinator?", path.display())]
    NoPrint {
        /// The file that says it.
        path: PathBuf,
    },
}

impl BackupError {
    pub(super) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), detail: detail.into() }
    }

    pub(super) fn other_state(path: &Path, found: Digest, expected: &str) -> Self {
        Self::damaged(
            path,
            format!("its ledger has the state hash {found}, and its manifest says {expected}"),
        )
    }
}

/// So much of a print as tells two of them apart.
fn short(print: &str) -> &str {
    print.get(..12).unwrap_or(print)
}

pub(super) fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
    let path = path.to_owned();
    move |source| BackupError::Io { doing, path, source }
}
