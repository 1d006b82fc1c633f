//! How the members' Raft talk to each other: a request and its reply, whatever carries them.
//!
//! A transport owns connections, encodings and who may speak; it decides nothing. It may lose or delay a request or a
//! reply, and answers within the time limit that it is given. [`in_process`](InProcessNetwork) is one, for the single node
//! and for tests.

mod enrolment;
mod in_process;
mod tcp;

pub use enrolment::{Aim, Enrolment, Identity};
pub use in_process::InProcessNetwork;
pub use tcp::{AddressError, BindError, MembershipView, Refusal, Refused, TcpOptions, TcpTransport};

pub use super::endpoint::PeerEndpoint;

use super::files::lock;
use super::types::{ClusterId, Member, NodeId, StoreId, TypeConfig};
use crate::ledger::{CircuitId, Digest, LogIndex, Term};
use futures_util::future::BoxFuture;
use openraft::error::InstallSnapshotError;
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
    /// How do you do?
    Probe(Probe),
    /// The leader hands over to the receiver: stand for election now, if your term is still this one.
    TakeOver {
        /// The term that the leader gives up.
        term: Term,
    },
    /// Up to where must a current read wait? Asked of the leader by another member.
    ReadIndex,
    /// About the file of a proving key.
    Key(KeyRequest),
    /// A process that is no member yet asks to become one.
    Admit(AdmitRequest),
    /// Who are you? Asked of an address by a leader that is to add the process there.
    Identify,
    /// You are a member now. Sent by the leader that added the receiver.
    Enrol(Enrolment),
}

/// See [`PeerRequest::Probe`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What the sender says of itself.
    pub sender: PeerReport,
    /// Asks for the state hash at this entry, where it is still remembered.
    pub state_hash_at: Option<LogIndex>,
}

/// What a member says of itself. Not a fact of the cluster, but a word of the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerReport {
    /// Its number.
    pub node: NodeId,
    /// The name that people use.
    pub name: String,
    /// Where its HTTP is reached.
    pub http_address: String,
    /// Where workers reach it.
    pub grpc_address: String,
    /// The version of its software.
    pub version: String,
    /// `Leader`, `Follower`, `Candidate`, `Learner` or `Stopped`.
    pub role: String,
    /// Its term.
    pub term: Term,
    /// The leader that it knows of.
    pub leader: Option<NodeId>,
    /// The newest entry that it knows to be committed.
    pub committed: LogIndex,
    /// The newest entry that it has applied.
    pub applied: LogIndex,
    /// Bytes of its files.
    pub store_bytes: u64,
    /// The ledger's state hash, and the entry after which it is that.
    pub state_hash: Option<(LogIndex, Digest)>,
    /// The cluster that it belongs to.
    pub cluster: Option<ClusterId>,
    /// Whether it founds a cluster when there is none.
    pub will_found: bool,
    /// A digest of its list of first members, when it has one.
    pub first_members: Option<Digest>,
}

/// About the file of a proving key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyRequest {
    /// Fetch the file of this key from the sender, unless you have it, check it and store it; answered when that is done.
    Hold {
        /// The circuit that it is for.
        circuit: CircuitId,
        /// The key's digest.
        digest: Digest,
    },
    /// A piece of the file.
    Read {
        /// The key's digest.
        digest: Digest,
        /// From this byte on.
        offset: u64,
    },
}

/// The answer to a [`KeyRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyReply {
    /// The key is stored here.
    Held,
    /// A piece of the file, and the file's length.
    Piece {
        /// Its bytes; empty beyond the end.
        bytes: Vec<u8>,
        /// The length of the whole.
        bytes_total: u64,
    },
    /// It is not here, or could not be had.
    Unavailable(String),
}

/// What is done for peers that ask about keys; the composition root supplies it.
pub trait KeyShelf: Send + Sync + 'static {
    /// Answers a request of the peer `from`.
    fn answer(&self, from: NodeId, request: KeyRequest) -> BoxFuture<'static, KeyReply>;
}

/// See [`PeerRequest::Admit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdmitRequest {
    /// The name that it wants.
    pub name: String,
    /// Where its Raft port is reached.
    pub address: String,
    /// Its storage.
    pub store: StoreId,
}

/// The answer to an [`AdmitRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdmitReply {
    /// It is a member (a learner) of this number, in this cluster.
    Admitted {
        /// Its number, for ever.
        node: NodeId,
        /// The cluster.
        cluster: ClusterId,
    },
    /// Ask the leader.
    NotLeader {
        /// Where it is, when known.
        leader_address: Option<String>,
    },
    /// It is not admitted; the text says why and what to do.
    Refused(String),
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
    /// To a probe: the receiver's report; and the state hash at the entry that was asked for.
    Probe(Box<PeerReport>, Option<Digest>),
    /// To the request to take over: whether it stands for election.
    TakeOver(Result<(), String>),
    /// To a read index: the entry, or why the receiver cannot say (it does not lead, no majority confirms it).
    ReadIndex(Result<LogIndex, String>),
    /// To a request about keys.
    Key(KeyReply),
    /// To a request for admission.
    Admit(AdmitReply),
    /// To the question who the receiver is.
    Identity(Box<Identity>),
    /// To an enrolment: whether the receiver takes its number.
    Enrolled(Result<(), String>),
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

    /// Asks an address rather than a member, as one who is no member there.
    fn call_address(
        &self,
        address: String,
        request: PeerRequest,
        time_limit: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, AddressError>>;

    /// Ends serving and lets go of the endpoint: Raft is about to stop.
    fn close(&self);
}

/// When a leader's message was last accepted here.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderHeard(Arc<Mutex<Option<Instant>>>);

impl LeaderHeard {
    pub(super) fn now(&self) {
        *lock(&self.0) = Some(Instant::now());
    }

    pub(super) fn age(&self) -> Option<Duration> {
        lock(&self.0).map(|heard| heard.elapsed())
    }
}
