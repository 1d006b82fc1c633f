//! Counts what becomes of proposals.

use super::batcher::Committed;
use crate::raft::error::ProposeError;
use crate::telemetry::table;
use metrics::Counter;

/// A counter for each thing that can become of a command.
pub(super) struct Outcomes {
    committed: Counter,
    not_leader: Counter,
    overloaded: Counter,
    too_large: Counter,
    stopped: Counter,
    unknown: Counter,
}

impl Outcomes {
    pub(super) fn new() -> Self {
        let counter = |outcome| table::RAFT_COMMANDS.counter(&[outcome]);
        Self {
            committed: counter("committed"),
            not_leader: counter("not_leader"),
            overloaded: counter("overloaded"),
            too_large: counter("too_large"),
            stopped: counter("stopped"),
            unknown: counter("unknown"),
        }
    }

    pub(super) fn count(&self, result: &Result<Committed, ProposeError>) {
        let counter = match result {
            Ok(_) => &self.committed,
            Err(ProposeError::NotLeader { .. }) => &self.not_leader,
            Err(ProposeError::Overloaded) => &self.overloaded,
            Err(ProposeError::TooLarge { .. }) => &self.too_large,
            Err(ProposeError::Stopped) => &self.stopped,
            Err(ProposeError::OutcomeUnknown { .. }) => &self.unknown,
        };
        counter.increment(1);
    }
}
