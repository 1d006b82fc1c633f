//! What the front desk is asked, and what it answers.

use crate::actors::disk_room::Shortage;
use crate::actors::verifier::VerifyRefused;
use crate::ledger::{
    CacheUse, Circuit, CircuitId, Counters, IdempotencyKey, KeyAnswer, LogIndex, Priority, Task, TaskFilter,
    TaskId, TaskStatus, TenantId, WaitingFor, Worker,
};
use crate::proof::Bytes32;
use actix::Message;
use std::fmt;
use std::time::Duration;

/// A submission, checked for form only.
#[derive(Message)]
#[rtype(result = "Result<Accepted, TaskError>")]
pub struct Submit {
    /// Whose it is.
    pub tenant: TenantId,
    /// What is to be proved.
    pub statement: Statement,
    /// How.
    pub options: TaskOptions,
    /// The client's key.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Whether an earlier equal task may be the answer.
    pub cache: CacheUse,
}

/// What is to be proved, as the client gave it. It holds secrets.
pub enum Statement {
    /// Knowledge of one of these leaves; the tree is built here.
    MerkleLeaves {
        /// All leaves.
        leaves: Vec<Bytes32>,
        /// Which one.
        leaf_index: u64,
    },
    /// Knowledge of a leaf of a tree that was built elsewhere.
    MerklePath {
        /// The leaf.
        leaf: Bytes32,
        /// Its place.
        leaf_index: u64,
        /// The siblings, from the leaf's up.
        path: Vec<Bytes32>,
        /// The root that they lead to.
        root: Bytes32,
    },
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MerkleLeaves { .. } => "MerkleLeaves(redacted)",
            Self::MerklePath { .. } => "MerklePath(redacted)",
        })
    }
}

/// What a client may say of any task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskOptions {
    /// How urgent it is.
    pub priority: Priority,
    /// How long it is wanted.
    pub deadline: Option<Duration>,
    /// How many attempts may fail.
    pub max_attempts: Option<u32>,
    /// Shown to people.
    pub summary: Option<Box<str>>,
}

/// A submission was durably taken, or found to have been before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The task that answers it.
    pub task: TaskId,
    /// Whether the task was taken for this request (or for its first sending), or was there already.
    pub answer: KeyAnswer,
    /// The entry that decided it.
    pub commit_index: LogIndex,
}

/// How current an answer must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It reflects everything acknowledged before the question was asked, by any coordinator.
    #[default]
    Linearizable,
    /// It reflects at least this entry.
    AtLeast(LogIndex),
    /// It is what this node has, also without a leader.
    Stale,
}

/// How current an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// The last entry that it reflects.
    pub index: LogIndex,
    /// For a stale answer: how long ago this node last heard of a leader; `None` when it leads or has never heard.
    pub age: Option<Duration>,
}

/// Asks for a task.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<TaskView, TaskError>")]
pub struct GetTask {
    /// Who asks.
    pub tenant: TenantId,
    /// Which.
    pub task: TaskId,
    /// How current the answer must be.
    pub consistency: Consistency,
}

/// Asks for a task once it has ended, or as it is when `limit` has passed.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<TaskView, TaskError>")]
pub struct AwaitTask {
    /// Who asks.
    pub tenant: TenantId,
    /// Which.
    pub task: TaskId,
    /// How long to wait.
    pub limit: Duration,
}

/// A task with everything that is shown of it.
#[derive(Clone, Debug)]
pub struct TaskView {
    /// Its record.
    pub task: Task,
    /// The proof's compressed encoding, when it is completed.
    pub proof: Option<Vec<u8>>,
    /// Why it waits, when it is pending.
    pub waiting_for: Option<WaitingFor>,
    /// How many tasks stand before it, when that can be told.
    pub queue_position: Option<u64>,
    /// How current this is.
    pub as_of: AsOf,
}

/// Asks for a list of tasks.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<TaskList, TaskError>")]
pub struct ListTasks {
    /// Who asks.
    pub tenant: TenantId,
    /// Which tasks.
    pub filter: TaskFilter,
    /// From a previous page.
    pub before: Option<ListPlace>,
    /// How many at most.
    pub limit: u16,
    /// How current the answer must be.
    pub consistency: Consistency,
}

/// Where a page of a list begins: below this, exclusively.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListPlace {
    /// Of an earlier cluster's tasks in the same archive; `None`: this cluster's.
    pub epoch: Option<i64>,
    /// The sequence number; `None`: from the newest.
    pub sequence: Option<u64>,
}

/// A part of a list, newest first.
#[derive(Clone, Debug)]
pub struct TaskList {
    /// The tasks' records.
    pub tasks: Vec<Task>,
    /// Where the next page begins.
    pub next_before: Option<ListPlace>,
    /// How current this is.
    pub as_of: AsOf,
}

/// Withdraws a task; to withdraw it twice is harmless.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Cancelled, TaskError>")]
pub struct Cancel {
    /// Who asks.
    pub tenant: TenantId,
    /// Which.
    pub task: TaskId,
}

/// The task is withdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Which.
    pub task: TaskId,
    /// The entry that decided it.
    pub commit_index: LogIndex,
}

/// Asks whether a proof is valid for a registered circuit.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<bool, TaskError>")]
pub struct VerifyProof {
    /// The circuit's name, or the digest of its verifying key in hexadecimal.
    pub circuit: String,
    /// The proof's compressed encoding.
    pub proof: Vec<u8>,
    /// The public inputs.
    pub public_inputs: Vec<Bytes32>,
}

/// Asks for every circuit that this version knows.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<CircuitView>, TaskError>")]
pub struct GetCircuits;

