//! Searches an order of one object's operations that respects time: Wing and Gong's search with Lowe's memory of what has been
//! tried (G. Lowe, Testing for linearizability, 2017).

use super::Operation;
use super::model::{State, after};
use std::collections::HashSet;
use std::time::Duration;

/// Operations on one object at most: a set of them is one number.
const OPERATIONS_MAX: usize = 128;

/// Whether there is an order in which every operation that was answered takes effect between its being sent and its answer, every
/// other one after its being sent or never, and each is answered as the model allows.
pub(super) fn is_linearizable(operations: &[&Operation]) -> bool {
    assert!(operations.len() <= OPERATIONS_MAX, "{} operations on one object", operations.len());
    let mut search = Search { operations, tried: HashSet::new() };
    search.from(0, &State::Absent)
}

struct Search<'a> {
    operations: &'a [&'a Operation],
    tried: HashSet<(u128, State)>,
}

impl Search<'_> {
    /// Whether the rest can follow once these are done and have left the object like this.
    fn from(&mut self, done: u128, state: &State) -> bool {
        let Some(horizon) = self.horizon(done) else { return true };
        if !self.tried.insert((done, state.clone())) {
            return false;
        }
        for (place, operation) in self.operations.iter().enumerate() {
            let mark = 1_u128 << place;
            // What was sent after another's answer comes after that other.
            if done & mark != 0 || operation.invoked > horizon {
                continue;
            }
            for next in after(state, operation.call, &operation.reply) {
                if self.from(done | mark, &next) {
                    return true;
                }
            }
        }
        false
    }

    /// The earliest answer among the operations that are not done; `None` when all that were answered are.
    fn horizon(&self, done: u128) -> Option<Duration> {
        let open = self.operations.iter().enumerate().filter(|(place, _)| done & (1 << place) == 0);
        open.filter_map(|(_, operation)| operation.returned).min()
    }
}
