//! The archivist's handle: how PostgreSQL does, and the reading of what the ledger has forgotten. Reads go to the pool
//! straight, past the actor's mailbox: they wait neither for each other nor for what is being written.

use crate::archive::{ArchiveError, ArchivePlace, ArchiveStore, ArchivedTask};
use crate::ledger::{TaskFilter, TaskId, TenantId};
use crate::raft::RaftService;
use std::sync::Arc;
use std::sync::OnceLock;
use tokio::sync::watch;

/// How the archive does, as this node last saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveHealth {
    /// Whether there is one.
    pub is_configured: bool,
    /// Why it does not work, if it does not.
    pub error: Option<String>,
}

/// The archive cannot be read now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the archive cannot be read: {0}")]
pub struct ReadingError(String);

impl From<ArchiveError> for ReadingError {
    fn from(error: ArchiveError) -> Self {
        Self(error.to_string())
    }
}

/// A cloneable handle of the archivist.
#[derive(Clone)]
pub struct ArchivistHandle {
    store: Option<ArchiveStore>,
    service: RaftService,
    health: watch::Receiver<ArchiveHealth>,
    /// This cluster's epoch: it never changes once there is one.
    epoch: Arc<OnceLock<i64>>,
}

impl ArchivistHandle {
    pub(super) fn new(
        store: Option<ArchiveStore>,
        service: RaftService,
        health: watch::Receiver<ArchiveHealth>,
    ) -> Self {
        Self { store, service, health, epoch: Arc::default() }
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
        if let Some(epoch) = self.epoch.get() {
            return Ok(Some(*epoch));
        }
        let (Some(store), Some(cluster)) = (&self.store, self.service.cluster_id()) else { return Ok(None) };
        let found = store.cluster_epoch(&cluster.to_string()).await?;
        Ok(found.map(|epoch| *self.epoch.get_or_init(|| epoch)))
    }
}
