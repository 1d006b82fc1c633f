//! Runs unmodified little_raft replicas one turn at a time, so that a schedule is exact and takes no time.
//!
//! A replica calls `Cluster::halt` at the top of every turn of its loop. The harness answers only when the test lets that replica
//! take its next turn, and before it does so it decides what the turn finds: a message, a command, or a timer that has run out.
//! Messages lie in the network until the test delivers, keeps or loses them. Nothing sleeps and nothing depends on how fast the
//! machine is; whatever a schedule does, a slow network and slow processes could do as well.
//!
//! What a user of little_raft can persist (the snapshot) survives a crash here. It offers no way to persist a vote or a log.

mod replica;

use little_raft::message::Message;
use little_raft::state_machine::TransitionState;
use replica::{Next, Process};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// A member of the cluster.
pub type Id = usize;

/// What the state machine is told to remember; 0 is the no-op that a new leader appends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd)]
pub struct Command(pub usize);

/// The state machine's whole state: the commands it applied, in order.
pub type State = Vec<usize>;

/// What replicas say to each other.
pub type Wire = Message<Command, State>;

/// A message that was sent and not yet received.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Who sent it.
    pub from: Id,
    /// Whom it is for.
    pub to: Id,
    /// What it says.
    pub message: Wire,
}

/// A cluster under the test's control.
pub struct World {
    members: Vec<Id>,
    compact_after: usize,
    network: Arc<Mutex<Vec<Envelope>>>,
    processes: BTreeMap<Id, Process>,
}

impl World {
    /// A cluster of `members` replicas named 1, 2, 3 …, all of them running, none of which has taken a turn.
    pub fn new(members: usize) -> Self {
        Self::compacting(members, 0)
    }

    /// The same with logs that are compacted into a snapshot after so many entries; 0 never compacts.
    pub fn compacting(members: usize, compact_after: usize) -> Self {
        let members: Vec<Id> = (1..=members).collect();
        let mut world = Self {
            members: members.clone(),
            compact_after,
            network: Arc::default(),
            processes: BTreeMap::new(),
        };
        members.into_iter().for_each(|id| world.start(id));
        world
    }

    /// Starts a replica again, with the snapshot that it had made.
    pub fn start(&mut self, id: Id) {
        let disk = self.processes.remove(&id).and_then(Process::disk);
        let peers = self.members.iter().copied().filter(|peer| *peer != id).collect();
        let process = Process::spawn(id, peers, self.compact_after, Arc::clone(&self.network), disk);
        self.processes.insert(id, process);
    }

    /// Ends a replica at once. Messages it has sent stay in the network.
    pub fn crash(&mut self, id: Id) {
        self.process(id).stop();
    }

    /// The replica's election timer runs out: it stands for election in its next term.
    pub fn time_out(&mut self, id: Id) {
        assert!(!self.is_leader(id), "schedule: {id} leads, it has no election timer");
        self.process(id).turn(Next::Timer);
    }

    /// The leader's heartbeat timer runs out: it sends to every peer what that peer lacks, or nothing but its commit index.
    pub fn beat(&mut self, id: Id) {
        self.propose(id, &[]);
    }

    /// The leader is given commands, and sends them on at once.
    pub fn propose(&mut self, id: Id, commands: &[usize]) {
        assert!(self.is_leader(id), "schedule: {id} does not lead");
        self.process(id).turn(Next::Commands(commands.iter().copied().map(Command).collect()));
    }

    /// Delivers all that is under way from one replica to another; answers stay in the network. Returns how many messages.
    pub fn deliver(&mut self, from: Id, to: Id) -> usize {
        let messages = self.keep(from, to);
        messages.iter().for_each(|envelope| self.give(envelope));
        messages.len()
    }

    /// Takes out of the network all that is under way from one replica to another, to give it later.
    pub fn keep(&mut self, from: Id, to: Id) -> Vec<Envelope> {
        let mut network = lock(&self.network);
        let (kept, rest) =
            network.drain(..).partition(|envelope: &Envelope| envelope.from == from && envelope.to == to);
        *network = rest;
        kept
    }

