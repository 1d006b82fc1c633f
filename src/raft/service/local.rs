//! What the parts of one node share: its Raft, its way to the others, what it heard of them, and what it says of itself.
//!
//! Owned here: the report that peers get, and the gate that holds proposals back while leadership is handed over. Nothing
//! here waits for the network.

use super::peers::PeerBoard;
use super::status::{self, Metrics, QuorumClock, RaftStatus, Role, Stores};
use crate::ledger::{Digest, LogIndex, Term};
use crate::raft::config::RaftConfig;
use crate::raft::error::LeaderInfo;
use crate::raft::files::lock;
use crate::raft::transport::{KeyShelf, LeaderHeard, PeerReport, PeerTransport};
use crate::raft::types::{Member, NodeId, Raft};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// What a node says of itself that Raft does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeAbout {
    /// The name that people use.
    pub name: String,
    /// Where its HTTP is reached.
    pub http_address: String,
    /// Where workers reach it.
    pub grpc_address: String,
    /// The version of its software.
    pub version: String,
    /// Whether it founds a cluster when there is none.
    pub will_found: bool,
    /// A digest of its list of first members, when it has one.
    pub first_members: Option<Digest>,
}

/// The times that a cluster lives by.
#[derive(Clone, Copy, Debug)]
pub(in crate::raft) struct Timing {
    pub(in crate::raft) heartbeat: Duration,
    pub(in crate::raft) election_timeout_min: Duration,
    pub(in crate::raft) election_timeout_max: Duration,
    pub(in crate::raft) read_time_limit: Duration,
    pub(in crate::raft) proposal_time_limit: Duration,
}

impl Timing {
    pub(super) fn new(config: &RaftConfig) -> Self {
        Self {
            heartbeat: config.heartbeat,
            election_timeout_min: config.election_timeout_min,
            election_timeout_max: config.election_timeout_max,
            read_time_limit: config.read_time_limit,
            proposal_time_limit: config.proposal_time_limit,
        }
    }

    /// How long a follower that heard a leader refuses its vote to others: openraft takes the longest election timeout.
    pub(in crate::raft) fn lease(&self) -> Duration {
        self.election_timeout_max
    }
}

/// See the module.
pub(in crate::raft) struct Local {
    pub(in crate::raft) node: NodeId,
    pub(in crate::raft) raft: Raft,
    pub(in crate::raft) metrics: watch::Receiver<Metrics>,
    pub(in crate::raft) stores: Stores,
    pub(in crate::raft) transport: Arc<dyn PeerTransport>,
    pub(in crate::raft) timing: Timing,
    pub(in crate::raft) heard: LeaderHeard,
    pub(in crate::raft) quorum: QuorumClock,
    pub(in crate::raft) peers: PeerBoard,
    pub(in crate::raft) gate: Gate,
    pub(in crate::raft) mute: Mute,
    /// One change of members, or of the leader, at a time.
    pub(in crate::raft) admin: tokio::sync::Mutex<()>,
    /// Learners that asked to be admitted, and become voters when they have caught up.
    pub(in crate::raft) admitted: Mutex<BTreeSet<NodeId>>,
    pub(in crate::raft) shelf: Mutex<Option<Arc<dyn KeyShelf>>>,
    pub(in crate::raft) about: Mutex<NodeAbout>,
    pub(in crate::raft) store_bytes: AtomicU64,
    pub(in crate::raft) snapshot_bytes_max: u64,
}

impl Local {
    /// Raft's state now, a leader that no majority confirms counted as none.
    pub(in crate::raft) fn status(&self) -> RaftStatus {
        status::status(&self.metrics, &self.stores, &self.quorum)
    }

    /// Whether openraft takes this node for the leader, whatever a majority would say.
    pub(in crate::raft) fn is_openraft_leader(&self) -> bool {
        self.metrics.borrow().state.is_leader()
    }

    /// Whether this node takes itself for the leader, and has lost its majority.
    pub(in crate::raft) fn is_fenced(&self) -> bool {
        let metrics = self.metrics.borrow();
        metrics.state.is_leader() && self.quorum.is_lost(&metrics)
    }

    /// The voters, once, or twice while they are being changed; and all members.
    pub(in crate::raft) fn membership(&self) -> (Vec<BTreeSet<NodeId>>, BTreeMap<NodeId, Member>) {
        let metrics = self.metrics.borrow();
        let membership = metrics.membership_config.membership();
        let nodes = membership.nodes().map(|(id, member)| (*id, member.clone())).collect();
        (membership.get_joint_config().clone(), nodes)
    }

    /// The leader that openraft knows of.
    pub(in crate::raft) fn leader(&self) -> Option<(NodeId, Member)> {
        let metrics = self.metrics.borrow();
        let leader = metrics.current_leader?;
        let member = metrics.membership_config.membership().get_node(&leader)?;
        Some((leader, member.clone()))
    }

    pub(in crate::raft) fn leader_info(&self) -> Option<LeaderInfo> {
        self.leader().map(|(id, member)| status::leader_info(id, Some(&member)))
    }

    /// What this node says of itself.
    pub(in crate::raft) fn report(&self) -> PeerReport {
        let status = self.status();
        let about = lock(&self.about).clone();
        // A leader that has fallen silent is none: whoever reads this wants to know whether an election is due.
        let is_heard = || self.heard.age().is_some_and(|age| age <= self.timing.lease());
        let leader = status.leader.map(|leader| leader.id);
        PeerReport {
            node: self.node,
            name: about.name,
            http_address: about.http_address,
            grpc_address: about.grpc_address,
            version: about.version,
            role: role_name(status.role).to_owned(),
            term: status.term,
            leader: leader.filter(|_| status.role == Role::Leader || is_heard()),
            committed: status.committed.unwrap_or(LogIndex(0)),
            applied: status.applied.unwrap_or(LogIndex(0)),
            store_bytes: self.store_bytes.load(Ordering::Relaxed),
            state_hash: self.stores.ledger.state_hash(),
            cluster: self.stores.log.cluster(),
            will_found: about.will_found,
            first_members: about.first_members,
        }
    }

    pub(in crate::raft) fn term(&self) -> Term {
        Term(self.metrics.borrow().current_term)
    }
}

/// The name of a role, as reports carry it.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Leader => "Leader",
        Role::Follower => "Follower",
        Role::Candidate => "Candidate",
        Role::Learner => "Learner",
        Role::Stopped => "Stopped",
    }
}

/// Holds proposals back while leadership is handed over; clones are the same gate.
#[derive(Clone, Debug, Default)]
pub(in crate::raft) struct Gate(Arc<AtomicBool>);

impl Gate {
    pub(in crate::raft) fn is_closed(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Closed until what is returned is dropped.
    pub(in crate::raft) fn close(&self) -> ClosedGate {
        self.0.store(true, Ordering::Release);
        ClosedGate(self.clone())
    }
}

/// Opens the gate again when it is dropped.
#[derive(Debug)]
pub(in crate::raft) struct ClosedGate(Gate);

impl Drop for ClosedGate {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

/// Whether this node's entries and heartbeats stay at home: see [`crate::raft::guard`].
#[derive(Clone, Debug, Default)]
pub(in crate::raft) struct Mute(Arc<AtomicBool>);

impl Mute {
    pub(in crate::raft) fn is_on(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Sets it; gives whether that was a change.
    pub(in crate::raft) fn set(&self, is_on: bool) -> bool {
        self.0.swap(is_on, Ordering::AcqRel) != is_on
    }
}
