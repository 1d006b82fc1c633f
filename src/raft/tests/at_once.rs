//! Entries that are applied on the thread that asks: they make the same state, and they wait for nobody.

use super::support::{
    apply, crash_copy, entries, input, log_id, normal, open_machine, records, submit, task_id,
};
use crate::ledger::{BodyKey, Command, UnixMillis};
use crate::raft::state_machine::StateMachine;
use crate::raft::types::Entry;
use openraft::storage::RaftStateMachine as _;
use std::future::Future as _;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use tokio::runtime::{Builder, Runtime};

#[tokio::test]
async fn entries_that_come_one_by_one_make_the_state_of_those_that_come_together() {
    let (alone, together) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut one_by_one, _events) = open_machine(alone.path());
    let (mut all_at_once, _more_events) = open_machine(together.path());
    // More than share a transaction, twice, so that both ways of applying follow each other.
    for index in 0..=150 {
        apply(&mut one_by_one, entries(index..=index, 100)).await;
    }
    apply(&mut all_at_once, entries(0..=150, 100)).await;
    assert_eq!(records(&one_by_one), records(&all_at_once));
    assert_eq!(one_by_one.reader().state_hash(), all_at_once.reader().state_hash());
    assert_eq!(one_by_one.applied_state().await.unwrap(), all_at_once.applied_state().await.unwrap());
    for number in 2..=150 {
        let body = one_by_one.reader().body(BodyKey::Input(task_id(number))).unwrap();
        assert_eq!(body, Some(input(number, 100)), "the input of task {number}");
    }
    one_by_one.flush().unwrap();
    let crashed = crash_copy(alone.path());
    let (reopened, _) = open_machine(crashed.path());
    assert_eq!(reopened.applied(), Some(log_id(1, 150)));
    assert_eq!(records(&reopened), records(&all_at_once));
}

#[tokio::test]
async fn whoever_reads_the_ledger_does_not_hold_up_the_thread_that_applies() {
    let directory = tempfile::tempdir().unwrap();
    let (mut machine, _events) = open_machine(directory.path());
    apply(&mut machine, entries(0..=5, 100)).await;
    let reader = machine.reader();
    let (begun, has_begun) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let reading = std::thread::spawn(move || {
        reader.with(|_| {
            begun.send(()).unwrap();
            ends.recv().unwrap();
        });
    });
    has_begun.recv().unwrap();
    {
        let mut applying = pin!(machine.apply(entries(6..=6, 100)));
        // Were it applied here, this would wait for the reader, who waits for what follows.
        let first_look = applying.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(first_look, Poll::Pending), "the reader was not waited for");
        end.send(()).unwrap();
        applying.await.unwrap();
    }
    reading.join().unwrap();
    assert_eq!(machine.applied(), Some(log_id(1, 6)));
}

/// A runtime with one blocking thread, which a test can keep busy.
fn one_blocking_thread() -> Runtime {
    Builder::new_current_thread().max_blocking_threads(1).build().unwrap()
}

/// Applies the entries while no blocking thread is to be had, and says whether that was possible; if not, they are applied afterwards.
async fn is_at_once(machine: &mut StateMachine, entries: Vec<Entry>) -> bool {
    let (end, ends) = mpsc::channel::<()>();
    let busy = tokio::task::spawn_blocking(move || ends.recv().unwrap());
    let mut applying = pin!(machine.apply(entries));
    let first_look = applying.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    end.send(()).unwrap();
    busy.await.unwrap();
    match first_look {
        Poll::Ready(applied) => applied.is_ok(),
        Poll::Pending => {
            applying.await.unwrap();
            false
        }
    }
}

#[test]
fn a_small_entry_is_applied_before_the_asker_waits_for_anything() {
    one_blocking_thread().block_on(small_entries());
}

async fn small_entries() {
    let directory = tempfile::tempdir().unwrap();
    let (mut machine, _events) = open_machine(directory.path());
    apply(&mut machine, entries(0..=5, 100)).await;
    assert!(is_at_once(&mut machine, entries(6..=6, 100)).await);
    assert!(!is_at_once(&mut machine, entries(7..=8, 100)).await, "two entries");
    let commands = |count: u64| (100..100 + count).map(|number| submit(number, 10)).collect();
    assert!(is_at_once(&mut machine, vec![normal(1, 9, commands(16))]).await);
    assert!(!is_at_once(&mut machine, vec![normal(1, 10, commands(17))]).await, "too many commands");
    let sweep = Command::AdvanceClock { at: UnixMillis(1) };
    assert!(!is_at_once(&mut machine, vec![normal(1, 11, vec![sweep])]).await, "it may touch many tasks");
    assert!(is_at_once(&mut machine, entries(12..=12, 4 << 20)).await, "it brings the bodies to the half");
    assert!(!is_at_once(&mut machine, entries(13..=13, 100)).await, "so many bodies wait for the file");
}

#[test]
fn the_entry_that_fills_a_transaction_is_left_to_who_may_write_the_file() {
    one_blocking_thread().block_on(entries_of_transactions());
}

async fn entries_of_transactions() {
    let directory = tempfile::tempdir().unwrap();
    let (mut machine, _events) = open_machine(directory.path());
    let mut left = Vec::new();
    for index in 0..=200 {
        if !is_at_once(&mut machine, entries(index..=index, 10)).await {
            left.push(index);
        }
    }
    // The first registers a circuit.
    assert_eq!(left, [1, 63, 127, 191]);
}
