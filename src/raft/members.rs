//! Who belongs to the cluster: admission, promotion, demotion, removal.
//!
//! A member's number is given once. Founders have small ones; who comes later gets [`FOUNDERS_MAX`] plus the index of an
//! entry that the log did not have before its admission, so a number that was removed never returns.
//!
//! Refused: two members of one name, a second store under one number, the promotion of a member that lags or is out of
//! reach (it could cost the majority), and changes that leave no voter, or too few that answer. Every change waits for a
//! majority, for a limited time.
//!
//! **A change counts when it is committed.** A leader's own log has it earlier, and both halves of a change of voters: whoever
//! took a member for a voter then, and stopped the leader, might leave behind a cluster that cannot elect another one. What is
//! told ([`list`]) is the applied membership, and of a change in the middle what it was before. A leader that goes, or gives
//! up waiting, between the halves leaves the change for any leader to end ([`look_after`]).

use super::error::AdminError;
use super::files::lock;
use super::guard::is_majority;
use super::service::local::Local;
use super::transfer::{self, Waiting};
use super::transport::{AdmitReply, AdmitRequest};
use super::types::{Member, NodeId, StoreId};
use crate::ledger::LogIndex;
use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The largest number that a founder may have.
pub(super) const FOUNDERS_MAX: u64 = 1000;
/// A learner that lacks no more entries than this has caught up.
const LAG_MAX: u64 = 256;
/// Members at most: each is probed by each other.
const MEMBERS_MAX: usize = 64;
/// Bytes of a name or an address at most: both are in every copy of the membership.
const TEXT_BYTES_MAX: usize = 255;
/// How often it is looked whether an admitted learner has caught up.
const PROMOTE_EVERY: Duration = Duration::from_millis(250);

/// Whether a member has a vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has.
    Voter,
    /// It receives the log only.
    Learner,
}

/// A member, as the one that was asked knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where its Raft port is reached.
    pub address: String,
    /// Whether it has a vote.
    pub standing: Standing,
    /// Its storage, when known.
    pub store: Option<StoreId>,
    /// The newest entry that the leader knows it to have; only the leader knows.
    pub matched: Option<LogIndex>,
    /// Entries of the leader's log that it lacks; only the leader knows.
    pub lag: Option<u64>,
}

/// All members, by number, as a majority has them.
pub(super) fn list(local: &Local) -> Vec<MemberStatus> {
    let stored = local.stores.ledger.membership();
    let voters = stored.membership().get_joint_config().first();
    let is_leader = local.is_openraft_leader();
    let last = local.metrics.borrow().last_log_index;
    let status = |(&id, member): (&NodeId, &Member)| {
        let is_voter = voters.is_some_and(|voters| voters.contains(&id));
        let matched = if is_leader && id == local.node { last } else { transfer::matched(local, id) };
        MemberStatus {
            id,
            name: member.name.clone(),
            address: member.address.clone(),
            standing: if is_voter { Standing::Voter } else { Standing::Learner },
            store: member.store,
            matched: matched.map(LogIndex),
            lag: last.filter(|_| is_leader).map(|last| last.saturating_sub(matched.unwrap_or(0))),
        }
    };
    stored.nodes().map(status).collect()
}

/// Admits a learner. Asked again for the same store it gives the same number, and notes a new address.
pub(super) async fn add_learner(
    local: &Local,
    name: String,
    address: String,
    store: StoreId,
) -> Result<NodeId, AdminError> {
    for (what, text) in [("name", &name), ("address", &address)] {
        if text.is_empty() || text.len() > TEXT_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(AdminError::Refused(format!(
                "a member's {what} has 1 to {TEXT_BYTES_MAX} printable characters"
            )));
        }
    }
    let _admin = begin(local).await?;
    let (_, members) = local.membership();
    if let Some((&id, member)) = members.iter().find(|(_, member)| member.store == Some(store)) {
        if member.name != name {
            return Err(AdminError::Refused(format!(
                "this storage belongs to member {id}, named {}: start it under that name, or with an empty data \
                 directory",
                member.name
            )));
        }
        if member.address != address {
            let member = Member { address, ..member.clone() };
            change(local, ChangeMembers::SetNodes(BTreeMap::from([(id, member)])), true).await?;
        }
        return Ok(id);
    }
    if let Some((id, _)) = members.iter().find(|(_, member)| member.name == name) {
        return Err(AdminError::Refused(format!(
            "the name {name} belongs to member {id}, whose storage is another one: if its disk was lost, remove member \
             {id} first, or choose another name"
        )));
    }
    if members.len() >= MEMBERS_MAX {
        return Err(AdminError::Refused(format!("a cluster has {MEMBERS_MAX} members at most")));
    }
    let cluster = local.stores.log.cluster();
    let last = local.metrics.borrow().last_log_index.unwrap_or(0);
    // Its entry comes after `last`, so the next number is a larger one, whoever gives it.
    let id = NodeId(FOUNDERS_MAX + last + 1);
    let member = Member { name, address, cluster, store: Some(store) };
    change(local, ChangeMembers::AddNodes(BTreeMap::from([(id, member)])), true).await?;
    tracing::info!(member = %id, "admitted a learner");
    Ok(id)
}

