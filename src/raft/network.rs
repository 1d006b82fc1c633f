//! openraft's view of a [`PeerTransport`]: one link per peer, requests and replies in openraft's types, and its time
//! limits honoured.

use super::service::local::Mute;
use super::transport::{PeerReply, PeerRequest, PeerTransport, TransportError};
use super::types::{Member, NodeId, TypeConfig};
use openraft::RaftNetworkFactory;
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Timeout, Unreachable,
};
use openraft::network::{Backoff, RPCOption, RPCTypes, RaftNetwork};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use std::sync::Arc;
use std::time::Duration;

type CallError<E = openraft::error::Infallible> = RPCError<NodeId, Member, RaftError<NodeId, E>>;

/// Makes the links.
pub(super) struct Links {
    pub(super) node: NodeId,
    pub(super) transport: Arc<dyn PeerTransport>,
    /// The pause before an unreachable peer is tried again.
    pub(super) retry_pause: Duration,
    /// Whether this node has fallen silent; see [`super::guard`].
    pub(super) mute: Mute,
}

impl RaftNetworkFactory<TypeConfig> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: NodeId, node: &Member) -> Link {
        Link {
            node: self.node,
            target,
            member: node.clone(),
            transport: self.transport.clone(),
            retry_pause: self.retry_pause,
            mute: self.mute.clone(),
        }
    }
}

/// The way to one peer.
pub(super) struct Link {
    node: NodeId,
    target: NodeId,
    member: Member,
    transport: Arc<dyn PeerTransport>,
    retry_pause: Duration,
    mute: Mute,
}

impl Link {
    async fn call<E: std::error::Error>(
        &self,
        kind: RPCTypes,
        request: PeerRequest,
        option: &RPCOption,
    ) -> Result<PeerReply, CallError<E>> {
        // Asking for votes is another matter: who stands is decided before.
        if self.mute.is_on() && kind != RPCTypes::Vote {
            let reason = "this leader has no majority, and keeps silent".to_owned();
            let error = TransportError::Unreachable { to: self.target, reason };
            return Err(RPCError::Unreachable(Unreachable::new(&error)));
        }
        let reply = self.transport.call(self.target, &self.member, request, option.hard_ttl()).await;
        reply.map_err(|error| match &error {
            TransportError::Unreachable { .. } => RPCError::Unreachable(Unreachable::new(&error)),
            TransportError::TimedOut { time_limit, .. } => RPCError::Timeout(Timeout {
                action: kind,
                id: self.node,
                target: self.target,
                timeout: *time_limit,
            }),
            TransportError::Failed { .. } => RPCError::Network(NetworkError::new(&error)),
        })
    }

    fn mismatched<E: std::error::Error>(&self) -> CallError<E> {
        let reason = "it answered another kind of request".to_owned();
        RPCError::Network(NetworkError::new(&TransportError::Failed { to: self.target, reason }))
    }
}

impl RaftNetwork<TypeConfig> for Link {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<NodeId>, CallError> {
        match self.call(RPCTypes::AppendEntries, PeerRequest::AppendEntries(request), &option).await? {
            PeerReply::AppendEntries(reply) => Ok(reply),
            _ => Err(self.mismatched()),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<NodeId>, CallError<InstallSnapshotError>> {
        match self.call(RPCTypes::InstallSnapshot, PeerRequest::InstallSnapshot(request), &option).await? {
            PeerReply::InstallSnapshot(Ok(reply)) => Ok(reply),
            PeerReply::InstallSnapshot(Err(error)) => {
                Err(RPCError::RemoteError(RemoteError::new(self.target, RaftError::APIError(error))))
            }
            _ => Err(self.mismatched()),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<NodeId>,
        option: RPCOption,
    ) -> Result<VoteResponse<NodeId>, CallError> {
        match self.call(RPCTypes::Vote, PeerRequest::Vote(request), &option).await? {
            PeerReply::Vote(reply) => Ok(reply),
            _ => Err(self.mismatched()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.retry_pause))
    }
}
