//! The public door: takes the clients' requests and puts them to whichever coordinator can fulfil them.
//!
//! It keeps nothing, so that any number of gateways stand side by side and any of them may die. It owns the patience that a
//! client would otherwise need: it finds the leader, repeats what failed, and does so without ever having an effect twice.
//! It decides nothing about tasks, lets nobody administrate the cluster through it, and passes on only what the API knows:
//! known paths, known headers, bodies of bounded size in a frame of its own.
//!
//! In reading order: `routes` (what is passed on, and how), `forward` (around every request), `write` and `read` (the two
//! kinds of patience), `coordinators` (who leads, who answers), `members` (which there are), `upstream` (one exchange),
//! `verdict` (what an answer means for a repetition), `headers`, `pages` (what the gateway says of itself).

mod coordinators;
mod forward;
mod headers;
mod members;
mod pages;
mod read;
mod routes;
mod upstream;
mod verdict;
mod write;

use crate::http::{self, HttpError, HttpOptions, Readiness, RunningServer};
use crate::telemetry::table;
use actix_web::web;
use coordinators::Coordinators;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use upstream::Upstream;

/// Writes in hand at once. Each holds a body.
const WRITES_IN_HAND_MAX: usize = 1024;
/// Reads in hand at once: most of them wait for a proof. Each holds a connection to a coordinator.
const READS_IN_HAND_MAX: usize = 8192;

/// How to be a gateway.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// The server that clients speak to.
    pub http: HttpOptions,
    /// Coordinators' HTTP addresses, `host:port`; further ones are learned from them.
    pub coordinators: Vec<String>,
    /// How long a request waits for a coordinator that can fulfil it, from its first failure on.
    pub failover_wait: Duration,
}

/// The gateway could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A coordinator's address is none.
    #[error("{address:?} is no address of a coordinator: {reason}")]
    Address {
        /// As configured.
        address: String,
        /// Why.
        reason: String,
    },
    /// HTTP could not be served.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// What every request works with.
struct Door {
    coordinators: Arc<Coordinators>,
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    readiness: Readiness,
    metrics: PrometheusHandle,
    /// The longest time for one request, without its wait and without a failover.
    request_timeout: Duration,
    wait_max: Duration,
    failover_wait: Duration,
    /// Requests are fulfilled here and not on the threads that serve clients: a client that hangs up takes nothing along.
    runtime: tokio::runtime::Handle,
}

/// Starts the gateway. Signals are left to the caller, and so is `readiness`.
///
/// Must be called within the tokio runtime that is to do the work.
///
/// # Errors
/// An address is none, or cannot be listened on.
pub fn start(
    options: &GatewayOptions,
    readiness: Readiness,
    metrics: PrometheusHandle,
) -> Result<RunningServer, GatewayError> {
    let coordinators = Coordinators::new(&options.coordinators, Upstream::new())?;
    for kind in ["write", "read", "wait"] {
        // Shown from the beginning, so that the first one is seen as a rise.
        table::GATEWAY_REPETITIONS.counter(&[kind]).increment(0);
    }
    let door = web::Data::new(Door {
        coordinators: Arc::new(coordinators),
        writes: Arc::new(Semaphore::new(WRITES_IN_HAND_MAX)),
        reads: Arc::new(Semaphore::new(READS_IN_HAND_MAX)),
        readiness,
        metrics: metrics.clone(),
        request_timeout: options.http.request_timeout,
        wait_max: options.http.wait_max,
        failover_wait: options.failover_wait,
        runtime: tokio::runtime::Handle::current(),
    });
    let limits = http::limits(&options.http).with_patience(options.failover_wait);
    let routes = move |config: &mut web::ServiceConfig| {
        config.app_data(web::Data::clone(&door));
        routes::configure(config);
    };
    Ok(http::serve(&options.http, limits, &metrics, routes)?)
}
