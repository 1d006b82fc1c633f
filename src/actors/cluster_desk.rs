//! The cluster desk: tells what the cluster consists of, and passes an operator's changes of it on to Raft.
//!
//! It decides nothing: a change is good or refused by what Raft's leader says. Answers hold what each member last said of
//! itself; a member that is out of reach is shown as such, with its last word.

use super::ask::{Address, Ask, AskError};
use super::guardian::{GuardianHandle, Supervised};
use crate::ledger::{Digest, LogIndex};
use crate::raft::{AdminError, Aim, EnlistError, NodeId, PeerReport, RaftService, Standing};
use actix::{Actor, Context, Handler, Message};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;

/// A question waits this long: one probe of each member.
const STATUS_LIMIT: Duration = Duration::from_secs(5);
/// A change waits this long: a new voter must catch up first.
const CHANGE_LIMIT: Duration = Duration::from_secs(60);

/// Asks what the cluster consists of.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "ClusterView")]
pub struct GetCluster;

/// The cluster, as this node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Its id; `None` before it is founded.
    pub cluster: Option<String>,
    /// The node that answers.
    pub node: NodeId,
    /// The leader's name, when one is known.
    pub leader: Option<String>,
    /// This node's term.
    pub term: u64,
    /// All members, by number.
    pub members: Vec<MemberView>,
    /// What comparing the members' states gave.
    pub states: StateComparison,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its number.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where its Raft port is reached.
    pub raft_address: String,
    /// Whether it votes.
    pub standing: Standing,
    /// Whether it answered lately.
    pub is_reachable: bool,
    /// What it last said of itself, if it ever did.
    pub report: Option<PeerReport>,
    /// Entries that it has not applied and the most advanced member has.
    pub lag: Option<u64>,
    /// Its state hash after the entry of [`ClusterView::states`].
    pub state_hash: Option<Digest>,
}

/// Whether the members' ledgers are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateComparison {
    /// After this entry those that could be asked have the same hash.
    Agree(LogIndex),
    /// After this entry they differ: some replica is wrong.
    Differ(LogIndex),
    /// There were not two hashes of one entry.
    Unknown,
}

/// Asks for a change of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "Result<Option<NodeId>, ClusterError>")]
pub enum ChangeCluster {
    /// Another voter shall lead; the most advanced one when none is named.
    TransferLeader {
        /// Which, by name or number.
        to: Option<String>,
    },
    /// Add the process that waits for it at an address.
    Add {
        /// Its name.
        member: String,
        /// Where its Raft port is reached.
        address: String,
        /// What it is to become.
        aim: Aim,
    },
    /// Give a member a vote, once it has caught up.
    Promote {
        /// Which, by name or number.
        member: String,
    },
    /// Take a member's vote.
    Demote {
        /// Which, by name or number.
        member: String,
    },
    /// Let a member go for good; its number is not given again.
    Remove {
        /// Which, by name or number.
        member: String,
    },
}

/// A change was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// *Refused*: there is no such member.
    #[error("there is no member {0:?}")]
    UnknownMember(String),
    /// *Refused*: at the address that was named is nobody who could be added.
    #[error("{0}")]
    Address(String),
    /// *Refused*: another node is at the address than the one that was named.
    #[error("{0}")]
    Name(String),
    /// *Refused*, *unavailable* or *outcome unknown*: see [`AdminError`].
    #[error(transparent)]
    Change(#[from] AdminError),
    /// *Unavailable* or *outcome unknown*: the desk did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl From<EnlistError> for ClusterError {
    fn from(error: EnlistError) -> Self {
        let text = error.to_string();
        match error {
            EnlistError::Address { .. } => Self::Address(text),
            EnlistError::Name { .. } => Self::Name(text),
            EnlistError::Change(error) => Self::Change(error),
        }
    }
}

/// A cloneable handle of the cluster desk.
#[derive(Clone)]
pub struct ClusterDeskHandle(Address<ClusterDesk>);

impl ClusterDeskHandle {
    /// What the cluster consists of.
    ///
    /// # Errors
    /// When the actor does not take the question or does not answer.
    pub async fn view(&self) -> Result<ClusterView, AskError> {
        self.0.ask(GetCluster, STATUS_LIMIT).await
    }

    /// Changes the cluster; gives the number of the member that it was about.
    ///
    /// # Errors
    /// See [`ClusterError`].
    pub async fn change(&self, change: ChangeCluster) -> Result<Option<NodeId>, ClusterError> {
        self.0.ask(change, CHANGE_LIMIT).await?
    }
}

/// The actor.
pub struct ClusterDesk {
    raft: RaftService,
}

impl ClusterDesk {
    /// Starts the actor.
    pub async fn launch(guardian: &GuardianHandle, raft: RaftService) -> ClusterDeskHandle {
        ClusterDeskHandle(guardian.supervise(move || Self { raft: raft.clone() }).await)
    }
}

