//! Why a node is not spoken to, in words that say what to do, and the book that has each told once.

use crate::raft::files::lock;
use crate::raft::types::{ClusterId, NodeId, StoreId};
use crate::tls::{CertRole, RoleError};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// Why a connection was refused. Both sides are told the same, so the texts speak of neither as "this node".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The two speak different versions.
    #[error(
        "one side speaks version {ours} of the members' protocol, the other version {theirs}: upgrade the older one, one node at \
         a time"
    )]
    Protocol {
        /// Of the side that noticed.
        ours: u16,
        /// Of the other side.
        theirs: u16,
    },
    /// The certificate is not a coordinator's.
    #[error(
        "only certificates of the role coordinator may speak on the Raft port; shown was {}: give the node a coordinator's \
         certificate in raft.cert_file", found.escape_debug()
    )]
    Certificate {
        /// What was shown instead.
        found: String,
    },
    /// The tokens differ, or one side has none.
    #[error("the cluster's token is not the same on both sides: check the file in cluster.token_file")]
    Token,
    /// The data keys differ.
    #[error(
        "the data keys differ, so inputs that one node seals the other could not open: give all coordinators the same file in \
         storage.key_file"
    )]
    DataKey,
    /// The two belong to different clusters.
    #[error(
        "one node belongs to cluster {ours}, the other to cluster {theirs}: correct raft.peers or raft.join; a node that shall \
         change its cluster needs an empty raft.data_dir"
    )]
    Cluster {
        /// Of the side that noticed.
        ours: ClusterId,
        /// Of the other side.
        theirs: ClusterId,
    },
    /// Another node answers at a member's address.
    #[error(
        "node {found} answers at the address of node {expected}: correct raft.peers, raft.advertise_address, or the name's \
         address"
    )]
    WrongNode {
        /// Who was wanted.
        expected: NodeId,
        /// Who is there.
        found: NodeId,
    },
    /// A node's number is used with another storage than the one that was admitted.
    #[error(
        "node {node} ({}) is recorded with storage {recorded}, and storage {found} speaks in its name: its disk was wiped, or two \
         nodes use one id. A disk that has lost its votes must not vote again: use a new node id (empty raft.data_dir, new \
         coordinator.id), join as learner with raft.join, and remove the old member: `zkpnet cluster remove {node}`", name.escape_debug()
    )]
    Store {
        /// The number.
        node: NodeId,
        /// The name that its speaker gives.
        name: String,
        /// The storage that the number belongs to.
        recorded: StoreId,
        /// The storage that uses it.
        found: StoreId,
    },
    /// Both sides claim one number.
    #[error(
        "two nodes say that they are node {node}: give one of them an id of its own (coordinator.id, raft.node_id)"
    )]
    SameNode {
        /// The number.
        node: NodeId,
    },
    /// A member is called, and a process without a number answers.
    #[error(
        "the node there belongs to no cluster yet, and waits for `zkpnet cluster add`: if it is to take the place of a member whose \
         disk was lost, remove that one first"
    )]
    Waiting,
}

impl Refusal {
    /// Judges the role in a certificate.
    pub(super) fn of_role(role: &Result<CertRole, RoleError>) -> Result<(), Self> {
        match role {
            Ok(CertRole::Coordinator) => Ok(()),
            Ok(other) => Err(Self::Certificate { found: format!("the role {other}") }),
            Err(error) => Err(Self::Certificate { found: error.to_string() }),
        }
    }
}

/// Another member refused this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The member.
    pub by: NodeId,
    /// Why.
    pub refusal: Refusal,
}

/// Remembers what was reported of whom, so that a cause is reported once and not with every retry.
#[derive(Debug, Default)]
pub(super) struct Reports(Mutex<BTreeMap<String, BTreeSet<String>>>);

/// Peers that are remembered; beyond that all are forgotten, and reported once more.
const PEERS_MAX: usize = 256;
/// Causes that are remembered of one peer; the two directions may differ in theirs, and several processes share an address.
const CAUSES_MAX: usize = 16;

impl Reports {
    /// Whether this is news of `peer`.
    pub(super) fn is_new(&self, peer: &str, cause: &str) -> bool {
        let mut reported = lock(&self.0);
        if reported.get(peer).is_some_and(|known| known.contains(cause)) {
            return false;
        }
        if reported.len() >= PEERS_MAX && !reported.contains_key(peer) {
            reported.clear();
        }
        let causes = reported.entry(peer.to_owned()).or_default();
        if causes.len() >= CAUSES_MAX {
            causes.clear();
        }
        causes.insert(cause.to_owned())
    }

    /// All is well with this peer: what comes next is news.
    pub(super) fn forget(&self, peer: &str) {
        lock(&self.0).remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_news_once_a_peer_until_all_was_well() {
        let reports = Reports::default();
        assert!(reports.is_new("node 1", "token"));
        assert!(!reports.is_new("node 1", "token"));
        assert!(reports.is_new("node 2", "token"));
        assert!(reports.is_new("node 1", "cluster"));
        assert!(!reports.is_new("node 1", "token"), "two causes in turn are told once each");
        reports.forget("node 1");
        assert!(reports.is_new("node 1", "cluster"));
        for cause in 0..2 * CAUSES_MAX {
            reports.is_new("node 1", &cause.to_string());
        }
        assert!(lock(&reports.0).values().all(|causes| causes.len() <= CAUSES_MAX));
        for peer in 0..2 * PEERS_MAX {
            reports.is_new(&peer.to_string(), "x");
        }
        assert!(lock(&reports.0).len() <= PEERS_MAX);
    }

    #[test]
    fn what_a_stranger_says_cannot_command_the_terminal() {
        let refusal = Refusal::Certificate { found: "\u{1b}[31m\nforged line".to_owned() };
        assert!(!refusal.to_string().contains(char::is_control));
    }
}
