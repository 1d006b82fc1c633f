//! Random histories against the reference model. The checks themselves are in `cluster.rs`.

use crate::cluster::Cluster;
use crate::harness::check;
use crate::ops::history;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

#[test]
fn every_history_keeps_the_ledgers_promises() {
    check("every_history_keeps_the_ledgers_promises", 1_500, &history(1..150), |steps| {
        let mut cluster = Cluster::new()?;
        for step in steps {
            cluster.run(step)?;
        }
        Ok(())
    });
}

/// Histories that never got anywhere would keep every promise. The seed is fixed: this judges the generator.
#[test]
fn the_histories_reach_every_kind_of_answer_and_event() {
    let mut runner = TestRunner::deterministic();
    let strategy = history(100..150);
    let mut seen = BTreeSet::new();
    for _ in 0..150 {
        let mut cluster = Cluster::new().unwrap();
        for step in strategy.new_tree(&mut runner).unwrap().current() {
            cluster.run(step).unwrap();
        }
        seen.append(&mut cluster.seen);
    }
    let expected: BTreeSet<String> = [
        // Replies.
        "Done Submitted Cached Replayed",
        // Rejections; of the limits, those that a short history can reach.
        "StaleTerm UnknownTask TaskFinished TaskNotPending TaskBackingOff StaleAttempt UnknownWorker",
        "StaleIncarnation WorkerUnavailable WorkerFull WorkerUnsuited CircuitUnknown CircuitConflict",
        "ResultMismatch IdempotencyConflict OpenTasks OpenInputBytes Malformed",
        // Events.
        "CircuitRegistered TaskSubmitted LeaseGranted AttemptStarted LeaseRevoked TaskRequeued TaskCompleted",
        "TaskFailed TaskCancelled WorkerRegistered WorkerDraining WorkerLost TaskForgotten",
        // Reasons.
        "AttemptsExhausted DeadlinePassed Permanent",
    ]
    .iter()
    .flat_map(|line| line.split(' '))
    .map(str::to_owned)
    .collect();
    let missing: Vec<_> = expected.difference(&seen).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}
