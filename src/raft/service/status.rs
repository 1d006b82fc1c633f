//! What a node says of its Raft, and when it says it: at once when role, term, leader or health change, and at most a few
//! times a second when only numbers move.

use crate::ledger::{LogIndex, Term};
use crate::raft::error::LeaderInfo;
use crate::raft::files::lock;
use crate::raft::log_store::LogProgress;
use crate::raft::state_machine::LedgerReader;
use crate::raft::types::{LogId, Member, NodeId};
use crate::telemetry::table;
use openraft::ServerState;
use openraft::error::Fatal;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The pause between two publications that differ in numbers only.
const NUMBERS_EVERY: Duration = Duration::from_millis(100);

pub(in crate::raft) type Metrics = openraft::RaftMetrics<NodeId, Member>;

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It appends and replicates, and has a majority: one confirmed it within the lease (the longest election timeout), or
    /// answers its probes.
    Leader,
    /// It follows a leader, or waits for one; so does a leader that has lost its majority.
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
    /// Of a leader, one that is cut off included: the time since a majority last confirmed that it leads.
    pub millis_since_quorum_ack: Option<u64>,
    /// Why Raft stopped, if it did not stop by request.
    pub fatal: Option<String>,
}

impl RaftStatus {
    /// Whether this node leads and has a majority; see [`Role::Leader`].
    #[must_use]
    pub fn is_leading(&self) -> bool {
        self.role == Role::Leader
    }

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
pub(in crate::raft) struct Stores {
    pub(in crate::raft) log: LogProgress,
    pub(in crate::raft) ledger: LedgerReader,
}

/// When a majority last confirmed this node as leader, by this node's clock. openraft says how long that was ago when it
/// publishes its metrics, and publishes nothing while it is stuck; so the moment is kept, and not the age.
#[derive(Clone, Debug)]
pub(in crate::raft) struct QuorumClock {
    confirmed: Arc<Mutex<Option<Confirmed>>>,
    /// When a majority of the voters last answered the guard's probes.
    reached: Arc<Mutex<Option<Instant>>>,
    lease: Duration,
}

/// A leader whose Raft stands still has lost its majority after so many leases, though probes are answered: another one has
/// been elected by then.
const STUCK_LEASES: u32 = 3;

#[derive(Clone, Copy, Debug)]
struct Confirmed {
    term: u64,
    at: Instant,
}

impl QuorumClock {
    pub(super) fn new(lease: Duration) -> Self {
        Self { confirmed: Arc::default(), reached: Arc::default(), lease }
    }

    /// Notes that a majority of the voters answers probes.
    pub(in crate::raft) fn note_reach(&self) {
        *lock(&self.reached) = Some(Instant::now());
    }

    /// Whether a leader has lost its majority: none has confirmed it for a lease, and none answers its probes either. A slow
    /// disk delays the first by itself, and the leader goes on leading.
    pub(in crate::raft) fn is_lost(&self, metrics: &Metrics) -> bool {
        let age = self.age(metrics);
        let is_in_reach = lock(&self.reached).is_some_and(|at| at.elapsed() <= self.lease / 2);
        age > self.lease && (!is_in_reach || age > self.lease * STUCK_LEASES)
    }

    fn observe(&self, metrics: &Metrics) {
        let mut confirmed = lock(&self.confirmed);
        if !metrics.state.is_leader() {
            *confirmed = None;
            return;
        }
        // Votes of a majority made it the leader just now: that counts as the first confirmation.
        let fresh = Confirmed { term: metrics.current_term, at: Instant::now() };
        let known = confirmed.filter(|known| known.term == metrics.current_term).unwrap_or(fresh);
        let ago = metrics.millis_since_quorum_ack.map(Duration::from_millis);
        let acknowledged = ago.and_then(|ago| Instant::now().checked_sub(ago));
        *confirmed = Some(Confirmed { at: acknowledged.map_or(known.at, |at| at.max(known.at)), ..known });
    }

    /// The time since a majority last confirmed this leader; none for one that is the only voter.
    pub(in crate::raft) fn age(&self, metrics: &Metrics) -> Duration {
        let is_only_voter = metrics.membership_config.voter_ids().all(|id| id == metrics.id);
        let known = lock(&self.confirmed).filter(|known| known.term == metrics.current_term);
        if is_only_voter { Duration::ZERO } else { known.map_or(Duration::ZERO, |known| known.at.elapsed()) }
    }

