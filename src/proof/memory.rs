//! What a computation takes of memory, known before it begins.

use std::ops::Add;

/// A bound: what it takes by itself, and what each thread that takes part needs besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryBound {
    /// Bytes, however many threads there are.
    pub whole: u64,
    /// Bytes for each thread.
    pub each_thread: u64,
}

impl MemoryBound {
    /// As much as anybody likes.
    pub const ANY: Self = Self { whole: u64::MAX, each_thread: u64::MAX };

    /// Whether what another takes is within this.
    #[must_use]
    pub const fn covers(&self, other: &Self) -> bool {
        other.whole <= self.whole && other.each_thread <= self.each_thread
    }

    /// The bound on so many threads.
    #[must_use]
    pub const fn on(&self, threads: usize) -> u64 {
        self.whole.saturating_add(self.each_thread.saturating_mul(threads as u64))
    }

    /// What either of two takes that do not run at a time.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        let (whole, each_thread) = (self.whole.max(other.whole), self.each_thread.max(other.each_thread));
        Self { whole, each_thread }
    }
}

impl Add for MemoryBound {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let (whole, each_thread) = (self.whole + other.whole, self.each_thread + other.each_thread);
        Self { whole, each_thread }
    }
}
