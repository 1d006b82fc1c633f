//! Which pending task goes to which worker next. A proposal only: the ledger checks every lease again when it is applied.

use super::ids::{Attempt, CircuitId, Incarnation, TaskId, UnixMillis, WorkerId};
use super::index::QueueKey;
use super::state::Ledger;
use super::task::Task;
use super::worker::{Worker, WorkerState};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// A worker that the leader sees alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetMember {
    /// Its name.
    pub worker: WorkerId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The circuits whose proving key it has at hand.
    pub held_keys: BTreeSet<CircuitId>,
}

/// A lease to propose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Which task.
    pub task: TaskId,
    /// The attempt that the lease would be.
    pub attempt: Attempt,
    /// To whom.
    pub worker: WorkerId,
    /// In which life.
    pub incarnation: Incarnation,
}

/// A fleet member with room, joined with its record.
struct Candidate<'a> {
    member: &'a FleetMember,
    record: &'a Worker,
    leases: u64,
}

impl Candidate<'_> {
    fn has_room(&self) -> bool {
        self.leases < u64::from(self.record.capacity)
    }

    /// The smallest is the best: key holders first, then the least loaded in proportion to its capacity, then by name so
    /// that equal states give equal placements.
    fn cost(&self, circuit: &CircuitId) -> (bool, u64, &WorkerId) {
        let load_per_mille = self.leases * 1000 / u64::from(self.record.capacity.max(1));
        (!self.member.held_keys.contains(circuit), load_per_mille, &self.member.worker)
    }
}

/// The best of those that have room and prove this circuit.
fn best<'a, 'b: 'a>(
    candidates: impl Iterator<Item = &'a mut Candidate<'b>>,
    circuit: &CircuitId,
) -> Option<&'a mut Candidate<'b>> {
    candidates
        .filter(|candidate| candidate.has_room() && candidate.record.circuits.contains(circuit))
        .min_by(|a, b| a.cost(circuit).cmp(&b.cost(circuit)))
}

impl Ledger {
    /// Up to `limit` placements for the tasks at the head of the queue, by priority and age, among the live workers of
    /// `fleet` that have room.
    #[must_use]
    pub fn place(&self, fleet: &[FleetMember], now: UnixMillis, limit: usize) -> Vec<Placement> {
        // The ledger grants by its own clock when the leader's is behind: a task that is overdue there would be proposed,
        // refused, and proposed again without end, in the place of others.
        let now = now.max(self.meta.now);
        let mut candidates = self.candidates(fleet);
        let mut placements = Vec::new();
        if candidates.is_empty() {
            return placements;
        }
        let mut queue = MergedQueue::new(self, now);
        while placements.len() < limit {
            let Some(task) = queue.next() else { break };
            let Some(candidate) = best(candidates.iter_mut(), &task.circuit) else {
                queue.skip_circuit(&task.circuit);
                continue;
            };
            candidate.leases += 1;
            placements.push(Placement {
                task: task.id,
                attempt: Attempt(task.latest_attempt.0.saturating_add(1)),
                worker: candidate.member.worker.clone(),
                incarnation: candidate.member.incarnation,
            });
            if !candidates.iter().any(Candidate::has_room) {
                break;
            }
        }
        placements
    }

    /// Who would be given a task that came now, by circuit; nobody while another task waits, which goes first.
    #[must_use]
    pub fn vacancies(&self, fleet: &[FleetMember], now: UnixMillis) -> BTreeMap<CircuitId, FleetMember> {
        let mut candidates = self.candidates(fleet);
        if candidates.is_empty() || MergedQueue::new(self, now.max(self.meta.now)).next().is_some() {
            return BTreeMap::new();
        }
        let vacancy = |circuit: &CircuitId| {
            let candidate = best(candidates.iter_mut(), circuit)?;
            Some((circuit.clone(), candidate.member.clone()))
        };
        self.circuits.keys().filter_map(vacancy).collect()
    }

    fn candidates<'a>(&'a self, fleet: &'a [FleetMember]) -> Vec<Candidate<'a>> {
        let mut seen = BTreeSet::new();
        fleet
            .iter()
            // A worker that is named twice still has its capacity once.
            .filter(|member| seen.insert((&member.worker, member.incarnation)))
            .filter_map(|member| {
                let record = self.workers.get(&member.worker)?;
                let leases = self.index.leases_of(&member.worker);
                let candidate = Candidate { member, record, leases };
                let is_live = record.state == WorkerState::Active && record.incarnation == member.incarnation;
                (is_live && candidate.has_room()).then_some(candidate)
            })
            .collect()
    }
}

type Heads = BinaryHeap<Reverse<(QueueKey, usize)>>;

/// The queues of all circuits that have a key, merged in order, with the tasks whose back-off has ended since the
/// ledger's clock last moved.
struct MergedQueue<'a> {
    ledger: &'a Ledger,
    queues: Vec<Box<dyn Iterator<Item = QueueKey> + 'a>>,
    heads: Heads,
    skipped: BTreeSet<CircuitId>,
    now: UnixMillis,
}

impl<'a> MergedQueue<'a> {
    fn new(ledger: &'a Ledger, now: UnixMillis) -> Self {
        let mut due: Vec<QueueKey> = ledger
            .index
            .delayed
            .iter()
            .take_while(|(not_before, _)| *not_before <= now)
            .filter_map(|(_, id)| ledger.tasks.get(id))
            .filter(|task| ledger.circuits.contains_key(&task.circuit))
            .map(QueueKey::of)
            .collect();
        due.sort_unstable();
        let mut queues: Vec<Box<dyn Iterator<Item = QueueKey> + 'a>> = vec![Box::new(due.into_iter())];
        for (circuit, ready) in &ledger.index.ready {
            if ledger.circuits.contains_key(circuit) {
                queues.push(Box::new(ready.iter().copied()));
            }
        }
        let mut merged = Self { ledger, queues, heads: BinaryHeap::new(), skipped: BTreeSet::new(), now };
        for queue in 0..merged.queues.len() {
            merged.refill(queue);
        }
        merged
    }

    fn refill(&mut self, queue: usize) {
        if let Some(key) = self.queues.get_mut(queue).and_then(Iterator::next) {
            self.heads.push(Reverse((key, queue)));
        }
    }

    /// No worker has room for this circuit: its other tasks need not be looked at.
    fn skip_circuit(&mut self, circuit: &CircuitId) {
        self.skipped.insert(circuit.clone());
    }

    fn next(&mut self) -> Option<&'a Task> {
        loop {
            let Reverse((key, queue)) = self.heads.pop()?;
            let task = self.ledger.tasks.get(&key.task)?;
            let is_skipped = self.skipped.contains(&task.circuit);
            // The first queue mixes circuits; each other one is of a single circuit and ends with it.
            if !is_skipped || queue == 0 {
                self.refill(queue);
            }
            let is_overdue = task.deadline.is_some_and(|deadline| deadline <= self.now);
            if !is_skipped && !is_overdue {
                return Some(task);
            }
        }
    }
}
