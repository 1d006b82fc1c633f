//! Reading: one task, lists, and totals.
//!
//! A page of a list costs what it shows, however large the archive is: every filter has an index in the order of the list.
//! `since` becomes the smallest sequence number that it admits, which is exact because the ledger's clock never goes back;
//! so a list goes through the epochs one after the other, newest first.

use super::connection::Purpose;
use super::error::ArchiveError;
use super::form::{self, from_number, number};
use super::item::{ArchivePlace, ArchivedTask};
use super::rows::{ATTEMPTS_OF_TASK, TASK_COLUMNS, archived_task, get};
use super::store::ArchiveStore;
use crate::ledger::{TaskFilter, TaskId, TaskStatus, TenantId};
use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

const READ_TASK: &str = "read a task from the archive";
const LIST: &str = "list tasks of the archive";
const COUNT: &str = "count the archive's tasks";

/// How many finished tasks the archive holds, of all tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArchiveCounts {
    /// With a proof.
    pub completed: u64,
    /// Failed for good.
    pub failed: u64,
    /// Withdrawn.
    pub cancelled: u64,
}

impl ArchiveCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.completed.saturating_add(self.failed).saturating_add(self.cancelled)
    }
}

/// The part of an epoch that a list may show.
struct Stretch {
    epoch: i64,
    /// The first sequence number that `since` admits; `None` when it admits none of this epoch.
    first: Option<i64>,
}

impl ArchiveStore {
    /// The tenant's task of that id, with its proof.
    ///
    /// # Errors
    /// `Unavailable`, `Rejected` when there is no schema, `Damaged`.
    pub async fn task(&self, tenant: TenantId, id: TaskId) -> Result<Option<ArchivedTask>, ArchiveError> {
        let query = format!(
            "SELECT {TASK_COLUMNS}, t.proof FROM tasks AS t {ATTEMPTS_OF_TASK} WHERE t.id = $1 AND t.tenant = $2"
        );
        let row = self
            .connections
            .bounded(READ_TASK, async {
                let client = self.connections.get(Purpose::Read, READ_TASK).await?;
                let rows = rows(READ_TASK, &client, &query, &[&id.0, &number(tenant.0)]).await?;
                Ok(rows.into_iter().next())
            })
            .await?;
        row.map(|row| {
            let mut archived = archived_task(&row)?;
            archived.proof = get(&row, "proof").map_err(|detail| damaged(id, detail))?;
            Ok(archived)
        })
        .transpose()
    }

    /// The tenant's tasks that `filter` admits, below `before`, newest first by place, at most `limit`, without proofs. Fewer
    /// than `limit` means that there are no more.
    ///
    /// # Errors
    /// As for [`ArchiveStore::task`].
    pub async fn list(
        &self,
        tenant: TenantId,
        filter: &TaskFilter,
        before: Option<ArchivePlace>,
        limit: usize,
    ) -> Result<Vec<ArchivedTask>, ArchiveError> {
        let is_archivable =
            |status| matches!(status, TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled);
        if limit == 0 || filter.status.is_some_and(|status| !is_archivable(status)) {
            return Ok(Vec::new());
        }
        let found = self.connections.bounded(LIST, self.pages(tenant, filter, before, limit)).await?;
        found.iter().map(archived_task).collect()
    }

    async fn pages(
        &self,
        tenant: TenantId,
        filter: &TaskFilter,
        before: Option<ArchivePlace>,
        limit: usize,
    ) -> Result<Vec<Row>, ArchiveError> {
        let client = self.connections.get(Purpose::Read, LIST).await?;
        let mut found = Vec::new();
        let mut epoch_max = before.map_or(i64::MAX, |place| place.epoch);
        while let Some(stretch) = stretch(&client, tenant, filter, epoch_max).await? {
            let below = before.filter(|place| place.epoch == stretch.epoch).map(|place| place.sequence);
            if let Some(first) = stretch.first {
                let rest = limit - found.len();
                let page = Page { tenant, filter, epoch: stretch.epoch, first, below, limit: rest };
                found.extend(page.read(&client).await?);
            }
            if found.len() >= limit || stretch.epoch == i64::MIN {
                break;
            }
            epoch_max = stretch.epoch - 1;
        }
        Ok(found)
    }

