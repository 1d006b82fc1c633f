//! The ledger: the one replicated state machine, and the only place that decides what becomes of a task.
//!
//! It is pure. It reads no clock, draws no randomness and does no I/O: time and ids arrive inside [`Command`]s, stamped by
//! the leader, and [`Ledger::apply`] is total, so that every replica that applies the same log holds the same state. A
//! refusal is a value ([`Rejection`]). What must reach a disk is named in the [`Outcome`]: which small records changed,
//! and which bodies (sealed inputs, proofs) to write or to drop.
//!
//! Safety lives here and not in anyone's belief of being leader: a command that carries an old term, lease or attempt is
//! refused when it is applied.

mod apply;
mod circuit;
mod clock;
mod command;
mod event;
mod ids;
mod index;
mod invariants;
mod membership;
mod outbox;
mod outcome;
mod placement;
mod policy;
mod query;
mod record;
mod retry;
mod state;
mod submit;
mod task;
#[cfg(test)]
mod tests;
mod worker;

pub use circuit::Circuit;
pub use command::{CacheUse, Command, FailureCause, FailureKind, NewTask, ProvenResult, Timings};
pub use event::Event;
pub use ids::{
    Attempt, CircuitId, Digest, IdError, IdempotencyKey, Incarnation, LogIndex, LogPosition,
    RETRY_KEY_PREFIX, TaskId, TenantId, Term, UnixMillis, WorkerId,
};
pub use invariants::InvariantViolation;
pub use outbox::{ArchivePolicy, ArchiveStanding, ArchiveState, OutboxContent, OutboxEntry, OutboxItem};
pub use outcome::{BodyKey, BodyOp, LimitedResource, Outcome, Rejection, Reply};
pub use placement::{FleetMember, Placement};
pub use policy::Policy;
pub use query::{TaskFilter, TaskPage, WaitingFor};
pub use record::{Meta, Record, RecordKey, RestoreError};
pub use state::{Counters, Ledger};
pub use task::{
    AttemptEnd, AttemptRecord, FailureReason, KeyAnswer, KeyUse, Lease, Priority, Task, TaskState, TaskStatus,
};
pub use worker::{WORKER_CAPACITY_MAX, Worker, WorkerState};
