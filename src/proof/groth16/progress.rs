//! How far the making of a key is, for whoever wants to show it while another thread computes.
//!
//! Owns a few counters and no clock: the thread that makes the key adds to them, and any other reads. What is read is
//! a moment's view; a phase and its count may be one step apart.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What the making of a key is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeygenPhase {
    /// The circuit is asked for its constraints.
    Constraints,
    /// The polynomials of the constraints are evaluated at the secret point.
    Polynomials,
    /// Tables of the generators' multiples are made.
    Tables,
    /// The key's points are computed. This is most of the time, and what `done` and `total` count.
    Points,
    /// All points are there.
    Finished,
}

impl KeygenPhase {
    const ALL: [KeygenPhase; 5] = [
        KeygenPhase::Constraints,
        KeygenPhase::Polynomials,
        KeygenPhase::Tables,
        KeygenPhase::Points,
        KeygenPhase::Finished,
    ];

    /// The name that is shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            KeygenPhase::Constraints => "constraints",
            KeygenPhase::Polynomials => "polynomials",
            KeygenPhase::Tables => "tables",
            KeygenPhase::Points => "points",
            KeygenPhase::Finished => "finished",
        }
    }
}

impl fmt::Display for KeygenPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A moment's view of a [`KeygenProgress`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeygenStatus {
    /// What is being done.
    pub phase: KeygenPhase,
    /// Points of the key that are computed.
    pub done: u64,
    /// Points of the key; 0 until the circuit's size is known.
    pub total: u64,
}

/// Counters that the making of one key moves on. Share it by reference or in an `Arc`.
#[derive(Debug, Default)]
pub struct KeygenProgress {
    phase: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
}

impl KeygenProgress {
    /// Where the making is.
    pub fn status(&self) -> KeygenStatus {
        let phase = usize::from(self.phase.load(Ordering::Relaxed));
        KeygenStatus {
            phase: KeygenPhase::ALL.get(phase).copied().unwrap_or(KeygenPhase::Finished),
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
        }
    }

    pub(super) fn enter(&self, phase: KeygenPhase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn expect(&self, points: usize) {
        self.total.store(points as u64, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, points: usize) {
        self.done.fetch_add(points as u64, Ordering::Relaxed);
    }
}
