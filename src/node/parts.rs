//! From the configuration's terms to those of the parts.

use super::NodeError;
use crate::actors::archivist::ArchiveParts;
use crate::actors::clock::millis;
use crate::actors::disk_room::{DiskRoom, LOOK_EVERY};
use crate::actors::prover_pool::{Groth16Prover, Limits};
use crate::actors::session::WorkerProfile;
use crate::actors::worker_registry::LeaseTimes;
use crate::archive::{ArchiveSettings, ArchiveSslMode, ArchiveStore, RetentionRule, RetentionRules};
use crate::config::{CircuitName, Config, DatabaseConfig, SslMode};
use crate::http::{AdminGate, HttpOptions};
use crate::ledger::{ArchivePolicy, CircuitId, Policy, WORKER_CAPACITY_MAX, WorkerId};
use crate::proof::{KeyStore, catalog};
use crate::raft::{NodeId, RaftConfig};
use crate::telemetry::{disk_space, table};
use crate::tls::ClusterToken;

/// Open files asked of the system.
const FILES_WANTED: u64 = 65_536;
/// Open files that are kept from connections: logs, stores, snapshots, keys.
const FILES_KEPT: usize = 256;
/// Open connections for each serving thread at most.
const CONNECTIONS_PER_THREAD_MAX: usize = 4096;

pub(super) fn raft_config(node: NodeId, config: &Config) -> RaftConfig {
    let raft = &config.raft;
    RaftConfig {
        heartbeat: raft.heartbeat_interval,
        election_timeout_min: raft.election_timeout_min,
        election_timeout_max: raft.election_timeout_max,
        entry_commands_max: raft.batch_commands_max,
        entry_bytes_max: raft.batch_bytes_max.bytes(),
        snapshot_after_entries: raft.snapshot_entries,
        snapshot_after_bytes: raft.snapshot_log_bytes.bytes(),
        ..RaftConfig::new(node, raft.data_dir.clone())
    }
}

pub(super) fn policy(config: &Config) -> Policy {
    let tasks = &config.tasks;
    Policy {
        max_attempts_default: tasks.max_attempts,
        retry_backoff_base_ms: millis(tasks.retry_backoff_base),
        retry_backoff_max_ms: millis(tasks.retry_backoff_max),
        open_tasks_max: tasks.queued_tasks_max,
        open_input_bytes_max: tasks.queued_input_bytes_max.bytes(),
        cache_ttl_ms: millis(tasks.cache_ttl),
        retention_age_ms: millis(tasks.retention_age),
        retention_count: tasks.retention_count,
    }
}

/// The archive, when a database is configured. It is not contacted here: it may be away.
pub(super) fn archive(config: &Config) -> Result<Option<ArchiveParts>, NodeError> {
    let database = &config.database;
    let Some(host) = &database.host else { return Ok(None) };
    let settings = ArchiveSettings {
        host: host.to_string(),
        port: database.port,
        user: database.user.clone(),
        password: database.password.as_ref().map(|password| password.expose().to_owned()),
        database: database.name.clone(),
        ssl_mode: match database.ssl_mode {
            SslMode::Disable => ArchiveSslMode::Disable,
            SslMode::Prefer => ArchiveSslMode::Prefer,
            SslMode::Require => ArchiveSslMode::Require,
            SslMode::VerifyCa => ArchiveSslMode::VerifyCa,
            SslMode::VerifyFull => ArchiveSslMode::VerifyFull,
        },
        ca_file: database.ca_file.clone(),
        connections_max: database.connections_max as usize,
        connect_timeout: database.connect_timeout,
        statement_timeout: database.statement_timeout,
    };
    let store = ArchiveStore::open(settings).map_err(|error| NodeError::Config(error.to_string()))?;
    let policy = ArchivePolicy { backlog_max: database.backlog_max };
    Ok(Some(ArchiveParts { store, policy, retention: retention(database) }))
}

