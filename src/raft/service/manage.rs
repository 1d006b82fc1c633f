//! The handle's part for operators and for the node's composition root: members, leadership, reports.

use super::local::{Local, NodeAbout};
use super::{RaftService, Role};
use crate::ledger::{Digest, LogIndex};
use crate::raft::enlist::{self, EnlistError};
use crate::raft::error::AdminError;
use crate::raft::files::lock;
use crate::raft::members::{self, MemberStatus};
use crate::raft::transfer;
use crate::raft::transport::{Aim, KeyShelf, PeerReply, PeerReport, PeerRequest, Probe, TransportError};
use crate::raft::types::{NodeId, StoreId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl RaftService {
    /// A report older than this is a member's last word, not its present one: the member is missing.
    pub const REPORT_AGE_MAX: Duration = Duration::from_secs(3);

    /// Hands leadership to `to`, or to the voter in reach with the newest log, and gives who leads then. For the time of an
    /// election no proposals are taken. Dropping the future does not stop it.
    ///
    /// # Errors
    /// [`AdminError::NotLeader`] on another node; refused for a member without a vote; unavailable when the successor is
    /// not in reach or does not catch up in time; outcome unknown when no leader is heard of in time.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<NodeId, AdminError> {
        let limit = self.inner.local.timing.proposal_time_limit;
        let handed = transfer::hand_over(self.inner.local.clone(), self.inner.waiting.clone(), to, limit);
        self.administer(handed).await
    }

    /// Hands over before a shutdown, if this node leads and the settings allow for it.
    pub(super) async fn hand_over_before_the_end(&self) {
        let limit = self.inner.hand_over_time_limit;
        if limit.is_zero() || self.status().role != Role::Leader {
            return;
        }
        let (voters, _) = self.inner.local.membership();
        if voters.iter().all(|set| set.len() == 1) {
            return;
        }
        let handed = transfer::hand_over(self.inner.local.clone(), self.inner.waiting.clone(), None, limit);
        match self.administer(handed).await {
            Ok(leader) => tracing::info!(%leader, "handed leadership over"),
            // The others elect a leader when they miss this one.
            Err(error) => tracing::warn!(%error, "leadership was not handed over"),
        }
    }

    /// The members, as this node knows them; progress is known to the leader only.
    #[must_use]
    pub fn members(&self) -> Vec<MemberStatus> {
        members::list(&self.inner.local)
    }

    /// Admits a member without a vote, and gives its number: a new one, or the same again for the same store.
    ///
    /// # Errors
    /// [`AdminError::NotLeader`] on another node; refused when the name belongs to another store, with the remedy.
    pub async fn add_learner(
        &self,
        name: impl Into<String>,
        address: impl Into<String>,
        store: StoreId,
    ) -> Result<NodeId, AdminError> {
        let (local, name, address) = (self.inner.local.clone(), name.into(), address.into());
        self.administer(async move { members::add_learner(&local, name, address, store).await }).await
    }

    /// Adds the process that waits for it at `address`, if its name is `name`, and gives its number; a process that was added
    /// so before gets the same again.
    ///
    /// # Errors
    /// See [`EnlistError`]; the change is the leader's, and another node names it.
    pub async fn enlist(
        &self,
        name: impl Into<String>,
        address: impl Into<String>,
        aim: Aim,
    ) -> Result<NodeId, EnlistError> {
        let (local, name, address) = (self.inner.local.clone(), name.into(), address.into());
        let enlisted = self.on_runtime(async move { enlist::enlist(&local, name, address, aim).await });
        enlisted.await.unwrap_or(Err(EnlistError::Change(AdminError::Stopped)))
    }

    /// Gives a learner that has caught up a vote.
    ///
    /// # Errors
    /// [`AdminError::NotLeader`] on another node; unavailable while it lags or is not in reach.
    pub async fn promote(&self, id: NodeId) -> Result<(), AdminError> {
        let local = self.inner.local.clone();
        self.administer(async move { members::promote(&local, id).await }).await
    }

    /// Takes a voter's vote; it stays as a learner.
    ///
    /// # Errors
    /// [`AdminError::NotLeader`] on another node, and on the leader that is to demote itself: it has handed over then, and
    /// the one it names is to be asked. Refused for the only voter.
    pub async fn demote(&self, id: NodeId) -> Result<(), AdminError> {
        let (local, waiting) = (self.inner.local.clone(), self.inner.waiting.clone());
        self.administer(async move { members::demote(&local, &waiting, id).await }).await
    }

    /// Removes a member; its number never returns.
    ///
    /// # Errors
    /// As for [`Self::demote`].
    pub async fn remove(&self, id: NodeId) -> Result<(), AdminError> {
        let (local, waiting) = (self.inner.local.clone(), self.inner.waiting.clone());
        self.administer(async move { members::remove(&local, &waiting, id).await }).await
    }

    /// Notes the storage of a member that was founded without one, so that another disk is not taken for it.
    ///
    /// # Errors
    /// [`AdminError::NotLeader`] on another node; refused when another store is recorded, with the remedy.
    pub async fn record_store(&self, id: NodeId, store: StoreId) -> Result<(), AdminError> {
        let local = self.inner.local.clone();
        self.administer(async move { members::record_store(&local, id, store).await }).await
    }

    /// Sets what this node says of itself besides what Raft knows.
    pub fn set_about(&self, about: NodeAbout) {
        *lock(&self.inner.local.about) = about;
    }

    /// Sets who answers peers that ask about keys; until then there are none.
    pub fn set_key_shelf(&self, shelf: Arc<dyn KeyShelf>) {
        *lock(&self.inner.local.shelf) = Some(shelf);
    }

    /// What this node says of itself.
    #[must_use]
    pub fn report(&self) -> PeerReport {
        self.inner.local.report()
    }

    /// What the other members last said of themselves, and the age of the question that they answered.
    #[must_use]
    pub fn peer_reports(&self) -> BTreeMap<NodeId, (PeerReport, Duration)> {
        self.inner.local.peers.reports()
    }

    /// What every member last said of itself, this node included, and how old that is.
    #[must_use]
    pub fn reports(&self) -> BTreeMap<NodeId, (PeerReport, Duration)> {
        let mut reports = self.peer_reports();
        reports.insert(self.node(), (self.report(), Duration::ZERO));
        reports
    }

    /// The ledger's hash after an entry, if this node applied that one not long ago.
    #[must_use]
    pub fn state_hash_at(&self, index: LogIndex) -> Option<Digest> {
        self.inner.local.stores.ledger.state_hash_at(index)
    }

    /// Asks another member how it does, and for its ledger's hash after an entry, as far as it still knows that.
    ///
    /// # Errors
    /// When it is no member, or does not answer within an election timeout.
    pub async fn probe(
        &self,
        id: NodeId,
        state_hash_at: Option<LogIndex>,
    ) -> Result<(PeerReport, Option<Digest>), TransportError> {
        let failed = move |reason: &str| TransportError::Failed { to: id, reason: reason.to_owned() };
        let local = self.inner.local.clone();
        let asked = async move {
            let (_, members) = local.membership();
            let member = members.get(&id).ok_or_else(|| failed("it is no member"))?;
            let probe = PeerRequest::Probe(Probe { sender: local.report(), state_hash_at });
            match local.transport.call(id, member, probe, local.timing.election_timeout_max).await? {
                PeerReply::Probe(report, hash) => Ok((*report, hash)),
                _ => Err(failed("it answered another kind of request")),
            }
        };
        let stopped = TransportError::Unreachable { to: id, reason: "raft has stopped here".to_owned() };
        self.on_runtime(asked).await.unwrap_or(Err(stopped))
    }

    /// Sends a request to another member, for the parts of a node that use Raft's connections.
    ///
    /// # Errors
    /// When it is no member, or does not answer within `time_limit`.
    pub async fn call(
        &self,
        to: NodeId,
        request: PeerRequest,
        time_limit: Duration,
    ) -> Result<PeerReply, TransportError> {
        let local: Arc<Local> = self.inner.local.clone();
        let asked = async move {
            let (_, members) = local.membership();
            let Some(member) = members.get(&to) else {
                return Err(TransportError::Failed { to, reason: "it is no member".to_owned() });
            };
            local.transport.call(to, member, request, time_limit).await
        };
        let stopped = TransportError::Unreachable { to, reason: "raft has stopped here".to_owned() };
        self.on_runtime(asked).await.unwrap_or(Err(stopped))
    }

    async fn administer<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, AdminError>> + Send + 'static,
    ) -> Result<T, AdminError> {
        self.on_runtime(work).await.unwrap_or(Err(AdminError::Stopped))
    }
}
