//! What is said when an operator has a process added that waits for it: the leader asks who is there ([`Identity`]), adds
//! it, and tells it its number ([`Enrolment`]).
//!
//! A process that asks to be admitted itself says the same with an [`AdmitRequest`](super::AdmitRequest).

use crate::raft::types::{ClusterId, NodeId, StoreId};
use serde::{Deserialize, Serialize};

/// What a process says of itself to a leader that is to add it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Where it says that its Raft port is reached.
    pub address: String,
    /// Its storage.
    pub store: StoreId,
    /// Its number, if it has one already.
    pub node: Option<NodeId>,
    /// Its cluster, if it has heard of one.
    pub cluster: Option<ClusterId>,
}

/// Tells a process that it is a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Its number, for ever.
    pub node: NodeId,
    /// The cluster.
    pub cluster: ClusterId,
    /// The storage that was added, so that nobody else takes the number.
    pub store: StoreId,
    /// What it is to become.
    pub aim: Aim,
}

/// What a new member is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aim {
    /// It stays without a vote until it is promoted.
    Learner,
    /// It gets a vote once it has caught up.
    Voter,
}