/// Gives a learner a vote.
pub(super) async fn promote(local: &Local, id: NodeId) -> Result<(), AdminError> {
    let _admin = begin(local).await?;
    let member = find(local, id)?;
    if member.standing == Standing::Voter {
        return Ok(());
    }
    // After each change of members the leader asks anew what everybody has; that is soon known.
    let soon = Instant::now() + local.timing.election_timeout_max;
    let is_ready =
        transfer::until(soon, || find(local, id).is_ok_and(|member| is_ready(local, &member))).await;
    if !is_ready {
        return Err(AdminError::Unavailable(format!(
            "member {id} has not caught up, or is not in reach: as a voter it would count, and not answer"
        )));
    }
    change(local, ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await?;
    tracing::info!(member = %id, "a learner became a voter");
    Ok(())
}

/// Takes a voter's vote; it stays as a learner. A leader that is to demote itself hands over and says who leads now.
pub(super) async fn demote(local: &Local, waiting: &Waiting, id: NodeId) -> Result<(), AdminError> {
    let _admin = begin(local).await?;
    lock(&local.admitted).remove(&id);
    if find(local, id)?.standing == Standing::Learner {
        return Ok(());
    }
    let change_of_voters = leave(local, waiting, id).await?;
    change(local, change_of_voters, true).await?;
    tracing::info!(member = %id, "a voter became a learner");
    Ok(())
}

/// Removes a member for good. A leader that is to remove itself hands over and says who leads now.
pub(super) async fn remove(local: &Local, waiting: &Waiting, id: NodeId) -> Result<(), AdminError> {
    let _admin = begin(local).await?;
    lock(&local.admitted).remove(&id);
    match find(local, id)?.standing {
        Standing::Learner => {
            change(local, ChangeMembers::RemoveNodes(BTreeSet::from([id])), false).await?;
        }
        Standing::Voter => {
            let change_of_voters = leave(local, waiting, id).await?;
            change(local, change_of_voters, false).await?;
        }
    }
    tracing::info!(member = %id, "removed a member");
    Ok(())
}

/// Notes the storage of a member that was admitted without one.
pub(super) async fn record_store(local: &Local, id: NodeId, store: StoreId) -> Result<(), AdminError> {
    let _admin = begin(local).await?;
    let (_, members) = local.membership();
    let member = members.get(&id).ok_or_else(|| no_member(id))?;
    match member.store {
        Some(known) if known == store => Ok(()),
        Some(_) => Err(AdminError::Refused(format!(
            "member {id} has another storage: if its disk was lost, remove member {id} and let it join again with an \
             empty data directory"
        ))),
        None => {
            let member = Member { store: Some(store), ..member.clone() };
            change(local, ChangeMembers::SetNodes(BTreeMap::from([(id, member)])), true).await
        }
    }
}

/// Answers a process that asks to become a member: a learner now, and a voter when it has caught up, if this node still
/// leads then. A joiner that repeats the request until it is a voter is promoted by whoever leads.
pub(super) async fn admit(local: &Local, request: AdmitRequest) -> AdmitReply {
    let AdmitRequest { name, address, store } = request;
    let added = add_learner(local, name, address, store).await;
    match (added, local.stores.log.cluster()) {
        (Ok(node), Some(cluster)) => {
            if find(local, node).is_ok_and(|member| member.standing == Standing::Learner) {
                lock(&local.admitted).insert(node);
            }
            AdmitReply::Admitted { node, cluster }
        }
        (Ok(_), None) => AdmitReply::Refused("the cluster has no name yet; ask again".to_owned()),
        (Err(AdminError::NotLeader { leader }), _) => {
            AdmitReply::NotLeader { leader_address: leader.map(|leader| leader.address) }
        }
        // Nobody to ask is named: it is tried again, here or elsewhere.
        (Err(AdminError::Unavailable(_) | AdminError::OutcomeUnknown(_) | AdminError::Stopped), _) => {
            AdmitReply::NotLeader { leader_address: None }
        }
        (Err(error), _) => AdmitReply::Refused(error.to_string()),
    }
}

/// Promotes admitted learners as they catch up, and ends changes of voters that were left in the middle, while this node leads;
/// runs until it is aborted.
pub(super) async fn look_after(local: Arc<Local>) {
    loop {
        tokio::time::sleep(PROMOTE_EVERY).await;
        end_half_made_change(&local).await;
        let admitted = lock(&local.admitted).clone();
        for id in admitted {
            let is_over = match find(&local, id) {
                Err(_) => true,
                Ok(member) if member.standing == Standing::Voter => true,
                Ok(member) if !is_ready(&local, &member) => !local.is_openraft_leader(),
                Ok(_) => match promote(&local, id).await {
                    Ok(()) => true,
                    Err(error) => {
                        tracing::warn!(member = %id, %error, "a learner was not made a voter yet");
                        matches!(error, AdminError::NotLeader { .. } | AdminError::Refused(_))
                    }
                },
            };
            if is_over {
                lock(&local.admitted).remove(&id);
            }
        }
    }
}

/// Makes the second half of a change of voters whose first half is committed, when nobody is about to. Of a removal the vote
/// goes, and the member stays as a learner.
async fn end_half_made_change(local: &Local) {
    if local.stores.ledger.membership().membership().get_joint_config().len() < 2 {
        return;
    }
    let Ok(_admin) = local.admin.try_lock() else { return };
    if !local.is_openraft_leader() || local.membership().0.len() < 2 {
        return;
    }
    match change(local, ChangeMembers::AddVoterIds(BTreeSet::new()), true).await {
        Ok(()) => tracing::info!("ended a change of voters that was left in the middle"),
        Err(error) => tracing::warn!(%error, "a change of voters is still in the middle"),
    }
}

fn is_ready(local: &Local, member: &MemberStatus) -> bool {
    let in_reach = local.peers.in_reach(local.timing.election_timeout_max);
    member.matched.is_some()
        && member.lag.is_some_and(|lag| lag <= LAG_MAX)
        && in_reach.contains_key(&member.id)
}

fn find(local: &Local, id: NodeId) -> Result<MemberStatus, AdminError> {
    list(local).into_iter().find(|member| member.id == id).ok_or_else(|| no_member(id))
}

fn no_member(id: NodeId) -> AdminError {
    AdminError::Refused(format!("there is no member {id}"))
}

/// Prepares that a voter gives up its vote: not the last one, not one without which the others are no majority, and the
/// leader hands over before.
async fn leave(
    local: &Local,
    waiting: &Waiting,
    id: NodeId,
) -> Result<ChangeMembers<NodeId, Member>, AdminError> {
    let (voters, _) = local.membership();
    if voters.iter().any(|set| set.iter().all(|voter| *voter == id)) {
        return Err(AdminError::Refused(format!("member {id} is the only voter")));
    }
    // Such a change could neither be committed nor be taken back: a majority without `id` is needed for both.
    let soon = Instant::now() + local.timing.election_timeout_max;
    if !transfer::until(soon, || others_are_majority(local, &voters, id)).await {
        return Err(AdminError::Unavailable(format!(
            "without member {id} too few voters are in reach: nothing could be committed any more; bring back or remove those \
             that are out of reach first"
        )));
    }
    if id == local.node {
        let deadline = Instant::now() + local.timing.proposal_time_limit;
        transfer::hand_over_locked(local, waiting, None, deadline).await?;
        return Err(AdminError::NotLeader { leader: local.leader_info() });
    }
    Ok(ChangeMembers::RemoveVoters(BTreeSet::from([id])))
}

/// Whether of the voters without `id` a majority answers.
fn others_are_majority(local: &Local, voters: &[BTreeSet<NodeId>], id: NodeId) -> bool {
    let in_reach = local.peers.in_reach(local.timing.election_timeout_max);
    let others: Vec<BTreeSet<NodeId>> =
        voters.iter().map(|set| set.iter().copied().filter(|voter| *voter != id).collect()).collect();
    is_majority(&others, |voter| *voter == local.node || in_reach.contains_key(voter))
}

/// Begins a change: one at a time, and only where the leader is.
async fn begin(local: &Local) -> Result<tokio::sync::MutexGuard<'_, ()>, AdminError> {
    if !local.is_openraft_leader() {
        return Err(AdminError::NotLeader { leader: local.leader_info() });
    }
    let admin = tokio::time::timeout(local.timing.proposal_time_limit, local.admin.lock()).await;
    admin.map_err(|_| AdminError::Unavailable("another change of members is under way".to_owned()))
}

async fn change(
    local: &Local,
    members: ChangeMembers<NodeId, Member>,
    retain: bool,
) -> Result<(), AdminError> {
    let changed = local.raft.change_membership(members, retain);
    match tokio::time::timeout(local.timing.proposal_time_limit, changed).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
            // It may have been appended before another leader took over.
            Err(AdminError::OutcomeUnknown("leadership moved meanwhile".to_owned()))
        }
        Ok(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(error)))) => match error {
            ChangeMembershipError::InProgress(_) => {
                Err(AdminError::Unavailable("another change of members is under way".to_owned()))
            }
            error => Err(AdminError::Refused(error.to_string())),
        },
        Ok(Err(RaftError::Fatal(_))) => Err(AdminError::Stopped),
        Err(_) => Err(AdminError::OutcomeUnknown("no majority confirmed it in time".to_owned())),
    }
}
