//! What workers say, what is said to them, and what the scheduler asks.

use crate::actors::ask::AskError;
use crate::ledger::{
    Attempt, CircuitId, Digest, FailureCause, FleetMember, Incarnation, Placement, Rejection, TaskId,
    WorkerId,
};
use crate::proof::{CheckedProof, CircuitInput};
use crate::telemetry::trace::TraceContext;
use actix::Message;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A worker's process introduces itself.
#[derive(Message)]
#[rtype(result = "Result<Registered, WorkerError>")]
pub struct Register {
    /// Its name.
    pub worker: WorkerId,
    /// A random number drawn by the process.
    pub session: u64,
    /// How many tasks it proves at once.
    pub capacity: u32,
    /// The circuits it can prove.
    pub circuits: Vec<CircuitId>,
    /// The version of its software.
    pub version: Box<str>,
    /// The circuits whose key it has at hand.
    pub held_keys: BTreeSet<CircuitId>,
    /// The way to it.
    pub link: WorkerLink,
}

/// The worker is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its life; to be named in everything that it says.
    pub incarnation: Incarnation,
    /// It must be heard of within this time, or its leases are taken from it.
    pub lease: Duration,
}

/// The way to a worker. The registry lets go of it when it gives the worker nothing more: whatever carries the orders ends
/// then, so that the worker looks for its coordinator anew.
pub type WorkerLink = Arc<dyn OrderSink>;

/// What takes a worker's orders.
pub trait OrderSink: Send + Sync {
    /// Puts an order into the worker's bounded queue, or fails at once.
    ///
    /// # Errors
    /// When the queue takes nothing.
    fn push(&self, order: Order) -> Result<(), AskError>;

    /// Whether somebody is at the other end, as far as is known.
    fn is_open(&self) -> bool {
        true
    }
}

impl<F: Fn(Order) -> Result<(), AskError> + Send + Sync> OrderSink for F {
    fn push(&self, order: Order) -> Result<(), AskError> {
        self(order)
    }
}

/// An order to a worker.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum Order {
    /// Prove this.
    Assign(Assignment),
    /// The lease is no longer yours.
    Revoke {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
    },
    /// This coordinator does not know you any more: register again.
    Reregister,
}

/// A task to prove.
#[derive(Debug)]
pub struct Assignment {
    /// Which task.
    pub task: TaskId,
    /// The lease.
    pub attempt: Attempt,
    /// The circuit.
    pub circuit: CircuitId,
    /// The proving key.
    pub proving_key: Digest,
    /// The witness.
    pub input: CircuitInput,
    /// The span that the proof works for, when it is known.
    pub trace: Option<TraceContext>,
}

/// A sign of life.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), WorkerError>")]
pub struct Heartbeat {
    /// Who.
    pub worker: WorkerId,
    /// In which life.
    pub incarnation: Incarnation,
    /// The leases that it works on or has results of.
    pub holds: BTreeSet<(TaskId, Attempt)>,
    /// The circuits whose key it has at hand.
    pub held_keys: BTreeSet<CircuitId>,
}

/// What a worker says of a lease.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), WorkerError>")]
pub struct Report {
    /// Who.
    pub worker: WorkerId,
    /// Which task.
    pub task: TaskId,
    /// The lease.
    pub attempt: Attempt,
    /// What.
    pub news: News,
    /// The worker's span, when there is one.
    pub trace: Option<TraceContext>,
}

/// See [`Report`].
#[derive(Clone, Debug)]
pub enum News {
    /// It has begun.
    Started,
    /// It has made a proof.
    Proven {
        /// The proof's compressed encoding.
        proof: Vec<u8>,
        /// How long it took.
        proving: Duration,
        /// That this process found it to hold, if it was made here; then it is not verified again.
        checked: Option<Arc<CheckedProof>>,
    },
    /// It has failed.
    Failed(FailureCause),
    /// It gives the lease back unharmed.
    GivenBack,
}

/// A worker takes nothing new from now on.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), WorkerError>")]
pub struct Drain {
    /// Who.
    pub worker: WorkerId,
    /// In which life.
    pub incarnation: Incarnation,
}

/// What a worker said was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WorkerError {
    /// *Refused*: the ledger said no; saying it again does not help.
    #[error(transparent)]
    Refused(#[from] Rejection),
    /// *Unavailable* or *outcome unknown*: say it again; it has its effect once.
    #[error("{0}")]
    TryAgain(String),
    /// *Unavailable*: another process is at work under this name.
    #[error("worker name {0} is in use by another running process; give each worker its own worker.id")]
    NameInUse(WorkerId),
    /// *Unavailable*: this coordinator does not lead.
    #[error("not leader{}", leader_address.as_ref().map(|a| format!(", connect to: {a}")).unwrap_or_default())]
    NotLeader {
        /// Where the leader is, when known.
        leader_address: Option<String>,
    },
}

/// Asks for the workers that are alive.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<FleetMember>")]
pub struct GetFleet;

/// Sends a granted lease's task to its worker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Dispatch(pub Placement);

/// What a silent worker is allowed.
#[derive(Clone, Copy, Debug)]
pub struct LeaseTimes {
    /// A worker not heard of for this long loses its leases.
    pub lease: Duration,
}

impl LeaseTimes {
    /// How often liveness is looked at: a lease ends at most this much late.
    pub(super) fn liveness_tick(self) -> Duration {
        (self.lease / 8).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }
}
