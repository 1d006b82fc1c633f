//! Who proves on how many threads, and when there is memory for it.
//!
//! Proofs are served in the order in which they come. One that is alone gets every thread and is done soonest; when others wait,
//! the free threads are divided among them, down to one each, which wastes nothing on bringing threads together. One that had
//! to wait leaves a share for the next, too, though that is not here yet: a worker that has enough to do gets its next order only
//! when a proof has ended, and would otherwise make one after the other on all threads for ever. A
//! proof begins only when what it may take of memory is free, so that ten large ones wait for each other and are not
//! ended by the system; each thread takes some of it, so that little memory also means few threads. Threads are never promised twice.
//! A proof that is not wanted any more leaves the line, wherever it stands.

use crate::proof::{MemoryBound, Stop};
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Threads that are kept idle, in pools of all sizes, for each that may prove: enough for one proof and for one on each thread in turn.
const IDLE_THREADS_PER_THREAD: usize = 2;

/// How often a proof that waits looks whether it is still wanted.
const STOP_CHECK: Duration = Duration::from_millis(50);
/// Work beside the proofs gives its thread to one that waits after so long: about as long as a proof takes.
const IDLE_TURN: Duration = Duration::from_millis(100);

/// What all proofs together may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Threads; at least one is taken as given.
    pub threads: usize,
    /// Bytes of memory, beyond what the keys take. A proof that wants more than this is made when no other is.
    pub memory_bytes_max: u64,
}

/// See the file's head.
pub(super) struct Shares {
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
    /// Pools that nobody proves on, of any size: to start threads for each proof would cost more than to keep them.
    idle: Mutex<Vec<Arc<ThreadPool>>>,
}

#[derive(Default)]
struct State {
    threads_used: usize,
    bytes_used: u64,
    next_ticket: u64,
    /// The tickets that wait; it is the first one's turn.
    waiting: VecDeque<u64>,
}

/// Threads and memory for one proof, until it is dropped.
pub(super) struct Share<'a> {
    shares: &'a Shares,
    pool: Arc<ThreadPool>,
    grant: Grant,
}

/// Why there is no share.
#[derive(Debug)]
pub(super) enum NoShare {
    /// It is not wanted any more.
    Stopped,
    /// The system gives no more threads.
    Threads(ThreadPoolBuildError),
}

/// A thread for work beside the proofs, until it is dropped.
pub(super) struct IdleShare<'a> {
    share: Share<'a>,
    /// Since when the thread is taken.
    since: Mutex<Instant>,
}

/// What was taken from the state, given back when it is dropped.
struct Grant {
    threads: usize,
    bytes: u64,
}

impl Shares {
    pub(super) fn new(limits: Limits) -> Self {
        let limits = Limits { threads: limits.threads.max(1), ..limits };
        Self { limits, state: Mutex::default(), changed: Condvar::new(), idle: Mutex::default() }
    }