/// A circuit of the catalog, and its key once it has one.
#[derive(Clone, Debug)]
pub struct CircuitView {
    /// Its name.
    pub id: CircuitId,
    /// The catalog's entry.
    pub spec: &'static crate::proof::CircuitSpec,
    /// Its registration, with the verifying key.
    pub registered: Option<Circuit>,
}

/// Asks for the workers.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<WorkerView>, TaskError>")]
pub struct GetWorkers;

/// A worker and what it holds.
#[derive(Clone, Debug)]
pub struct WorkerView {
    /// The ledger's record.
    pub worker: Worker,
    /// Leases that it holds.
    pub held: u64,
}

/// Asks how the node does. Answered also without a leader.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<HealthView, TaskError>")]
pub struct GetHealth;

/// How the node does.
#[derive(Clone, Debug)]
pub struct HealthView {
    /// The coordinator's configured id.
    pub coordinator_id: String,
    /// Raft, as this node sees it.
    pub raft: RaftView,
    /// Workers registered and not lost; and of these, how many take work.
    pub workers: WorkersView,
    /// Leases that workers may hold in all, and do hold.
    pub capacity: CapacityView,
    /// Whether this node's scheduler is enabled.
    pub scheduler_enabled: bool,
    /// Running totals, the same on every coordinator.
    pub counters: Counters,
    /// How many tasks have each status.
    pub tasks: Vec<(TaskStatus, u64)>,
    /// Bytes of open tasks' inputs.
    pub open_input_bytes: u64,
    /// The archive.
    pub archive: ArchiveView,
    /// How much room this node's disk lacks, if it lacks any: it takes no tasks then.
    pub shortage: Option<Shortage>,
}

/// How the archive does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveView {
    /// Whether there is one.
    pub is_configured: bool,
    /// What it has not been told yet, the same on every coordinator.
    pub lag: u64,
    /// With so much waiting for it, no task is taken.
    pub lag_max: u64,
    /// Whether the database answered when this node last spoke to it.
    pub is_up: bool,
    /// Why this node cannot use it, or cannot bring it what waits, if it cannot.
    pub error: Option<String>,
    /// Why old tasks are not removed from it, or the coordinators not recorded in it, though it takes finished tasks.
    pub upkeep_error: Option<String>,
}

/// Raft, as one node sees it.
#[derive(Clone, Debug)]
pub struct RaftView {
    /// `Leader`, `Follower`, `Candidate`, `Learner` or `Stopped`.
    pub state: &'static str,
    /// Whether it leads and has a quorum.
    pub is_leader: bool,
    /// The leader's address, when one is known.
    pub leader_address: Option<String>,
    /// This node's name.
    pub node_id: String,
    /// The term.
    pub term: u64,
    /// The last entry known to be committed.
    pub commit_index: u64,
    /// The last entry applied.
    pub applied_index: u64,
    /// Other members that did not answer this node lately.
    pub members_missing: u64,
    /// What stopped Raft on this node, if anything did.
    pub fatal_error: Option<String>,
}

/// How many workers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkersView {
    /// Registered, whatever their state.
    pub total: u64,
    /// Taking work.
    pub active: u64,
    /// Silent for more than half their lease, as the leader hears them; 0 on other nodes.
    pub suspect: u64,
    /// Finishing what they hold.
    pub draining: u64,
    /// Lost.
    pub dead: u64,
}

/// How much work the workers can take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapacityView {
    /// Leases that active workers may hold.
    pub total: u64,
    /// Leases held.
    pub used: u64,
}

/// A request to the front desk was not fulfilled.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TaskError {
    /// *Refused*: a field of the request is wrong. Never holds the field's value.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which field, as a path.
        field: String,
        /// Why.
        reason: String,
    },
    /// *Refused*: there is no such task.
    #[error("task {0} is not known")]
    UnknownTask(TaskId),
    /// *Refused*: there is no such circuit.
    #[error("circuit {0:?} is not known")]
    UnknownCircuit(String),
    /// *Refused*: the circuit has no key yet, so that nothing can be verified against it.
    #[error("circuit {0} has no key yet")]
    NoKeyYet(CircuitId),
    /// *Refused*: the task has ended another way.
    #[error("task {task} is already {}", status.as_str())]
    Finished {
        /// Which.
        task: TaskId,
        /// How.
        status: TaskStatus,
    },
    /// *Refused*: the idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyConflict,
    /// *Refused*: the proof or its inputs are no encoding of one.
    #[error(transparent)]
    BadProof(#[from] VerifyRefused),
    /// *Unavailable*: a limit is reached; nothing was stored.
    #[error("{0}")]
    LimitReached(String),
    /// *Unavailable*: the archive has fallen too far behind; nothing was stored.
    #[error("{0}")]
    ArchiveBehind(String),
    /// *Unavailable*: the node's disk has too little room; nothing was stored.
    #[error("{0}")]
    StorageLow(Shortage),
    /// *Unavailable*: the answer may be in the archive, which cannot be read.
    #[error("{0}")]
    ArchiveUnavailable(String),
    /// *Unavailable*: too much at once; nothing was stored.
    #[error("{0}")]
    Overloaded(String),
    /// *Unavailable*: no leader, or not this node; nothing was stored.
    #[error("there is no leader to take it")]
    NoLeader {
        /// Where to go instead, when known.
        leader_address: Option<String>,
    },
    /// *Unavailable*: the node is shutting down or starting.
    #[error("{0}")]
    Unavailable(String),
    /// *Outcome unknown*: it may have been done. For a submission the id under which it then is.
    #[error("the outcome is not known: {reason}")]
    OutcomeUnknown {
        /// The submission's id.
        task: Option<TaskId>,
        /// What happened.
        reason: String,
    },
    /// A defect or a damaged file of this node.
    #[error("{0}")]
    Internal(String),
}