    /// Watches openraft until it stops.
    pub(super) async fn follow(self, mut metrics: watch::Receiver<Metrics>) {
        loop {
            self.observe(&metrics.borrow_and_update());
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Reads openraft's metrics; none of the locks involved is held longer than this takes.
pub(super) fn status(
    metrics: &watch::Receiver<Metrics>,
    stores: &Stores,
    quorum: &QuorumClock,
) -> RaftStatus {
    let committed = stores.log.committed();
    let failure = stores.log.failure().or_else(|| stores.ledger.failure());
    let metrics = metrics.borrow();
    let fatal = match &metrics.running_state {
        Ok(()) => None,
        // The stores know the cause; openraft may name what followed from it.
        Err(Fatal::Stopped) => failure,
        Err(error) => failure.or_else(|| Some(error.to_string())),
    };
    let age = metrics.state.is_leader().then(|| quorum.age(&metrics));
    let role = match (&metrics.running_state, metrics.state) {
        (Err(_), _) | (_, ServerState::Shutdown) => Role::Stopped,
        (_, ServerState::Leader) if quorum.is_lost(&metrics) => Role::Follower,
        (_, ServerState::Leader) => Role::Leader,
        (_, ServerState::Follower) => Role::Follower,
        (_, ServerState::Candidate) => Role::Candidate,
        (_, ServerState::Learner) => Role::Learner,
    };
    let is_known = |id: &NodeId| role != Role::Stopped && (role == Role::Leader || *id != metrics.id);
    let leader = metrics.current_leader.filter(is_known).map(|id| {
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
        millis_since_quorum_ack: age
            .filter(|_| role != Role::Stopped)
            .map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        fatal,
    }
}

pub(in crate::raft) fn leader_info(id: NodeId, member: Option<&Member>) -> LeaderInfo {
    let (name, address) =
        member.map(|member| (member.name.clone(), member.address.clone())).unwrap_or_default();
    LeaderInfo { id, name, address }
}

fn index(id: Option<LogId>) -> Option<LogIndex> {
    id.map(|id| LogIndex(id.index))
}

/// Publishes the status until Raft stops, its last word included. It looks at the clock too: a leader that is cut off
/// ceases to be one without anything happening.
pub(super) async fn publish(
    mut metrics: watch::Receiver<Metrics>,
    stores: Stores,
    quorum: QuorumClock,
    publisher: watch::Sender<RaftStatus>,
) {
    let mut published_at = Instant::now();
    let mut is_running = true;
    let leader_changes = table::RAFT_LEADER_CHANGES.counter(&[]);
    let mut known_leader = None;
    while is_running {
        is_running = tokio::select! {
            changed = metrics.changed() => changed.is_ok(),
            () = tokio::time::sleep(quorum.lease / 4) => true,
        };
        let mut now = status(&metrics, &stores, &quorum);
        if is_running && !now.differs_in_kind(&publisher.borrow()) {
            // Numbers only: let what else changes meanwhile go out with them.
            tokio::select! {
                () = tokio::time::sleep_until(published_at + NUMBERS_EVERY) => {}
                () = different_kind(&mut metrics, &stores, &quorum, &publisher) => {}
            }
            now = status(&metrics, &stores, &quorum);
        }
        if !is_running {
            now.role = Role::Stopped;
            now.leader = None;
        }
        published_at = Instant::now();
        log_role(publisher.borrow().role, &now);
        // The same one in another term was elected anew.
        let leader = now.leader.as_ref().map(|leader| (now.term, leader.id));
        if leader.is_some() && leader != known_leader {
            leader_changes.increment(1);
            known_leader = leader;
        }
        publisher.send_if_modified(|published| {
            let is_new = *published != now;
            *published = now;
            is_new
        });
    }
}

/// Tells the log of a change of role, in the words that operators look for.
fn log_role(before: Role, now: &RaftStatus) {
    let (node, term) = (now.node.0, now.term.0);
    match now.role {
        role if role == before => {}
        Role::Leader => tracing::info!(node, term, "entering leader state"),
        Role::Follower => tracing::info!(node, term, "entering follower state"),
        Role::Candidate => tracing::info!(node, term, "entering candidate state"),
        Role::Learner => tracing::info!(node, term, "entering learner state"),
        Role::Stopped => tracing::info!(node, term, "raft has stopped"),
    }
}

/// Ends when the status differs in kind from what is published, or will not change any more.
async fn different_kind(
    metrics: &mut watch::Receiver<Metrics>,
    stores: &Stores,
    quorum: &QuorumClock,
    publisher: &watch::Sender<RaftStatus>,
) {
    while metrics.changed().await.is_ok() {
        if status(metrics, stores, quorum).differs_in_kind(&publisher.borrow()) {
            return;
        }
    }
}
