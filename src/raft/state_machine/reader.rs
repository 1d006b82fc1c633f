//! Reading the applied ledger beside the state machine: its lock, its bodies that are not in the file yet, and its file.

use super::{Core, FrozenLedger, Pending};
use crate::ledger::{BodyKey, Digest, Ledger, LogIndex};
use crate::raft::error::StoreError;
use crate::raft::files::lock;
use crate::raft::state_hash::StateHash;
use crate::raft::types::StoredMembership;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

/// Reads the ledger from any thread. It keeps no file open: after a shutdown bodies are no longer read.
#[derive(Clone, Debug)]
pub(in crate::raft) struct LedgerReader {
    pub(super) ledger: Arc<RwLock<Ledger>>,
    pub(super) hash: Arc<Mutex<StateHash>>,
    pub(super) pending: Pending,
    pub(super) membership: Arc<Mutex<StoredMembership>>,
    pub(super) store: Weak<Core>,
    pub(super) failure: Arc<OnceLock<String>>,
    pub(super) path: std::path::PathBuf,
}

impl LedgerReader {
    pub(in crate::raft) fn with<R>(&self, read: impl FnOnce(&Ledger) -> R) -> R {
        read(&self.ledger.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A body as the ledger that [`Self::with`] shows has it. Blocks.
    pub(in crate::raft) fn body(&self, key: BodyKey) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(body) = self.unwritten_body(key) {
            return Ok(body);
        }
        let core = self.store.upgrade().ok_or_else(|| self.closed())?;
        core.store.body(key)
    }

    /// The same, if the file does not have it yet: the ledger is ahead of its file, and what the file lacks is in memory.
    pub(in crate::raft) fn unwritten_body(&self, key: BodyKey) -> Option<Option<Vec<u8>>> {
        let pending = lock(&self.pending);
        let body = pending.iter().rev().find_map(|set| set.pending_body(key))?;
        Some(body.map(<[u8]>::to_vec))
    }

    /// Everything that is applied now. Blocks.
    pub(in crate::raft) fn freeze(&self) -> Result<FrozenLedger, StoreError> {
        self.store.upgrade().ok_or_else(|| self.closed())?.freeze()
    }

    /// The newest membership that was applied here: a majority has it.
    pub(in crate::raft) fn membership(&self) -> StoredMembership {
        lock(&self.membership).clone()
    }

    /// The ledger's hash, and the entry after which it is that.
    pub(in crate::raft) fn state_hash(&self) -> Option<(LogIndex, Digest)> {
        lock(&self.hash).newest()
    }

    /// The ledger's hash after an entry that was applied here not long ago.
    pub(in crate::raft) fn state_hash_at(&self, index: LogIndex) -> Option<Digest> {
        lock(&self.hash).at(index)
    }

    /// Why applying stopped, if it failed.
    pub(in crate::raft) fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// The error of a read after the end.
    pub(in crate::raft) fn closed(&self) -> StoreError {
        StoreError::Closed { file: self.path.clone() }
    }

    /// Whether every use of the files has ended.
    pub(in crate::raft) fn is_closed(&self) -> bool {
        self.store.strong_count() == 0
    }
}
