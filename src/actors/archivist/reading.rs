//! The archivist's handle: how PostgreSQL does, and the reading of what the ledger has forgotten. Reads go to the pool
//! straight, past the actor's mailbox: they wait neither for each other nor for what is being written.

use crate::archive::{ArchiveError, ArchivePlace, ArchiveStore, ArchivedTask};
use crate::ledger::{TaskFilter, TaskId, TenantId};
use crate::raft::RaftService;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::watch;

/// How the archive does, as this node last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveHealth {
    /// Whether there is one.
    pub is_configured: bool,
    /// Why it does not work, if it does not, or is not known to work yet.
    pub error: Option<String>,
    /// What in this node keeps it from archiving, though it leads and the archive works.
    pub hindrance: Option<String>,
    /// Why old tasks are not removed from the archive, or the coordinators not recorded in it, though it takes finished tasks.
    pub upkeep_error: Option<String>,
}

impl ArchiveHealth {
    /// What is wrong with an archive before this node first spoke to it.
    pub(super) const NOT_REACHED: &str = "it has not been reached yet";

    pub(super) fn at_first(is_configured: bool) -> Self {
        let error = is_configured.then(|| Self::NOT_REACHED.to_owned());
        Self { is_configured, error, ..Self::default() }
    }
}

/// The archive cannot be read now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// Other reads use every connection there is for reads, and none became free in time.
    #[error("too many other questions are being put to the archive")]
    Busy,
    /// It did not answer, or not rightly.
    #[error("the archive cannot be read: {0}")]
    Failed(String),
}

impl From<ArchiveError> for ReadingError {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Busy { .. } => Self::Busy,
            error => Self::Failed(error.to_string()),
        }
    }
}

/// A cloneable handle of the archivist.
#[derive(Clone)]
pub struct ArchivistHandle {
    store: Option<ArchiveStore>,
    service: RaftService,
    health: watch::Receiver<ArchiveHealth>,
    epoch: Epoch,
}

/// This cluster's epoch in the archive, as it was last seen: another database has another one. 0 while there is none, since the
/// archive counts from 1.
#[derive(Clone, Debug, Default)]
pub(super) struct Epoch(Arc<AtomicI64>);

impl Epoch {
    pub(super) fn set(&self, epoch: Option<i64>) {
        self.0.store(epoch.unwrap_or(0), Ordering::Relaxed);
    }
}

impl ArchivistHandle {
    pub(super) fn new(
        store: Option<ArchiveStore>,
        service: RaftService,
        health: watch::Receiver<ArchiveHealth>,
        epoch: Epoch,
    ) -> Self {
        Self { store, service, health, epoch }
    }

    /// Whether there is an archive.
    #[must_use]
    pub const fn is_configured(&self) -> bool {
        self.store.is_some()
    }

    /// How it does.
    #[must_use]
    pub fn health(&self) -> ArchiveHealth {
        let seen = self.health.borrow().clone();
        ArchiveHealth { is_configured: self.is_configured(), ..seen }
    }

    /// A tenant's task that is in the archive; `None` also without an archive.
    ///
    /// # Errors
    /// When PostgreSQL does not answer, or not rightly.
    pub async fn task(&self, tenant: TenantId, id: TaskId) -> Result<Option<ArchivedTask>, ReadingError> {
        match &self.store {
            Some(store) => Ok(store.task(tenant, id).await?),
            None => Ok(None),
        }
    }

    /// A tenant's archived tasks before a place, newest first.
    ///
    /// # Errors
    /// As [`Self::task`].
    pub async fn list(
        &self,
        tenant: TenantId,
        filter: &TaskFilter,
        before: Option<ArchivePlace>,
        limit: usize,
    ) -> Result<Vec<ArchivedTask>, ReadingError> {
        match &self.store {
            Some(store) => Ok(store.list(tenant, filter, before, limit).await?),
            None => Ok(Vec::new()),
        }
    }

    /// The epoch of this cluster's tasks in the archive; `None` while nothing of it was archived.
    ///
    /// # Errors
    /// As [`Self::task`].
    pub async fn epoch(&self) -> Result<Option<i64>, ReadingError> {
        let known = self.epoch.0.load(Ordering::Relaxed);
        if known != 0 {
            return Ok(Some(known));
        }
        let (Some(store), Some(cluster)) = (&self.store, self.service.cluster_id()) else { return Ok(None) };
        let found = store.cluster_epoch(&cluster.to_string()).await?;
        self.epoch.set(found);
        Ok(found)
    }
}
