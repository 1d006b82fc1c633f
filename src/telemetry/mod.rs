//! What operators watch: the table of all metrics, how they are counted, and how they are written down.
//!
//! Owns the names, units, labels and help of every metric ([`table`]); whoever counts something takes its handle from there,
//! so that `/metrics`, `docs/metrics.md`, the alerts and the dashboard cannot drift apart. Owns also what the operating system
//! says of the process and its disk, and the traces of requests ([`trace`]). Refuses labels whose values a client chooses: every label's values are bounded by the
//! program, the configuration or the cluster's members.
//!
//! A metric is counted in one of two ways. What happens is counted by a handle that its part keeps, since looking one up
//! costs an allocation and a lock. What *is* so is asked for when somebody reads `/metrics`, and written to the [`Page`]: the
//! recorder is one per process, and figures of the ledger must not outlive the question.

mod disk;
mod metric;
mod page;
mod process;
mod reference;
pub mod table;
pub mod trace;

pub use disk::{DiskSpace, disk_space};
pub use metric::{Kind, Metric, On};
pub use page::{CONTENT_TYPE, Page, Source};
pub use process::write_process;
pub use reference::reference_markdown;

use metric::Buckets;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Installs the process's recorder, with the buckets and the help of every metric of the table.
///
/// # Errors
/// When the process has one already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let mut builder = PrometheusBuilder::new();
    for metric in table::all() {
        if let Kind::Histogram(Buckets(bounds)) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)?;
        }
    }
    let handle = builder.install_recorder()?;
    table::all().for_each(Metric::describe);
    Ok(handle)
}
