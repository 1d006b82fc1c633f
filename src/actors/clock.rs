//! The clock that leaders stamp commands with: the wall clock at start, carried on by the monotonic one, so that a step
//! of the wall clock in between neither ages nor rejuvenates anything.

use crate::ledger::UnixMillis;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that does not step. Clones agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall_at_start: UnixMillis,
    start: Instant,
}

impl Clock {
    /// Reads the wall clock, once.
    #[must_use]
    pub fn start() -> Self {
        // A wall clock before 1970 reads as 1970: the ledger's own clock never goes back.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall_at_start: UnixMillis(millis(since_epoch)), start: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.wall_at_start.plus(millis(self.start.elapsed()))
    }
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
