//! The HTTP server: its socket, its limits, its beginning and its end.

use super::observe::observe;
use super::routes::configure;
use super::state::{AppState, Limits};
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::{App, HttpServer, middleware, web};
use metrics_exporter_prometheus::PrometheusHandle;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// The longest time for a request's head.
const HEAD_TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// For how long an idle connection is kept: longer than the usual minute of load balancers, which must be first to close.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Time for the last bytes of a connection that is being closed.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the recorder is made to digest its histograms, which otherwise grow until someone asks for `/metrics`.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How to serve.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// Host name or IP address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes any free one.
    pub port: u16,
    /// Threads that serve.
    pub threads: usize,
    /// Open connections for each serving thread; more wait in the backlog.
    pub connections_per_thread_max: usize,
    /// The largest body of a request.
    pub body_limit_bytes: u64,
    /// The longest `?wait=` that is granted.
    pub wait_max: Duration,
    /// The longest time from a request's first byte to its answer, without what `wait` asks for.
    pub request_timeout: Duration,
    /// How long [`RunningServer::stop`] lets requests finish.
    pub shutdown_grace: Duration,
}

/// The server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("cannot listen for HTTP on {host}:{port}: {source}")]
    Bind {
        /// The configured host.
        host: String,
        /// The configured port.
        port: u16,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A server that is serving.
pub struct RunningServer {
    addr: SocketAddr,
    handle: ServerHandle,
    ended: tokio::task::JoinHandle<io::Result<()>>,
    upkeep: tokio::task::AbortHandle,
}

/// Starts to serve the task API. Signals are left to the caller.
///
/// Must be called within the runtime that is to serve.
///
/// # Errors
/// The address cannot be listened on.
pub fn start(options: &HttpOptions, state: AppState) -> Result<RunningServer, HttpError> {
    let metrics = state.metrics.clone();
    let state = web::Data::new(state);
    let routes = move |config: &mut web::ServiceConfig| {
        config.app_data(web::Data::clone(&state));
        configure(config);
    };
    serve(options, limits(options), &metrics, routes)
}

/// The limits of a request that the options give.
pub(crate) fn limits(options: &HttpOptions) -> Limits {
    let body_bytes_max = usize::try_from(options.body_limit_bytes).unwrap_or(usize::MAX);
    Limits::new(body_bytes_max, options.wait_max, options.request_timeout)
}

/// Starts to serve routes of any kind, with what happens around every request and every error in the one form.
///
/// Must be called within the runtime that is to serve.
///
/// # Errors
/// The address cannot be listened on.
pub(crate) fn serve(
    options: &HttpOptions,
    limits: Limits,
    metrics: &PrometheusHandle,
    routes: impl FnOnce(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> Result<RunningServer, HttpError> {
    let (addr, server) = bind(options, limits, routes).map_err(|source| HttpError::Bind {
        host: options.host.clone(),
        port: options.port,
        source,
    })?;
    let upkeep = spawn_upkeep(metrics.clone());
    let handle = server.handle();
    tracing::info!(%addr, "serving HTTP");
    Ok(RunningServer { addr, handle, ended: tokio::spawn(server), upkeep })
}

fn bind(
    options: &HttpOptions,
    limits: Limits,
    routes: impl FnOnce(&mut web::ServiceConfig) + Clone + Send + 'static,
) -> io::Result<(SocketAddr, Server)> {
    let limits = web::Data::new(limits);
    let app = move || {
        App::new()
            .app_data(web::Data::clone(&limits))
            .wrap(middleware::from_fn(observe))
            .configure(routes.clone())
    };
    let server = HttpServer::new(app)
        .workers(options.threads.max(1))
        .disable_signals()
        .backlog(BACKLOG)
        .max_connections(options.connections_per_thread_max)
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(options.request_timeout.min(HEAD_TIMEOUT_MAX))
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .shutdown_timeout(options.shutdown_grace.as_secs().max(1));
    let server = server.bind((options.host.as_str(), options.port))?;
    let addr = server.addrs().first().copied();
    let addr = addr.ok_or_else(|| io::Error::other("the host has no address"))?;
    Ok((addr, server.run()))
}

fn spawn_upkeep(metrics: PrometheusHandle) -> tokio::task::AbortHandle {
    let upkeep = async move {
        let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
        loop {
            ticks.tick().await;
            metrics.run_upkeep();
        }
    };
    tokio::spawn(upkeep).abort_handle()
}

impl RunningServer {
    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Comes back when the server has ended by itself, which only happens when something is wrong.
    ///
    /// # Errors
    /// What went wrong.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.ended).await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Stops to accept, lets requests finish within the grace that the options give, and closes everything.
    ///
    /// # Errors
    /// The server had ended badly.
    pub async fn stop(self) -> io::Result<()> {
        self.handle.stop(true).await;
        self.upkeep.abort();
        self.ended.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}