    /// Delivers one message. A replica that is down does not get it.
    pub fn give(&mut self, envelope: &Envelope) {
        let process = self.process(envelope.to);
        if process.is_running() {
            process.turn(Next::Message(envelope.message.clone()));
        }
    }

    /// Everything that is under way is lost.
    pub fn lose_all(&mut self) {
        lock(&self.network).clear();
    }

    /// Delivers between the leader and these followers, both ways, until each has what the leader has and knows what is committed.
    pub fn replicate(&mut self, leader: Id, followers: &[Id]) {
        // Found, sent, acknowledged, told what is committed: four rounds, and two for a snapshot in between.
        for _ in 0..6 {
            if !self.is_leader(leader) {
                return;
            }
            self.beat(leader);
            for follower in followers {
                self.deliver(leader, *follower);
                self.deliver(*follower, leader);
            }
        }
    }

    /// Stands for election until its term is `term`, and gets the votes of these; whatever it asked the others is lost.
    pub fn elect(&mut self, id: Id, term: usize, voters: &[Id]) {
        self.stand(id, term);
        for voter in voters {
            self.deliver(id, *voter);
            self.deliver(*voter, id);
        }
        self.members.clone().into_iter().for_each(|peer| drop(self.keep(id, peer)));
    }

    /// Stands for election until its term is `term`; the requests of earlier terms are lost.
    pub fn stand(&mut self, id: Id, term: usize) {
        loop {
            self.members.clone().into_iter().for_each(|peer| drop(self.keep(id, peer)));
            self.time_out(id);
            let asked = self.under_way(|envelope| match envelope.message {
                Message::VoteRequest { term, .. } if envelope.from == id => Some(term),
                _ => None,
            });
            assert!(asked <= Some(term), "schedule: {id} is beyond term {term}");
            if asked == Some(term) {
                return;
            }
        }
    }

    /// Whether the replica believes to lead.
    pub fn is_leader(&self, id: Id) -> bool {
        self.processes[&id].leader() == Some(id)
    }

    /// The term in which the replica leads now, as its next heartbeat tells everybody; `None` when it does not lead.
    pub fn leads_in(&mut self, id: Id) -> Option<usize> {
        if !self.is_leader(id) {
            return None;
        }
        self.beat(id);
        self.under_way(|envelope| match envelope.message {
            Message::AppendEntryRequest { term, .. } | Message::InstallSnapshotRequest { term, .. }
                if envelope.from == id =>
            {
                Some(term)
            }
            _ => None,
        })
    }

    /// The last message under way of which `what` finds something.
    pub fn under_way<T>(&self, what: impl Fn(&Envelope) -> Option<T>) -> Option<T> {
        lock(&self.network).iter().rev().find_map(what)
    }

    /// The commands that the replica's state machine holds.
    pub fn applied(&self, id: Id) -> State {
        self.processes[&id].machine().applied.clone()
    }

    /// What the replica told its user about a command, in order.
    pub fn told(&self, id: Id, command: usize) -> Vec<TransitionState> {
        let machine = self.processes[&id].machine();
        machine.told.iter().filter(|(of, _)| *of == command).map(|(_, state)| state.clone()).collect()
    }

    /// The index up to which the replica has compacted its log.
    pub fn compacted_to(&self, id: Id) -> Option<usize> {
        Some(self.processes[&id].machine().disk.as_ref()?.last_included_index)
    }

    /// What the replica's panic said, if it has panicked.
    pub fn panic_of(&self, id: Id) -> Option<&str> {
        self.processes[&id].panic()
    }

    fn process(&mut self, id: Id) -> &mut Process {
        self.processes.get_mut(&id).expect("schedule: no such replica")
    }
}

/// A replica that panics while it holds the lock poisons it, which is of no concern to the test.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
