//! One replica as a process: a thread that takes a turn when told to, a state machine, and the disk that survives it.

use crate::{Command, Envelope, Id, State, Wire, lock};
use crossbeam_channel::{Receiver, Sender, unbounded};
use little_raft::cluster::Cluster;
use little_raft::replica::Replica;
use little_raft::state_machine::{Snapshot, StateMachine, StateMachineTransition, TransitionState};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// Longer than any test: a leader's heartbeats are caused by the test, through the channel for commands.
const NEVER: Duration = Duration::from_secs(3600);

/// An election timer that has run out whenever a turn finds neither message nor command.
const AT_ONCE: (Duration, Duration) = (Duration::ZERO, Duration::ZERO);

impl StateMachineTransition for Command {
    type TransitionID = usize;

    fn get_id(&self) -> usize {
        self.0
    }
}

/// What the replica's next turn finds.
pub(crate) enum Next {
    /// A message in its inbox.
    Message(Wire),
    /// Commands of its user; none of them is a heartbeat.
    Commands(Vec<Command>),
    /// Nothing, so that its election timer runs out.
    Timer,
}

/// The user's side of a replica.
#[derive(Default)]
pub(crate) struct Machine {
    pub(crate) applied: State,
    pub(crate) told: Vec<(usize, TransitionState)>,
    /// The latest snapshot; all that outlives the process.
    pub(crate) disk: Option<Snapshot<State>>,
    pending: Vec<Command>,
}

struct Shared(Arc<Mutex<Machine>>);

impl StateMachine<Command, State> for Shared {
    fn register_transition_state(&mut self, id: usize, state: TransitionState) {
        lock(&self.0).told.push((id, state));
    }

    fn apply_transition(&mut self, command: Command) {
        if command.0 != 0 {
            lock(&self.0).applied.push(command.0);
        }
    }

    fn get_pending_transitions(&mut self) -> Vec<Command> {
        std::mem::take(&mut lock(&self.0).pending)
    }

    fn get_snapshot(&mut self) -> Option<Snapshot<State>> {
        let mut machine = lock(&self.0);
        let snapshot = machine.disk.clone()?;
        machine.applied.clone_from(&snapshot.data);
        Some(snapshot)
    }

    fn create_snapshot(&mut self, last_included_index: usize, last_included_term: usize) -> Snapshot<State> {
        let mut machine = lock(&self.0);
        let snapshot = Snapshot { last_included_index, last_included_term, data: machine.applied.clone() };
        machine.disk = Some(snapshot.clone());
        snapshot
    }

    fn set_snapshot(&mut self, snapshot: Snapshot<State>) {
        let mut machine = lock(&self.0);
        machine.applied.clone_from(&snapshot.data);
        machine.disk = Some(snapshot);
    }
}

/// The replica's side of the network, and the place where it waits for its turn.
struct Turnstile {
    id: Id,
    network: Arc<Mutex<Vec<Envelope>>>,
    inbox: Arc<Mutex<Vec<Wire>>>,
    leader: Arc<Mutex<Option<Id>>>,
    may_go: Receiver<()>,
    waits: Sender<()>,
}

impl Cluster<Command, State> for Turnstile {
    fn send_message(&mut self, to: usize, message: Wire) {
        lock(&self.network).push(Envelope { from: self.id, to, message });
    }

    fn receive_messages(&mut self) -> Vec<Wire> {
        std::mem::take(&mut lock(&self.inbox))
    }

    /// The top of the replica's loop. The process is to end when nobody can give it a turn any more.
    fn halt(&self) -> bool {
        let _ = self.waits.send(());
        self.may_go.recv().is_err()
    }

    fn register_leader(&mut self, leader: Option<usize>) {
        *lock(&self.leader) = leader;
    }
}

/// A replica's thread and all that the test needs to drive it.
pub(crate) struct Process {
    machine: Arc<Mutex<Machine>>,
    inbox: Arc<Mutex<Vec<Wire>>>,
    leader: Arc<Mutex<Option<Id>>>,
    messages: Sender<()>,
    commands: Sender<()>,
    go: Option<Sender<()>>,
    waits: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    panic: Option<String>,
}

impl Process {
    /// Starts the replica and waits until it stands before its first turn.
    pub(crate) fn spawn(
        id: Id,
        peers: Vec<Id>,
        compact_after: usize,
        network: Arc<Mutex<Vec<Envelope>>>,
        disk: Option<Snapshot<State>>,
    ) -> Self {
        let machine = Arc::new(Mutex::new(Machine { disk, ..Machine::default() }));
        let (inbox, leader) = (Arc::<Mutex<Vec<Wire>>>::default(), Arc::<Mutex<Option<Id>>>::default());
        let (messages, has_message) = unbounded();
        let (commands, has_command) = unbounded();
        let (go, may_go) = unbounded();
        let (waits_sender, waits) = unbounded();
        let turnstile = Turnstile {
            id,
            network,
            inbox: Arc::clone(&inbox),
            leader: Arc::clone(&leader),
            may_go,
            waits: waits_sender,
        };
        let shared = Shared(Arc::clone(&machine));
        let thread = std::thread::spawn(move || {
            let (cluster, machine) = (Arc::new(Mutex::new(turnstile)), Arc::new(Mutex::new(shared)));
            Replica::new(id, peers, cluster, machine, compact_after, Command(0), NEVER, AT_ONCE)
                .start(has_message, has_command);
        });
        let mut process = Self {
            machine,
            inbox,
            leader,
            messages,
            commands,
            go: Some(go),
            waits,
            thread: Some(thread),
            panic: None,
        };
        process.wait();
        process
    }

    /// Lets the replica take one turn, and waits until it has; one that panics in it is no longer running.
    pub(crate) fn turn(&mut self, next: Next) {
        match next {
            Next::Message(message) => {
                lock(&self.inbox).push(message);
                self.messages.send(()).expect("schedule: the replica is not running");
            }
            Next::Commands(commands) => {
                lock(&self.machine).pending.extend(commands);
                self.commands.send(()).expect("schedule: the replica is not running");
            }
            Next::Timer => {}
        }
        let go = self.go.as_ref().expect("schedule: the replica is not running");
        go.send(()).expect("schedule: the replica is not running");
        self.wait();
    }

    /// Ends the thread before its next turn.
    pub(crate) fn stop(&mut self) {
        self.go = None;
        *lock(&self.leader) = None;
        self.join();
    }

    pub(crate) fn is_running(&self) -> bool {
        self.go.is_some()
    }

    pub(crate) fn leader(&self) -> Option<Id> {
        *lock(&self.leader)
    }

    pub(crate) fn machine(&self) -> MutexGuard<'_, Machine> {
        lock(&self.machine)
    }

    pub(crate) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// What a restart finds.
    pub(crate) fn disk(mut self) -> Option<Snapshot<State>> {
        self.stop();
        self.machine().disk.clone()
    }

    /// The turnstile's end of the channel goes away with a thread that unwinds.
    fn wait(&mut self) {
        if self.waits.recv().is_err() {
            self.stop();
        }
    }

    fn join(&mut self) {
        let Some(Err(cause)) = self.thread.take().map(JoinHandle::join) else { return };
        let said = cause.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| cause.downcast_ref::<&str>().copied());
        self.panic = Some(said.unwrap_or("panicked").to_owned());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
