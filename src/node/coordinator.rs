//! `zkpnet coordinator`: a member of the cluster, with the ports for other members, for workers and for HTTP.

use super::core::{Core, Files};
use super::founding::Entrance;
use super::process::{self, RunningNode};
use super::{NodeError, ended, founding, lookout, parts};
use crate::config::{Config, Loaded};
use crate::http::{self, AppState, Readiness, RunningServer};
use crate::ledger::LogIndex;
use crate::raft::{NodeAbout, NodeId, RaftService, Refused, Standing, TcpOptions, TcpTransport};
use crate::rpc::{self, RunningRpc, ServeOptions, Topology};
use crate::tls::{ClusterToken, TlsFiles, TlsMaterial};
use metrics_exporter_prometheus::PrometheusHandle;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// A node that a member has refused, and that knows of no leader after this time, does not belong to the cluster.
const REFUSAL_GRACE: Duration = Duration::from_secs(5);
/// Of a shutdown's grace: what the HTTP server gets to finish its requests.
const CLOSING_SHARE: u32 = 4;
/// How often the leader looks whether members showed a storage that the membership does not record.
const STORES_EVERY: Duration = Duration::from_secs(1);

/// Runs a coordinator until SIGTERM or SIGINT, and takes it down in order: a leader hands over first.
///
/// # Errors
/// When it cannot be started or cannot go on.
pub fn run_coordinator(loaded: Loaded) -> anyhow::Result<ExitCode> {
    process::start_logging(&loaded);
    process::use_small_pages();
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    process::within_system(async move {
        let grace = loaded.config.shutdown.grace;
        let start = async {
            let (config, metrics) = (&loaded.config, process::install_metrics()?);
            process::start_tracing(config, "coordinator", config.coordinator.id.as_str())?;
            Ok(Coordinator::start(config, metrics).await?)
        };
        process::run_until_ended(start, grace, |node: &Coordinator| {
            tracing::info!(http = %node.server.addr(), raft = %node.transport.address(), "coordinator runs");
        })
        .await
    })
}

struct Coordinator {
    core: Core,
    transport: Arc<TcpTransport>,
    rpc: RunningRpc,
    server: RunningServer,
    readiness: Readiness,
    background: tokio::task::JoinSet<()>,
}

impl Coordinator {
    async fn start(config: &Config, metrics: PrometheusHandle) -> Result<Self, NodeError> {
        let files = Files::open(config)?;
        let security = Security::open(config)?;
        let transport = bind(config, &files, &security)?;
        let (node, entrance) = founding::number(config, &transport).await?;
        let (raft, events) = RaftService::start(parts::raft_config(node, config), transport.clone()).await?;
        raft.set_about(about(config));
        transport.set_store(raft.store_id());
        let core = Core::start(config, files, raft.clone(), events, None).await?;

        let readiness = Readiness::starting();
        let (tasks, cluster) = (core.tasks.clone(), core.cluster.clone());
        let state = AppState::new(tasks, cluster, parts::admin_gate(config)?, readiness.clone(), metrics)
            .with_backups(core.backups.clone())
            .with_sources(core.figures(config));
        let server = http::start(&parts::http_options(config), state)?;
        let rpc = serve_workers(config, &core, &security).await?;

        let mut background = tokio::task::JoinSet::new();
        let shared = Arc::new(config.clone());
        background.spawn(founding::found(shared.clone(), raft.clone(), transport.clone()));
        if entrance == Entrance::Admitted {
            background.spawn(founding::become_voter(shared.clone(), raft.clone(), transport.clone()));
        }
        background.spawn(lookout::run(shared, raft.clone()));
        background.spawn(record_stores(raft, transport.clone()));
        readiness.set_ready();
        Ok(Self { core, transport, rpc, server, readiness, background })
    }

    /// Comes back when a member has refused this node for good.
    async fn refused(transport: &TcpTransport, raft: &RaftService) -> String {
        let mut refusals = transport.refusals();
        loop {
            let Ok(refused) = refusals.wait_for(Option::is_some).await.map(|refused| refused.clone()) else {
                return std::future::pending().await;
            };
            tokio::time::sleep(REFUSAL_GRACE).await;
            // One member's word does not end a node that the others go on speaking to, nor one that was in a cluster while
            // the others are away: it may be that member's disk that was lost.
            if let Some(Refused { by, refusal }) = refused
                && refusals.borrow().is_some()
                && raft.status().leader.is_none()
                && (!has_committed(raft) || leave_no_majority(&transport.refusers(), &voters(raft)))
            {
                return format!("member {by} refuses this node: {refusal}");
            }
        }
    }
}

impl RunningNode for Coordinator {
    async fn failed(&mut self) -> String {
        let raft = self.core.raft.clone();
        tokio::select! {
            error = self.core.failed() => error,
            error = ended(&mut self.server) => error,
            error = self.rpc.ended() => error,
            error = Self::refused(&self.transport, &raft) => error,
        }
    }

    async fn shutdown(mut self, grace: Duration) {
        self.readiness.set_draining();
        self.background.abort_all();
        let closing = grace / CLOSING_SHARE;
        // First of all another one leads: workers and gateways then find it while this one still answers.
        self.core.hand_over().await;
        self.rpc.stop(closing).await;
        if tokio::time::timeout(closing, self.server.stop()).await.is_err() {
            tracing::warn!("some HTTP connections did not end in time");
        }
        self.core.stop().await;
    }
}

