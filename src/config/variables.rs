//! The environment's layer.
//!
//! Two families of names. `ZKPNET_<SECTION>__<KEY>` exists for every key and wins; an unknown name of this family is
//! an error. The cluster's documents use a prefix for each role (`COORDINATOR_RAFT_BOOTSTRAP`,
//! `WORKER_WORKER_ID`): one underscore cannot tell levels from words, so these names are looked up in a table made
//! from the keys and never taken apart. Unknown names with those prefixes are common words that other programs may
//! use: they are ignored, with a notice. A list is written with commas.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use super::errors::{ConfigError, Notice, Origin};
use super::hints::nearest;
use super::keys::KeySpec;
use super::layers::{Layers, Written};
use super::roles::Role;
use super::sections::keys;

/// The file to read when no flag names one.
pub(crate) const CONFIG_VARIABLE: &str = "ZKPNET_CONFIG";
const OWN_PREFIX: &str = "ZKPNET_";

const COORDINATOR: &str = "COORDINATOR";
const WORKER: &str = "WORKER";
const GATEWAY: &str = "API_GATEWAY";

/// Variables of the gateway that the cluster's documents set and that mean nothing: it has no database.
const RETIRED: [&str; 6] = [
    "API_GATEWAY_DATABASE_HOST",
    "API_GATEWAY_DATABASE_PORT",
    "API_GATEWAY_DATABASE_USER",
    "API_GATEWAY_DATABASE_PASSWORD",
    "API_GATEWAY_DATABASE_NAME",
    "API_GATEWAY_DATABASE_SSL_MODE",
];
const RETIRED_REASON: &str = "the gateway keeps nothing and asks the coordinators";

/// Names that are often written and were never read, with the name that is.
const MISTAKEN: [(&str, &str); 10] = [
    ("DATABASE_HOST", "COORDINATOR_DATABASE_HOST"),
    ("DATABASE_PORT", "COORDINATOR_DATABASE_PORT"),
    ("DATABASE_USER", "COORDINATOR_DATABASE_USER"),
    ("DATABASE_PASSWORD", "COORDINATOR_DATABASE_PASSWORD"),
    ("RAFT_ADDR", "COORDINATOR_RAFT_ADVERTISE_ADDRESS"),
    ("RAFT_NODE_ID", "COORDINATOR_RAFT_NODE_ID"),
    ("RAFT_BOOTSTRAP", "COORDINATOR_RAFT_BOOTSTRAP"),
    ("COORDINATOR_ID", "COORDINATOR_COORDINATOR_ID"),
    ("WORKER_ID", "WORKER_WORKER_ID"),
    ("WORKER_COORDINATOR_ADDRESS", "WORKER_WORKER_COORDINATOR_ADDRESS"),
];

/// The prefixes that a role reads.
pub(crate) fn prefixes(role: Role) -> &'static [&'static str] {
    match role {
        Role::Demo | Role::Dev => &[COORDINATOR, WORKER],
        Role::Coordinator => &[COORDINATOR],
        Role::Worker => &[WORKER],
        Role::Gateway => &[GATEWAY],
    }
}

/// The prefixed name of a key for a role, if the role reads the key. In one process that is both coordinator and
/// worker, the coordinator's name is the one for what both have.
pub(crate) fn prefixed(role: Role, spec: &KeySpec) -> Option<String> {
    let prefix = match role {
        _ if !spec.roles.contains(role) => return None,
        Role::Demo | Role::Dev if spec.roles.contains(Role::Coordinator) => COORDINATOR,
        Role::Demo | Role::Dev | Role::Worker => WORKER,
        Role::Coordinator => COORDINATOR,
        Role::Gateway => GATEWAY,
    };
    Some(format!("{prefix}_{}_{}", spec.section, spec.name).to_ascii_uppercase())
}

/// Every prefixed name that a role reads.
pub(crate) fn prefixed_table(role: Role) -> BTreeMap<String, &'static KeySpec> {
    keys().filter_map(|spec| Some((prefixed(role, spec)?, spec))).collect()
}

