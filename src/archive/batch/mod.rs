//! Writing a batch: one transaction that first moves the cursor, then writes the rows.
//!
//! Refused before anything is sent: a batch whose positions do not ascend from the claim's, and an open task.
//! Within a batch the last state of a thing wins, so that each row is written once. A batch of any size is at most eight statements.

mod columns;
mod tables;

use super::claim::Claim;
use super::connection::Purpose;
use super::error::ArchiveError;
use super::form;
use super::item::{ArchiveItem, ItemContent};
use super::store::ArchiveStore;
use columns::Columns;
use deadpool_postgres::Transaction;
use std::collections::{BTreeMap, BTreeSet};
use tables::{AttemptColumns, CircuitColumns, TaskColumns, WorkerColumns};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const OPERATION: &str = "write to the archive";

/// What a batch writes, each thing once.
#[derive(Default)]
struct Content {
    tasks: TaskColumns,
    attempts: AttemptColumns,
    workers: WorkerColumns,
    circuits: CircuitColumns,
}

impl Content {
    /// What the items write, but for the tasks of `settled`.
    fn of(items: &[ArchiveItem], settled: &BTreeSet<Uuid>) -> Result<Self, ArchiveError> {
        let mut content = Self::default();
        let (mut tasks, mut workers, mut circuits) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for item in items {
            match &item.content {
                ItemContent::Task { task, .. } if settled.contains(&task.id.0) => {}
                ItemContent::Task { task, proof } => {
                    tasks.insert(task.id, (item.position, task, proof));
                }
                ItemContent::Worker(worker) => {
                    workers.insert(&worker.id, (item.position, worker));
                }
                ItemContent::Circuit(circuit) => {
                    circuits.insert(&circuit.id, (item.position, circuit));
                }
            }
        }
        for (position, task, proof) in tasks.into_values() {
            content.tasks.add(position, task, proof.as_deref())?;
            task.attempts.iter().for_each(|attempt| content.attempts.add(task.id, attempt));
        }
        workers.into_values().for_each(|(position, worker)| content.workers.add(position, worker));
        circuits.into_values().for_each(|(position, circuit)| content.circuits.add(position, circuit));
        Ok(content)
    }
}

impl ArchiveStore {
    /// Writes the items that follow `from`, the claim's position, and moves the cursor behind them. All or nothing.
    ///
    /// # Errors
    /// `Fenced` when the claim was taken over, or the cursor is elsewhere: claim again. `Unavailable`, also when the outcome is
    /// unknown: claim again, the new claim's position tells. `Rejected` when the items are out of order or one is an open task, or the
    /// server refuses the rows; nothing was written.
    pub async fn write_batch(
        &self,
        claim: &Claim,
        from: u64,
        items: &[ArchiveItem],
    ) -> Result<Claim, ArchiveError> {
        if from != claim.position {
            let detail = format!("the batch begins behind {from}, the claim is at {}", claim.position);
            return Err(claim.fenced(detail));
        }
        let to = check_positions(from, items)?;
        let content = Content::of(items, &BTreeSet::new())?;
        self.connections.bounded(OPERATION, self.write(claim, to, items, content)).await?;
        Ok(claim.advanced(to))
    }

    async fn write(
        &self,
        claim: &Claim,
        to: u64,
        items: &[ArchiveItem],
        mut content: Content,
    ) -> Result<(), ArchiveError> {
        let mut client = self.connections.get(Purpose::Write, OPERATION).await?;
        let transaction = client.transaction().await.map_err(failed)?;
        // The swap takes the row's lock: whoever else writes or claims waits until this batch is committed or gone.
        let swap = "UPDATE archive_cursor SET position = $4, written_at = now() \
                    WHERE cluster_id = $1 AND claim = $2 AND position = $3";
        let (before, after) = (form::number(claim.position), form::number(to));
        let moved = execute(&transaction, swap, &[&claim.cluster, &claim.token, &before, &after]).await?;
        if moved != 1 {
            transaction.rollback().await.map_err(failed)?;
            return Err(claim.fenced(format!("it was claimed anew, or is no longer at {}", claim.position)));
        }
        let settled = settled(&transaction, content.tasks.ids(), claim.epoch).await?;
        if !settled.is_empty() {
            content = Content::of(items, &settled)?;
        }
        if !content.tasks.is_empty() {
            write_rows(&transaction, &content.tasks, claim.epoch).await?;
            let ids = content.tasks.ids();
            // An attempt that the ledger no longer tells of (a lease given back long ago) goes with the older state of its task.
            execute(&transaction, "DELETE FROM attempts WHERE task_id = ANY($1)", &[&ids]).await?;
            write_rows(&transaction, &content.attempts, claim.epoch).await?;
        }
        write_rows(&transaction, &content.workers, claim.epoch).await?;
        write_rows(&transaction, &content.circuits, claim.epoch).await?;
        transaction.commit().await.map_err(failed)
    }
}

/// The tasks that an earlier cluster completed: a cluster that was restored from a backup may end them otherwise, and nobody who
/// was told of the proof may find it gone.
async fn settled(
    transaction: &Transaction<'_>,
    ids: &[Uuid],
    epoch: i64,
) -> Result<BTreeSet<Uuid>, ArchiveError> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let query = "SELECT id FROM tasks WHERE id = ANY($1) AND epoch < $2 AND status = 'completed'";
    let prepared = transaction.prepare_cached(query).await.map_err(failed)?;
    let rows = transaction.query(&prepared, &[&ids, &epoch]).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}

/// The last position of items that stand behind `from`, in ascending order. A position may be missing: what stood there has
/// changed and stands further on.
fn check_positions(from: u64, items: &[ArchiveItem]) -> Result<u64, ArchiveError> {
    items.iter().try_fold(from, |before, item| {
        if item.position > before {
            return Ok(item.position);
        }
        let detail = format!("position {} does not come after {before}", item.position);
        Err(ArchiveError::Rejected { operation: OPERATION, detail })
    })
}

async fn write_rows(
    transaction: &Transaction<'_>,
    rows: &impl Columns,
    epoch: i64,
) -> Result<(), ArchiveError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut parameters: Vec<&(dyn ToSql + Sync)> = rows.parameters();
    if rows.has_epoch() {
        parameters.push(&epoch);
    }
    execute(transaction, rows.statement(), &parameters).await.map(drop)
}

async fn execute(
    transaction: &Transaction<'_>,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, ArchiveError> {
    let prepared = transaction.prepare_cached(statement).await.map_err(failed)?;
    transaction.execute(&prepared, parameters).await.map_err(failed)
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: tokio_postgres::Error) -> ArchiveError {
    ArchiveError::of(OPERATION, &error)
}
