//! Forgetting old tasks, a bounded number at a time.

use super::connection::Purpose;
use super::error::ArchiveError;
use super::store::ArchiveStore;
use crate::ledger::{TaskStatus, UnixMillis};
use deadpool_postgres::Transaction;
use std::time::Duration;
use tokio_postgres::types::ToSql;

const OPERATION: &str = "remove old tasks from the archive";
/// "zkpnetre" in ASCII: only one coordinator at a time counts what is too much.
const TURN: i64 = 0x7a6b_706e_6574_7265;

/// How long, and how many, tasks of one status are kept; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionRule {
    /// Since they ended.
    pub age: Option<Duration>,
    /// The latest so many, of all tenants together.
    pub count: Option<u64>,
}

/// The rule of each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetentionRules {
    /// Of tasks with a proof.
    pub completed: RetentionRule,
    /// Of failed ones.
    pub failed: RetentionRule,
    /// Of those withdrawn.
    pub cancelled: RetentionRule,
}

impl ArchiveStore {
    /// Tasks that one call removes at most, unless told otherwise: a fraction of a second's work, so that nobody waits for it.
    pub const RETENTION_ROWS_MAX: u32 = 1_000;

    /// Removes tasks that the rules no longer keep, the longest finished first, with their attempts; at most `rows_max` in one
    /// call. Says how many: when it is not 0, there may be more.
    ///
    /// An age counts back from `now` or from the server's own clock, whichever is earlier: one clock that is ahead removes nothing
    /// before its time.
    ///
    /// # Errors
    /// `TooSlow` when fewer rows may do, `Unavailable`, or `Rejected` when there is no schema or the role may not delete.
    pub async fn enforce_retention(
        &self,
        rules: &RetentionRules,
        now: UnixMillis,
        rows_max: u32,
    ) -> Result<u64, ArchiveError> {
        self.connections.bounded(OPERATION, self.remove_old(rules, now, i64::from(rows_max))).await
    }

    async fn remove_old(
        &self,
        rules: &RetentionRules,
        now: UnixMillis,
        rows_max: i64,
    ) -> Result<u64, ArchiveError> {
        let mut client = self.connections.get(Purpose::Write, OPERATION).await?;
        let transaction = client.transaction().await.map_err(failed)?;
        // Two that count at once would both remove what is one too many.
        let turn = "SELECT pg_try_advisory_xact_lock($1)";
        let is_ours: bool =
            transaction.query_one(turn, &[&TURN]).await.map_err(failed)?.try_get(0).map_err(failed)?;
        let mut removed = 0;
        let by_status = [
            (TaskStatus::Completed, &rules.completed),
            (TaskStatus::Failed, &rules.failed),
            (TaskStatus::Cancelled, &rules.cancelled),
        ];
        for (status, rule) in by_status {
            if !is_ours || removed >= rows_max {
                break;
            }
            let status = status.as_str();
            if let Some(age) = rule.age {
                let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
                let now = i64::try_from(now.0).unwrap_or(i64::MAX);
                let aged = "DELETE FROM tasks WHERE id = ANY(ARRAY(SELECT id FROM tasks WHERE status = $1 \
                            AND finished_ms < least($2, (extract(epoch FROM now()) * 1000)::bigint) - $3 \
                            ORDER BY finished_ms LIMIT $4))";
                removed += execute(&transaction, aged, &[&status, &now, &age, &(rows_max - removed)]).await?;
            }
            if let Some(count) = rule.count {
                let kept = i64::try_from(count).unwrap_or(i64::MAX);
                let surplus = "SELECT greatest(coalesce(sum(tasks), 0)::bigint - $2, 0) FROM task_counts WHERE status = $1";
                let row = transaction.query_one(surplus, &[&status, &kept]).await.map_err(failed)?;
                let surplus: i64 = row.try_get(0).map_err(failed)?;
                let surplus = surplus.min(rows_max - removed);
                let longest_finished = "DELETE FROM tasks WHERE id = ANY(ARRAY(SELECT id FROM tasks \
                                        WHERE status = $1 ORDER BY finished_ms LIMIT $2))";
                if surplus > 0 {
                    removed += execute(&transaction, longest_finished, &[&status, &surplus]).await?;
                }
            }
        }
        transaction.commit().await.map_err(failed)?;
        Ok(removed.unsigned_abs())
    }
}

async fn execute(
    transaction: &Transaction<'_>,
    statement: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<i64, ArchiveError> {
    let prepared = transaction.prepare_cached(statement).await.map_err(failed)?;
    let rows = transaction.execute(&prepared, parameters).await.map_err(failed)?;
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: tokio_postgres::Error) -> ArchiveError {
    ArchiveError::of(OPERATION, &error)
}
