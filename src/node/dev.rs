//! `zkpnet dev`: the whole service in one process, kept running until a signal.

use super::process::{self, RunningNode, install_metrics, start_logging, start_tracing, within_system};
use super::{Node, NodeError};
use crate::config::Loaded;
use std::process::ExitCode;
use std::time::Duration;

/// Runs a node until SIGTERM or SIGINT, and takes it down in order.
///
/// # Errors
/// When the node cannot be started or cannot go on.
pub fn run_dev(loaded: Loaded) -> anyhow::Result<ExitCode> {
    start_logging(&loaded);
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    within_system(async move {
        let start = async { Ok(start_node(&loaded).await?) };
        let greet = |node: &Node| eprint!("{}", greeting(node, &loaded));
        process::run_until_ended(start, loaded.config.shutdown.grace, greet).await
    })
}

impl RunningNode for Node {
    async fn failed(&mut self) -> String {
        Self::failed(self).await
    }

    async fn shutdown(self, grace: Duration) {
        Self::shutdown(self, grace).await;
    }
}

pub(super) async fn start_node(loaded: &Loaded) -> Result<Node, NodeError> {
    let (config, metrics) = (&loaded.config, install_metrics()?);
    start_tracing(config, "dev", config.coordinator.id.as_str())?;
    Node::start(config, metrics).await
}

/// A box that says what listens where.
fn greeting(node: &Node, loaded: &Loaded) -> String {
    let addr = node.addr();
    let lines = [
        format!("zkpnet {} dev: everything in one process", env!("CARGO_PKG_VERSION")),
        String::new(),
        format!("API      http://{addr}/api/v1/tasks"),
        format!("health   http://{addr}/health   (also /livez, /readyz?verbose)"),
        format!("metrics  http://{addr}/metrics"),
        format!("OpenAPI  http://{addr}/openapi.json"),
        format!("data     {}", loaded.config.storage.data_dir.display()),
        String::new(),
        "NOT FOR PRODUCTION: one node, no authentication, and proving keys whose".to_owned(),
        "secret randomness this machine drew (label dev). Stop with Ctrl-C.".to_owned(),
    ];
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let rule = "─".repeat(width + 2);
    let body: String = lines.iter().map(|line| format!("│ {line:width$} │\n")).collect();
    format!("┌{rule}┐\n{body}└{rule}┘\n")
}
