//! What can be asked of the ledger. Commands are what the Raft log carries: their encoding is a file format.
//!
//! `at` is the leader's clock when it proposed the command. `term`, where present, is the term in which the proposer
//! decided: the ledger refuses the command when the entry that carries it is of another term.

use super::circuit::Circuit;
use super::ids::{
    Attempt, CircuitId, Digest, IdempotencyKey, Incarnation, TaskId, TenantId, Term, UnixMillis, WorkerId,
};
use super::outbox::ArchivePolicy;
use super::policy::Policy;
use super::task::Priority;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A change that is asked of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Replace the limits.
    SetPolicy(Policy),
    /// Make a circuit and its key known; the first registration of a name wins.
    RegisterCircuit(Box<Circuit>),
    /// Take a task. Repeating it with the same id is harmless.
    SubmitTask(Box<NewTask>),
    /// Withdraw a task.
    CancelTask {
        /// Who asks; a task of another tenant is not found.
        tenant: TenantId,
        /// Which.
        task: TaskId,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// Make a worker known, or a new life of it; an older life's leases return to the queue as lost.
    RegisterWorker {
        /// Its name.
        worker: WorkerId,
        /// The life: one more than the ledger's record, or equal to it with the same `session`.
        incarnation: Incarnation,
        /// The random number of the worker's process.
        session: u64,
        /// How many tasks it proves at once.
        capacity: u32,
        /// The circuits it can prove.
        circuits: Vec<CircuitId>,
        /// The version of its software.
        version: Box<str>,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// Give a worker nothing new.
    DrainWorker {
        /// Which.
        worker: WorkerId,
        /// In which life.
        incarnation: Incarnation,
    },
    /// Declare a worker gone: its leases return to the queue.
    LoseWorker {
        /// The term in which that was observed.
        term: Term,
        /// Which.
        worker: WorkerId,
        /// In which life.
        incarnation: Incarnation,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// Give a pending task to a worker.
    GrantLease {
        /// The term in which the placement was decided.
        term: Term,
        /// Which task.
        task: TaskId,
        /// One more than the task's latest attempt.
        attempt: Attempt,
        /// To whom.
        worker: WorkerId,
        /// In which life.
        incarnation: Incarnation,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// The worker has begun.
    StartAttempt {
        /// Which task.
        task: TaskId,
        /// The lease.
        attempt: Attempt,
        /// Its holder.
        worker: WorkerId,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// A proof, already verified against the circuit's registered key.
    CompleteTask {
        /// Which task.
        task: TaskId,
        /// The lease under which it was made; an older one than the latest is good while the task is open.
        attempt: Attempt,
        /// Who made it.
        worker: WorkerId,
        /// The proof and what it was checked with.
        result: Box<ProvenResult>,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// The attempt failed.
    FailAttempt {
        /// Which task.
        task: TaskId,
        /// The lease.
        attempt: Attempt,
        /// Its holder.
        worker: WorkerId,
        /// Why.
        cause: FailureCause,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// The worker gives the lease back unharmed: no attempt is used, but a task given back several times in a row waits.
    ReturnLease {
        /// Which task.
        task: TaskId,
        /// The lease.
        attempt: Attempt,
        /// Its holder.
        worker: WorkerId,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// The worker has kept silent past the lease, by the leader's monotonic clock.
    ExpireLease {
        /// The term in which the lease was armed.
        term: Term,
        /// Which task.
        task: TaskId,
        /// The lease.
        attempt: Attempt,
        /// The leader's clock.
        at: UnixMillis,
    },
    /// Time passes: back-offs end, deadlines pass, old tasks are forgotten.
    AdvanceClock {
        /// The leader's clock.
        at: UnixMillis,
    },
    /// Put an archive in force, change its limits, or do without one.
    SetArchive(Option<ArchivePolicy>),
    /// The archive holds everything up to this position of the outbox.
    Archived {
        /// The term in which that was committed to the archive.
        term: Term,
        /// The position.
        position: u64,
    },
    /// The archive lacks what it had: put everything into the outbox again.
    Rearchive {
        /// The term in which that was seen.
        term: Term,
    },
}

/// A task to take.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTask {
    /// Its id, made by whoever proposes it.
    pub id: TaskId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The circuit.
    pub circuit: CircuitId,
    /// What the proof will state.
    pub public_inputs: Vec<Digest>,
    /// The sealed (encrypted) input.
    #[serde(with = "serde_bytes")]
    pub sealed_input: Vec<u8>,
    /// The keyed hash of the whole request.
    pub fingerprint: Digest,
    /// The client's key.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Whether an equal task that is open or recently completed may be the answer.
    pub cache: CacheUse,
    /// Shown to people.
    pub summary: Option<Box<str>>,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it is wanted, from `at`.
    pub deadline_ms: Option<u64>,
    /// Attempts it may use; the policy's default when absent.
    pub max_attempts: Option<u32>,
    /// The leader's clock.
    pub at: UnixMillis,
}

impl fmt::Debug for NewTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewTask")
            .field("id", &self.id)
            .field("tenant", &self.tenant)
            .field("circuit", &self.circuit)
            .field("sealed_input_bytes", &self.sealed_input.len())
            .finish_non_exhaustive()
    }
}

/// Whether a submission may be answered with an earlier equal task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheUse {
    /// It may.
    #[default]
    Allowed,
    /// A new proof is wanted (`Cache-Control: no-cache`); the new task then answers later equal requests.
    Bypassed,
}

/// A verified proof.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenResult {
    /// The proof's compressed encoding.
    #[serde(with = "serde_bytes")]
    pub proof: Vec<u8>,
    /// What it was verified to state.
    pub public_inputs: Vec<Digest>,
    /// The key that it was verified with.
    pub verifying_key: Digest,
    /// How long proving and verifying took.
    pub proving_ms: u64,
    /// How long verifying took.
    pub verifying_ms: u64,
}

impl fmt::Debug for ProvenResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvenResult")
            .field("proof_bytes", &self.proof.len())
            .field("verifying_key", &self.verifying_key)
            .finish_non_exhaustive()
    }
}

