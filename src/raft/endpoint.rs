//! This node as its peers may address it: what each of their requests is answered.
//!
//! Refused: a vote for somebody who is no member, so that a node that was removed and does not know it yet disturbs nobody;
//! a hand-over by somebody who does not lead; and a snapshot larger than the limit.

use super::members;
use super::service::local::Local;
use super::transport::{Enrolment, Identity, KeyReply, PeerReply, PeerRequest, TransportError};
use super::types::{Member, NodeId, TypeConfig};
use crate::ledger::{LogIndex, Term};
use openraft::error::{CheckIsLeaderError, RaftError};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest};
use std::collections::BTreeMap;
use std::sync::Arc;

/// This node's Raft, as its peers may address it.
#[derive(Clone)]
pub struct PeerEndpoint {
    local: Arc<Local>,
}

impl std::fmt::Debug for PeerEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerEndpoint").field("node", &self.local.node).finish_non_exhaustive()
    }
}

impl PeerEndpoint {
    pub(super) fn new(local: Arc<Local>) -> Self {
        Self { local }
    }

    /// The members, as this node's log has them.
    pub(super) fn members(&self) -> BTreeMap<NodeId, Member> {
        self.local.membership().1
    }

    /// This node's number.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.local.node
    }

    /// Has Raft answer a peer's request; `from` is the member that sent it, `None` when it is not one yet.
    ///
    /// # Errors
    /// When Raft has stopped here, the request exceeds a limit, or its sender has no business with it.
    pub async fn handle(
        &self,
        from: Option<NodeId>,
        request: PeerRequest,
    ) -> Result<PeerReply, TransportError> {
        match request {
            PeerRequest::AppendEntries(request) => self.append(request).await,
            PeerRequest::Vote(request) => self.vote(request).await,
            PeerRequest::InstallSnapshot(request) => self.install(request).await,
            PeerRequest::Probe(probe) => {
                let asked = probe.state_hash_at;
                let hash = asked.and_then(|index| self.local.stores.ledger.state_hash_at(index));
                Ok(PeerReply::Probe(Box::new(self.local.report()), hash))
            }
            PeerRequest::TakeOver { term } => Ok(PeerReply::TakeOver(self.take_over(from, term).await)),
            PeerRequest::ReadIndex => Ok(PeerReply::ReadIndex(self.read_index().await)),
            PeerRequest::Key(request) => {
                let Some(from) = from else { return Err(self.refused("who asks for keys must be a member")) };
                let shelf = super::files::lock(&self.local.shelf).clone();
                Ok(PeerReply::Key(match shelf {
                    Some(shelf) => shelf.answer(from, request).await,
                    None => KeyReply::Unavailable("this node keeps no keys".to_owned()),
                }))
            }
            PeerRequest::Identify => Ok(PeerReply::Identity(Box::new(self.identity()))),
            PeerRequest::Enrol(enrolment) => Ok(PeerReply::Enrolled(self.enrol(&enrolment))),
            PeerRequest::Admit(request) => Ok(PeerReply::Admit(members::admit(&self.local, request).await)),
        }
    }

    /// Who this is, for a leader that was told to add whoever is here.
    fn identity(&self) -> Identity {
        let (_, members) = self.local.membership();
        Identity {
            name: super::files::lock(&self.local.about).name.clone(),
            address: members.get(&self.local.node).map(|own| own.address.clone()).unwrap_or_default(),
            store: self.local.stores.log.store_id(),
            node: Some(self.local.node),
            cluster: self.local.stores.log.cluster(),
        }
    }

    /// A number is taken once, before Raft runs: the same one again is no news, and another one comes too late.
    fn enrol(&self, enrolment: &Enrolment) -> Result<(), String> {
        let own = self.local.node;
        if enrolment.node == own && enrolment.store == self.local.stores.log.store_id() {
            return Ok(());
        }
        Err(format!("this is node {own}"))
    }

    async fn append(&self, request: AppendEntriesRequest<TypeConfig>) -> Result<PeerReply, TransportError> {
        // A vote that is not committed is a candidate's, or one that another leader gives away: nobody leads by it.
        let is_leaders = request.vote.committed;
        let reply = self.local.raft.append_entries(request).await.map_err(|error| self.stopped(&error))?;
        // A refusal for the log's sake comes from a leader all the same; only one of an old term is not one.
        if is_leaders && !matches!(reply, AppendEntriesResponse::HigherVote(_)) {
            self.local.heard.now();
        }
        Ok(PeerReply::AppendEntries(reply))
    }

    async fn vote(&self, request: VoteRequest<NodeId>) -> Result<PeerReply, TransportError> {
        let (_, members) = self.local.membership();
        let candidate = request.vote.leader_id.voted_for();
        // A node without members is about to be told of them, and has nothing to lose.
        if !members.is_empty() && !candidate.is_some_and(|candidate| members.contains_key(&candidate)) {
            return Err(self.refused("who stands for election must be a member"));
        }
        let reply = self.local.raft.vote(request).await;
        reply.map(PeerReply::Vote).map_err(|error| self.stopped(&error))
    }

    async fn install(
        &self,
        request: InstallSnapshotRequest<TypeConfig>,
    ) -> Result<PeerReply, TransportError> {
        let bytes_max = self.local.snapshot_bytes_max;
        let end = request.offset.saturating_add(request.data.len() as u64);
        if end > bytes_max {
            return Err(self.refused(&format!("a snapshot of more than {bytes_max} bytes is refused")));
        }
        match self.local.raft.install_snapshot(request).await {
            Ok(reply) => Ok(PeerReply::InstallSnapshot(Ok(reply))),
            Err(RaftError::APIError(error)) => Ok(PeerReply::InstallSnapshot(Err(error))),
            Err(error @ RaftError::Fatal(_)) => Err(self.stopped(&error)),
        }
    }

    /// Stands for election in the next term, if the one who asks leads this one.
    async fn take_over(&self, from: Option<NodeId>, term: Term) -> Result<(), String> {
        let (now, leader) = (self.local.term(), self.local.leader());
        if now != term {
            return Err(format!("this node is in term {now}, not in term {term}"));
        }
        if leader.is_none_or(|(leader, _)| Some(leader) != from) {
            return Err("who hands over does not lead".to_owned());
        }
        self.local.raft.trigger().elect().await.map_err(|error| error.to_string())
    }

    /// The newest entry that a current read must see; a majority confirms just now that this node leads.
    async fn read_index(&self) -> Result<LogIndex, String> {
        if self.local.gate.is_closed() {
            return Err("leadership is being handed over".to_owned());
        }
        let asked = self.local.raft.get_read_log_id();
        match tokio::time::timeout(self.local.timing.read_time_limit, asked).await {
            Ok(Ok((index, _))) => Ok(LogIndex(index.map_or(0, |id| id.index))),
            Ok(Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(_)))) => {
                Err("this node does not lead".to_owned())
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no majority answered in time".to_owned()),
        }
    }

    fn stopped(&self, error: &dyn std::error::Error) -> TransportError {
        TransportError::Unreachable { to: self.local.node, reason: error.to_string() }
    }

    fn refused(&self, reason: &str) -> TransportError {
        TransportError::Failed { to: self.local.node, reason: reason.to_owned() }
    }
}
