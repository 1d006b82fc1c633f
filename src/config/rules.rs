//! What is right or wrong about several values together, and advice about values that are right but unusual.
//!
//! A rule is judged only when each of its keys has a right value of its own, and only for roles that read them.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::errors::{ConfigError, Notice, Origin};
use super::keys::KeySpec;
use super::layers::Layers;
use super::sections::{Config, key};
use super::values::SslMode;

/// Judges every rule.
pub(crate) fn check(config: &Config, layers: &mut Layers) {
    raft_timing(config, layers);
    membership(config, layers);
    own_address(config, layers);
    raft_tls(config, layers);
    worker_tls(config, layers);
    shared_key(config, layers);
    who_may_speak(config, layers);
    tasks(config, layers);
    ports(config, layers);
    required_lists(config, layers);
    database(config, layers);
    exposure(config, layers);
}

/// Notes a conflict among keys if `wrong` says so.
fn conflict(layers: &mut Layers, keys: &[&'static str], wrong: bool, reason: impl Into<String>) {
    if wrong && applies(layers, keys) {
        let keys = keys.iter().map(|path| (*path, layers.origin(path))).collect();
        layers.errors.push(ConfigError::Conflict { keys, reason: reason.into() });
    }
}

/// Whether the role reads all of the keys and none of them is broken.
fn applies(layers: &Layers, keys: &[&'static str]) -> bool {
    keys.iter()
        .all(|path| !layers.is_broken(path) && key(path).is_some_and(|spec| spec.roles.contains(layers.role)))
}

fn advise(layers: &mut Layers, path: &'static str, text: &str) {
    let origin = layers.origin(path);
    layers.notices.push(Notice::Advice { key: path, origin, text: text.to_owned() });
}

fn raft_timing(config: &Config, layers: &mut Layers) {
    let raft = &config.raft;
    let (min, max) = (raft.election_timeout_min, raft.election_timeout_max);
    conflict(
        layers,
        &["raft.election_timeout_min", "raft.election_timeout_max"],
        min >= max,
        "the shortest election timeout must be less than the longest, or members stand for election all at once",
    );
    conflict(
        layers,
        &["raft.election_timeout_min", "raft.heartbeat_interval"],
        min <= raft.heartbeat_interval * 2,
        "the shortest election timeout must be more than twice the heartbeat, or one late heartbeat costs the leader",
    );
}

fn membership(config: &Config, layers: &mut Layers) {
    let raft = &config.raft;
    duplicates("raft.peers", "id", raft.peers.iter().map(|peer| &peer.id), layers);
    duplicates("raft.peers", "address", raft.peers.iter().map(|peer| &peer.address), layers);
    duplicates("raft.join", "address", raft.join.iter(), layers);
    duplicates("worker.coordinator_address", "address", config.worker.coordinator_address.iter(), layers);
    duplicates("gateway.coordinators", "address", config.gateway.coordinators.iter(), layers);
    duplicates("prover.preload", "circuit", config.prover.preload.iter(), layers);
    conflict(
        layers,
        &["raft.bootstrap", "raft.join"],
        raft.bootstrap && !raft.join.is_empty(),
        "a node either makes a new cluster or joins one that runs",
    );
    let member = raft.peers.iter().any(|peer| peer.id == raft.node_id);
    conflict(
        layers,
        &["raft.bootstrap", "raft.peers", "raft.node_id"],
        raft.bootstrap && !raft.peers.is_empty() && !member,
        format!(
            "the node that makes the cluster must be among its first members, and {} is not",
            raft.node_id
        ),
    );
}

/// Notes each value that a list holds more than once.
fn duplicates<T: Ord + Display>(
    path: &'static str,
    what: &str,
    values: impl Iterator<Item = T>,
    layers: &mut Layers,
) {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    for (value, _) in counts.into_iter().filter(|(_, count)| *count > 1) {
        conflict(layers, &[path], true, format!("the {what} {value} stands in the list more than once"));
    }
}

fn own_address(config: &Config, layers: &mut Layers) {
    let raft = &config.raft;
    let listed = raft.peers.iter().find(|peer| peer.id == raft.node_id);
    let Some(listed) = listed.filter(|peer| peer.address != raft.advertise_address) else { return };
    let reason = format!(
        "the other members would be told {}, and their list says {} for {}",
        raft.advertise_address, listed.address, raft.node_id
    );
    conflict(layers, &["raft.advertise_address", "raft.peers"], true, reason);
}

fn raft_tls(config: &Config, layers: &mut Layers) {
    let raft = &config.raft;
    let files = [("raft.cert_file", &raft.cert_file), ("raft.key_file", &raft.key_file)];
    for (path, file) in files {
        let reason = format!("TLS needs `{path}`");
        conflict(layers, &["raft.tls_enabled", path], raft.tls_enabled && file.is_none(), reason);
        if !raft.tls_enabled && file.is_some() && applies(layers, &["raft.tls_enabled", path]) {
            advise(layers, path, "without `raft.tls_enabled: true` this file is not used");
        }
    }
}

fn worker_tls(config: &Config, layers: &mut Layers) {
    let worker = &config.worker;
    let files = [
        ("worker.cert_file", &worker.cert_file),
        ("worker.key_file", &worker.key_file),
        ("worker.ca_file", &worker.ca_file),
    ];
    for (path, file) in files {
        let reason = format!("TLS needs `{path}`");
        conflict(layers, &["worker.tls_enabled", path], worker.tls_enabled && file.is_none(), reason);
    }
}

/// What one coordinator seals another must open.
fn shared_key(config: &Config, layers: &mut Layers) {
    let raft = &config.raft;
    let others = raft.peers.iter().any(|peer| peer.id != raft.node_id) || !raft.join.is_empty();
    conflict(
        layers,
        &["storage.key_file", "raft.peers", "raft.join"],
        others && config.storage.key_file.is_none(),
        "coordinators of one cluster share the key that encrypts tasks' inputs: make it with `zkpnet tls data-key --out \
         FILE`, copy it to each of them and name it in `storage.key_file`",
    );
}

/// A coordinator that others on the network are told of asks them who they are, unless the operator says otherwise.
fn who_may_speak(config: &Config, layers: &mut Layers) {
    let is_open = !config.raft.tls_enabled && config.cluster.token_file.is_none() && !config.cluster.insecure;
    let addresses = [
        ("raft.advertise_address", &config.raft.advertise_address),
        ("grpc.advertise_address", &config.grpc.advertise_address),
        ("http.advertise_address", &config.http.advertise_address),
    ];
    for (path, address) in addresses {
        let reason = format!(
            "{address} is beyond loopback, and neither certificates (`raft.tls_enabled`) nor a token (`cluster.token_file`) \
             would say who may speak there; `cluster.insecure: true` starts all the same"
        );
        let wrong = is_open && !address.host().is_loopback();
        conflict(layers, &[path, "raft.tls_enabled", "cluster.token_file"], wrong, reason);
        if wrong {
            return;
        }
    }
}

fn tasks(config: &Config, layers: &mut Layers) {
    let tasks = &config.tasks;
    conflict(
        layers,
        &["tasks.retry_backoff_base", "tasks.retry_backoff_max"],
        tasks.retry_backoff_base > tasks.retry_backoff_max,
        "the first wait must not be longer than the longest",
    );
    conflict(
        layers,
        &["tasks.cache_ttl", "tasks.retention_age"],
        tasks.cache_ttl > tasks.retention_age,
        "a task must be kept for as long as it answers the same request again",
    );
}

fn ports(config: &Config, layers: &mut Layers) {
    let pairs = [
        (("http.port", config.http.port), ("raft.raft_port", config.raft.raft_port)),
        (("http.port", config.http.port), ("grpc.port", config.grpc.port)),
        (("grpc.port", config.grpc.port), ("raft.raft_port", config.raft.raft_port)),
    ];
    for ((first, first_port), (second, second_port)) in pairs {
        let reason = format!("two listeners on port {first_port}");
        conflict(layers, &[first, second], first_port == second_port, reason);
    }
}

fn required_lists(config: &Config, layers: &mut Layers) {
    let lists = [
        ("worker.coordinator_address", config.worker.coordinator_address.is_empty()),
        ("gateway.coordinators", config.gateway.coordinators.is_empty()),
    ];
    for (path, empty) in lists {
        conflict(layers, &[path], empty, "at least one address is needed");
    }
}

fn database(config: &Config, layers: &mut Layers) {
    let is_used = config.database.host.is_some();
    let verifies = matches!(config.database.ssl_mode, SslMode::VerifyCa | SslMode::VerifyFull);
    let paths = ["database.ssl_mode", "database.ca_file"];
    let reason = "checking the server's certificate needs the authorities that may have issued it";
    conflict(layers, &paths, is_used && verifies && config.database.ca_file.is_none(), reason);
    if is_used || layers.is_broken("database.host") {
        return;
    }
    // A commented file of defaults is no reason to say anything.
    let is_changed = |spec: &KeySpec| layers.normal(spec).as_deref() != spec.default.text(layers.role);
    let set = super::sections::keys()
        .filter(|spec| spec.section == "database" && spec.name != "host" && layers.is_set(spec.path))
        .find(|spec| is_changed(spec));
    if let Some(spec) = set.filter(|spec| spec.roles.contains(layers.role)) {
        advise(layers, spec.path, "without `database.host` no database is used");
    }
}

/// An all-in-one node asks nobody who they are.
fn exposure(config: &Config, layers: &mut Layers) {
    let set_by_someone = !matches!(layers.origin("http.host"), Origin::Default);
    if layers.role.is_all_in_one() && set_by_someone && !config.http.host.is_loopback() {
        advise(
            layers,
            "http.host",
            "others on the network can use this node, which asks nobody who they are",
        );
    }
}
