//! A node that is stopped with work in hand and started again on the same files.

use crate::support::{Gate, LONG_LEASE, Rig, Worker, real_prover, submission};
use std::time::Duration;
use zkpnet::ledger::{TaskId, TaskStatus};

async fn fill(rig: &Rig, numbers: std::ops::Range<u64>) -> Vec<TaskId> {
    let submissions = numbers.map(|number| rig.tasks.submit(submission(number)));
    let accepted = futures_util::future::join_all(submissions).await;
    accepted.into_iter().map(|accepted| accepted.unwrap().task).collect()
}

async fn finish(rig: Rig, tasks: &[TaskId]) {
    for task in tasks {
        let view = rig.ended(*task).await;
        assert_eq!(view.task.status(), TaskStatus::Completed);
        assert!(view.proof.is_some());
    }
    let counters = rig.counters();
    assert_eq!(
        (counters.tasks_submitted, counters.tasks_completed),
        (tasks.len() as u64, tasks.len() as u64)
    );
    rig.stop().await;
}

#[actix_rt::test]
async fn every_acknowledged_task_completes_once_after_a_stop_without_warning() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = Vec::new();
    for round in 0..3 {
        let gate = Gate::closed();
        let rig = Rig::single(folder.path(), Worker::Session(gate.prover()), LONG_LEASE).await;
        tasks.extend(fill(&rig, round * 4..(round + 1) * 4).await);
        rig.ledger_says("one is being proved", |ledger| {
            (ledger.count(TaskStatus::InProgress) == 1).then_some(())
        })
        .await;
        rig.stop().await;
    }
    let rig = Rig::single(folder.path(), Worker::Session(real_prover()), LONG_LEASE).await;
    finish(rig, &tasks).await;
}

#[actix_rt::test]
async fn a_drained_stop_costs_no_task_an_attempt() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::closed();
    let rig = Rig::single(folder.path(), Worker::Session(gate.prover()), LONG_LEASE).await;
    let tasks = fill(&rig, 0..4).await;
    rig.ledger_says("one is being proved", |ledger| {
        (ledger.count(TaskStatus::InProgress) == 1).then_some(())
    })
    .await;
    rig.session.as_ref().unwrap().drain(Duration::from_millis(50)).await;
    assert_eq!(rig.raft.with_ledger(|ledger| ledger.leases().count()), 0);
    rig.stop().await;
    drop(gate);
    let rig = Rig::single(folder.path(), Worker::Session(real_prover()), LONG_LEASE).await;
    for task in &tasks {
        assert_eq!(rig.ended(*task).await.task.attempts_used, 0);
    }
    finish(rig, &tasks).await;
}

#[actix_rt::test]
async fn a_finished_task_and_its_proof_are_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::Session(real_prover()), LONG_LEASE).await;
    let task = rig.submit(1).await;
    let before = rig.ended(task).await;
    rig.stop().await;
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let after = rig.view(task).await;
    assert_eq!((after.task, after.proof), (before.task, before.proof));
    rig.stop().await;
}