/// Whether this node ever learned that a majority had stored something.
fn has_committed(raft: &RaftService) -> bool {
    raft.status().committed.is_some_and(|committed| committed > LogIndex(0))
}

/// The members with a vote.
fn voters(raft: &RaftService) -> Vec<NodeId> {
    let members = raft.members().into_iter();
    members.filter(|member| member.standing == Standing::Voter).map(|member| member.id).collect()
}

/// Whether too few voters are left beside those that refuse this node.
fn leave_no_majority(refusers: &BTreeSet<NodeId>, voters: &[NodeId]) -> bool {
    let left = voters.iter().filter(|voter| !refusers.contains(voter)).count();
    left * 2 <= voters.len()
}

/// Who may speak to this node.
struct Security {
    tls: Option<TlsMaterial>,
    token: Option<ClusterToken>,
}

impl Security {
    fn open(config: &Config) -> Result<Self, NodeError> {
        let raft = &config.raft;
        let wrong = |error: &dyn std::fmt::Display| NodeError::Config(error.to_string());
        let tls = match (raft.tls_enabled, &raft.cert_file, &raft.key_file, &raft.ca_file) {
            (false, ..) => None,
            (true, Some(cert), Some(key), Some(ca)) => {
                let files = TlsFiles { cert: cert.clone(), key: key.clone(), ca: ca.clone() };
                Some(TlsMaterial::open(files).map_err(|error| wrong(&error))?)
            }
            (true, ..) => {
                let reason = "raft.tls_enabled needs raft.cert_file, raft.key_file and raft.ca_file";
                return Err(NodeError::Config(reason.to_owned()));
            }
        };
        Ok(Self { tls, token: parts::token(config)? })
    }
}

fn bind(config: &Config, files: &Files, security: &Security) -> Result<Arc<TcpTransport>, NodeError> {
    let listen = config.raft.host.with_port(config.raft.raft_port);
    let mut options = TcpOptions::new(listen, config.raft.node_id.as_str(), files.data_key.print());
    options.tls = security.tls.clone();
    options.token = security.token.clone();
    Ok(TcpTransport::bind(options)?)
}

fn about(config: &Config) -> NodeAbout {
    NodeAbout {
        name: config.raft.node_id.as_str().to_owned(),
        http_address: config.http.advertise_address.to_string(),
        grpc_address: config.grpc.advertise_address.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        will_found: config.raft.bootstrap,
        first_members: founding::digest_of(&founding::first_members(&config.raft.peers)),
    }
}

async fn serve_workers(config: &Config, core: &Core, security: &Security) -> Result<RunningRpc, NodeError> {
    let address = config.grpc.host.with_port(config.grpc.port);
    let failed = |source| NodeError::Grpc { address: address.clone(), source };
    let listener = tokio::net::TcpListener::bind(&address).await.map_err(failed)?;
    let raft = core.raft.clone();
    let options = ServeOptions {
        registry: core.registry.clone(),
        keys: core.store.clone(),
        topology: Arc::new(move || topology(&raft)),
        token: security.token.clone(),
        tls: security.tls.clone(),
    };
    rpc::serve(listener, options).map_err(failed)
}

/// Where workers reach the coordinators, as these told each other.
fn topology(raft: &RaftService) -> Topology {
    let reports: BTreeMap<NodeId, String> =
        raft.reports().into_iter().map(|(node, (report, _))| (node, report.grpc_address)).collect();
    let leader = raft.status().leader.map(|leader| leader.id);
    Topology {
        leader_grpc: leader
            .and_then(|leader| reports.get(&leader).cloned())
            .filter(|address| !address.is_empty()),
        all_grpc: reports.into_values().filter(|address| !address.is_empty()).collect(),
    }
}

/// While this node leads: has the membership record the storages that first members showed, so that a wiped disk is told
/// from the old one by every later leader.
async fn record_stores(raft: RaftService, transport: Arc<TcpTransport>) {
    loop {
        tokio::time::sleep(STORES_EVERY).await;
        if !raft.status().is_leading() {
            continue;
        }
        let unknown: Vec<_> =
            raft.members().into_iter().filter(|m| m.store.is_none()).map(|m| m.id).collect();
        let seen = transport.seen_stores();
        for id in unknown {
            let Some(store) = seen.get(&id) else { continue };
            if let Err(error) = raft.record_store(id, *store).await {
                tracing::debug!(%error, "a member's storage is not recorded yet");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_three_that_refuses_ends_no_node_that_was_in_a_cluster_and_two_do() {
        let voters = [NodeId(1), NodeId(2), NodeId(3)];
        assert!(!leave_no_majority(&BTreeSet::new(), &voters));
        assert!(!leave_no_majority(&BTreeSet::from([NodeId(1)]), &voters));
        assert!(!leave_no_majority(&BTreeSet::from([NodeId(1), NodeId(9)]), &voters), "9 has no vote");
        assert!(leave_no_majority(&BTreeSet::from([NodeId(1), NodeId(3)]), &voters));
    }
}