/// Lays the variables that are ours: the prefixed ones first, so that `ZKPNET_…` wins.
pub(crate) fn lay(env: &BTreeMap<OsString, OsString>, layers: &mut Layers) {
    let prefixed = prefixed_table(layers.role);
    for (name, value) in env {
        lay_prefixed(name, value, &prefixed, layers);
    }
    let own: BTreeMap<String, &'static KeySpec> = keys().map(|spec| (spec.variable(), spec)).collect();
    for (name, value) in env {
        lay_own(name, value, &own, layers);
    }
}

fn lay_prefixed(
    name: &OsStr,
    value: &OsStr,
    table: &BTreeMap<String, &'static KeySpec>,
    layers: &mut Layers,
) {
    // A name that is not UTF-8 is in no table.
    let Some(name) = name.to_str() else { return };
    if is_service_url(name, value) {
        // `COORDINATOR_GRPC_PORT=tcp://…` comes from a service called coordinator-grpc, not from a person.
        return;
    }
    if let Some(spec) = table.get(name) {
        set(spec, name, value, layers);
        return;
    }
    if let Some(retired) = RETIRED.iter().find(|retired| layers.role == Role::Gateway && **retired == name) {
        layers.notices.push(Notice::RetiredVariable { name: retired, reason: RETIRED_REASON });
        return;
    }
    let mistaken = MISTAKEN.iter().find(|(wrong, right)| *wrong == name && table.contains_key(*right));
    if let Some((_, right)) = mistaken {
        let instead = Some((*right).to_owned());
        layers.notices.push(Notice::IgnoredVariable { name: name.to_owned(), instead });
        return;
    }
    let has_prefix = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('_'));
    if prefixes(layers.role).iter().any(|prefix| has_prefix(prefix)) && !is_service_link(name, value) {
        let instead = nearest(name, table.keys());
        layers.notices.push(Notice::IgnoredVariable { name: name.to_owned(), instead });
    }
}

fn lay_own(name: &OsStr, value: &OsStr, table: &BTreeMap<String, &'static KeySpec>, layers: &mut Layers) {
    let lossy = name.to_string_lossy();
    if !lossy.starts_with(OWN_PREFIX) || lossy == CONFIG_VARIABLE {
        return;
    }
    let Some(name) = name.to_str() else {
        layers.errors.push(ConfigError::VariableNotUtf8 { name: lossy.into_owned() });
        return;
    };
    if let Some(spec) = table.get(name) {
        if let Origin::Variable(other) = layers.origin(spec.path) {
            layers.notices.push(Notice::OverriddenVariable { name: other, by: name.to_owned() });
        }
        set(spec, name, value, layers);
    } else if !is_service_link(name, value) {
        let known = table.keys().map(String::as_str).chain([CONFIG_VARIABLE]);
        layers
            .errors
            .push(ConfigError::UnknownVariable { name: name.to_owned(), nearest: nearest(name, known) });
    }
}

fn set(spec: &'static KeySpec, name: &str, value: &OsStr, layers: &mut Layers) {
    match value.to_str() {
        Some(text) => layers.set(spec, Written::text(text), Origin::Variable(name.to_owned())),
        None => {
            layers.break_key(spec);
            layers.errors.push(ConfigError::VariableNotUtf8 { name: name.to_owned() });
        }
    }
}

/// Whether a variable is one that Kubernetes and Docker set for every service near by (`ZKPNET_SERVICE_HOST`,
/// `ZKPNET_PORT=tcp://…`, `COORDINATOR_PORT_9090_TCP_ADDR`): a service named like us must not stop us from starting.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    if name.contains("__") {
        return false;
    }
    let port_of = |(_, rest): (&str, &str)| {
        let mut parts = rest.split('_');
        let number = parts
            .next()
            .is_some_and(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        number && matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || is_service_url(name, value)
        || name.split_once("_PORT_").is_some_and(port_of)
}

/// The one kind of these names that a key's name can equal; a port's value never looks like this.
fn is_service_url(name: &str, value: &OsStr) -> bool {
    let is_url = |value: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    name.ends_with("_PORT") && value.to_str().is_some_and(is_url)
}