    /// How many tasks the archive holds, by status. Reads running totals, so that it may be asked often.
    ///
    /// # Errors
    /// `Unavailable`, or `Rejected` when there is no schema.
    pub async fn counts(&self) -> Result<ArchiveCounts, ArchiveError> {
        let query = "SELECT status, sum(tasks)::bigint AS tasks FROM task_stats GROUP BY status";
        let totals = self
            .connections
            .bounded(COUNT, async {
                let client = self.connections.get(Purpose::Read, COUNT).await?;
                rows(COUNT, &client, query, &[]).await
            })
            .await?;
        let mut counts = ArchiveCounts::default();
        for row in &totals {
            let flaw = |detail| ArchiveError::Damaged { row: "a total of tasks".to_owned(), detail };
            let tasks = from_number(get(row, "tasks").map_err(flaw)?);
            match get(row, "status").map_err(flaw)? {
                "completed" => counts.completed = tasks,
                "failed" => counts.failed = tasks,
                "cancelled" => counts.cancelled = tasks,
                _ => {}
            }
        }
        Ok(counts)
    }
}

/// The newest epoch up to `epoch_max` in which the tenant has tasks.
async fn stretch(
    client: &Object,
    tenant: TenantId,
    filter: &TaskFilter,
    epoch_max: i64,
) -> Result<Option<Stretch>, ArchiveError> {
    let tenant = number(tenant.0);
    let newest = "SELECT max(epoch) AS epoch FROM tasks WHERE tenant = $1 AND epoch <= $2";
    let flaw = |detail| ArchiveError::Damaged { row: "a place in the list".to_owned(), detail };
    let newest = rows(LIST, client, newest, &[&tenant, &epoch_max]).await?;
    let Some(row) = newest.first() else { return Ok(None) };
    let Some(epoch) = get::<Option<i64>>(row, "epoch").map_err(flaw)? else { return Ok(None) };
    let Some(since) = filter.since else { return Ok(Some(Stretch { epoch, first: Some(i64::MIN) })) };
    let first = "SELECT sequence FROM tasks WHERE tenant = $1 AND epoch = $2 AND created_ms >= $3 \
                 ORDER BY created_ms, sequence LIMIT 1";
    let admitted = rows(LIST, client, first, &[&tenant, &epoch, &clamped(since.0)]).await?;
    let first = admitted.first().map(|row| get(row, "sequence").map_err(flaw)).transpose()?;
    Ok(Some(Stretch { epoch, first }))
}

/// A bound that a client gave, in the order of the database's numbers: one above them all stays above them all.
fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A part of a list within one epoch.
struct Page<'a> {
    tenant: TenantId,
    filter: &'a TaskFilter,
    epoch: i64,
    first: i64,
    below: Option<u64>,
    limit: usize,
}

impl Page<'_> {
    async fn read(&self, client: &Object) -> Result<Vec<Row>, ArchiveError> {
        let tenant = number(self.tenant.0);
        let below = self.below.map_or(i64::MAX, clamped);
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let status = self.filter.status.map(TaskStatus::as_str);
        let circuit = self.filter.circuit.as_ref().map(|circuit| form::text(circuit.as_str()));
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            vec![&tenant, &self.epoch, &self.first, &below, &limit];
        let mut conditions = String::new();
        if let Some(status) = &status {
            parameters.push(status);
            conditions = format!(" AND status = ${}", parameters.len());
        }
        if let Some(circuit) = &circuit {
            parameters.push(circuit);
            conditions = format!("{conditions} AND circuit = ${}", parameters.len());
        }
        // Each way to list names the sequence number as its own index does, so that no other serves it; see the migration.
        let sequence = match (&status, &circuit) {
            (None, None) => "sequence",
            (Some(_), None) => "(sequence + 0::bigint)",
            (None, Some(_)) => "(sequence - 0::bigint)",
            (Some(_), Some(_)) => "(sequence * 1::bigint)",
        };
        let query = format!(
            "SELECT {TASK_COLUMNS} FROM (SELECT * FROM tasks WHERE tenant = $1 AND epoch = $2 \
             AND {sequence} >= $3 AND {sequence} < $4{conditions} ORDER BY {sequence} DESC LIMIT $5) AS t \
             {ATTEMPTS_OF_TASK} ORDER BY t.sequence DESC"
        );
        rows(LIST, client, &query, &parameters).await
    }
}

async fn rows(
    operation: &'static str,
    client: &Object,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, ArchiveError> {
    let failed = |error| ArchiveError::of(operation, &error);
    let prepared = client.prepare_cached(query).await.map_err(failed)?;
    client.query(&prepared, parameters).await.map_err(failed)
}

fn damaged(id: TaskId, detail: String) -> ArchiveError {
    ArchiveError::Damaged { row: format!("task {id}"), detail }
}
