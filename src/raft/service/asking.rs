//! What the other members are asked beside consensus, and who they are.

use super::RaftService;
use crate::raft::transport::{PeerReply, PeerRequest, TransportError};
use crate::raft::types::NodeId;
use std::collections::BTreeSet;
use std::time::Duration;

impl RaftService {
    /// The members that have a vote, this node included when it has one.
    #[must_use]
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.inner.metrics.borrow().membership_config.membership().voter_ids().collect()
    }

    /// All members, learners too.
    #[must_use]
    pub fn member_ids(&self) -> BTreeSet<NodeId> {
        self.inner.metrics.borrow().membership_config.membership().nodes().map(|(id, _)| *id).collect()
    }

    /// Asks another member something, and waits for its answer for `time_limit` at most.
    ///
    /// # Errors
    /// It is no member, cannot be reached, or does not answer in time.
    pub async fn call_peer(
        &self,
        to: NodeId,
        request: PeerRequest,
        time_limit: Duration,
    ) -> Result<PeerReply, TransportError> {
        let member = self.inner.metrics.borrow().membership_config.membership().get_node(&to).cloned();
        let Some(member) = member else {
            return Err(TransportError::Unreachable { to, reason: "it is no member".to_owned() });
        };
        let transport = self.inner.transport.clone();
        let call = async move { transport.call(to, &member, request, time_limit).await };
        let gone = || TransportError::Unreachable { to, reason: "raft has stopped on this node".to_owned() };
        self.on_runtime(call).await.unwrap_or_else(|| Err(gone()))
    }
}
