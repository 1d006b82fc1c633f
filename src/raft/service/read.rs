//! Current reads, on whichever node: the leader has a majority confirm that it leads; another node asks the leader how far
//! it must have applied, and waits for that.

use super::local::Local;
use super::status;
use crate::ledger::LogIndex;
use crate::planted::{Defect, is_planted};
use crate::raft::error::ReadError;
use crate::raft::transport::{PeerReply, PeerRequest};
use crate::raft::types::{Member, NodeId};
use openraft::error::{CheckIsLeaderError, RaftError};
use std::sync::Arc;
use std::time::Instant;

/// Waits until this node's ledger holds everything that was committed when this was called.
pub(super) async fn barrier(local: Arc<Local>) -> Result<LogIndex, ReadError> {
    if is_planted(Defect::StaleRead) {
        return Ok(LogIndex(local.metrics.borrow().last_applied.map_or(0, |id| id.index)));
    }
    let deadline = Instant::now() + local.timing.read_time_limit;
    let mut refusal = ReadError::NotLeader { leader: None };
    // While leadership moves there is nobody to ask; it moves within this limit as a rule.
    while Instant::now() < deadline {
        let attempt = async {
            if local.is_openraft_leader() {
                return lead(&local).await;
            }
            match local.leader() {
                Some((leader, member)) => follow(&local, leader, &member, deadline).await,
                None => Err(ReadError::NotLeader { leader: None }),
            }
        };
        match tokio::time::timeout_at(deadline.into(), attempt).await {
            Ok(Ok(index)) => return Ok(index),
            Ok(Err(ReadError::Stopped)) => return Err(ReadError::Stopped),
            Ok(Err(error)) => refusal = error,
            Err(_) if local.leader().is_some() => return Err(ReadError::Unconfirmed),
            Err(_) => return Err(refusal),
        }
        let pause = tokio::time::sleep(local.timing.heartbeat / 2);
        let _ = tokio::time::timeout_at(deadline.into(), pause).await;
    }
    Err(refusal)
}

async fn lead(local: &Local) -> Result<LogIndex, ReadError> {
    match local.raft.ensure_linearizable().await {
        Ok(index) => Ok(LogIndex(index.map_or(0, |id| id.index))),
        Err(RaftError::APIError(CheckIsLeaderError::ForwardToLeader(forward))) => {
            let leader = forward.leader_id.map(|id| status::leader_info(id, forward.leader_node.as_ref()));
            Err(ReadError::NotLeader { leader })
        }
        Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) => Err(ReadError::Unconfirmed),
        Err(RaftError::Fatal(_)) => Err(ReadError::Stopped),
    }
}

async fn follow(
    local: &Local,
    leader: NodeId,
    member: &Member,
    deadline: Instant,
) -> Result<LogIndex, ReadError> {
    // One answer that is lost must not use up all the time there is.
    let limit = deadline.saturating_duration_since(Instant::now()).min(local.timing.election_timeout_max);
    let reply = local.transport.call(leader, member, PeerRequest::ReadIndex, limit).await;
    let Ok(PeerReply::ReadIndex(Ok(index))) = reply else {
        return Err(ReadError::NotLeader { leader: Some(status::leader_info(leader, Some(member))) });
    };
    let mut metrics = local.metrics.clone();
    let is_applied =
        |metrics: &status::Metrics| metrics.last_applied.map_or(index.0 == 0, |id| id.index >= index.0);
    match metrics.wait_for(is_applied).await {
        Ok(_) => Ok(index),
        Err(_) => Err(ReadError::Stopped),
    }
}
