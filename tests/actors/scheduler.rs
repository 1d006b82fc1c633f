//! The scheduler: who gets which task when, and what it believes.

use crate::support::{LONG_LEASE, Options, Rig, Worker, poll_until, quick_policy, real_prover, submission};
use crate::workers::{Hand, lease_of, proof_of};
use std::time::Duration;
use zkpnet::actors::events::{Leadership, LeadershipChanged};
use zkpnet::actors::worker_registry::News;
use zkpnet::ledger::{FailureReason, Ledger, Policy, Priority, TaskState, TaskStatus, Term};

/// Waits until what a new leader proposes by itself is in the ledger.
async fn settled(rig: &Rig) {
    rig.ledger_says("limits and circuit are there", |ledger| {
        (*ledger.policy() == quick_policy() && ledger.circuits().count() == 1).then_some(())
    })
    .await;
}

#[actix_rt::test]
async fn leadership_enables_and_disables_the_scheduler() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::lone(folder.path(), Worker::None, Options::default()).await;
    assert!(!rig.scheduler.is_enabled());
    rig.found().await;
    settled(&rig).await;
    let truth = rig.node.leadership();
    assert_eq!(truth.role, Leadership::Leading);

    rig.scheduler
        .tell_leadership(LeadershipChanged { role: Leadership::Following, ..truth.clone() })
        .unwrap();
    poll_until("it is disabled", async || (!rig.scheduler.is_enabled()).then_some(())).await;
    let task = rig.submit(1).await;
    let mut hand = Hand::join(&rig, "hand", 1).await;
    // Every one of these is an entry; an enabled scheduler would have granted the lease among them.
    for number in 2..20 {
        rig.submit(number).await;
    }
    assert_eq!(rig.counters().leases_granted, 0, "a disabled scheduler granted a lease");

    rig.scheduler.tell_leadership(truth).unwrap();
    assert_eq!(hand.assignment().await.task, task);
    assert!(rig.scheduler.is_enabled());
    rig.stop().await;
}

#[actix_rt::test]
async fn the_scheduler_stops_with_raft() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    rig.raft.shutdown().await.unwrap();
    poll_until("it is disabled", async || (!rig.scheduler.is_enabled()).then_some(())).await;
    rig.guardian.retire().await;
}

/// Its term is not the log's: whatever it proposes is appended and refused.
#[actix_rt::test]
async fn a_scheduler_that_believes_in_another_term_gets_no_lease() {
    for difference in [-1, 1, 100] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
        settled(&rig).await;
        let truth = rig.node.leadership();
        let term = Term(truth.term.0.checked_add_signed(difference).unwrap());
        rig.scheduler.tell_leadership(LeadershipChanged { term, role: Leadership::Leading }).unwrap();
        let task = rig.submit(1).await;
        // Only now is there anybody to give it to: a round that was begun before, in the true term, finds nobody.
        rig.employ("worker", real_prover()).await.registered().await;
        let begin = rig.raft.with_ledger(Ledger::applied);
        // Nobody else proposes anything now.
        rig.ledger_says("several grants were decided", |ledger| {
            (ledger.applied().0 >= begin.0 + 3).then_some(())
        })
        .await;
        let view = rig.view(task).await;
        assert_eq!((view.task.status(), view.task.attempts.len()), (TaskStatus::Pending, 0));
        assert_eq!(rig.counters().leases_granted, 0);
        rig.scheduler.tell_leadership(truth).unwrap();
        assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
        assert_eq!(rig.counters().leases_granted, 1);
        rig.stop().await;
    }
}

#[actix_rt::test]
async fn the_ledger_decides_by_the_leaders_configured_limits() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy { max_attempts_default: 2, ..quick_policy() };
    let options = Options { policy: policy.clone(), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    rig.ledger_says("the limits hold", |ledger| (*ledger.policy() == policy).then_some(())).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn the_urgent_go_first_and_equals_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut tasks = Vec::new();
    for (number, priority) in
        [Priority::Low, Priority::Normal, Priority::Normal, Priority::High].into_iter().enumerate()
    {
        let mut request = submission(number as u64);
        request.options.priority = priority;
        tasks.push(rig.tasks.submit(request).await.unwrap().task);
    }
    let mut hand = Hand::join(&rig, "hand", 1).await;
    for expected in [3, 1, 2, 0] {
        let assignment = hand.assignment().await;
        assert_eq!(assignment.task, tasks[expected]);
        hand.report(lease_of(&assignment), proof_of(assignment)).await.unwrap();
    }
    rig.stop().await;
}

#[actix_rt::test]
async fn a_back_off_that_ends_is_enough_to_try_again() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut hand = Hand::join(&rig, "hand", 1).await;
    let task = rig.submit(1).await;
    let cause = zkpnet::ledger::FailureCause::new(zkpnet::ledger::FailureKind::ProverError, "as planned");
    for attempt in 1..=3 {
        let assignment = hand.assignment().await;
        assert_eq!((assignment.task, assignment.attempt.0), (task, attempt));
        hand.report(lease_of(&assignment), News::Failed(cause.clone())).await.unwrap();
    }
    let assignment = hand.assignment().await;
    hand.report(lease_of(&assignment), proof_of(assignment)).await.unwrap();
    assert_eq!(rig.view(task).await.task.attempts_used, 3);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_task_that_nobody_proves_fails_at_its_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut request = submission(1);
    request.options.deadline = Some(Duration::from_millis(200));
    let task = rig.tasks.submit(request).await.unwrap().task;
    let view = rig.ended(task).await;
    assert!(
        matches!(view.task.state, TaskState::Failed { reason: FailureReason::DeadlinePassed, .. }),
        "{:?}",
        view.task.state
    );
    rig.stop().await;
}

#[actix_rt::test]
async fn a_submission_shares_an_entry_with_its_lease_when_somebody_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut hand = Hand::join(&rig, "hand", 1).await;
    let mut number = 0;
    poll_until("one entry holds both", async || {
        let before = rig.raft.with_ledger(Ledger::applied);
        let task = rig.submit(number).await;
        let assignment = hand.assignment().await;
        assert_eq!(assignment.task, task);
        let after = rig.raft.with_ledger(Ledger::applied);
        // A second task comes while nobody is free, and waits.
        let next = rig.submit(number + 1).await;
        hand.report(lease_of(&assignment), proof_of(assignment)).await.unwrap();
        let assignment = hand.assignment().await;
        assert_eq!(assignment.task, next);
        hand.report(lease_of(&assignment), proof_of(assignment)).await.unwrap();
        number += 2;
        (after.0 - before.0 == 1).then_some(())
    })
    .await;
    assert_eq!(rig.counters().leases_granted, number);
    rig.stop().await;
}
