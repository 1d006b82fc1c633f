//! Who may stand for election, and who may go on leading: what Raft's pre-vote and check-quorum do elsewhere, done from
//! outside with probes, because openraft 0.9 has neither.
//!
//! Every member probes every other, each heartbeat. **Standing** is allowed while a majority of the voters, this node
//! included, is in reach and knows of no living leader: these are the voters that would grant a pre-vote, since a voter
//! refuses everybody for the time of a lease after it heard a leader. A node that was cut off therefore returns with the
//! term that it left with, and overthrows nobody. The condition must hold for a random part of an election timeout, so that
//! nodes that are started together do not all stand at once.
//!
//! **Falling silent**: a leader that no majority has confirmed for a lease, and whose probes reach no majority, keeps its
//! heartbeats to itself. If only the way back to it is cut, its followers would otherwise renew their leases for ever, and
//! nothing could be committed any more.

use super::service::local::Local;
use super::service::peers::Follows;
use super::transport::{PeerReply, PeerRequest, Probe};
use super::types::{Member, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Probes to one peer that may wait for their answers: a slow peer is asked again before it has answered, and no more
/// than this often.
const PROBES_WAITING_MAX: u32 = 4;

/// Probes and decides until it is aborted.
pub(super) async fn run(local: Arc<Local>) {
    let mut prober = Prober::default();
    let mut standing = Standing { since: None, is_allowed: None };
    let pause = (local.timing.heartbeat / 2).max(Duration::from_millis(1));
    loop {
        let (voters, members) = local.membership();
        prober.ask(&local, &members);
        let in_reach = local.peers.in_reach(local.timing.election_timeout_max);
        if is_majority(&voters, |id| *id == local.node || in_reach.contains_key(id)) {
            local.quorum.note_reach();
        }
        standing.decide(&local, &voters, &in_reach);
        decide_silence(&local, &voters, &in_reach);
        tokio::time::sleep(pause).await;
    }
}

/// Whether `present` holds a majority of every set; while voters are being changed there are two sets.
pub(super) fn is_majority(voters: &[BTreeSet<NodeId>], present: impl Fn(&NodeId) -> bool) -> bool {
    !voters.is_empty()
        && voters.iter().all(|set| set.iter().filter(|&id| present(id)).count() * 2 > set.len())
}

#[derive(Default)]
struct Prober {
    running: JoinSet<NodeId>,
    waiting: BTreeMap<NodeId, u32>,
    asked_at: Option<Instant>,
}

impl Prober {
    fn ask(&mut self, local: &Arc<Local>, members: &BTreeMap<NodeId, Member>) {
        while let Some(ended) = self.running.try_join_next() {
            if let Ok(peer) = ended
                && let Some(count) = self.waiting.get_mut(&peer)
            {
                *count = count.saturating_sub(1);
            }
        }
        if self.asked_at.is_some_and(|asked| asked.elapsed() < local.timing.heartbeat) {
            return;
        }
        let now = Instant::now();
        self.asked_at = Some(now);
        self.waiting.retain(|peer, _| members.contains_key(peer));
        local.peers.retain(&members.keys().copied().collect());
        for (&peer, member) in members.iter().filter(|(peer, _)| **peer != local.node) {
            let count = self.waiting.entry(peer).or_default();
            if *count >= PROBES_WAITING_MAX {
                continue;
            }
            *count += 1;
            let probe = PeerRequest::Probe(Probe { sender: local.report(), state_hash_at: None });
            let limit = local.timing.election_timeout_min;
            let reply = local.transport.call(peer, member, probe, limit);
            let board = local.peers.clone();
            self.running.spawn(async move {
                if let Ok(PeerReply::Probe(report, _)) = reply.await {
                    board.note(peer, *report, now);
                }
                peer
            });
        }
    }
}

struct Standing {
    /// Since when the condition holds, and for how long it must.
    since: Option<(Instant, Duration)>,
    is_allowed: Option<bool>,
}

impl Standing {
    fn decide(&mut self, local: &Local, voters: &[BTreeSet<NodeId>], in_reach: &BTreeMap<NodeId, Follows>) {
        let would_vote = |id: &NodeId| *id == local.node || in_reach.get(id) == Some(&Follows::Nobody);
        let is_alone = voters.iter().all(|set| set.iter().eq([&local.node]));
        if !is_majority(voters, would_vote) {
            self.since = None;
        } else if self.since.is_none() {
            let pause = if is_alone { Duration::ZERO } else { hold(local.timing.election_timeout_min) };
            self.since = Some((Instant::now(), pause));
        }
        let is_allowed = self.since.is_some_and(|(since, pause)| since.elapsed() >= pause);
        if self.is_allowed != Some(is_allowed) {
            self.is_allowed = Some(is_allowed);
            local.raft.runtime_config().elect(is_allowed);
            tracing::debug!(node = %local.node, is_allowed, "standing for election");
        }
    }
}

/// Between an eighth and three quarters of the shortest election timeout: apart enough for a vote to pass in between, and
/// over before a follower's own timer after the loss of a leader.
fn hold(election_timeout_min: Duration) -> Duration {
    use rand_core::RngCore as _;
    let mut bytes = [0; 4];
    // Without randomness two candidates may collide, and try again.
    let _ = rand_core::OsRng.try_fill_bytes(&mut bytes);
    let share = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX);
    election_timeout_min.mul_f64(0.125 + 0.625 * share)
}

fn decide_silence(local: &Local, voters: &[BTreeSet<NodeId>], in_reach: &BTreeMap<NodeId, Follows>) {
    let is_lost = local.is_openraft_leader()
        && local.quorum.age(&local.metrics.borrow()) > local.timing.lease()
        && !is_majority(voters, |id| *id == local.node || in_reach.contains_key(id));
    if local.mute.set(is_lost) {
        if is_lost {
            tracing::warn!(node = %local.node, "no majority answers: this leader falls silent");
        } else {
            tracing::info!(node = %local.node, "a majority is in reach again");
        }
    }
}
