//! The claim on a cluster's cursor: what fences a deposed leader out of the archive.

use super::connection::Purpose;
use super::error::ArchiveError;
use super::form;
use super::store::ArchiveStore;
use crate::ledger::Term;
use tokio_postgres::Row;
use uuid::Uuid;

const OPERATION: &str = "claim the archive's cursor";
/// Between looking for a row and inserting it another may do the same; nobody deletes rows, so that this ends at once.
const TRIES: usize = 4;

/// The right to write on for a cluster, until somebody else claims it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Names the cluster in the archive; a later cluster on the same database has a larger one.
    pub epoch: i64,
    /// The last outbox position that is archived.
    pub position: u64,
    /// The term it was claimed in.
    pub term: Term,
    pub(super) cluster: String,
    pub(super) token: Uuid,
}

impl Claim {
    /// The same after a batch.
    pub(super) fn advanced(&self, position: u64) -> Self {
        Self { position, ..self.clone() }
    }

    pub(super) fn fenced(&self, detail: String) -> ArchiveError {
        ArchiveError::Fenced { cluster: self.cluster.clone(), detail }
    }
}

impl ArchiveStore {
    /// Claims the cursor of a cluster for the leader of `term`; every earlier claim, of the same leader too, is void from then
    /// on. The first claim of a cluster begins a new epoch.
    ///
    /// # Errors
    /// `Fenced` when the leader of a newer term has claimed it.
    pub async fn claim(&self, cluster: &str, term: Term, coordinator: &str) -> Result<Claim, ArchiveError> {
        self.connections.bounded(OPERATION, self.claim_cursor(cluster, term, coordinator)).await
    }

    async fn claim_cursor(
        &self,
        cluster: &str,
        term: Term,
        coordinator: &str,
    ) -> Result<Claim, ArchiveError> {
        let failed = |error| ArchiveError::of(OPERATION, &error);
        let client = self.connections.get(Purpose::Write, OPERATION).await?;
        let token = Uuid::now_v7();
        let number = form::number(term.0);
        for _ in 0..TRIES {
            let update = "UPDATE archive_cursor SET term = $2, claim = $3, coordinator = $4, claimed_at = now() \
                          WHERE cluster_id = $1 AND term <= $2 RETURNING epoch, position";
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                [&cluster, &number, &token, &coordinator];
            if let Some(row) = client.query_opt(update, &parameters).await.map_err(failed)? {
                return claim_of(&row, cluster, term, token);
            }
            let holder = "SELECT term, coordinator FROM archive_cursor WHERE cluster_id = $1";
            if let Some(row) = client.query_opt(holder, &[&cluster]).await.map_err(failed)? {
                let newer = form::from_number(row.try_get(0).map_err(failed)?);
                let name: String = row.try_get(1).map_err(failed)?;
                if newer > term.0 {
                    let detail = format!("{name} has claimed it in term {newer}, this is term {term}");
                    return Err(ArchiveError::Fenced { cluster: cluster.to_owned(), detail });
                }
                // It was inserted behind the first look.
                continue;
            }
            // Not by ON CONFLICT DO UPDATE in one statement: that would use up an epoch with every claim.
            let insert = "INSERT INTO archive_cursor (cluster_id, term, claim, coordinator) VALUES ($1, $2, $3, $4) \
                          ON CONFLICT (cluster_id) DO NOTHING RETURNING epoch, position";
            if let Some(row) = client.query_opt(insert, &parameters).await.map_err(failed)? {
                return claim_of(&row, cluster, term, token);
            }
        }
        let detail = "others claim it at the same time".to_owned();
        Err(ArchiveError::Unavailable { operation: OPERATION, detail })
    }

    /// The epoch of a cluster; `None` when it has archived nothing and claimed nothing.
    ///
    /// # Errors
    /// `Unavailable`, or `Rejected` when there is no schema.
    pub async fn cluster_epoch(&self, cluster: &str) -> Result<Option<i64>, ArchiveError> {
        self.epoch(Purpose::Read, cluster).await
    }

    /// The same on a connection of the archivist's, which does not wait behind clients' questions: shows that the server answers.
    ///
    /// # Errors
    /// As for [`ArchiveStore::cluster_epoch`].
    pub async fn look(&self, cluster: &str) -> Result<Option<i64>, ArchiveError> {
        self.epoch(Purpose::Write, cluster).await
    }

    async fn epoch(&self, purpose: Purpose, cluster: &str) -> Result<Option<i64>, ArchiveError> {
        const OPERATION: &str = "look for a cluster's epoch";
        let failed = |error| ArchiveError::of(OPERATION, &error);
        self.connections
            .bounded(OPERATION, async {
                let client = self.connections.get(purpose, OPERATION).await?;
                let query = "SELECT epoch FROM archive_cursor WHERE cluster_id = $1";
                let row = client.query_opt(query, &[&cluster]).await.map_err(failed)?;
                row.map(|row| row.try_get(0).map_err(failed)).transpose()
            })
            .await
    }
}

fn claim_of(row: &Row, cluster: &str, term: Term, token: Uuid) -> Result<Claim, ArchiveError> {
    let failed = |error| ArchiveError::of(OPERATION, &error);
    Ok(Claim {
        epoch: row.try_get(0).map_err(failed)?,
        position: form::from_number(row.try_get(1).map_err(failed)?),
        term,
        cluster: cluster.to_owned(),
        token,
    })
}
