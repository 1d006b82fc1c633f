//! The clock that leaders stamp commands with: the wall clock at start, carried on by the monotonic one, so that a step
//! of the wall clock in between neither ages nor rejuvenates anything.
//!
//! The ledger's own clock never goes back. A node whose clock is behind it (an earlier leader's was fast) takes the
//! ledger's over and goes on from there: otherwise back-offs, deadlines and ages would stand still until it had caught up.

use crate::ledger::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that does not step back. Clones agree.
#[derive(Clone, Debug)]
pub struct Clock {
    wall_at_start: UnixMillis,
    start: Instant,
    /// How far the ledger's clock was found to be ahead.
    ahead_ms: Arc<AtomicU64>,
}

impl Clock {
    /// Reads the wall clock, once.
    #[must_use]
    pub fn start() -> Self {
        // A wall clock before 1970 reads as 1970: the ledger's own clock never goes back.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::starting_at(UnixMillis(millis(since_epoch)))
    }

    fn starting_at(wall_at_start: UnixMillis) -> Self {
        Self { wall_at_start, start: Instant::now(), ahead_ms: Arc::default() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.own().plus(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Takes note of the ledger's clock.
    pub fn observe(&self, ledger_now: UnixMillis) {
        let ahead_ms = ledger_now.0.saturating_sub(self.own().0);
        self.ahead_ms.fetch_max(ahead_ms, Ordering::Relaxed);
    }

    fn own(&self) -> UnixMillis {
        self.wall_at_start.plus(millis(self.start.elapsed()))
    }
}

/// A duration in whole milliseconds.
#[must_use]
pub fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The nearest number of milliseconds: for what took as long, told to people.
#[must_use]
pub fn nearest_millis(duration: std::time::Duration) -> u64 {
    millis(duration.saturating_add(std::time::Duration::from_micros(500)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_behind_the_ledgers_goes_on_from_it() {
        let clock = Clock::starting_at(UnixMillis(1_000));
        let other = clock.clone();
        clock.observe(UnixMillis(5_000_000));
        assert!(other.now() >= UnixMillis(5_000_000));
        // What was seen once is not taken back by an older reading.
        clock.observe(UnixMillis(2_000));
        assert!(other.now() >= UnixMillis(5_000_000));
    }

    #[test]
    fn a_clock_ahead_of_the_ledgers_stays_its_own() {
        let clock = Clock::starting_at(UnixMillis(5_000_000));
        clock.observe(UnixMillis(1_000));
        assert!(clock.now() < UnixMillis(6_000_000));
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        let clock = Clock::starting_at(UnixMillis(1_000));
        clock.observe(UnixMillis(u64::MAX));
        assert_eq!(clock.now(), UnixMillis(u64::MAX));
    }
}
