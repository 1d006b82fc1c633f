//! A network of nodes in one process, with links that can be cut in either direction.
//!
//! A cut link behaves like a dead line and not like a refusal: what is sent over it is lost, and its sender learns nothing
//! before its time is up. A request that arrives over a good link has its effect even when the reply is then lost.

use super::{AddressError, PeerEndpoint, PeerReply, PeerRequest, PeerTransport, TransportError};
use crate::raft::files::lock;
use crate::raft::types::{Member, NodeId};
use futures_util::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The network; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct InProcessNetwork {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    endpoints: BTreeMap<NodeId, PeerEndpoint>,
    /// Directed links, from and to, that lose everything.
    cut: BTreeSet<(NodeId, NodeId)>,
}

impl InProcessNetwork {
    /// The transport of one node.
    #[must_use]
    pub fn transport(&self, node: NodeId) -> Arc<dyn PeerTransport> {
        Arc::new(InProcessTransport { node, network: self.clone() })
    }

    /// Loses everything between two nodes.
    pub fn cut(&self, a: NodeId, b: NodeId) {
        lock(&self.state).cut.extend([(a, b), (b, a)]);
    }

    /// Loses what `from` sends to `to`, and nothing else.
    pub fn cut_one_way(&self, from: NodeId, to: NodeId) {
        lock(&self.state).cut.insert((from, to));
    }

    /// Loses everything between `node` and each of `others`.
    pub fn isolate(&self, node: NodeId, others: impl IntoIterator<Item = NodeId>) {
        others.into_iter().filter(|&other| other != node).for_each(|other| self.cut(node, other));
    }

    /// Makes every link good again.
    pub fn heal(&self) {
        lock(&self.state).cut.clear();
    }

    fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        lock(&self.state).cut.contains(&(from, to))
    }

    fn endpoint(&self, node: NodeId) -> Option<PeerEndpoint> {
        lock(&self.state).endpoints.get(&node).cloned()
    }

    async fn deliver(
        &self,
        from: NodeId,
        to: NodeId,
        request: PeerRequest,
    ) -> Result<PeerReply, TransportError> {
        if self.is_cut(from, to) {
            return std::future::pending().await;
        }
        let Some(endpoint) = self.endpoint(to) else {
            return Err(TransportError::Unreachable { to, reason: "it does not run".into() });
        };
        let reply = endpoint.handle(Some(from), request).await;
        if self.is_cut(to, from) {
            return std::future::pending().await;
        }
        reply
    }
}

struct InProcessTransport {
    node: NodeId,
    network: InProcessNetwork,
}

impl PeerTransport for InProcessTransport {
    fn serve(&self, endpoint: PeerEndpoint) {
        lock(&self.network.state).endpoints.insert(self.node, endpoint);
    }

    fn call(
        &self,
        to: NodeId,
        _member: &Member,
        request: PeerRequest,
        time_limit: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, TransportError>> {
        let (network, from) = (self.network.clone(), self.node);
        Box::pin(async move {
            let reply = tokio::time::timeout(time_limit, network.deliver(from, to, request)).await;
            reply.unwrap_or(Err(TransportError::TimedOut { to, time_limit }))
        })
    }

    /// Nodes of one process have numbers and no addresses.
    fn call_address(
        &self,
        address: String,
        _request: PeerRequest,
        _time_limit: Duration,
    ) -> BoxFuture<'static, Result<PeerReply, AddressError>> {
        let reason = "this node speaks to nobody outside its process".to_owned();
        Box::pin(async move { Err(AddressError::Unreachable { address, reason }) })
    }

    fn close(&self) {
        lock(&self.network.state).endpoints.remove(&self.node);
    }
}
