//! The queue between those who end spans and the one that exports them.
//!
//! One per process, as the recorder of metrics is. It is bounded and nobody waits for it: what does not fit is dropped and
//! counted, since a collector that is slow must not slow down a proof.

use super::span::FinishedSpan;
use crate::telemetry::table;
use metrics::Counter;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, SyncSender};

/// Spans that may wait; some hundred bytes each.
const QUEUE_MAX: usize = 4096;

static EXPORTER: OnceLock<Exporter> = OnceLock::new();

struct Exporter {
    queue: SyncSender<FinishedSpan>,
    dropped: Counter,
    /// Of the traces that begin here, one in so many is sampled.
    sample_one_in: u32,
}

/// The other end of the queue.
pub struct ExportQueue(pub Receiver<FinishedSpan>);

/// From now on spans are recorded and queued; of the traces that begin here one in `sample_one_in`. None when the process has
/// an exporter already.
#[must_use]
pub fn export_to(sample_one_in: u32) -> Option<ExportQueue> {
    let (queue, spans) = mpsc::sync_channel(QUEUE_MAX);
    let dropped = table::TRACE_SPANS.counter(&["dropped"]);
    let exporter = Exporter { queue, dropped, sample_one_in: sample_one_in.max(1) };
    EXPORTER.set(exporter).ok().map(|()| ExportQueue(spans))
}

/// Whether spans are exported.
#[must_use]
pub fn is_exporting() -> bool {
    EXPORTER.get().is_some()
}

/// Whether a trace that begins here is sampled. Processes that export nothing leave that to the others.
pub(super) fn is_new_trace_sampled(id: u128) -> bool {
    // The lowest bits of an id are random, also of a task's.
    EXPORTER.get().is_none_or(|exporter| (id as u64).is_multiple_of(u64::from(exporter.sample_one_in)))
}

pub(super) fn export(span: FinishedSpan) {
    if let Some(exporter) = EXPORTER.get()
        && exporter.queue.try_send(span).is_err()
    {
        exporter.dropped.increment(1);
    }
}
