//! What has happened, for those who wait for it. Events are broadcast after their entry is applied; none is needed to
//! rebuild the ledger, and a listener that missed some reads the state instead.

use super::ids::{Attempt, CircuitId, Incarnation, TaskId, UnixMillis, WorkerId};
use super::task::FailureReason;

/// Something that an applied command brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A circuit has a key.
    CircuitRegistered(CircuitId),
    /// A task waits in the queue.
    TaskSubmitted {
        /// Which.
        task: TaskId,
        /// Its circuit.
        circuit: CircuitId,
    },
    /// A worker may prove it.
    LeaseGranted {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// The worker.
        worker: WorkerId,
    },
    /// A worker has begun.
    AttemptStarted {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
    },
    /// The lease is no longer its holder's: stop working on it.
    LeaseRevoked {
        /// Which task.
        task: TaskId,
        /// The attempt.
        attempt: Attempt,
        /// Who held it.
        worker: WorkerId,
    },
    /// The task waits again.
    TaskRequeued {
        /// Which.
        task: TaskId,
        /// The end of its back-off.
        not_before: UnixMillis,
    },
    /// A verified proof is stored.
    TaskCompleted(TaskId),
    /// It will not be proved.
    TaskFailed {
        /// Which.
        task: TaskId,
        /// Why.
        reason: FailureReason,
    },
    /// The client withdrew it.
    TaskCancelled(TaskId),
    /// A worker takes work.
    WorkerRegistered(WorkerId),
    /// A worker takes nothing new.
    WorkerDraining(WorkerId),
    /// A worker is gone.
    WorkerLost {
        /// Which.
        worker: WorkerId,
        /// In which life.
        incarnation: Incarnation,
    },
    /// A finished task was dropped by retention.
    TaskForgotten(TaskId),
    /// There is something to sweep into the outbox, or in it, that no other event tells of.
    OutboxChanged,
}
