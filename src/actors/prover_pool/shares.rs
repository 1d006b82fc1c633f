//! Who proves on how many threads, and when there is memory for it.
//!
//! Proofs are served in the order in which they come. One that is alone gets every thread and is done soonest; when others wait,
//! the free threads are divided among them, down to one each, which wastes nothing on bringing threads together. One that had
//! to wait leaves a share for the next, too, though that is not here yet: a worker that has enough to do gets its next order only
//! when a proof has ended, and would otherwise make one after the other on all threads for ever. A
//! proof begins only when what it may take of memory is free, so that ten large ones wait for each other and are not
//! ended by the system; each thread takes some of it, so that little memory also means few threads. Threads are never promised twice.

use crate::proof::MemoryBound;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Threads that are kept idle, in pools of all sizes, for each that may prove: enough for one proof and for one on each thread in turn.
const IDLE_THREADS_PER_THREAD: usize = 2;

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
    waiting: usize,
    next_ticket: u64,
    /// The ticket whose turn it is.
    serving: u64,
}

/// Threads and memory for one proof, until it is dropped.
pub(super) struct Share<'a> {
    shares: &'a Shares,
    pool: Arc<ThreadPool>,
    grant: Grant,
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
    /// The system gives no more threads.
    pub(super) fn take(&self, bound: MemoryBound) -> Result<Share<'_>, ThreadPoolBuildError> {
        let grant = self.wait_for(bound);
        self.share(grant)
    }

    fn share(&self, grant: Grant) -> Result<Share<'_>, ThreadPoolBuildError> {
        match self.pool(grant.threads) {
            Ok(pool) => Ok(Share { shares: self, pool, grant }),
            Err(error) => {
                self.give_back(&grant);
                Err(error)
            }
        }
    }

    /// Waits until no proof waits and a thread is free, and takes that one. Blocks.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(super) fn take_idle(&self) -> Result<Share<'_>, ThreadPoolBuildError> {
        let is_busy = |state: &mut State| state.waiting > 0 || state.threads_used == self.limits.threads;
        let mut state = self.changed.wait_while(self.lock(), is_busy).unwrap_or_else(PoisonError::into_inner);
        state.threads_used += 1;
        drop(state);
        self.share(Grant { threads: 1, bytes: 0 })
    }

    fn wait_for(&self, bound: MemoryBound) -> Grant {
        let bytes_max = self.limits.memory_bytes_max;
        let least = bound.on(1).min(bytes_max);
        let mut state = self.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting += 1;
        let must_wait = |state: &mut State| {
            let fits = state.bytes_used.saturating_add(least) <= bytes_max;
            state.serving != ticket || state.threads_used == self.limits.threads || !fits
        };
        let had_to_wait = must_wait(&mut state);
        let mut state = self.changed.wait_while(state, must_wait).unwrap_or_else(PoisonError::into_inner);
        let expected = usize::from(had_to_wait);
        // Those for whom there is no memory beside this one leave their threads to it.
        let beside =
            usize::try_from((bytes_max - state.bytes_used) / least.max(1)).unwrap_or(usize::MAX).max(1);
        let proofs = (state.waiting + expected).min(beside);
        let threads = threads_for(self.limits.threads - state.threads_used, proofs);
        let fits = |threads: &usize| state.bytes_used.saturating_add(bound.on(*threads)) <= bytes_max;
        // One that is too large in any case is made alone, and there is nothing to be gained by making it slowly.
        let is_too_large = bound.on(1) > bytes_max;
        let threads = if is_too_large { threads } else { (1..=threads).rev().find(fits).unwrap_or(1) };
        let bytes = bound.on(threads).min(bytes_max);
        state.serving += 1;
        state.waiting -= 1;
        state.threads_used += threads;
        state.bytes_used += bytes;
        drop(state);
        self.changed.notify_all();
        Grant { threads, bytes }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread;

    fn shares(threads: usize, memory_bytes_max: u64) -> Shares {
        Shares::new(Limits { threads, memory_bytes_max })
    }

    /// A proof of so many bytes, on however many threads.
    fn whole(bytes: u64) -> MemoryBound {
        MemoryBound { whole: bytes, each_thread: 0 }
    }

    /// Waits until so many proofs wait for their turn.
    fn until_waiting(shares: &Shares, waiting: usize) {
        while shares.lock().waiting != waiting {
            thread::yield_now();
        }
    }

    #[test]
    fn a_proof_that_is_alone_gets_every_thread() {
        let shares = shares(4, 100);
        assert_eq!(shares.take(whole(1)).unwrap().threads(), 4);
        let share = shares.take(whole(1)).unwrap();
        assert_eq!((share.threads(), share.run(rayon::current_num_threads)), (4, 4));
    }

    #[test]
    fn proofs_that_wait_together_divide_the_threads() {
        let shares = shares(4, 100);
        let first = shares.take(whole(1)).unwrap();
        let (send, granted) = mpsc::channel();
        // The grants overlap: nobody gives back before all have theirs.
        let all_have_theirs = std::sync::Barrier::new(4);
        thread::scope(|scope| {
            for _ in 0..3 {
                let (send, shares, all_have_theirs) = (send.clone(), &shares, &all_have_theirs);
                scope.spawn(move || {
                    let share = shares.take(whole(1)).unwrap();
                    send.send(share.threads()).unwrap();
                    all_have_theirs.wait();
                });
            }
            until_waiting(&shares, 3);
            drop(first);
            all_have_theirs.wait();
        });
        drop(send);
        let mut threads: Vec<usize> = granted.iter().collect();
        threads.sort_unstable();
        // The fourth share is for one that may come.
        assert_eq!(threads, [1, 1, 1]);
        assert_eq!(shares.lock().threads_used, 0);
    }

    #[test]
    fn a_proof_that_had_to_wait_leaves_a_share_for_the_next_which_is_yet_to_come() {
        let shares = shares(2, 100);
        let first = shares.take(whole(1)).unwrap();
        assert_eq!(first.threads(), 2);
        thread::scope(|scope| {
            let shares = &shares;
            let (send, granted) = mpsc::channel();
            let (end, ended) = mpsc::channel::<()>();
            scope.spawn(move || {
                let share = shares.take(whole(1)).unwrap();
                send.send(share.threads()).unwrap();
                ended.recv().unwrap_err();
            });
            until_waiting(shares, 1);
            drop(first);
            assert_eq!(granted.recv().unwrap(), 1);
            assert_eq!(shares.take(whole(1)).unwrap().threads(), 1, "side by side");
            drop(end);
        });
        assert_eq!(shares.take(whole(1)).unwrap().threads(), 2, "alone again");
    }

    #[test]
    fn a_proof_waits_until_its_memory_is_free_and_those_behind_it_wait_too() {
        let shares = shares(8, 100);
        let small = shares.pool_of_one(60);
        thread::scope(|scope| {
            let (send, order) = mpsc::channel();
            let (shares, sender) = (&shares, send.clone());
            scope.spawn(move || {
                let _share = shares.take(whole(70)).unwrap();
                sender.send("large").unwrap();
            });
            until_waiting(shares, 1);
            scope.spawn(move || {
                // It would fit beside what is used now.
                let _share = shares.take(whole(40)).unwrap();
                send.send("small").unwrap();
            });
            until_waiting(shares, 2);
            assert!(order.try_recv().is_err(), "70 of 100 bytes are not free while 60 are used");
            shares.give_back(&small);
            assert_eq!(order.iter().collect::<Vec<_>>(), ["large", "small"]);
        });
    }

    #[test]
    fn a_proof_gets_no_more_threads_than_there_is_memory_for() {
        let shares = shares(8, 100);
        let bound = MemoryBound { whole: 20, each_thread: 15 };
        let first = shares.take(bound).unwrap();
        assert_eq!((first.threads(), shares.lock().bytes_used), (5, 95));
        drop(first);
        let _other = shares.pool_of_one(60);
        let second = shares.take(bound).unwrap();
        assert_eq!((second.threads(), shares.lock().bytes_used), (1, 95));
    }

    #[test]
    fn proofs_that_must_be_made_alone_get_every_thread_though_others_wait() {
        let shares = shares(4, 100);
        let first = shares.take(whole(1_000)).unwrap();
        thread::scope(|scope| {
            let (send, granted) = mpsc::channel();
            for _ in 0..2 {
                let (send, shares) = (send.clone(), &shares);
                scope.spawn(move || send.send(shares.take(whole(1_000)).unwrap().threads()).unwrap());
            }
            until_waiting(&shares, 2);
            drop(first);
            drop(send);
            assert_eq!(granted.iter().collect::<Vec<_>>(), [4, 4]);
        });
    }

    #[test]
    fn a_proof_larger_than_all_memory_is_made_alone() {
        let shares = shares(2, 100);
        let huge = shares.take(whole(1_000_000)).unwrap();
        thread::scope(|scope| {
            let (send, done) = mpsc::channel();
            let shares = &shares;
            scope.spawn(move || {
                drop(shares.take(whole(1)).unwrap());
                send.send(()).unwrap();
            });
            until_waiting(shares, 1);
            assert!(done.try_recv().is_err());
            drop(huge);
            done.recv().unwrap();
        });
    }

    #[test]
    fn background_work_takes_one_thread_and_only_when_no_proof_waits() {
        let shares = shares(1, 100);
        let first = shares.take(whole(60)).unwrap();
        thread::scope(|scope| {
            let (send, order) = mpsc::channel();
            let (shares, sender) = (&shares, send.clone());
            scope.spawn(move || {
                let share = shares.take(whole(60)).unwrap();
                sender.send(("proof", share.threads())).unwrap();
            });
            until_waiting(shares, 1);
            scope.spawn(move || {
                let share = shares.take_idle().unwrap();
                send.send(("tables", share.threads())).unwrap();
            });
            drop(first);
            assert_eq!(order.iter().collect::<Vec<_>>(), [("proof", 1), ("tables", 1)]);
        });
    }

    impl Shares {
        /// One thread and so many bytes, as if a proof had them.
        fn pool_of_one(&self, bytes: u64) -> Grant {
            let mut state = self.lock();
            state.threads_used += 1;
            state.bytes_used += bytes;
            Grant { threads: 1, bytes }
        }
    }
}
