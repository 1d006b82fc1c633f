//! The limits by which the ledger decides. They are replicated: were each replica to read its own configuration, two
//! nodes with different files would hold different states.

use serde::{Deserialize, Serialize};

/// Limits and times of the ledger; replaced as a whole by `Command::SetPolicy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Attempts a task may use when its submission does not say.
    pub max_attempts_default: u32,
    /// The wait after the first failed attempt; each further one doubles it.
    pub retry_backoff_base_ms: u64,
    /// The longest wait between attempts.
    pub retry_backoff_max_ms: u64,
    /// Open tasks (pending or leased) at most; one more is refused.
    pub open_tasks_max: u64,
    /// Sealed inputs of open tasks, in bytes, at most.
    pub open_input_bytes_max: u64,
    /// For how long a completed task answers an equal request.
    pub cache_ttl_ms: u64,
    /// Finished tasks are forgotten after this time.
    pub retention_age_ms: u64,
    /// Finished tasks kept at most; the oldest go first.
    pub retention_count: u64,
}

impl Policy {
    /// Attempts that a submission may ask for: every attempt's cause is kept in the task's record, which is kept in memory.
    pub const MAX_ATTEMPTS_LIMIT: u32 = 16;
    /// A task of the next higher priority overtakes one that was submitted up to this much earlier, and no more, so that
    /// a task of low priority waits at most twice this time behind later ones.
    pub const PRIORITY_HEAD_START_MS: u64 = 120_000;
    /// Finished tasks forgotten, or deadlines enforced, by one command at most: applying stays short.
    pub const SWEEP_MAX: usize = 256;
    /// Workers that may be registered.
    pub const WORKERS_MAX: usize = 10_000;
    /// Circuits that may be registered.
    pub const CIRCUITS_MAX: usize = 10_000;
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_attempts_default: 5,
            retry_backoff_base_ms: 500,
            retry_backoff_max_ms: 60_000,
            open_tasks_max: 100_000,
            open_input_bytes_max: 1 << 30,
            cache_ttl_ms: 600_000,
            retention_age_ms: 7 * 24 * 3_600_000,
            retention_count: 100_000,
        }
    }
}
