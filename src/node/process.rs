//! What every role's process does alike: its runtime, its log, its metrics, and the way from a signal to the end.

use super::NodeError;
use super::signals::Signals;
use crate::config::{Config, Loaded, LogFormat};
use crate::rpc::{self, OtlpOptions};
use crate::telemetry::{self, table, trace};
use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusHandle;
use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

/// What a shutdown may take beyond its grace before the process ends all the same.
pub(super) const OVERTIME: Duration = Duration::from_secs(5);

/// A node that was started.
pub(super) trait RunningNode {
    /// Comes back when it cannot go on, and says why.
    async fn failed(&mut self) -> String;
    /// Takes it down within about `grace`.
    async fn shutdown(self, grace: Duration);
}

/// Starts a node, runs it until a signal or its failure, and takes it down in order. A signal during the start ends the
/// process at once: there is nothing to take down that a restart would miss.
pub(super) async fn run_until_ended<N: RunningNode>(
    start: impl Future<Output = anyhow::Result<N>>,
    grace: Duration,
    greet: impl FnOnce(&N),
) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let mut node = tokio::select! {
        started = start => started?,
        name = signals.next() => {
            tracing::info!(signal = name, "ends before it has started");
            return Ok(ExitCode::SUCCESS);
        }
    };
    greet(&node);
    let failure = tokio::select! {
        name = signals.next() => {
            tracing::info!(signal = name, "shutting down");
            None
        }
        failure = node.failed() => Some(failure),
    };
    // A node that cannot go on has nothing to wait for.
    let grace = if failure.is_some() { Duration::ZERO } else { grace };
    tokio::select! {
        () = node.shutdown(grace) => {}
        () = tokio::time::sleep(grace + OVERTIME) => tracing::error!("the shutdown took too long and is cut short"),
        name = signals.next() => tracing::warn!(signal = name, "a second signal cuts the shutdown short"),
    }
    match failure {
        None => Ok(ExitCode::SUCCESS),
        Some(failure) => Err(anyhow::anyhow!(failure)),
    }
}

/// Runs a future on an actix system over tokio's multi-thread runtime.
pub(super) fn within_system<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start tokio")?;
    let system = actix_rt::System::with_tokio_rt(move || runtime);
    system.block_on(future)
}

/// Has the system give this process its memory in small pages. The ledger and the log grow by some kilobytes a task; in pages of
/// two megabytes, each of which is cleared while a task waits for it, the slowest submissions took a third longer.
pub(super) fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "the system goes on giving large pages");
    }
}

/// The process's metrics recorder.
///
/// # Errors
/// When the process has one already.
pub(super) fn install_metrics() -> Result<PrometheusHandle, NodeError> {
    telemetry::install().map_err(|error| NodeError::Config(format!("metrics: {error}")))
}

/// Has spans exported, if the configuration says where to. After the recorder of metrics is there.
///
/// # Errors
/// The exporter's thread cannot be started.
pub(super) fn start_tracing(config: &Config, role: &str, instance: &str) -> Result<(), NodeError> {
    for outcome in ["exported", "failed", "dropped"] {
        table::TRACE_SPANS.counter(&[outcome]).increment(0);
    }
    let Some(endpoint) = &config.tracing.otlp_endpoint else { return Ok(()) };
    // A second node of one process shares the first one's.
    let Some(queue) = trace::export_to(config.tracing.sample_one_in) else { return Ok(()) };
    let options = OtlpOptions {
        endpoint: endpoint.as_str().to_owned(),
        service: format!("zkpnet-{role}"),
        instance: instance.to_owned(),
    };
    rpc::export_spans(options, queue).map_err(NodeError::Threads)
}

/// Logs go to standard error, so that standard output stays for what a command has to say.
pub(super) fn start_logging(loaded: &Loaded) {
    let log = &loaded.config.log;
    let filter = tracing_subscriber::EnvFilter::try_new(log_filter(log.level.as_str()))
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // Only a second start in one process fails here; the first one's subscriber stays.
    let _ = match log.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Console => builder.try_init(),
    };
}

/// The libraries below speak at their own level only when everything is asked for.
fn log_filter(level: &str) -> String {
    match level {
        "debug" | "trace" => level.to_owned(),
        // openraft repeats every failed attempt to reach a peer, ten times a second; what matters of it is in our own words.
        _ => format!("warn,openraft=off,zkpnet={level}"),
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    #[test]
    fn the_system_knows_that_this_process_wants_small_pages() {
        super::use_small_pages();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        // Kernels before 5.0 do not tell.
        let told = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
        assert!(told.is_none_or(|told| told.trim() == "0"), "{told:?}");
    }
}
