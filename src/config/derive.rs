//! Defaults that follow from other values: names from the host's name, directories from the data directory.
//!
//! They are laid last and only where nothing is set. What cannot be worked out is an error only for a role that
//! reads the key.

use super::errors::{ConfigError, Origin};
use super::layers::{Layers, Written};
use super::sections::key;
use super::values::{Host, Id, Peer, Value};

/// Stands for a name that is missing (an error has been noted) or that the role never reads.
const PLACEHOLDER: &str = "unset";

/// Lays every derived default.
pub(crate) fn lay(hostname: Option<&str>, layers: &mut Layers) {
    lay_name("coordinator.id", "coordinator-local", hostname, layers);
    lay_name("worker.id", "worker-1", hostname, layers);
    if let Some(id) = normal("coordinator.id", layers) {
        lay_text("raft.node_id", id, "coordinator.id", "coordinator.id", layers);
    }
    lay_below("raft.data_dir", "raft", layers);
    lay_below("storage.keys_dir", "keys", layers);
    lay_advertise_address(hostname, layers);
    lay_beside("http.advertise_address", "http.port", layers);
    lay_beside("grpc.advertise_address", "grpc.port", layers);
}

/// The host of the Raft address with another port.
fn lay_beside(path: &str, port: &str, layers: &mut Layers) {
    let raft = "raft.advertise_address";
    let (Some(address), Some(port)) = (normal(raft, layers), normal(port, layers)) else { return };
    let Some(spec) = key(path).filter(|_| !layers.is_set(path)) else { return };
    if !spec.roles.contains(layers.role) {
        layers.set(spec, Written::text(format!("{PLACEHOLDER}:1")), Origin::Default);
        return;
    }
    if port == "0" {
        layers.break_key(spec);
        let reason =
            "a port that is taken at random cannot be told to others; write host and port, or a port to take";
        layers.errors.push(ConfigError::Missing { key: path.to_owned(), reason: reason.to_owned() });
        return;
    }
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    lay_text(path, format!("{host}:{port}"), raft, "raft.advertise_address", layers);
}

fn normal(path: &str, layers: &Layers) -> Option<String> {
    key(path).and_then(|spec| layers.normal(spec))
}

/// Lays `text` unless the key is set; a key that follows from a broken one is broken too.
fn lay_text(path: &str, text: String, source: &str, from: &'static str, layers: &mut Layers) {
    let Some(spec) = key(path) else { return };
    if layers.is_broken(source) {
        layers.break_key(spec);
    }
    if !layers.is_set(path) {
        layers.set(spec, Written::text(text), Origin::Derived(from));
    }
}

/// An id: fixed in an all-in-one node, the host's name elsewhere.
fn lay_name(path: &str, all_in_one: &str, hostname: Option<&str>, layers: &mut Layers) {
    let Some(spec) = key(path) else { return };
    if layers.is_set(path) {
        return;
    }
    let (text, origin) = match hostname.filter(|name| Id::from_text(name).is_ok()) {
        _ if layers.role.is_all_in_one() => (all_in_one, Origin::Default),
        Some(name) => (name, Origin::Derived("the host's name")),
        None => {
            if spec.roles.contains(layers.role) && !layers.is_broken(path) {
                layers.break_key(spec);
                let reason = "the host has no name that could serve; write an id".to_owned();
                layers.errors.push(ConfigError::Missing { key: path.to_owned(), reason });
            }
            (PLACEHOLDER, Origin::Default)
        }
    };
    layers.set(spec, Written::text(text), origin);
}

/// A directory below `storage.data_dir`.
fn lay_below(path: &str, name: &str, layers: &mut Layers) {
    let Some(data_dir) = normal("storage.data_dir", layers) else { return };
    let dir = std::path::Path::new(&data_dir).join(name).display().to_string();
    lay_text(path, dir, "storage.data_dir", "storage.data_dir", layers);
}

/// `host:port` of this node for its peers: what the peers call it, else the best name at hand.
fn lay_advertise_address(hostname: Option<&str>, layers: &mut Layers) {
    let path = "raft.advertise_address";
    let Some(spec) = key(path) else { return };
    if layers.is_set(path) {
        return;
    }
    let (node_id, port) = (normal("raft.node_id", layers), normal("raft.raft_port", layers));
    let (Some(node_id), Some(port)) = (node_id, port) else { return };
    let peers = normal("raft.peers", layers).and_then(|text| Vec::<Peer>::from_text(&text).ok());
    if let Some(peer) = peers.unwrap_or_default().into_iter().find(|peer| peer.id.as_str() == node_id) {
        lay_text(path, peer.address.to_string(), "raft.peers", "raft.peers", layers);
        return;
    }
    let (host, from) = if layers.role.is_all_in_one() {
        (Some(node_id.as_str()), "raft.node_id and raft.raft_port")
    } else {
        (hostname, "the host's name and raft.raft_port")
    };
    let usable = |host: &&str| Host::from_text(host).is_ok_and(|host| !host.is_wildcard());
    let address = match host.filter(usable) {
        Some(host) => format!("{host}:{port}"),
        None if layers.role.is_all_in_one() => format!("localhost:{port}"),
        None => {
            if spec.roles.contains(layers.role) && !layers.is_broken(path) {
                layers.break_key(spec);
                let reason = "the host has no name that others could use; write host and port, such as coordinator-1:7000";
                layers.errors.push(ConfigError::Missing { key: path.to_owned(), reason: reason.to_owned() });
            }
            format!("{PLACEHOLDER}:{port}")
        }
    };
    layers.set(spec, Written::text(address), Origin::Derived(from));
}
