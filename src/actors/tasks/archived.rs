//! What the ledger has forgotten, and the archive has: one task by its id, and lists that begin in the ledger and go on in
//! the archive.
//!
//! The ledger is always read first. A task that is gone from it was in the archive before it went, so that the later look there
//! finds it; the other way round a task could be missed that moved in between.

use super::messages::{Consistency, ListPlace, ListTasks, TaskError, TaskList, TaskView};
use super::{Desk, query_error};
use crate::actors::archivist::ReadingError;
use crate::archive::{ArchivePlace, ArchivedTask};
use crate::ledger::{ArchiveStanding, Ledger, Task, TaskFilter, TaskId, TaskPage, TaskStatus, TenantId};
use std::collections::BTreeSet;

/// Beyond every sequence number that PostgreSQL's numbers can hold.
const SEQUENCE_MAX: u64 = i64::MAX as u64;

impl Desk {
    /// A task that the ledger does not know, from the archive.
    pub(super) async fn archived(
        &self,
        tenant: TenantId,
        id: TaskId,
        standing: ArchiveStanding,
    ) -> Result<Option<ArchivedTask>, TaskError> {
        self.check_database(standing)?;
        self.archivist.task(tenant, id).await.map_err(|error| unreadable(&error))
    }

    /// A coordinator without the database that the others archive to cannot say that something is nowhere.
    fn check_database(&self, standing: ArchiveStanding) -> Result<(), TaskError> {
        if !self.archivist.is_configured() && standing.policy.is_some() && standing.newest_forgotten > 0 {
            let reason = "the cluster has an archive, and this coordinator has no database configured";
            return Err(TaskError::ArchiveUnavailable(reason.to_owned()));
        }
        Ok(())
    }

    /// A page of a list: from the ledger as far as it alone can know, then from both, then from the archive.
    pub(super) async fn list(self, request: ListTasks) -> Result<TaskList, TaskError> {
        let ListTasks { tenant, filter, before, limit, consistency } = request;
        let place = before.unwrap_or_default();
        let asked = filter.clone();
        let sequence = place.sequence.filter(|_| place.epoch.is_none());
        let reads_ledger = place.epoch.is_none();
        let question = move |ledger: &Ledger| {
            let page = if reads_ledger {
                ledger.list(tenant, &asked, sequence, usize::from(limit))
            } else {
                TaskPage::default()
            };
            (page, ledger.archive())
        };
        let answer = self.raft.query(question, consistency).await.map_err(query_error)?;
        let ((page, standing), as_of) = (answer.value, answer.as_of);
        let newest_forgotten = standing.newest_forgotten;
        let is_enough = page.next_before.is_some_and(|floor| floor > newest_forgotten)
            || filter.status.is_some_and(TaskStatus::is_open);
        if !is_enough {
            self.check_database(standing)?;
        }
        if !self.archivist.is_configured() || is_enough {
            let next_before =
                page.next_before.map(|before| ListPlace { epoch: None, sequence: Some(before) });
            return Ok(TaskList { tasks: page.tasks, next_before, as_of });
        }
        match self.archived_page(tenant, &filter, place, limit).await {
            Ok((own, rows)) => {
                let (tasks, next_before) = merge(own, page, rows, usize::from(limit));
                Ok(TaskList { tasks, next_before, as_of })
            }
            Err(error) => {
                // What is newer than anything forgotten is known without the archive.
                let mut tasks = page.tasks;
                tasks.retain(|task| task.sequence > newest_forgotten);
                if tasks.is_empty() {
                    return Err(unreadable(&error));
                }
                let next_before = Some(ListPlace { epoch: None, sequence: Some(newest_forgotten + 1) });
                Ok(TaskList { tasks, next_before, as_of })
            }
        }
    }