async fn view(raft: &RaftService) -> ClusterView {
    let (own, status) = (raft.node(), raft.status());
    let reports = raft.reports();
    let fresh: BTreeMap<NodeId, &PeerReport> = reports
        .iter()
        .filter(|(_, (_, age))| *age <= RaftService::REPORT_AGE_MAX)
        .map(|(node, (report, _))| (*node, report))
        .collect();
    // The newest entry that all who answer have applied: each can say what its state was after it.
    let compared_at = fresh.values().map(|report| report.applied).min();
    let newest = fresh.values().map(|report| report.applied).max();
    let hashes = match compared_at {
        Some(index) => hashes_at(raft, fresh.keys().copied(), index).await,
        None => BTreeMap::new(),
    };
    let members = raft.members().into_iter().map(|member| {
        let report = reports.get(&member.id).map(|(report, _)| report.clone());
        let applied = report.as_ref().map(|report| report.applied.0);
        MemberView {
            node: member.id,
            name: member.name,
            raft_address: member.address,
            standing: member.standing,
            is_reachable: fresh.contains_key(&member.id),
            lag: newest.zip(applied).map(|(newest, applied)| newest.0.saturating_sub(applied)),
            report,
            state_hash: hashes.get(&member.id).copied(),
        }
    });
    ClusterView {
        cluster: raft.cluster_id().map(|id| id.to_string()),
        node: own,
        leader: status.leader.map(|leader| leader.name),
        term: status.term.0,
        members: members.collect(),
        states: compare(compared_at, &hashes),
    }
}

fn compare(index: Option<LogIndex>, hashes: &BTreeMap<NodeId, Digest>) -> StateComparison {
    let mut values = hashes.values();
    match (index, values.next(), hashes.len()) {
        (Some(index), Some(first), 2..) if values.all(|hash| hash == first) => StateComparison::Agree(index),
        (Some(index), Some(_), 2..) => StateComparison::Differ(index),
        _ => StateComparison::Unknown,
    }
}

async fn hashes_at(
    raft: &RaftService,
    nodes: impl Iterator<Item = NodeId>,
    index: LogIndex,
) -> BTreeMap<NodeId, Digest> {
    let own = raft.node();
    let asked = nodes.map(|node| async move {
        if node == own {
            return (node, raft.state_hash_at(index));
        }
        let probed = raft.probe(node, Some(index)).await;
        (node, probed.ok().and_then(|(_, hash)| hash))
    });
    let answers = join_all(asked).await;
    answers.into_iter().filter_map(|(node, hash)| Some((node, hash?))).collect()
}

async fn change(raft: &RaftService, change: ChangeCluster) -> Result<Option<NodeId>, ClusterError> {
    let find = |text: &str| {
        let found = raft.members().into_iter().find(|m| m.name == text || m.id.0.to_string() == text);
        found.map(|member| member.id).ok_or_else(|| ClusterError::UnknownMember(text.to_owned()))
    };
    match change {
        ChangeCluster::TransferLeader { to } => {
            let to = to.map(|to| find(&to)).transpose()?;
            Ok(Some(raft.transfer_leadership(to).await?))
        }
        ChangeCluster::Add { member, address, aim } => Ok(Some(raft.enlist(member, address, aim).await?)),
        ChangeCluster::Promote { member } => {
            let member = find(&member)?;
            raft.promote(member).await?;
            Ok(Some(member))
        }
        ChangeCluster::Demote { member } => {
            let member = find(&member)?;
            raft.demote(member).await?;
            Ok(Some(member))
        }
        ChangeCluster::Remove { member } => {
            let member = find(&member)?;
            raft.remove(member).await?;
            Ok(Some(member))
        }
    }
}

impl Supervised for ClusterDesk {
    const NAME: &'static str = "cluster desk";
    const MAILBOX_CAPACITY: usize = 64;
}

impl Actor for ClusterDesk {
    type Context = Context<Self>;
}

impl Handler<Ask<GetCluster>> for ClusterDesk {
    type Result = ();

    fn handle(&mut self, ask: Ask<GetCluster>, _: &mut Self::Context) {
        let raft = self.raft.clone();
        actix_rt::spawn(async move { ask.reply.send(view(&raft).await) });
    }
}

impl Handler<Ask<ChangeCluster>> for ClusterDesk {
    type Result = ();

    fn handle(&mut self, ask: Ask<ChangeCluster>, _: &mut Self::Context) {
        let raft = self.raft.clone();
        actix_rt::spawn(async move {
            let Ask { message, reply } = ask;
            tracing::info!(change = ?message, "an operator changes the cluster");
            reply.send(change(&raft, message).await);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_compared_only_where_two_members_speak_of_one_entry() {
        let hash = |byte| Digest([byte; 32]);
        let of = |hashes: &[u8]| {
            let by_node = hashes.iter().zip(1..).map(|(byte, node)| (NodeId(node), hash(*byte)));
            compare(Some(LogIndex(7)), &by_node.collect())
        };
        assert_eq!(of(&[]), StateComparison::Unknown);
        assert_eq!(of(&[1]), StateComparison::Unknown);
        assert_eq!(of(&[1, 1, 1]), StateComparison::Agree(LogIndex(7)));
        assert_eq!(of(&[1, 1, 2]), StateComparison::Differ(LogIndex(7)));
        assert_eq!(compare(None, &BTreeMap::new()), StateComparison::Unknown);
    }
}
