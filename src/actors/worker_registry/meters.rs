//! What is counted of workers' reports.

use super::messages::News;
use crate::ledger::CircuitId;
use crate::telemetry::table;
use metrics::Counter;
use std::sync::Arc;
use std::time::Duration;

/// The counters; clones are the same.
#[derive(Clone)]
pub(super) struct Meters(Arc<Counters>);

struct Counters {
    started: Counter,
    proven: Counter,
    failed: Counter,
    given_back: Counter,
}

impl Meters {
    pub(super) fn new() -> Self {
        let counter = |news| table::REGISTRY_REPORTS.counter(&[news]);
        Self(Arc::new(Counters {
            started: counter("started"),
            proven: counter("proven"),
            failed: counter("failed"),
            given_back: counter("given_back"),
        }))
    }

    pub(super) fn count(&self, news: &News) {
        let counter = match news {
            News::Started => &self.0.started,
            News::Proven { .. } => &self.0.proven,
            News::Failed(_) => &self.0.failed,
            News::GivenBack => &self.0.given_back,
        };
        counter.increment(1);
    }
}

/// Records the life of a task that was completed. Its circuit is a registered one.
pub(super) fn record_completed(circuit: &CircuitId, age: Duration) {
    table::TASK_DURATION.histogram(&[circuit.as_str()]).record(age);
}
