//! What this node last heard of the others: their reports, and when the question was sent that they answered.

use crate::raft::files::lock;
use crate::raft::transport::PeerReport;
use crate::raft::types::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The board; clones are the same one. It holds members only, so it is as large as the cluster.
#[derive(Clone, Debug, Default)]
pub(in crate::raft) struct PeerBoard(Arc<Mutex<BTreeMap<NodeId, Note>>>);

#[derive(Debug)]
struct Note {
    report: PeerReport,
    asked_at: Instant,
}

impl PeerBoard {
    /// Notes an answer to a question that was sent at `asked_at`; an answer that was overtaken is dropped.
    pub(in crate::raft) fn note(&self, peer: NodeId, report: PeerReport, asked_at: Instant) {
        let mut notes = lock(&self.0);
        if notes.get(&peer).is_none_or(|note| note.asked_at <= asked_at) {
            notes.insert(peer, Note { report, asked_at });
        }
    }

    /// Forgets who is no member any more.
    pub(in crate::raft) fn retain(&self, members: &BTreeSet<NodeId>) {
        lock(&self.0).retain(|peer, _| members.contains(peer));
    }

    /// All reports and their ages.
    pub(in crate::raft) fn reports(&self) -> BTreeMap<NodeId, (PeerReport, Duration)> {
        let notes = lock(&self.0);
        notes.iter().map(|(peer, note)| (*peer, (note.report.clone(), note.asked_at.elapsed()))).collect()
    }

    /// The peers that answered a question not older than `age`, and whether they know of a leader that lives.
    pub(in crate::raft) fn in_reach(&self, age: Duration) -> BTreeMap<NodeId, Follows> {
        let notes = lock(&self.0);
        let fresh = notes.iter().filter(|(_, note)| note.asked_at.elapsed() <= age);
        fresh
            .map(|(peer, note)| {
                let follows = if note.report.leader.is_some() { Follows::ALeader } else { Follows::Nobody };
                (*peer, follows)
            })
            .collect()
    }
}

/// Whether a peer would refuse its vote for the sake of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::raft) enum Follows {
    /// It heard a leader within the lease, or leads.
    ALeader,
    /// It would vote.
    Nobody,
}
