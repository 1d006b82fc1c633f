//! Whether this node's disk has room for further tasks.
//!
//! A task that was taken takes more room before it takes less: its log entries, its proof, and, while the archive is away, its
//! record. So below a floor of free bytes no task is taken, and what is left is for finishing, archiving and forgetting those
//! that are there. Room is looked at by a thread of its own, since a file system may not answer for a while.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the room is looked at: within this time a fast disk writes some hundred megabytes, a log far less.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Tasks are taken again when this part of the floor is free above it, so that one segment of a log is not the difference.
const SLACK_SHARE: u64 = 8;
/// Stands for "there is room".
const ENOUGH: u64 = u64::MAX;

/// Says how many bytes are free; `None` when it cannot be told.
pub type Probe = Box<dyn FnMut() -> Option<u64> + Send>;

/// How much there is and how much there should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// The floor.
    pub free_bytes_min: u64,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes >> 20;
        let (free, least) = (mebibytes(self.free_bytes), mebibytes(self.free_bytes_min));
        write!(
            f,
            "{free} MiB are free on the disk, and below {least} MiB (storage.free_bytes_min) no task is taken"
        )
    }
}

/// Whether there is room, as it was seen last. Clones share it; the looking ends with the last of them.
#[derive(Clone, Debug)]
pub struct DiskRoom(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    free_bytes_min: u64,
    /// Free bytes while there is a shortage, else [`ENOUGH`].
    short: AtomicU64,
}

impl DiskRoom {
    /// Looks for the first time, and then again and again. A floor of 0 is none, and nobody looks.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn watch(free_bytes_min: u64, every: Duration, mut probe: Probe) -> io::Result<Self> {
        let shared = Arc::new(Shared { free_bytes_min, short: AtomicU64::new(ENOUGH) });
        if free_bytes_min > 0 {
            shared.look(&mut probe);
            let watched = Arc::downgrade(&shared);
            let look = move || look_on(&watched, every, &mut probe);
            std::thread::Builder::new().name("disk-room".to_owned()).spawn(look)?;
        }
        Ok(Self(shared))
    }

    /// What is missing, if anything is.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        let free_bytes = self.0.short.load(Ordering::Relaxed);
        (free_bytes != ENOUGH).then_some(Shortage { free_bytes, free_bytes_min: self.0.free_bytes_min })
    }
}

fn look_on(watched: &Weak<Shared>, every: Duration, probe: &mut Probe) {
    loop {
        std::thread::sleep(every);
        let Some(shared) = watched.upgrade() else { return };
        shared.look(probe);
    }
}

impl Shared {
    fn look(&self, probe: &mut Probe) {
        // What cannot be told stays as it was.
        let Some(free) = probe() else { return };
        let was_short = self.short.load(Ordering::Relaxed) != ENOUGH;
        let is_short = is_short(was_short, free, self.free_bytes_min);
        self.short.store(if is_short { free } else { ENOUGH }, Ordering::Relaxed);
        let free_bytes_min = self.free_bytes_min;
        match (was_short, is_short) {
            (false, true) => {
                tracing::warn!(
                    free_bytes = free,
                    free_bytes_min,
                    "the disk is nearly full: no task is taken"
                );
            }
            (true, false) => tracing::info!(free_bytes = free, "the disk has room again: tasks are taken"),
            _ => {}
        }
    }
}

/// Below the floor there is a shortage; it ends some way above it.
const fn is_short(was_short: bool, free: u64, least: u64) -> bool {
    let enough = if was_short { least.saturating_add(least / SLACK_SHARE) } else { least };
    free < enough
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_around_the_floor_does_not_change_the_answer() {
        assert!(!is_short(false, 800, 800) && is_short(false, 799, 800));
        assert!(is_short(true, 899, 800) && !is_short(true, 900, 800));
        assert!(!is_short(true, u64::MAX, u64::MAX));
    }

    #[test]
    fn a_disk_that_cannot_be_looked_at_stays_as_it_was_seen_and_without_a_floor_nobody_looks() {
        let seen: [Option<u64>; 6] = [Some(700), None, Some(850), None, Some(900), None];
        let expected = [Some(700), Some(700), Some(850), Some(850), None, None];
        let shared = Shared { free_bytes_min: 800, short: AtomicU64::new(ENOUGH) };
        for (seen, expected) in seen.into_iter().zip(expected) {
            shared.look(&mut (Box::new(move || seen) as Probe));
            let free_bytes = shared.short.load(Ordering::Relaxed);
            assert_eq!((free_bytes != ENOUGH).then_some(free_bytes), expected);
        }
        let room = DiskRoom::watch(0, LOOK_EVERY, Box::new(|| Some(0))).unwrap();
        assert_eq!(room.shortage(), None);
    }

    #[test]
    fn the_looking_ends_with_the_last_who_asks() {
        let counted = Arc::new(());
        let held = Arc::clone(&counted);
        let probe: Probe = Box::new(move || Some(Arc::strong_count(&held) as u64));
        let room = DiskRoom::watch(1, Duration::from_millis(5), probe).unwrap();
        let other = room.clone();
        drop(room);
        assert_eq!(other.shortage(), None);
        drop(other);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while Arc::strong_count(&counted) > 1 {
            assert!(std::time::Instant::now() < deadline, "the thread goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
