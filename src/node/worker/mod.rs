//! `zkpnet worker`: proves what the cluster's leader hands out, kept running until a signal.
//!
//! It needs no port that anybody reaches but its own health and metrics, and nothing on disk but keys, which it can fetch
//! again, and the proofs that nobody has acknowledged when it ends.

mod pages;

use super::process::{self, RunningNode};
use super::{NodeError, parts, pool};
use crate::actors::guardian::{GivenUp, Guardian, GuardianHandle};
use crate::actors::prover_pool::{ProverPool, ProverPoolHandle};
use crate::actors::session::{Session, SessionHandle, Spool};
use crate::config::{Config, Loaded};
use crate::http::{self, Readiness, RunningServer};
use crate::proof::{KeyStore, catalog};
use crate::rpc::{ClientOptions, RemoteCoordinator};
use crate::tls::{ClusterToken, TlsFiles, TlsMaterial};
use actix_web::web;
use metrics_exporter_prometheus::PrometheusHandle;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Of a shutdown's grace: what is kept to give back, to spool, and to close.
const CLOSING_SHARE: u32 = 4;

/// Runs a worker until SIGTERM or SIGINT, and takes it down in order: leases are finished and acknowledged or given back,
/// and what is proved and not acknowledged is kept for the next start.
///
/// # Errors
/// When it cannot be started or cannot go on.
pub fn run_worker(loaded: Loaded) -> anyhow::Result<ExitCode> {
    process::start_logging(&loaded);
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    process::within_system(async move {
        let grace = loaded.config.shutdown.grace;
        let start = async {
            let (config, metrics) = (&loaded.config, process::install_metrics()?);
            process::start_tracing(config, "worker", config.worker.id.as_str())?;
            Ok(WorkerNode::start(config, metrics).await?)
        };
        process::run_until_ended(start, grace, |node: &WorkerNode| {
            // Whoever starts it with port 0 looks here for the port.
            eprintln!(
                "zkpnet {} worker {}: health http://{}/health",
                env!("CARGO_PKG_VERSION"),
                loaded.config.worker.id.as_str(),
                node.addr()
            );
        })
        .await
    })
}

/// A worker process's parts.
struct WorkerNode {
    session: SessionHandle,
    spool: Spool,
    guardian: GuardianHandle,
    given_up: mpsc::Receiver<GivenUp>,
    server: RunningServer,
    readiness: Readiness,
}

/// What the worker's pages tell of.
struct Desk {
    worker_id: String,
    capacity: u32,
    session: SessionHandle,
    pool: ProverPoolHandle,
    coordinator: RemoteCoordinator,
    readiness: Readiness,
    metrics: PrometheusHandle,
    data_dir: PathBuf,
}

impl WorkerNode {
    /// Starts everything. It comes back when HTTP is served; a leader may still have to be found.
    ///
    /// Must be called within an actix system.
    ///
    /// # Errors
    /// See [`NodeError`].
    async fn start(config: &Config, metrics: PrometheusHandle) -> Result<Self, NodeError> {
        let data_dir = &config.storage.data_dir;
        std::fs::create_dir_all(data_dir)
            .map_err(|source| NodeError::Folder { path: data_dir.clone(), source })?;
        parts::raise_file_limit();
        let store = KeyStore::open(&config.storage.keys_dir)?;
        let profile = parts::profile(config, parts::Ahead::Nothing)?;
        let preload = parts::preload(config)?;
        let coordinator = coordinator(config)?;
        let (guardian, given_up) = Guardian::launch();

        parts::build_proving_threads(config);
        let prover = Arc::new(parts::prover(store, config).with_source(Arc::new(coordinator.clone())));
        let threads = pool("prover", parts::slots(config), profile.capacity as usize)?;
        for spec in preload.iter().filter_map(|circuit| catalog::find(circuit.as_str())) {
            let prover = Arc::clone(&prover);
            let loaded = threads.run(move || prover.preload(spec)).await;
            if let Ok(Err(error)) = loaded {
                tracing::warn!(circuit = spec.name, %error, "the key is not loaded at start");
            }
        }
        let prover_pool = ProverPool::launch(&guardian, threads, prover).await;
        let spool = Spool::of(data_dir, &profile.worker);
        let (worker_id, capacity) = (profile.worker.to_string(), profile.capacity);
        let session = Session::launch(&guardian, profile, coordinator.clone(), prover_pool.clone()).await;
        match spool.read() {
            Ok(proofs) => session.resume(proofs),
            // Their tasks are proved anew; a worker that does not start proves nothing.
            Err(error) => tracing::error!(%error, "proofs of an earlier life are not reported"),
        }

        let readiness = Readiness::starting();
        let (pool, ready) = (prover_pool, readiness.clone());
        let desk = web::Data::new(Desk {
            worker_id,
            capacity,
            session: session.clone(),
            pool,
            coordinator,
            readiness: ready,
            metrics: metrics.clone(),
            data_dir: data_dir.clone(),
        });
        let options = parts::http_options(config);
        let routes = move |config: &mut web::ServiceConfig| {
            config.app_data(web::Data::clone(&desk));
            pages::configure(config);
        };
        let server = http::serve(&options, http::limits(&options), &metrics, routes)?;
        readiness.set_ready();
        Ok(Self { session, spool, guardian, given_up, server, readiness })
    }

    /// Where health and metrics are served.
    const fn addr(&self) -> SocketAddr {
        self.server.addr()
    }
}

impl RunningNode for WorkerNode {
    async fn failed(&mut self) -> String {
        tokio::select! {
            Some(given_up) = self.given_up.recv() => given_up.to_string(),
            ended = self.server.ended() => match ended {
                Ok(()) => "the HTTP server has ended".to_owned(),
                Err(error) => format!("the HTTP server has failed: {error}"),
            },
        }
    }

    async fn shutdown(self, grace: Duration) {
        self.readiness.set_draining();
        let closing = grace / CLOSING_SHARE;
        self.session.drain(grace.saturating_sub(closing)).await;
        let left = self.session.unreported();
        if !left.is_empty() {
            tracing::warn!(
                proofs = left.len(),
                "proofs that no coordinator has acknowledged wait for the next start"
            );
        }
        if let Err(error) = self.spool.write(&left) {
            tracing::error!(%error, "unacknowledged proofs are lost");
        }
        if tokio::time::timeout(closing, self.server.stop()).await.is_err() {
            tracing::debug!("some HTTP connections did not end in time");
        }
        self.guardian.retire().await;
    }
}

fn coordinator(config: &Config) -> Result<RemoteCoordinator, NodeError> {
    let worker = &config.worker;
    let invalid = |error: &dyn std::fmt::Display| NodeError::Config(error.to_string());
    let token = config.cluster.token_file.as_deref().map(ClusterToken::read).transpose();
    let tls = match (&worker.cert_file, &worker.key_file, &worker.ca_file) {
        (Some(cert), Some(key), Some(ca)) if worker.tls_enabled => {
            let files = TlsFiles { cert: cert.clone(), key: key.clone(), ca: ca.clone() };
            Some(TlsMaterial::open(files).map_err(|error| invalid(&error))?)
        }
        _ if worker.tls_enabled => {
            return Err(invalid(
                &"worker.tls_enabled needs worker.cert_file, worker.key_file and worker.ca_file",
            ));
        }
        _ => None,
    };
    let options = ClientOptions {
        coordinators: worker.coordinator_address.iter().map(ToString::to_string).collect(),
        token: token.map_err(|error| invalid(&error))?,
        tls,
    };
    RemoteCoordinator::new(options).map_err(|error| invalid(&error))
}
