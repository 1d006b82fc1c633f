//! A task's record: small (some 400 bytes; a few kilobytes when sixteen attempts failed), in memory for as long as the ledger knows the task. Its sealed input and its
//! proof are bodies, kept on disk by the state machine.

use super::command::{FailureCause, Timings};
use super::ids::{
    Attempt, CircuitId, Digest, IdempotencyKey, Incarnation, TaskId, TenantId, UnixMillis, WorkerId,
};
use serde::{Deserialize, Serialize};

/// How urgent a task is. See `Policy::PRIORITY_HEAD_START_MS` for what that buys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// After everything else of its time.
    Low,
    /// The default.
    #[default]
    Normal,
    /// Before everything else of its time.
    High,
}

/// The right of one worker to prove one task, named by `(task, attempt)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The attempt's number.
    pub attempt: Attempt,
    /// Who holds it.
    pub worker: WorkerId,
    /// In which life.
    pub incarnation: Incarnation,
    /// When it was granted.
    pub granted_at: UnixMillis,
    /// When the worker began, if it has.
    pub started_at: Option<UnixMillis>,
}

/// Why a task has failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureReason {
    /// Every attempt allowed was used; their causes are in the attempts.
    AttemptsExhausted,
    /// Its deadline passed.
    DeadlinePassed,
    /// An attempt failed for a reason that no further attempt could mend.
    Permanent(FailureCause),
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskState {
    /// It waits for a lease, at the earliest at `not_before`.
    Pending {
        /// The end of the back-off.
        not_before: UnixMillis,
    },
    /// A worker holds its lease; it is `in_progress` once the worker has said that it began.
    Leased(Lease),
    /// A verified proof is stored.
    Completed {
        /// When the proof was committed.
        at: UnixMillis,
        /// Who made it.
        worker: WorkerId,
        /// In which attempt.
        attempt: Attempt,
        /// The verifying key that the proof was checked with.
        verifying_key: Digest,
        /// Where the time went.
        timings: Timings,
    },
    /// It will not be proved.
    Failed {
        /// When that was decided.
        at: UnixMillis,
        /// Why.
        reason: FailureReason,
    },
    /// The client withdrew it.
    Cancelled {
        /// When.
        at: UnixMillis,
    },
}

/// [`TaskState`] without its details, as the API names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskStatus {
    /// Waiting in the queue.
    Pending,
    /// Leased, not begun.
    Assigned,
    /// Being proved.
    InProgress,
    /// A verified proof is stored.
    Completed,
    /// Will not be proved.
    Failed,
    /// Withdrawn.
    Cancelled,
}

impl TaskStatus {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Assigned, Self::InProgress, Self::Completed, Self::Failed, Self::Cancelled];

    /// Whether a task of this status may still be proved.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Assigned | Self::InProgress)
    }

    /// The API's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptEnd {
    /// With the proof that completed the task.
    Completed,
    /// The worker said that it failed, or its proof did not verify.
    Failed(FailureCause),
    /// The worker was lost.
    WorkerLost,
    /// The worker kept silent past the lease.
    LeaseExpired,
    /// The worker gave it back unharmed; this does not count as an attempt used.
    Returned,
    /// The task ended while it ran.
    Superseded,
    /// The worker's process was replaced by another of its name: a crash or a restart, which says nothing of the task. It
    /// does not count as an attempt used, unless it happens again and again.
    WorkerRestarted,
}

/// What the audit trail keeps of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its number.
    pub attempt: Attempt,
    /// Who held the lease.
    pub worker: WorkerId,
    /// When it was granted.
    pub granted_at: UnixMillis,
    /// When it began, if it did.
    pub started_at: Option<UnixMillis>,
    /// When and how it ended; `None` while it runs.
    pub end: Option<(UnixMillis, AttemptEnd)>,
}

/// An idempotency key that was answered with a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// The key.
    pub key: IdempotencyKey,
    /// What its first request was answered.
    pub answer: KeyAnswer,
}

/// What the first request with an idempotency key was answered, so that a repetition gets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAnswer {
    /// The task was taken for it.
    Submitted,
    /// The task was there already.
    Cached,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The order of submission within the ledger, from 1.
    pub sequence: u64,
    /// The circuit that proves it.
    pub circuit: CircuitId,
    /// What the proof will state, as canonical field elements.
    pub public_inputs: Vec<Digest>,
    /// The keyed hash of the whole request; equal requests of a tenant have equal fingerprints.
    pub fingerprint: Digest,
    /// The clients' keys that were answered with this task, in the order of their requests.
    pub idempotency_keys: Vec<KeyUse>,
    /// Shown to people.
    pub summary: Option<Box<str>>,
    /// How urgent it is.
    pub priority: Priority,
    /// When it was submitted.
    pub created_at: UnixMillis,
    /// When it is no longer wanted.
    pub deadline: Option<UnixMillis>,
    /// How many attempts may fail.
    pub max_attempts: u32,
    /// The size of its sealed input, in bytes.
    pub input_bytes: u32,
    /// Where it stands.
    pub state: TaskState,
    /// The number of the latest lease; 0 before the first.
    pub latest_attempt: Attempt,
    /// How many attempts have been used up (failed, lost or expired).
    pub attempts_used: u32,
    /// The attempts, oldest first: all that were used up, and the latest few of those given back.
    pub attempts: Vec<AttemptRecord>,
}

impl Task {
    /// The status that the API shows.
    #[must_use]
    pub const fn status(&self) -> TaskStatus {
        match &self.state {
            TaskState::Pending { .. } => TaskStatus::Pending,
            TaskState::Leased(lease) if lease.started_at.is_none() => TaskStatus::Assigned,
            TaskState::Leased(_) => TaskStatus::InProgress,
            TaskState::Completed { .. } => TaskStatus::Completed,
            TaskState::Failed { .. } => TaskStatus::Failed,
            TaskState::Cancelled { .. } => TaskStatus::Cancelled,
        }
    }

    /// The lease, while there is one.
    #[must_use]
    pub const fn lease(&self) -> Option<&Lease> {
        match &self.state {
            TaskState::Leased(lease) => Some(lease),
            _ => None,
        }
    }

    /// When it ended, if it has.
    #[must_use]
    pub const fn finished_at(&self) -> Option<UnixMillis> {
        match &self.state {
            TaskState::Completed { at, .. } | TaskState::Failed { at, .. } | TaskState::Cancelled { at } => {
                Some(*at)
            }
            TaskState::Pending { .. } | TaskState::Leased(_) => None,
        }
    }

    /// Whether it still may be proved.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.finished_at().is_none()
    }
}
