//! Those who wait for a task to end. They are woken, and read the ledger themselves.

use super::messages::TaskError;
use crate::ledger::TaskId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// Tasks that are waited for at once.
const AWAITED_TASKS_MAX: usize = 10_000;

/// Everybody who waits, by task.
#[derive(Clone, Default)]
pub(super) struct Waiters {
    by_task: Arc<Mutex<BTreeMap<TaskId, Entry>>>,
}

#[derive(Default)]
struct Entry {
    notify: Arc<Notify>,
    waiting: usize,
}

/// One who waits; leaves when dropped.
pub(super) struct Waiting {
    waiters: Waiters,
    task: TaskId,
    notify: Arc<Notify>,
}

impl Waiters {
    pub(super) fn enter(&self, task: TaskId) -> Result<Waiting, TaskError> {
        let mut by_task = self.lock();
        if by_task.len() >= AWAITED_TASKS_MAX && !by_task.contains_key(&task) {
            return Err(TaskError::Overloaded("too many tasks are waited for".into()));
        }
        let entry = by_task.entry(task).or_default();
        entry.waiting += 1;
        Ok(Waiting { waiters: self.clone(), task, notify: Arc::clone(&entry.notify) })
    }

    pub(super) fn wake(&self, task: TaskId) {
        if let Some(entry) = self.lock().get(&task) {
            entry.notify.notify_waiters();
        }
    }

    pub(super) fn wake_all(&self) {
        self.lock().values().for_each(|entry| entry.notify.notify_waiters());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Entry>> {
        self.by_task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Ends at the first wake after this call, whether or not it is polled before.
    pub(super) fn woken(&self) -> OwnedNotified {
        Arc::clone(&self.notify).notified_owned()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut by_task = self.waiters.lock();
        if let Some(entry) = by_task.get_mut(&self.task) {
            entry.waiting -= 1;
            if entry.waiting == 0 {
                by_task.remove(&self.task);
            }
        }
    }
}
