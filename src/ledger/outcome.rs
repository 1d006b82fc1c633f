//! What applying a command gives: the answer to its proposer, what to tell others, and what to write.

use super::event::Event;
use super::ids::{Attempt, TaskId, Term, UnixMillis, WorkerId};
use super::record::RecordKey;
use super::task::{KeyAnswer, TaskStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// The whole effect of one command.
#[derive(Debug)]
pub struct Outcome {
    /// The answer to the proposer.
    pub reply: Result<Reply, Rejection>,
    /// For broadcast, in order.
    pub events: Vec<Event>,
    /// The records that were made, changed or removed: write each `Ledger::record`, delete where that is `None`.
    pub touched: BTreeSet<RecordKey>,
    /// The bodies to write or drop, in order.
    pub bodies: Vec<BodyOp>,
}

/// The ledger did what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done (or already so).
    Done,
    /// The task was taken.
    Submitted {
        /// Its id.
        task: TaskId,
    },
    /// An equal task is open or recently completed; nothing was taken.
    Cached {
        /// That task's id.
        task: TaskId,
    },
    /// The same idempotency key with the same request was seen; nothing was taken.
    Replayed {
        /// The id that was answered then.
        task: TaskId,
        /// What was answered then.
        answer: KeyAnswer,
    },
}

/// A rule said no. The same on every replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The proposer decided in another term than the one that the entry was appended in.
    #[error("the proposal is of term {proposed}, the log is at term {current}")]
    StaleTerm {
        /// The proposer's term.
        proposed: Term,
        /// The entry's term.
        current: Term,
    },
    /// No such task (or another tenant's).
    #[error("task {0} is not known")]
    UnknownTask(TaskId),
    /// The task has ended.
    #[error("task {task} is already {status:?}")]
    TaskFinished {
        /// Which.
        task: TaskId,
        /// How.
        status: TaskStatus,
    },
    /// The task cannot be leased now.
    #[error("task {0} is not pending")]
    TaskNotPending(TaskId),
    /// The task's back-off has not ended.
    #[error("task {task} waits until {not_before}")]
    TaskBackingOff {
        /// Which.
        task: TaskId,
        /// Until when.
        not_before: UnixMillis,
    },
    /// The attempt does not hold the lease.
    #[error("attempt {attempt} does not hold the lease of task {task}")]
    StaleAttempt {
        /// Which task.
        task: TaskId,
        /// The attempt named.
        attempt: Attempt,
    },
    /// No such worker.
    #[error("worker {0} is not registered")]
    UnknownWorker(WorkerId),
    /// The worker has another life by now.
    #[error("worker {0} has registered anew")]
    StaleIncarnation(WorkerId),
    /// The worker takes nothing (draining or lost).
    #[error("worker {0} takes no work")]
    WorkerUnavailable(WorkerId),
    /// The worker holds as many leases as it can.
    #[error("worker {0} is full")]
    WorkerFull(WorkerId),
    /// The worker cannot prove the circuit.
    #[error("worker {0} cannot prove the task's circuit")]
    WorkerUnsuited(WorkerId),
    /// The circuit has no key.
    #[error("the task's circuit has no key yet")]
    CircuitUnknown,
    /// Another key is registered for the circuit.
    #[error("the circuit is registered with another key")]
    CircuitConflict,
    /// The proof was checked with another key, or states something else than the task.
    #[error("the result does not belong to task {0}")]
    ResultMismatch(TaskId),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyConflict,
    /// A limit is reached.
    #[error("{what} reached its limit of {limit}")]
    LimitReached {
        /// What is full.
        what: LimitedResource,
        /// Its limit.
        limit: u64,
    },
    /// The command itself is not well formed.
    #[error("malformed command: {0}")]
    Malformed(Box<str>),
    /// There is no archive.
    #[error("no archive is in force")]
    NoArchive,
}

impl Rejection {
    /// A word for the rule that said no, for those who count.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::StaleTerm { .. } => "stale_term",
            Self::UnknownTask(_) => "unknown_task",
            Self::TaskFinished { .. } => "task_finished",
            Self::TaskNotPending(_) => "task_not_pending",
            Self::TaskBackingOff { .. } => "task_backing_off",
            Self::StaleAttempt { .. } => "stale_attempt",
            Self::UnknownWorker(_) => "unknown_worker",
            Self::StaleIncarnation(_) => "stale_incarnation",
            Self::WorkerUnavailable(_) => "worker_unavailable",
            Self::WorkerFull(_) => "worker_full",
            Self::WorkerUnsuited(_) => "worker_unsuited",
            Self::CircuitUnknown => "circuit_unknown",
            Self::CircuitConflict => "circuit_conflict",
            Self::ResultMismatch(_) => "result_mismatch",
            Self::IdempotencyConflict => "idempotency_conflict",
            Self::LimitReached { .. } => "limit_reached",
            Self::Malformed(_) => "malformed",
            Self::NoArchive => "no_archive",
        }
    }
}

/// What is bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LimitedResource {
    /// The number of open tasks.
    OpenTasks,
    /// The bytes of their inputs.
    OpenInputBytes,
    /// The number of workers.
    Workers,
    /// The number of circuits.
    Circuits,
    /// What waits for the archive.
    ArchiveBacklog,
}

impl fmt::Display for LimitedResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenTasks => "the number of open tasks",
            Self::OpenInputBytes => "the size of open tasks' inputs in bytes",
            Self::Workers => "the number of workers",
            Self::Circuits => "the number of circuits",
            Self::ArchiveBacklog => "what waits for the archive",
        })
    }
}

/// The name of a body: a blob that is too large for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BodyKey {
    /// A task's sealed input.
    Input(TaskId),
    /// A completed task's proof.
    Proof(TaskId),
}

/// What to do with a body.
#[derive(Clone, PartialEq, Eq)]
pub enum BodyOp {
    /// Write it.
    Put(BodyKey, Vec<u8>),
    /// Drop it.
    Drop(BodyKey),
}

impl fmt::Debug for BodyOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, bytes) => write!(f, "Put({key:?}, {} bytes)", bytes.len()),
            Self::Drop(key) => write!(f, "Drop({key:?})"),
        }
    }
}
