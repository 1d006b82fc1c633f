//! Handing leadership over, which openraft 0.9 leaves to its user.
//!
//! The leader takes no proposals for a moment, waits until the successor has its whole log, frees the voters, and asks the
//! successor to stand. **Freeing** is needed because a voter refuses everybody for a lease after it heard the leader. The
//! leader gives each voter, itself included, the vote that the successor is about to ask for: a message of the next term
//! that names an entry which nobody has. The receiver takes over the vote and leaves its log alone; the lease, which is one
//! of a leader, is gone with it. That is safe: the vote counts only when the successor asks for it and its log is as new as
//! the voter's. If the successor is lost at that moment, the next election timeout finds another leader.

use super::error::AdminError;
use super::guard::is_majority;
use super::service::local::Local;
use super::transport::{PeerReply, PeerRequest};
use super::types::{LogId, Member, NodeId, TypeConfig};
use crate::ledger::Term;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::{CommittedLeaderId, Vote};
use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How often the successor's progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What waits to be proposed: all permits are there when nothing does.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) room: Arc<Semaphore>,
    pub(super) permits: usize,
}

/// Hands over to `to`, or to the voter in reach with the newest log, and waits for a new leader, for `limit` at most.
pub(super) async fn hand_over(
    local: Arc<Local>,
    waiting: Waiting,
    to: Option<NodeId>,
    limit: Duration,
) -> Result<NodeId, AdminError> {
    let deadline = Instant::now() + limit;
    let Ok(_admin) = tokio::time::timeout_at(deadline.into(), local.admin.lock()).await else {
        return Err(AdminError::Unavailable("the members are being changed".to_owned()));
    };
    hand_over_locked(&local, &waiting, to, deadline).await
}

/// The same for who holds the lock on changes already.
pub(super) async fn hand_over_locked(
    local: &Local,
    waiting: &Waiting,
    to: Option<NodeId>,
    deadline: Instant,
) -> Result<NodeId, AdminError> {
    if !local.is_openraft_leader() {
        return Err(AdminError::NotLeader { leader: local.leader_info() });
    }
    let term = local.term();
    let (voters, members) = local.membership();
    // A leader of just now may not have heard of everybody yet.
    let soon = deadline.min(Instant::now() + local.timing.heartbeat * 3);
    until(soon, || !matches!(successor(local, &voters, to), Err(AdminError::Unavailable(_)))).await;
    let successor = successor(local, &voters, to)?;
    let _closed = local.gate.close();
    // Half of the time is for what is under way; the rest for the election.
    let half = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
    let is_ready = || waiting.room.available_permits() == waiting.permits && has_everything(local, successor);
    if !until(half, is_ready).await {
        return Err(AdminError::Unavailable(format!("node {successor} has not caught up in time")));
    }
    free_voters(local, &voters, &members, successor, term).await?;
    let Some(member) = members.get(&successor) else {
        return Err(AdminError::Refused(format!("node {successor} is no member")));
    };
    let call = local.transport.call(successor, member, PeerRequest::TakeOver { term }, call_limit(local));
    match call.await {
        Ok(PeerReply::TakeOver(Ok(()))) => {}
        Ok(PeerReply::TakeOver(Err(reason))) => return Err(AdminError::Unavailable(reason)),
        Ok(_) => return Err(AdminError::Unavailable("the successor answered something else".to_owned())),
        Err(error) => return Err(AdminError::OutcomeUnknown(error.to_string())),
    }
    let new_leader = || local.leader().map(|(leader, _)| leader).filter(|_| local.term() > term);
    until(deadline, || new_leader().is_some()).await;
    match new_leader() {
        Some(leader) if to.is_none_or(|to| to == leader) => Ok(leader),
        Some(leader) => Err(AdminError::Unavailable(format!("node {leader} was elected instead"))),
        None => Err(AdminError::OutcomeUnknown("no new leader was heard of in time".to_owned())),
    }
}

/// Whom to hand over to.
fn successor(local: &Local, voters: &[BTreeSet<NodeId>], to: Option<NodeId>) -> Result<NodeId, AdminError> {
    let in_reach = local.peers.in_reach(local.timing.election_timeout_max);
    let is_voter = |id: &NodeId| voters.iter().all(|set| set.contains(id));
    match to {
        Some(to) if to == local.node => Err(AdminError::Refused(format!("node {to} leads already"))),
        Some(to) if !is_voter(&to) => Err(AdminError::Refused(format!("node {to} is no voter"))),
        Some(to) if !in_reach.contains_key(&to) => {
            Err(AdminError::Unavailable(format!("node {to} is not in reach")))
        }
        Some(to) => Ok(to),
        None => {
            let candidates = in_reach.keys().filter(|id| **id != local.node && is_voter(id));
            let newest = candidates.max_by_key(|id| matched(local, **id));
            newest.copied().ok_or_else(|| AdminError::Unavailable("no other voter is in reach".to_owned()))
        }
    }
}

/// The newest entry that a member is known to have.
pub(super) fn matched(local: &Local, id: NodeId) -> Option<u64> {
    let metrics = local.metrics.borrow();
    let matched = metrics.replication.as_ref()?.get(&id)?.as_ref()?;
    Some(matched.index)
}

fn has_everything(local: &Local, id: NodeId) -> bool {
    let last = local.metrics.borrow().last_log_index;
    matched(local, id) == last
}

fn call_limit(local: &Local) -> Duration {
    local.timing.election_timeout_min
}

/// Gives the voters the vote that the successor will ask for; see the module.
async fn free_voters(
    local: &Local,
    voters: &[BTreeSet<NodeId>],
    members: &BTreeMap<NodeId, Member>,
    successor: NodeId,
    term: Term,
) -> Result<(), AdminError> {
    let request = || AppendEntriesRequest::<TypeConfig> {
        vote: Vote::new(term.0 + 1, successor),
        // No log has this entry, so nothing follows it, and nothing is cut off at it.
        prev_log_id: Some(LogId::new(CommittedLeaderId::new(term.0 + 1, successor), u64::MAX - 1)),
        entries: Vec::new(),
        leader_commit: None,
    };
    let mut calls = JoinSet::new();
    let ids: BTreeSet<NodeId> = voters.iter().flatten().copied().collect();
    for id in ids.into_iter().filter(|id| *id != local.node && *id != successor) {
        let Some(member) = members.get(&id) else { continue };
        let call = local.transport.call(id, member, PeerRequest::AppendEntries(request()), call_limit(local));
        calls.spawn(async move { (id, call.await) });
    }
    let own = local.raft.append_entries(request()).await.map_err(|_| AdminError::Stopped)?;
    let mut free = BTreeSet::from([successor]);
    let is_free =
        |reply: &AppendEntriesResponse<NodeId>| !matches!(reply, AppendEntriesResponse::HigherVote(_));
    if is_free(&own) {
        free.insert(local.node);
    }
    while !is_majority(voters, |id| free.contains(id)) {
        match calls.join_next().await {
            Some(Ok((id, Ok(PeerReply::AppendEntries(reply))))) if is_free(&reply) => {
                free.insert(id);
            }
            Some(_) => {}
            // The successor may be elected all the same, as soon as the leases have run out.
            None => break,
        }
    }
    // The others are still being told.
    calls.detach_all();
    Ok(())
}

/// Waits for a condition, until the deadline.
pub(super) async fn until(deadline: Instant, mut is_met: impl FnMut() -> bool) -> bool {
    loop {
        if is_met() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