/// Where a completed task's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// From submission to the lease that proved it.
    pub queued_ms: u64,
    /// In the prover.
    pub proving_ms: u64,
    /// Checking the proof. Where worker and coordinator are one process this is a part of `proving_ms`.
    pub verifying_ms: u64,
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    /// The prover panicked.
    ProverPanicked,
    /// The prover gave an error.
    ProverError,
    /// The proof did not verify.
    InvalidProof,
    /// The worker has no key for the circuit, or a damaged one.
    KeyUnavailable,
    /// The stored input cannot be opened or decoded.
    InputUnreadable,
    /// The witness does not satisfy the circuit.
    WitnessUnsatisfied,
}

impl FailureKind {
    /// Whether another attempt cannot help.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        matches!(self, Self::InputUnreadable | Self::WitnessUnsatisfied)
    }

    /// The API's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProverPanicked => "prover_panicked",
            Self::ProverError => "prover_error",
            Self::InvalidProof => "invalid_proof",
            Self::KeyUnavailable => "key_unavailable",
            Self::InputUnreadable => "input_unreadable",
            Self::WitnessUnsatisfied => "witness_unsatisfied",
        }
    }
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCause {
    /// The kind.
    pub kind: FailureKind,
    /// For people; never holds anything of the input.
    message: Box<str>,
}

impl FailureCause {
    /// Bytes of a message that are kept. A task's record holds the causes of up to sixteen attempts.
    pub const MESSAGE_BYTES_MAX: usize = 160;

    /// A cause; the message is cut to at most [`Self::MESSAGE_BYTES_MAX`] bytes.
    #[must_use]
    pub fn new(kind: FailureKind, message: &str) -> Self {
        let end = message.floor_char_boundary(Self::MESSAGE_BYTES_MAX);
        Self { kind, message: message.get(..end).unwrap_or_default().into() }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}