    /// A page of the archive, and the epoch of this cluster in it.
    async fn archived_page(
        &self,
        tenant: TenantId,
        filter: &TaskFilter,
        place: ListPlace,
        limit: u16,
    ) -> Result<(i64, Vec<ArchivedTask>), ReadingError> {
        // Without an epoch nothing of this cluster was ever archived; earlier clusters may have been, on the same database.
        let own = self.archivist.epoch().await?.unwrap_or(i64::MAX);
        let from = ArchivePlace {
            epoch: place.epoch.unwrap_or(own),
            sequence: place.sequence.unwrap_or(SEQUENCE_MAX).min(SEQUENCE_MAX),
        };
        Ok((own, self.archivist.list(tenant, filter, Some(from), usize::from(limit)).await?))
    }

    /// The view of a task that is in the archive.
    pub(super) async fn archived_view(
        &self,
        tenant: TenantId,
        id: TaskId,
        as_of: super::messages::AsOf,
        standing: ArchiveStanding,
    ) -> Result<TaskView, TaskError> {
        let found = self.archived(tenant, id, standing).await?.ok_or(TaskError::UnknownTask(id))?;
        let ArchivedTask { task, proof, .. } = found;
        Ok(TaskView { task, proof, waiting_for: None, queue_position: None, as_of })
    }

    /// What to say to the withdrawal of a task that the ledger does not know: to withdraw it twice is harmless there, too.
    pub(super) async fn cancel_forgotten(&self, tenant: TenantId, id: TaskId) -> Result<(), TaskError> {
        let view = self.view(tenant, id, Consistency::Linearizable).await?;
        match view.task.status() {
            TaskStatus::Cancelled => Ok(()),
            status if !status.is_open() => Err(TaskError::Finished { task: id, status }),
            _ => Err(TaskError::UnknownTask(id)),
        }
    }
}

/// What a client is told; what the server said is for operators (`/health`, the log).
fn unreadable(error: &ReadingError) -> TaskError {
    tracing::debug!(%error, "a question to the archive was not answered");
    let reason = match error {
        ReadingError::Busy => {
            "the answer may be in the archive, which has too many other questions to answer now"
        }
        ReadingError::Failed(_) => "the answer may be in the archive, which cannot be read now",
    };
    TaskError::ArchiveUnavailable(reason.to_owned())
}

/// Puts a page of the ledger and a page of the archive together, newest first. Each of them is whole only down to a place; what
/// stands below the higher of the two is left for the next page.
fn merge(
    own_epoch: i64,
    page: TaskPage,
    rows: Vec<ArchivedTask>,
    limit: usize,
) -> (Vec<Task>, Option<ListPlace>) {
    let of_ledger = page.next_before.map(|floor| (own_epoch, floor));
    // A full page of the archive may go on right below its last row.
    let of_archive =
        rows.last().filter(|_| rows.len() >= limit).map(|row| (row.place.epoch, row.place.sequence));
    let floor = of_ledger.max(of_archive);
    let kept = page.tasks.into_iter().map(|task| ((own_epoch, task.sequence), task));
    let known: BTreeSet<TaskId> = kept.clone().map(|(_, task)| task.id).collect();
    let rows = rows.into_iter().filter(|row| !known.contains(&row.task.id));
    let rows = rows.map(|row| ((row.place.epoch, row.place.sequence), row.task));
    let mut all: Vec<((i64, u64), Task)> =
        kept.chain(rows).filter(|(place, _)| floor.is_none_or(|floor| *place >= floor)).collect();
    all.sort_by(|(a, _), (b, _)| b.cmp(a));
    let is_cut = all.len() > limit;
    all.truncate(limit);
    let next = if is_cut { all.last().map(|(place, _)| *place) } else { floor };
    let next = next.map(|(epoch, sequence)| ListPlace {
        epoch: Some(epoch).filter(|epoch| *epoch != own_epoch),
        sequence: Some(sequence),
    });
    (all.into_iter().map(|(_, task)| task).collect(), next)
}
