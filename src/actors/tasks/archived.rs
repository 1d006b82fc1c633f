//! What the ledger has forgotten, and the archive has: one task by its id, and lists that begin in the ledger and go on in
//! the archive.
//!
//! The ledger is always read first. A task that is gone from it was in the archive before it went, so that the later look there
//! finds it; the other way round a task could be missed that moved in between.

use super::messages::{Consistency, ListPlace, ListTasks, TaskError, TaskList, TaskView};
use super::{Desk, query_error};
use crate::actors::archivist::ReadingError;
use crate::archive::{ArchivePlace, ArchivedTask};
use crate::ledger::{Ledger, Task, TaskId, TaskPage, TenantId};
use std::collections::BTreeSet;

impl Desk {
    /// A task that the ledger does not know, from the archive.
    pub(super) async fn archived(
        &self,
        tenant: TenantId,
        id: TaskId,
    ) -> Result<Option<ArchivedTask>, TaskError> {
        self.archivist.task(tenant, id).await.map_err(unreadable)
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
            (page, ledger.archive().newest_forgotten)
        };
        let answer = self.raft.query(question, consistency).await.map_err(query_error)?;
        let ((page, newest_forgotten), as_of) = (answer.value, answer.as_of);
        let is_enough = page.next_before.is_some_and(|floor| floor > newest_forgotten);
        if !self.archivist.is_configured() || is_enough {
            let next_before =
                page.next_before.map(|before| ListPlace { epoch: None, sequence: Some(before) });
            return Ok(TaskList { tasks: page.tasks, next_before, as_of });
        }
        // Without an epoch nothing of this cluster was ever archived; earlier clusters may have been, on the same database.
        let own = self.archivist.epoch().await.map_err(unreadable)?.unwrap_or(i64::MAX);
        let from = match (place.epoch, place.sequence) {
            (epoch, Some(sequence)) => Some(ArchivePlace { epoch: epoch.unwrap_or(own), sequence }),
            (_, None) => None,
        };
        let rows =
            self.archivist.list(tenant, &filter, from, usize::from(limit)).await.map_err(unreadable)?;
        let (tasks, next_before) = merge(own, page, rows, usize::from(limit));
        Ok(TaskList { tasks, next_before, as_of })
    }

    /// The view of a task that is in the archive.
    pub(super) async fn archived_view(
        &self,
        tenant: TenantId,
        id: TaskId,
        as_of: super::messages::AsOf,
    ) -> Result<TaskView, TaskError> {
        let found = self.archived(tenant, id).await?.ok_or(TaskError::UnknownTask(id))?;
        let ArchivedTask { task, proof, .. } = found;
        Ok(TaskView { task, proof, waiting_for: None, queue_position: None, as_of })
    }

    /// What to say of a task that is to be changed and that the ledger does not know.
    pub(super) async fn unknown(&self, tenant: TenantId, id: TaskId) -> TaskError {
        // It may be here no longer, or not yet: only what a quorum has committed counts.
        match self.view(tenant, id, Consistency::Linearizable).await {
            Ok(view) if !view.task.is_open() => TaskError::Finished { task: id, status: view.task.status() },
            Ok(_) => TaskError::UnknownTask(id),
            Err(error) => error,
        }
    }
}

fn unreadable(error: ReadingError) -> TaskError {
    TaskError::ArchiveUnavailable(error.to_string())
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
