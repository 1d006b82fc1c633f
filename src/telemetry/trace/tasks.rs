//! The traces of the tasks that were submitted here and have not ended: what the leader's memory keeps of a submission
//! until it leases the task.
//!
//! One per process, like the recorder of metrics: the front desk notes, the registry of workers asks, and neither's state
//! depends on it. Bounded: the oldest are forgotten first, and a task that is not known has the trace of its id.

use super::context::TraceContext;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Traces kept. With what a map takes beside them some six megabytes.
const TASKS_MAX: usize = 65_536;

#[derive(Default)]
struct Known {
    by_task: HashMap<u128, TraceContext>,
    /// In the order of their submission; those that were forgotten are still named here until their turn.
    order: VecDeque<u128>,
}

fn known() -> MutexGuard<'static, Known> {
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let known = KNOWN.get_or_init(Mutex::default);
    // What is behind the lock is whole between any two statements that could panic.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    fn remember(&mut self, task: u128, context: TraceContext, max: usize) {
        if self.by_task.insert(task, context).is_none() {
            self.order.push_back(task);
        }
        while self.order.len() > max {
            if let Some(oldest) = self.order.pop_front() {
                self.by_task.remove(&oldest);
            }
        }
    }
}

/// Notes the span that a task was submitted in.
pub fn remember_task(task: u128, context: TraceContext) {
    known().remember(task, context, TASKS_MAX);
}

/// Lets go of a task that has ended.
pub fn forget_task(task: u128) {
    known().by_task.remove(&task);
}

/// The span that a task was submitted in; where that is not known, the trace that its id names.
#[must_use]
pub fn of_task(task: u128) -> TraceContext {
    let noted = known().by_task.get(&task).copied();
    noted.unwrap_or_else(|| TraceContext::named_by(task))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_first_and_what_was_forgotten_takes_no_room_for_long() {
        let mut known = Known::default();
        for task in 0..10 {
            known.remember(task, TraceContext::new_trace(), 4);
            known.by_task.remove(&7);
        }
        let mut left: Vec<u128> = known.by_task.keys().copied().collect();
        left.sort_unstable();
        assert_eq!((left, known.order.len()), (vec![6, 8, 9], 4));
    }

    #[test]
    fn a_task_that_is_not_known_has_the_trace_of_its_id() {
        let id = 0x0192_0000_0000_7000_8000_0000_0000_00ff;
        assert_eq!(of_task(id).trace().to_string(), format!("{id:032x}"));
        let context = TraceContext::new_trace();
        remember_task(id, context);
        assert_eq!(of_task(id), context);
        forget_task(id);
        assert_ne!(of_task(id), context);
    }
}