fn retention(database: &DatabaseConfig) -> RetentionRules {
    let rule = |age, count: Option<u64>| {
        let count = count.unwrap_or(database.retention_count);
        RetentionRule { age: Some(age), count: Some(count) }
    };
    RetentionRules {
        completed: rule(database.retention_completed, database.retention_count_completed),
        failed: rule(database.retention_failed, database.retention_count_failed),
        cancelled: rule(database.retention_cancelled, database.retention_count_cancelled),
    }
}

pub(super) fn lease_times(config: &Config) -> LeaseTimes {
    LeaseTimes { lease: config.tasks.lease_duration }
}

/// Looks at the room on the disk that Raft's files are on.
pub(super) fn disk_room(config: &Config) -> Result<DiskRoom, NodeError> {
    // Shown from the beginning.
    table::STORAGE_REFUSALS.counter(&[]).increment(0);
    let folder = config.raft.data_dir.clone();
    let probe = Box::new(move || disk_space(&folder).map(|space| space.free_bytes));
    DiskRoom::watch(config.storage.free_bytes_min.bytes(), LOOK_EVERY, probe).map_err(NodeError::Threads)
}

/// Threads that all proofs together use.
fn proving_threads(config: &Config) -> usize {
    config.prover.threads.map_or_else(num_cpus::get, |threads| threads as usize)
}

/// Proofs made at once. With one for each thread, a worker that has enough to do spends nothing on sharing a proof.
pub(super) fn slots(config: &Config) -> usize {
    config.prover.slots.map_or_else(|| proving_threads(config), |slots| slots as usize)
}

/// Makes the pool of threads that keys are made on where no proofs are: of the configured size, and without rayon's habit to end the process
/// when a job panics. Proofs have pools of their own (`actors::prover_pool`).
///
/// The pool is the process's own; a second node in one process shares the first one's.
pub(super) fn build_proving_threads(config: &Config) {
    let built = rayon::ThreadPoolBuilder::new()
        .num_threads(proving_threads(config))
        .thread_name(|number| format!("keys-{number}"))
        .panic_handler(|_| tracing::error!("a job of a key's making panicked"))
        .build_global();
    if let Err(error) = built {
        tracing::debug!(%error, "the proving threads are there already");
    }
}

/// Connections and the store share the process's file descriptors, and a store that cannot open a file ends the node: the
/// usual soft limit of 1024 is raised as far as the system allows. Windows limits neither files nor sockets so low.
pub(super) fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(FILES_WANTED) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
}

/// Threads that serve HTTP.
fn http_threads(config: &Config) -> usize {
    config.http.workers.map_or_else(num_cpus::get, |threads| threads as usize).max(1)
}

/// Connections for each serving thread, so that all of them leave the node the descriptors that it needs for itself.
fn connections_per_thread(config: &Config) -> usize {
    #[cfg(unix)]
    let files = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(1024, |(soft, _)| soft);
    #[cfg(not(unix))]
    let files = FILES_WANTED;
    let for_http = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(FILES_KEPT).max(16);
    (for_http / http_threads(config)).clamp(8, CONNECTIONS_PER_THREAD_MAX)
}

/// The prover over a folder of keys, within the memory that it may take.
pub(super) fn prover(store: KeyStore, config: &Config) -> Groth16Prover {
    let memory_bytes_max = config.prover.proofs_memory_bytes_max.bytes();
    Groth16Prover::new(store)
        .with_memory_limit(config.prover.keys_memory_bytes_max.bytes())
        .with_tables(config.prover.tables_memory_bytes_max.bytes())
        .with_limits(Limits { threads: proving_threads(config), memory_bytes_max })
}

/// How many leases a worker holds, when nobody says, for each proof that it makes at once.
#[derive(Clone, Copy)]
pub(super) enum Ahead {
    /// One: what it cannot begin yet, another worker could.
    Nothing,
    /// Two: there is no other worker, and the next proof need not wait until the last one's is committed.
    One,
}

