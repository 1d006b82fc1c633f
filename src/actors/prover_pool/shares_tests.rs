//! Shares of threads and memory: who gets how much, who waits, and who waits no longer.

#![allow(clippy::unwrap_used)]

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

fn shares(threads: usize, memory_bytes_max: u64) -> Shares {
    Shares::new(Limits { threads, memory_bytes_max })
}

/// A proof of so many bytes, on however many threads.
fn whole(bytes: u64) -> MemoryBound {
    MemoryBound { whole: bytes, each_thread: 0 }
}

fn until_waiting(shares: &Shares, waiting: usize) {
    shares.until_waiting(waiting);
}

#[test]
fn a_proof_that_is_alone_gets_every_thread() {
    let shares = shares(4, 100);
    assert_eq!(shares.take(whole(1), &Stop::new()).unwrap().threads(), 4);
    let share = shares.take(whole(1), &Stop::new()).unwrap();
    assert_eq!((share.threads(), share.run(rayon::current_num_threads)), (4, 4));
}

#[test]
fn proofs_that_wait_together_divide_the_threads() {
    let shares = shares(4, 100);
    let first = shares.take(whole(1), &Stop::new()).unwrap();
    let (send, granted) = mpsc::channel();
    // The grants overlap: nobody gives back before all have theirs.
    let all_have_theirs = std::sync::Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..3 {
            let (send, shares, all_have_theirs) = (send.clone(), &shares, &all_have_theirs);
            scope.spawn(move || {
                let share = shares.take(whole(1), &Stop::new()).unwrap();
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
    let first = shares.take(whole(1), &Stop::new()).unwrap();
    assert_eq!(first.threads(), 2);
    thread::scope(|scope| {
        let shares = &shares;
        let (send, granted) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        scope.spawn(move || {
            let share = shares.take(whole(1), &Stop::new()).unwrap();
            send.send(share.threads()).unwrap();
            ended.recv().unwrap_err();
        });
        until_waiting(shares, 1);
        drop(first);
        assert_eq!(granted.recv().unwrap(), 1);
        assert_eq!(shares.take(whole(1), &Stop::new()).unwrap().threads(), 1, "side by side");
        drop(end);
    });
    assert_eq!(shares.take(whole(1), &Stop::new()).unwrap().threads(), 2, "alone again");
}

#[test]
fn a_proof_waits_until_its_memory_is_free_and_those_behind_it_wait_too() {
    let shares = shares(8, 100);
    let small = shares.pool_of_one(60);
    thread::scope(|scope| {
        let (send, order) = mpsc::channel();
        let (shares, sender) = (&shares, send.clone());
        scope.spawn(move || {
            let _share = shares.take(whole(70), &Stop::new()).unwrap();
            sender.send("large").unwrap();
        });
        until_waiting(shares, 1);
        scope.spawn(move || {
            // It would fit beside what is used now.
            let _share = shares.take(whole(40), &Stop::new()).unwrap();
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
    let first = shares.take(bound, &Stop::new()).unwrap();
    assert_eq!((first.threads(), shares.lock().bytes_used), (5, 95));
    drop(first);
    let _other = shares.pool_of_one(60);
    let second = shares.take(bound, &Stop::new()).unwrap();
    assert_eq!((second.threads(), shares.lock().bytes_used), (1, 95));
}

#[test]
fn proofs_that_must_be_made_alone_get_every_thread_though_others_wait() {
    let shares = shares(4, 100);
    let first = shares.take(whole(1_000), &Stop::new()).unwrap();
    thread::scope(|scope| {
        let (send, granted) = mpsc::channel();
        for _ in 0..2 {
            let (send, shares) = (send.clone(), &shares);
            scope.spawn(move || {
                send.send(shares.take(whole(1_000), &Stop::new()).unwrap().threads()).unwrap()
            });
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
    let huge = shares.take(whole(1_000_000), &Stop::new()).unwrap();
    thread::scope(|scope| {
        let (send, done) = mpsc::channel();
        let shares = &shares;
        scope.spawn(move || {
            drop(shares.take(whole(1), &Stop::new()).unwrap());
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
    let first = shares.take(whole(60), &Stop::new()).unwrap();
    thread::scope(|scope| {
        let (send, order) = mpsc::channel();
        let (shares, sender) = (&shares, send.clone());
        scope.spawn(move || {
            let share = shares.take(whole(60), &Stop::new()).unwrap();
            sender.send(("proof", share.threads())).unwrap();
        });
        until_waiting(shares, 1);
        scope.spawn(move || {
            let share = shares.take_idle().unwrap();
            send.send(("tables", share.run(|_| rayon::current_num_threads()))).unwrap();
        });
        drop(first);
        assert_eq!(order.iter().collect::<Vec<_>>(), [("proof", 1), ("tables", 1)]);
    });
}

#[test]
fn a_proof_that_is_stopped_while_it_waits_leaves_the_line_and_holds_nobody_up() {
    let shares = shares(2, 100);
    let used = shares.pool_of_one(60);
    let (stop, wanted) = (Stop::new(), Stop::new());
    thread::scope(|scope| {
        let (send, outcomes) = mpsc::channel();
        // There is a thread for each, and memory for the last only, which it is not the turn of.
        for (place, bytes, stop) in [(1, 70, &stop), (2, 70, &stop), (3, 30, &wanted)] {
            let (send, shares) = (send.clone(), &shares);
            scope.spawn(move || {
                let outcome = match shares.take(whole(bytes), stop) {
                    Ok(_) => "made",
                    Err(NoShare::Stopped) => "stopped",
                    Err(NoShare::Threads(_)) => "no threads",
                };
                send.send((place, outcome)).unwrap();
            });
            until_waiting(shares, place);
        }
        drop(send);
        assert!(outcomes.try_recv().is_err());
        stop.stop();
        let mut ended: Vec<_> = outcomes.iter().collect();
        ended.sort_unstable();
        assert_eq!(ended, [(1, "stopped"), (2, "stopped"), (3, "made")]);
    });
    shares.give_back(&used);
    let state = shares.lock();
    assert_eq!((state.threads_used, state.bytes_used, state.waiting.len()), (0, 0, 0));
}

#[test]
fn a_proof_that_was_stopped_before_gets_nothing_though_all_is_free() {
    let (shares, stop) = (shares(2, 100), Stop::new());
    stop.stop();
    assert!(matches!(shares.take(whole(1), &stop), Err(NoShare::Stopped)));
    assert_eq!(shares.take(whole(1), &Stop::new()).unwrap().threads(), 2);
}

#[test]
fn background_work_lends_its_thread_to_a_proof_that_waits_and_goes_on_after_it() {
    let shares = shares(1, 100);
    let (began, has_begun) = mpsc::channel();
    let is_proved = AtomicBool::new(false);
    thread::scope(|scope| {
        let work = scope.spawn(|| {
            let share = shares.take_idle().unwrap();
            share.run(|pause| {
                began.send(()).unwrap();
                let mut pieces = 0u64;
                while !is_proved.load(Ordering::SeqCst) {
                    pieces += 1;
                    pause();
                }
                pieces
            })
        });
        has_begun.recv().unwrap();
        let proof = shares.take(whole(1), &Stop::new()).unwrap();
        assert_eq!(shares.lock().threads_used, 1, "a thread was promised twice");
        is_proved.store(true, Ordering::SeqCst);
        assert!(!work.is_finished(), "it waits until the proof is made");
        drop(proof);
        assert!(work.join().unwrap() > 0);
    });
    assert_eq!(shares.lock().threads_used, 0);
}

impl Shares {
    /// Waits until so many proofs wait for their turn.
    pub(crate) fn until_waiting(&self, waiting: usize) {
        while self.lock().waiting.len() != waiting {
            thread::yield_now();
        }
    }

    /// One thread and so many bytes, as if a proof had them.
    fn pool_of_one(&self, bytes: u64) -> Grant {
        let mut state = self.lock();
        state.threads_used += 1;
        state.bytes_used += bytes;
        Grant { threads: 1, bytes }
    }
}