    /// Waits for its turn, and for threads and memory. Blocks.
    ///
    /// # Errors
    /// It was stopped before, or the system gives no more threads.
    pub(super) fn take(&self, bound: MemoryBound, stop: &Stop) -> Result<Share<'_>, NoShare> {
        let grant = self.wait_for(bound, stop).ok_or(NoShare::Stopped)?;
        self.share(grant)
    }

    fn share(&self, grant: Grant) -> Result<Share<'_>, NoShare> {
        match self.pool(grant.threads) {
            Ok(pool) => Ok(Share { shares: self, pool, grant }),
            Err(error) => {
                self.give_back(&grant);
                Err(NoShare::Threads(error))
            }
        }
    }

    /// Waits until no proof waits and a thread is free, and takes that one. Blocks.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(super) fn take_idle(&self) -> Result<IdleShare<'_>, NoShare> {
        self.wait_until_idle();
        let share = self.share(Grant { threads: 1, bytes: 0 })?;
        Ok(IdleShare { share, since: Mutex::new(Instant::now()) })
    }

    fn wait_until_idle(&self) {
        let is_busy =
            |state: &mut State| !state.waiting.is_empty() || state.threads_used == self.limits.threads;
        let mut state = self.changed.wait_while(self.lock(), is_busy).unwrap_or_else(PoisonError::into_inner);
        state.threads_used += 1;
    }

    /// None if it is not wanted any more.
    fn wait_for(&self, bound: MemoryBound, stop: &Stop) -> Option<Grant> {
        let bytes_max = self.limits.memory_bytes_max;
        let least = bound.on(1).min(bytes_max);
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(ticket);
        let must_wait = |state: &State| {
            let fits = state.bytes_used.saturating_add(least) <= bytes_max;
            state.waiting.front() != Some(&ticket) || state.threads_used == self.limits.threads || !fits
        };
        let had_to_wait = must_wait(&state);
        while must_wait(&state) && !stop.is_stopped() {
            let woken = self.changed.wait_timeout(state, STOP_CHECK);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        if stop.is_stopped() {
            state.waiting.retain(|waiting| *waiting != ticket);
            drop(state);
            // Whoever stood behind it may be the first now.
            self.changed.notify_all();
            return None;
        }
        let expected = usize::from(had_to_wait);
        // Those for whom there is no memory beside this one leave their threads to it.
        let beside =
            usize::try_from((bytes_max - state.bytes_used) / least.max(1)).unwrap_or(usize::MAX).max(1);
        let proofs = (state.waiting.len() + expected).min(beside);
        let threads = threads_for(self.limits.threads - state.threads_used, proofs);
        let fits = |threads: &usize| state.bytes_used.saturating_add(bound.on(*threads)) <= bytes_max;
        // One that is too large in any case is made alone, and there is nothing to be gained by making it slowly.
        let is_too_large = bound.on(1) > bytes_max;
        let threads = if is_too_large { threads } else { (1..=threads).rev().find(fits).unwrap_or(1) };
        let bytes = bound.on(threads).min(bytes_max);
        state.waiting.pop_front();
        state.threads_used += threads;
        state.bytes_used += bytes;
        drop(state);
        self.changed.notify_all();
        Some(Grant { threads, bytes })
    }

    fn give_back(&self, grant: &Grant) {
        let mut state = self.lock();
        state.threads_used -= grant.threads;
        state.bytes_used -= grant.bytes;
        drop(state);
        self.changed.notify_all();
    }

    /// A pool of so many threads: an idle one, or a new one. There are never more of one size than proofs at once, and only some are kept.
    fn pool(&self, threads: usize) -> Result<Arc<ThreadPool>, ThreadPoolBuildError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = idle.iter().position(|pool| pool.current_num_threads() == threads) {
            return Ok(idle.swap_remove(found));
        }
        drop(idle);
        let name = move |number| format!("proof-{threads}-{number}");
        ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build().map(Arc::new)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Threads for the first of so many proofs when `free` threads are.
fn threads_for(free: usize, proofs: usize) -> usize {
    (free / proofs.max(1)).max(1)
}

impl Share<'_> {
    /// Runs `work` on the share's threads and waits for it. A panic of the work is a panic here.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }

    #[cfg(test)]
    fn threads(&self) -> usize {
        self.grant.threads
    }
}

impl IdleShare<'_> {
    /// Runs `work` on the thread and waits for it, as [`Share::run`] does. Work should call what it is given after every few
    /// milliseconds: should a proof wait that the thread has been kept from for long enough, it gets it first.
    pub(super) fn run<R: Send>(&self, work: impl FnOnce(&(dyn Fn() + Sync)) -> R + Send) -> R {
        self.share.run(|| work(&|| self.pause()))
    }

    fn pause(&self) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let shares = self.share.shares;
        if since.elapsed() < IDLE_TURN || shares.lock().waiting.is_empty() {
            return;
        }
        shares.give_back(&self.share.grant);
        shares.wait_until_idle();
        *since = Instant::now();
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut idle = self.shares.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = idle.iter().map(|pool| pool.current_num_threads()).sum();
        if kept + self.grant.threads <= IDLE_THREADS_PER_THREAD * self.shares.limits.threads {
            idle.push(Arc::clone(&self.pool));
        }
        drop(idle);
        self.shares.give_back(&self.grant);
    }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;