pub(super) fn profile(config: &Config, ahead: Ahead) -> Result<WorkerProfile, NodeError> {
    let worker = WorkerId::new(config.worker.id.as_str())
        .map_err(|error| NodeError::Config(format!("worker.id {error}")))?;
    let slots = u32::try_from(slots(config)).unwrap_or(u32::MAX);
    let usual = match ahead {
        Ahead::Nothing => slots,
        Ahead::One => slots.saturating_mul(2),
    };
    let usual = usual.min(WORKER_CAPACITY_MAX);
    let circuits = catalog::all().iter().filter_map(|spec| CircuitId::new(spec.name).ok()).collect();
    Ok(WorkerProfile { worker, capacity: config.worker.capacity.unwrap_or(usual), circuits })
}

pub(super) fn preload(config: &Config) -> Result<Vec<CircuitId>, NodeError> {
    let known = |name: &CircuitName| {
        let spec = catalog::find(name.as_str()).and_then(|spec| CircuitId::new(spec.name).ok());
        let names = || catalog::all().iter().map(|spec| spec.name).collect::<Vec<_>>().join(", ");
        spec.ok_or_else(|| {
            NodeError::Config(format!(
                "prover.preload: there is no circuit {:?}; this version has {}",
                name.as_str(),
                names()
            ))
        })
    };
    config.prover.preload.iter().map(known).collect()
}

pub(super) fn http_options(config: &Config) -> HttpOptions {
    let http = &config.http;
    HttpOptions {
        host: http.host.as_str().to_owned(),
        port: http.port,
        threads: http_threads(config),
        connections_per_thread_max: connections_per_thread(config),
        body_limit_bytes: http.body_limit_bytes.bytes(),
        wait_max: http.wait_max,
        request_timeout: http.request_timeout,
        shutdown_grace: config.shutdown.grace,
    }
}

/// The cluster's token, when there is one.
pub(super) fn token(config: &Config) -> Result<Option<ClusterToken>, NodeError> {
    let read = |path| ClusterToken::read(path).map_err(|error| NodeError::Config(error.to_string()));
    config.cluster.token_file.as_deref().map(read).transpose()
}

/// Who may change the cluster: who knows its token. Without one, whoever reaches the port; but nobody where certificates say
/// that the network is not trusted, since the HTTP port asks for none.
pub(super) fn admin_gate(config: &Config) -> Result<AdminGate, NodeError> {
    let is_exposed = config.raft.tls_enabled && !config.cluster.insecure && !config.http.host.is_loopback();
    Ok(match token(config)? {
        Some(token) => AdminGate::for_holders_of(move |shown| token.matches(shown)),
        None if is_exposed => AdminGate::for_holders_of(|_| false),
        None => AdminGate::open(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{LoadRequest, Role, load};

    fn rules(settings: &[(&str, &str)]) -> [Option<u64>; 3] {
        let mut request = LoadRequest::new(Role::Dev);
        let variable = |key: &str| format!("ZKPNET_DATABASE__{}", key.to_uppercase()).into();
        request.env = settings.iter().map(|(key, value)| (variable(key), value.into())).collect();
        let rules = retention(&load(&request).unwrap().config.database);
        [rules.completed.count, rules.failed.count, rules.cancelled.count]
    }

    #[test]
    fn each_status_has_a_count_of_its_own_and_one_key_is_the_default_of_all() {
        assert_eq!(rules(&[]), [Some(100_000_000); 3]);
        assert_eq!(rules(&[("retention_count", "7")]), [Some(7); 3]);
        let own =
            [("retention_count", "7"), ("retention_count_failed", "5"), ("retention_count_cancelled", "3")];
        assert_eq!(rules(&own), [Some(7), Some(5), Some(3)]);
        assert_eq!(rules(&[("retention_count_completed", "9")])[0], Some(9));
    }
}
