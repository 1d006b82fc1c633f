//! What `/metrics` tells of a node's Raft, of its ledger's queues and of its disk: asked for, not counted.

use crate::actors::clock::Clock;
use crate::ledger::{CircuitId, Ledger, WorkerState};
use crate::raft::{RaftService, Role, Standing};
use crate::telemetry::{Page, Source, disk_space, table};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Reads the figures of a node that holds the ledger.
pub(super) struct NodeFigures {
    pub(super) raft: RaftService,
    pub(super) clock: Clock,
    /// Where Raft's files are: the disk that must not become full.
    pub(super) data_dir: PathBuf,
}

impl Source for NodeFigures {
    fn write(&self, page: &mut Page) {
        self.raft(page);
        self.peers(page);
        // One question, so that the figures are of one moment.
        let now = self.clock.now();
        let queues = self.raft.with_ledger(|ledger| Queues::of(ledger, now.0));
        queues.write(page);
        write_disk(page, &self.data_dir);
    }
}

impl NodeFigures {
    fn raft(&self, page: &mut Page) {
        let status = self.raft.status();
        let index = |index: Option<crate::ledger::LogIndex>| index.map_or(0, |index| index.0);
        page.value(&table::RAFT_LAST_LOG_INDEX, index(status.last_log));
        page.value(&table::RAFT_SNAPSHOT_INDEX, index(status.snapshot));
        page.value(&table::RAFT_STORE_BYTES, self.raft.report().store_bytes);
        let last_contact = match status.role {
            Role::Leader => status.millis_since_quorum_ack.map(|millis| millis as f64 / 1e3),
            _ => self.raft.leader_heard_ago().map(|ago| ago.as_secs_f64()),
        };
        if let Some(seconds) = last_contact {
            page.value(&table::RAFT_LEADER_LAST_CONTACT, seconds);
        }
    }

    fn peers(&self, page: &mut Page) {
        let (own, reports) = (self.raft.node(), self.raft.peer_reports());
        let members = self.raft.members();
        let count = |standing| members.iter().filter(|member| member.standing == standing).count();
        let by_standing = [("voter", count(Standing::Voter)), ("learner", count(Standing::Learner))];
        page.by_label(&table::RAFT_MEMBERS, by_standing);
        let peers = || members.iter().filter(|member| member.id != own);
        let age = |id| reports.get(&id).map(|(_, age)| *age);
        let up = peers().map(|peer| {
            let is_up = age(peer.id).is_some_and(|age| age <= RaftService::REPORT_AGE_MAX);
            (&peer.name, u64::from(is_up))
        });
        page.by_label(&table::RAFT_PEER_UP, up);
        let ages = peers().filter_map(|peer| Some((&peer.name, age(peer.id)?.as_secs_f64())));
        page.by_label(&table::RAFT_PEER_LAST_CONTACT, ages);
    }
}

/// What is read of the ledger.
struct Queues {
    waiting: Vec<(CircuitId, u64)>,
    /// Of the queues that are not empty.
    head_ages_seconds: Vec<(CircuitId, f64)>,
    delayed: u64,
    limit_tasks: u64,
    limit_bytes: u64,
    workers: BTreeMap<CircuitId, u64>,
}

impl Queues {
    fn of(ledger: &Ledger, now_ms: u64) -> Self {
        let mut queues = Self {
            waiting: Vec::new(),
            head_ages_seconds: Vec::new(),
            delayed: ledger.delayed_tasks(),
            limit_tasks: ledger.policy().open_tasks_max,
            limit_bytes: ledger.policy().open_input_bytes_max,
            workers: BTreeMap::new(),
        };
        for (circuit, waiting, first) in ledger.queues() {
            queues.waiting.push((circuit.clone(), waiting));
            queues.workers.insert(circuit.clone(), 0);
            if let Some(first) = first {
                let age = now_ms.saturating_sub(first.0) as f64 / 1e3;
                queues.head_ages_seconds.push((circuit.clone(), age));
            }
        }
        for worker in ledger.workers().filter(|worker| worker.state == WorkerState::Active) {
            for circuit in &worker.circuits {
                // Of the circuits that the cluster knows: a worker may name any.
                if let Some(count) = queues.workers.get_mut(circuit) {
                    *count += 1;
                }
            }
        }
        queues
    }

    fn write(self, page: &mut Page) {
        let named = |circuit: &CircuitId| circuit.as_str().to_owned();
        page.by_label(&table::QUEUE_TASKS, self.waiting.iter().map(|(of, count)| (named(of), count)));
        let ages = self.head_ages_seconds.iter().map(|(of, age)| (named(of), age));
        page.by_label(&table::QUEUE_HEAD_AGE, ages);
        page.value(&table::QUEUE_DELAYED, self.delayed);
        page.value(&table::QUEUE_LIMIT, self.limit_tasks);
        page.value(&table::OPEN_INPUT_LIMIT, self.limit_bytes);
        let workers = self.workers.iter().map(|(of, count)| (named(of), count));
        page.by_label(&table::CIRCUIT_WORKERS, workers);
    }
}

/// Writes how much room a folder's disk has. Blocks.
pub(super) fn write_disk(page: &mut Page, folder: &Path) {
    if let Some(space) = disk_space(folder) {
        page.value(&table::STORAGE_FREE, space.free_bytes);
        page.value(&table::STORAGE_SIZE, space.size_bytes);
    }
}
