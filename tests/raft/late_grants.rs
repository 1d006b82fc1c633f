//! A transport on which everybody grants the vote that is asked for, and the grants of a term arrive when the test wants.
//!
//! It answers what its node asks in the others' stead; what the others send to its node goes through the network below.

use futures_util::future::BoxFuture;
use openraft::raft::{AppendEntriesResponse, VoteResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use zkpnet::raft::{
    AddressError, Member, NodeId, PeerEndpoint, PeerReply, PeerRequest, PeerTransport, TransportError,
};

/// What became of the requests for votes; clones are the same.
#[derive(Clone)]
pub(crate) struct Grants {
    released: Arc<watch::Sender<BTreeSet<u64>>>,
    counts: Arc<Mutex<Counts>>,
}

/// By term.
#[derive(Default)]
struct Counts {
    asked: BTreeMap<u64, u32>,
    arrived: BTreeMap<u64, u32>,
}

impl Default for Grants {
    fn default() -> Self {
        Self { released: Arc::new(watch::Sender::new(BTreeSet::new())), counts: Arc::default() }
    }
}

impl Grants {
    /// How many members were asked for their votes in this term.
    pub(crate) fn asked(&self, term: u64) -> u32 {
        self.counts.lock().unwrap().asked.get(&term).copied().unwrap_or(0)
    }

    /// How many grants of this term were handed to a Raft that still waited for them.
    pub(crate) fn arrived(&self, term: u64) -> u32 {
        self.counts.lock().unwrap().arrived.get(&term).copied().unwrap_or(0)
    }

    /// Lets the grants of this term through.
    pub(crate) fn release(&self, term: u64) {
        self.released.send_modify(|terms| {
            terms.insert(term);
        });
    }

    async fn grant(self, request: openraft::raft::VoteRequest<NodeId>) -> PeerReply {
        let term = request.vote.leader_id.term;
        *self.counts.lock().unwrap().asked.entry(term).or_default() += 1;
        self.released.subscribe().wait_for(|terms| terms.contains(&term)).await.unwrap();
        // Reached only while the one who asked still waits: its time limit drops this future.
        *self.counts.lock().unwrap().arrived.entry(term).or_default() += 1;
        PeerReply::Vote(VoteResponse::new(request.vote, request.last_log_id, true))
    }
}

/// See the module.
pub(crate) struct LateGrants {
    below: Arc<dyn PeerTransport>,
    grants: Grants,
}

impl LateGrants {
    pub(crate) fn new(below: Arc<dyn PeerTransport>, grants: Grants) -> Self {
        Self { below, grants }
    }
}

impl PeerTransport for LateGrants {
    fn serve(&self, endpoint: PeerEndpoint) {
        self.below.serve(endpoint);
    }

    fn call(
        &self,
        to: NodeId,
        _member: &Member,
        request: PeerRequest,
        _time_limit: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, TransportError>> {
        let grants = self.grants.clone();
        Box::pin(async move {
            match request {
                PeerRequest::Vote(request) => Ok(grants.grant(request).await),
                PeerRequest::AppendEntries(_) => Ok(PeerReply::AppendEntries(AppendEntriesResponse::Success)),
                _ => Err(TransportError::Unreachable { to, reason: "it only votes and follows".to_owned() }),
            }
        })
    }

    fn call_address(
        &self,
        address: String,
        request: PeerRequest,
        time_limit: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, AddressError>> {
        self.below.call_address(address, request, time_limit)
    }

    fn close(&self) {
        self.below.close();
    }
}
