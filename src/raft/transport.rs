//! How the members' Raft talk to each other: a request and its reply, whatever carries them.
//!
//! A transport owns connections, encodings and who may speak; it decides nothing. It may lose or delay a request or a
//! reply, and answers within the time limit that it is given. [`in_process`](InProcessNetwork) is one, for the single node
//! and for tests.

mod in_process;

pub use in_process::InProcessNetwork;

use super::files::lock;
use super::types::{Member, NodeId, Raft, TypeConfig};
use futures_util::future::BoxFuture;
use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What one member's Raft asks of another's.
#[derive(Debug, Serialize, Deserialize)]
pub enum PeerRequest {
    /// Entries, or none as a heartbeat.
    AppendEntries(AppendEntriesRequest<TypeConfig>),
    /// A candidate's request for a vote.
    Vote(VoteRequest<NodeId>),
    /// A piece of a snapshot.
    InstallSnapshot(InstallSnapshotRequest<TypeConfig>),
}

/// The answer to a [`PeerRequest`], of the same kind.
#[derive(Debug, Serialize, Deserialize)]
pub enum PeerReply {
    /// To entries.
    AppendEntries(AppendEntriesResponse<NodeId>),
    /// To a request for a vote.
    Vote(VoteResponse<NodeId>),
    /// To a piece of a snapshot.
    InstallSnapshot(Result<InstallSnapshotResponse<NodeId>, InstallSnapshotError>),
}

/// A request got no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The peer cannot be reached at all, or its Raft does not run; the request had no effect.
    #[error("peer {to} cannot be reached: {reason}")]
    Unreachable {
        /// The peer.
        to: NodeId,
        /// Why.
        reason: String,
    },
    /// No reply came in time; the request may have had its effect.
    #[error("peer {to} did not answer within {time_limit:?}")]
    TimedOut {
        /// The peer.
        to: NodeId,
        /// The time that it was given.
        time_limit: Duration,
    },
    /// The peer, or the connection to it, failed on this request; it may have had its effect.
    #[error("peer {to} failed: {reason}")]
    Failed {
        /// The peer.
        to: NodeId,
        /// Why.
        reason: String,
    },
}

/// Carries requests to the other members and serves theirs.
pub trait PeerTransport: Send + Sync + 'static {
    /// Begins to pass the peers' requests to this node. Called once, on Raft's runtime.
    fn serve(&self, endpoint: PeerEndpoint);

    /// Sends a request and waits for its reply, for `time_limit` at most.
    fn call(
        &self,
        to: NodeId,
        member: &Member,
        request: PeerRequest,
        time_limit: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, TransportError>>;

    /// Ends serving and lets go of the endpoint: Raft is about to stop.
    fn close(&self);
}

/// This node's Raft, as its peers may address it.
#[derive(Clone)]
pub struct PeerEndpoint {
    node: NodeId,
    raft: Raft,
    snapshot_bytes_max: u64,
    heard: LeaderHeard,
}

/// When a leader's message was last accepted here.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderHeard(Arc<Mutex<Option<Instant>>>);

impl LeaderHeard {
    fn now(&self) {
        *lock(&self.0) = Some(Instant::now());
    }

    pub(super) fn age(&self) -> Option<Duration> {
        lock(&self.0).map(|heard| heard.elapsed())
    }
}

impl std::fmt::Debug for PeerEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerEndpoint").field("node", &self.node).finish_non_exhaustive()
    }
}

impl PeerEndpoint {
    pub(super) fn new(node: NodeId, raft: Raft, snapshot_bytes_max: u64, heard: LeaderHeard) -> Self {
        Self { node, raft, snapshot_bytes_max, heard }
    }

    /// This node's number.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Has Raft answer a peer's request.
    ///
    /// # Errors
    /// When Raft has stopped here, or the request exceeds a limit.
    pub async fn handle(&self, request: PeerRequest) -> Result<PeerReply, TransportError> {
        match request {
            PeerRequest::AppendEntries(request) => {
                let reply = self.raft.append_entries(request).await;
                // A refusal for the log's sake comes from a leader all the same; only one of an old term is not one.
                if reply.as_ref().is_ok_and(|reply| !matches!(reply, AppendEntriesResponse::HigherVote(_))) {
                    self.heard.now();
                }
                reply.map(PeerReply::AppendEntries).map_err(|error| self.stopped(&error))
            }
            PeerRequest::Vote(request) => {
                let reply = self.raft.vote(request).await;
                reply.map(PeerReply::Vote).map_err(|error| self.stopped(&error))
            }
            PeerRequest::InstallSnapshot(request) => {
                let end = request.offset.saturating_add(request.data.len() as u64);
                if end > self.snapshot_bytes_max {
                    let reason =
                        format!("a snapshot of more than {} bytes is refused", self.snapshot_bytes_max);
                    return Err(TransportError::Failed { to: self.node, reason });
                }
                match self.raft.install_snapshot(request).await {
                    Ok(reply) => Ok(PeerReply::InstallSnapshot(Ok(reply))),
                    Err(RaftError::APIError(error)) => Ok(PeerReply::InstallSnapshot(Err(error))),
                    Err(error @ RaftError::Fatal(_)) => Err(self.stopped(&error)),
                }
            }
        }
    }

    fn stopped(&self, error: &dyn std::error::Error) -> TransportError {
        TransportError::Unreachable { to: self.node, reason: error.to_string() }
    }
}
