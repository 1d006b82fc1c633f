//! What a node says of its Raft, and when it says it: at once when role, term, leader or health change, and at most a few
//! times a second when only numbers move.

use crate::ledger::{LogIndex, Term};
use crate::raft::error::LeaderInfo;
use crate::raft::log_store::LogProgress;
use crate::raft::state_machine::LedgerReader;
use crate::raft::types::{LogId, Member, NodeId};
use openraft::ServerState;
use openraft::error::Fatal;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The pause between two publications that differ in numbers only.
const NUMBERS_EVERY: Duration = Duration::from_millis(100);

pub(super) type Metrics = openraft::RaftMetrics<NodeId, Member>;

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It appends and replicates. A leader that is cut off says so too until it hears of another one: see
    /// [`RaftStatus::millis_since_quorum_ack`].
    Leader,
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It receives the log and has no vote.
    Learner,
    /// Raft does not run, here.
    Stopped,
}

/// A node's Raft at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub node: NodeId,
    /// What it is.
    pub role: Role,
    /// Its term.
    pub term: Term,
    /// The leader that it knows of.
    pub leader: Option<LeaderInfo>,
    /// The newest entry of its log.
    pub last_log: Option<LogIndex>,
    /// The newest entry that it knows to be committed.
    pub committed: Option<LogIndex>,
    /// The newest entry that its ledger has applied.
    pub applied: Option<LogIndex>,
    /// The newest entry in its snapshot.
    pub snapshot: Option<LogIndex>,
    /// The newest entry that its log has dropped.
    pub purged: Option<LogIndex>,
    /// Of a leader: the time since a majority last confirmed that it leads.
    pub millis_since_quorum_ack: Option<u64>,
    /// Why Raft stopped, if it did not stop by request.
    pub fatal: Option<String>,
}

impl RaftStatus {
    /// Whether this node leads, and has been confirmed within `age`.
    #[must_use]
    pub fn is_confirmed_leader(&self, age: Duration) -> bool {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.role == Role::Leader && self.millis_since_quorum_ack.is_some_and(|millis| millis <= age)
    }

    /// Whether the difference to `other` should be known at once.
    fn differs_in_kind(&self, other: &Self) -> bool {
        let kind = |status: &Self| {
            (
                status.role,
                status.term,
                status.leader.clone(),
                status.fatal.clone(),
                status.snapshot,
                status.purged,
            )
        };
        kind(self) != kind(other)
    }
}

/// What is asked besides openraft's metrics; keeps no file open.
#[derive(Clone, Debug)]
pub(super) struct Stores {
    pub(super) log: LogProgress,
    pub(super) ledger: LedgerReader,
}

/// Reads openraft's metrics; none of the locks involved is held longer than this takes.
pub(super) fn status(metrics: &watch::Receiver<Metrics>, stores: &Stores) -> RaftStatus {
    let committed = stores.log.committed();
    let failure = stores.log.failure().or_else(|| stores.ledger.failure());
    let metrics = metrics.borrow();
    let fatal = match &metrics.running_state {
        Ok(()) => None,
        // The stores know the cause; openraft may name what followed from it.
        Err(Fatal::Stopped) => failure,
        Err(error) => failure.or_else(|| Some(error.to_string())),
    };
    let role = match (&metrics.running_state, metrics.state) {
        (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
        (_, ServerState::Leader) => Role::Leader,
        (_, ServerState::Follower) => Role::Follower,
        (_, ServerState::Candidate) => Role::Candidate,
        (_, ServerState::Learner) => Role::Learner,
    };
    let leader = metrics.current_leader.filter(|_| role != Role::Stopped).map(|id| {
        let member = metrics.membership_config.membership().get_node(&id);
        leader_info(id, member)
    });
    RaftStatus {
        node: metrics.id,
        role,
        term: Term(metrics.current_term),
        leader,
        last_log: metrics.last_log_index.map(LogIndex),
        committed: index(committed).max(index(metrics.last_applied)),
        applied: index(metrics.last_applied),
        snapshot: index(metrics.snapshot),
        purged: index(metrics.purged),
        millis_since_quorum_ack: metrics.millis_since_quorum_ack.filter(|_| role == Role::Leader),
        fatal,
    }
}

pub(super) fn leader_info(id: NodeId, member: Option<&Member>) -> LeaderInfo {
    let (name, address) =
        member.map(|member| (member.name.clone(), member.address.clone())).unwrap_or_default();
    LeaderInfo { id, name, address }
}

fn index(id: Option<LogId>) -> Option<LogIndex> {
    id.map(|id| LogIndex(id.index))
}

/// Publishes the status until Raft stops, its last word included.
pub(super) async fn publish(
    mut metrics: watch::Receiver<Metrics>,
    stores: Stores,
    publisher: watch::Sender<RaftStatus>,
) {
    let mut published_at = Instant::now();
    let mut is_running = true;
    while is_running {
        is_running = metrics.changed().await.is_ok();
        let mut now = status(&metrics, &stores);
        if is_running && !now.differs_in_kind(&publisher.borrow()) {
            // Numbers only: let what else changes meanwhile go out with them.
            tokio::select! {
                () = tokio::time::sleep_until(published_at + NUMBERS_EVERY) => {}
                () = different_kind(&mut metrics, &stores, &publisher) => {}
            }
            now = status(&metrics, &stores);
        }
        if !is_running {
            now.role = Role::Stopped;
            now.leader = None;
        }
        published_at = Instant::now();
        publisher.send_if_modified(|published| {
            let is_new = *published != now;
            *published = now;
            is_new
        });
    }
}

/// Ends when the status differs in kind from what is published, or will not change any more.
async fn different_kind(
    metrics: &mut watch::Receiver<Metrics>,
    stores: &Stores,
    publisher: &watch::Sender<RaftStatus>,
) {
    while metrics.changed().await.is_ok() {
        if status(metrics, stores).differs_in_kind(&publisher.borrow()) {
            return;
        }
    }
}
