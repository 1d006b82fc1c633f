//! `zkpnet gateway`: the public door, kept open until a signal.

use super::parts;
use super::process::{OVERTIME, install_metrics, start_logging, start_tracing, within_system};
use super::signals::Signals;
use crate::config::{Config, Loaded};
use crate::gateway::{self, GatewayOptions};
use crate::http::Readiness;
use anyhow::Context as _;
use std::process::ExitCode;
use std::time::Duration;

/// How long `/readyz` says no before connections are refused, so that a load balancer that asks every second goes
/// elsewhere first. Part of the grace.
const NOTICE: Duration = Duration::from_secs(2);
/// Runs a gateway until SIGTERM or SIGINT, and closes it in order: not ready any more, then no new connections, then the
/// requests in hand.
///
/// # Errors
/// When it cannot be started, or its server ends by itself.
pub fn run_gateway(loaded: Loaded) -> anyhow::Result<ExitCode> {
    start_logging(&loaded);
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    within_system(async move {
        let mut signals = Signals::listen()?;
        parts::raise_file_limit();
        let config = &loaded.config;
        let readiness = Readiness::starting();
        let metrics = install_metrics()?;
        let instance = config.http.host.with_port(config.http.port);
        start_tracing(config, "gateway", &instance)?;
        let mut server = gateway::start(&options(config), readiness.clone(), metrics)?;
        readiness.set_ready();
        // Whoever starts it with port 0 looks here for the port.
        eprintln!(
            "zkpnet {} gateway: API http://{}/api/v1/tasks, health http://{}/health",
            env!("CARGO_PKG_VERSION"),
            server.addr(),
            server.addr()
        );
        tokio::select! {
            name = signals.next() => tracing::info!(signal = name, "shutting down"),
            ended = server.ended() => {
                ended.context("the HTTP server has failed")?;
                anyhow::bail!("the HTTP server has ended");
            }
        }
        readiness.set_draining();
        let grace = config.shutdown.grace;
        let closing = async {
            tokio::time::sleep(NOTICE.min(grace / 4)).await;
            server.stop().await
        };
        tokio::select! {
            stopped = closing => stopped.context("the HTTP server did not stop in order")?,
            () = tokio::time::sleep(grace + OVERTIME) => tracing::error!("the shutdown took too long and is cut short"),
            name = signals.next() => tracing::warn!(signal = name, "a second signal cuts the shutdown short"),
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn options(config: &Config) -> GatewayOptions {
    GatewayOptions {
        http: parts::http_options(config),
        coordinators: config.gateway.coordinators.iter().map(ToString::to_string).collect(),
        failover_wait: config.gateway.failover_wait,
    }
}
