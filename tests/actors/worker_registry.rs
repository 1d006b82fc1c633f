//! The worker registry: who is alive, who holds what, and what late news is worth.

use crate::support::{LONG_LEASE, Options, Rig, SHORT_LEASE, Worker, members, poll_until, real_prover};
use crate::workers::{Hand, lease_of, proof_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use zkpnet::actors::ask::AskError;
use zkpnet::actors::tasks::messages::Cancel;
use zkpnet::actors::worker_registry::{News, Order, WorkerError, WorkerLink};
use zkpnet::ledger::{
    Attempt, AttemptEnd, FailureCause, FailureKind, FailureReason, Rejection, Task, TaskState, TaskStatus,
    TenantId, WorkerState,
};
use zkpnet::raft::{InProcessNetwork, NodeId};

fn end_of(task: &Task, attempt: u32) -> Option<&AttemptEnd> {
    let record = task.attempts.iter().find(|record| record.attempt == Attempt(attempt))?;
    record.end.as_ref().map(|(_, end)| end)
}

fn failure() -> News {
    News::Failed(FailureCause::new(FailureKind::ProverError, "as planned"))
}

#[actix_rt::test]
async fn a_silent_workers_task_goes_to_another_and_its_late_failure_undoes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, SHORT_LEASE).await;
    let mut silent = Hand::join(&rig, "silent", 1).await;
    let task = rig.submit(1).await;
    let assignment = silent.assignment().await;
    let _session = rig.employ("other", real_prover()).await;
    let view = rig.ended(task).await;
    assert_eq!(view.task.status(), TaskStatus::Completed);
    assert_eq!(end_of(&view.task, 1), Some(&AttemptEnd::WorkerLost));
    assert_eq!(view.task.attempts.last().unwrap().worker.as_str(), "other");

    let before = rig.view(task).await.task;
    for news in [failure(), News::GivenBack, News::Started, proof_of(assignment)] {
        let refused = silent.report((task, Attempt(1)), news).await;
        let finished = Rejection::TaskFinished { task, status: TaskStatus::Completed };
        assert_eq!(refused, Err(WorkerError::Refused(finished)));
    }
    assert_eq!(rig.view(task).await.task, before);
    rig.stop().await;
}

#[actix_rt::test]
async fn the_late_proof_of_a_lost_worker_counts_while_the_task_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, SHORT_LEASE).await;
    let mut silent = Hand::join(&rig, "silent", 1).await;
    let task = rig.submit(1).await;
    let assignment = silent.assignment().await;
    rig.ledger_says("the worker is lost", |ledger| {
        (ledger.worker(&silent.name)?.state == WorkerState::Lost).then_some(())
    })
    .await;
    let stale = Rejection::StaleAttempt { task, attempt: Attempt(1) };
    assert_eq!(silent.report((task, Attempt(1)), failure()).await, Err(WorkerError::Refused(stale)));
    assert!(rig.view(task).await.task.is_open(), "a late failure undid something");
    silent.report((task, Attempt(1)), proof_of(assignment)).await.unwrap();
    let view = rig.ended(task).await;
    assert_eq!(view.task.status(), TaskStatus::Completed);
    assert!(view.proof.is_some());
    rig.stop().await;
}

/// The late proof comes while another worker holds the task: that one is told to stop.
#[actix_rt::test]
async fn a_late_proof_that_wins_revokes_the_lease_of_who_works_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut first = Hand::join(&rig, "worker", 1).await;
    let task = rig.submit(1).await;
    let assignment = first.assignment().await;
    first.hang_up();
    let mut second = Hand::join(&rig, "worker", 1).await;
    assert_eq!(second.assignment().await.attempt, Attempt(2));
    first.report((task, Attempt(1)), proof_of(assignment)).await.unwrap();
    match second.order().await {
        Order::Revoke { task: revoked, attempt } => assert_eq!((revoked, attempt), (task, Attempt(2))),
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.counters().tasks_completed, 1);
    rig.stop().await;
}

#[actix_rt::test]
async fn heartbeats_keep_a_lease_while_a_silent_worker_of_the_same_age_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, SHORT_LEASE).await;
    let mut steady = Hand::join(&rig, "steady", 1).await;
    let task = rig.submit(1).await;
    let lease = lease_of(&steady.assignment().await);
    for round in 0..2 {
        let silent = Hand::join(&rig, &format!("silent-{round}"), 1).await;
        poll_until("the silent worker is lost", async || {
            steady.beat(&[lease]).await.unwrap();
            let is_lost = |ledger: &zkpnet::ledger::Ledger| {
                ledger.worker(&silent.name).unwrap().state == WorkerState::Lost
            };
            rig.raft.with_ledger(is_lost).then_some(())
        })
        .await;
    }
    let view = rig.view(task).await;
    assert_eq!(view.task.lease().map(|lease| lease.attempt), Some(Attempt(1)), "{:?}", view.task);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_worker_silent_for_half_its_lease_is_a_suspect_until_it_is_heard_or_lost() {
    let folder = tempfile::tempdir().unwrap();
    let lease = Duration::from_secs(2);
    let rig = Rig::single(folder.path(), Worker::None, lease).await;
    let hand = Hand::join(&rig, "hand", 1).await;
    let suspects = async |count: u64| (rig.registry.suspect_count() == count).then_some(());
    assert_eq!(rig.registry.suspect_count(), 0);
    poll_until("it is a suspect", async || suspects(1).await).await;
    assert_eq!(rig.tasks.health().await.unwrap().workers.suspect, 1);
    assert_eq!(rig.raft.with_ledger(|ledger| ledger.worker(&hand.name).unwrap().state), WorkerState::Active);
    hand.beat(&[]).await.unwrap();
    poll_until("it was heard", async || suspects(0).await).await;
    poll_until("it is a suspect again", async || suspects(1).await).await;
    rig.ledger_says("the worker is lost", |ledger| {
        (ledger.worker(&hand.name)?.state == WorkerState::Lost).then_some(())
    })
    .await;
    poll_until("a lost one is no suspect", async || suspects(0).await).await;
    rig.stop().await;
}

/// A coordinator that was stopped for longer than a lease has heard nobody, for which nobody is to blame.
#[actix_rt::test]
async fn time_in_which_the_leader_did_not_run_costs_no_worker_its_lease() {
    let folder = tempfile::tempdir().unwrap();
    let lease = Duration::from_secs(2);
    let rig = Rig::single(folder.path(), Worker::None, lease).await;
    let (sender, orders) = mpsc::unbounded_channel();
    let link: WorkerLink = Arc::new(move |order: Order| {
        if matches!(order, Order::Assign(_)) {
            // Orders are pushed on the registry's own thread: it looks after nobody meanwhile.
            std::thread::sleep(lease * 2);
        }
        sender.send(order).map_err(|_| AskError::Stopped("the test's worker"))
    });
    let mut hand = Hand::join_by(&rig, "hand", 1, link, orders).await;
    let task = rig.submit(1).await;
    let held = lease_of(&hand.assignment().await);
    // Longer than the registry takes to look, and far shorter than a lease.
    tokio::time::sleep(lease / 4).await;
    hand.beat(&[held]).await.unwrap();
    let state = rig.raft.with_ledger(|ledger| ledger.worker(&hand.name).unwrap().state);
    assert_eq!(state, WorkerState::Active);
    assert_eq!(rig.view(task).await.task.lease().map(|lease| lease.attempt), Some(Attempt(1)));
    rig.ledger_says("silence while it runs does cost it", |ledger| {
        (ledger.worker(&hand.name)?.state == WorkerState::Lost).then_some(())
    })
    .await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_lease_that_its_holders_heartbeats_do_not_speak_of_expires() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, SHORT_LEASE).await;
    let mut hand = Hand::join(&rig, "hand", 2).await;
    let (spoken_of, lost_on_the_way) = (rig.submit(1).await, rig.submit(2).await);
    let leases = [lease_of(&hand.assignment().await), lease_of(&hand.assignment().await)];
    let spoken = *leases.iter().find(|(task, _)| *task == spoken_of).unwrap();
    poll_until("the other lease expires", async || {
        hand.beat(&[spoken]).await.unwrap();
        let view = rig.view(lost_on_the_way).await;
        (end_of(&view.task, 1) == Some(&AttemptEnd::LeaseExpired)).then_some(())
    })
    .await;
    assert_eq!(rig.view(spoken_of).await.task.lease().map(|lease| lease.attempt), Some(Attempt(1)));
    let incarnation = rig.raft.with_ledger(|ledger| ledger.worker(&hand.name).unwrap().incarnation);
    assert_eq!(incarnation, hand.incarnation, "the worker itself was lost");
    rig.stop().await;
}

#[actix_rt::test]
async fn a_new_process_of_the_same_name_is_a_new_life_and_the_old_ones_leases_return() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut old = Hand::join(&rig, "worker", 1).await;
    let task = rig.submit(1).await;
    assert_eq!(old.assignment().await.attempt, Attempt(1));
    assert_eq!(old.register(1).await.unwrap().incarnation, old.incarnation, "the same process, said twice");

    old.hang_up();
    let mut new = Hand::join(&rig, "worker", 1).await;
    assert_eq!(new.incarnation.0, old.incarnation.0 + 1);
    let assignment = new.assignment().await;
    assert_eq!((assignment.task, assignment.attempt), (task, Attempt(2)));
    assert_eq!(end_of(&rig.view(task).await.task, 1), Some(&AttemptEnd::WorkerRestarted));
    assert!(matches!(old.beat(&[]).await, Err(WorkerError::Refused(Rejection::UnknownWorker(_)))));
    new.beat(&[lease_of(&assignment)]).await.unwrap();
    rig.stop().await;
}

#[actix_rt::test]
async fn a_second_process_of_a_workers_name_waits_until_the_first_is_gone_or_silent() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, Duration::from_secs(2)).await;
    let first = Hand::join(&rig, "worker", 1).await;
    let second = Hand::applicant(&rig, "worker");
    let refused = second.register(1).await.unwrap_err();
    assert_eq!(refused, WorkerError::NameInUse(first.name.clone()));
    assert!(refused.to_string().contains("give each worker its own worker.id"), "{refused}");
    first.beat(&[]).await.unwrap();
    assert_eq!(second.register(1).await, Err(WorkerError::NameInUse(first.name.clone())));
    // Its connection stands, and nothing comes: half a lease is enough to make way.
    let registered = poll_until("the silent one makes way", async || second.register(1).await.ok()).await;
    assert_eq!(registered.incarnation.0, first.incarnation.0 + 1);
    let is_lost = rig.raft.with_ledger(|ledger| ledger.worker(&first.name).unwrap().state);
    assert_ne!(is_lost, WorkerState::Lost, "it waited for more than the other's silence");
    rig.stop().await;
}

#[actix_rt::test]
async fn a_coordinator_that_leads_no_more_sends_its_workers_away() {
    let folder = tempfile::tempdir().unwrap();
    let network = InProcessNetwork::default();
    let mut rigs = Vec::new();
    for number in 1..=3 {
        let options = Options { lease: LONG_LEASE, ..Options::default() };
        rigs.push(Rig::member(number, folder.path(), &network, Worker::None, options).await);
    }
    rigs[0].raft.initialize(members(3)).await.unwrap();
    let leading = |rig: &Rig| rig.scheduler.is_enabled().then_some(());
    let old = poll_until("somebody leads", async || rigs.iter().position(|rig| leading(rig).is_some())).await;
    let mut hand = Hand::join(&rigs[old], "worker", 1).await;
    network.isolate(NodeId(old as u64 + 1), (1..=3).map(NodeId));
    // Cut off, it still believes to lead, and yet gives its worker no comfort.
    poll_until("its heartbeats are refused", async || {
        matches!(hand.beat(&[]).await, Err(WorkerError::NotLeader { .. })).then_some(())
    })
    .await;
    // Before that it could find its majority again, and go on.
    poll_until("another one leads", async || {
        rigs.iter().enumerate().any(|(place, rig)| place != old && leading(rig).is_some()).then_some(())
    })
    .await;
    network.heal();
    assert!(matches!(hand.order().await, Order::Reregister));
    assert!(hand.beat(&[]).await.is_err());
    for rig in &rigs {
        rig.guardian.retire().await;
        rig.raft.shutdown().await.unwrap();
    }
}

/// Whose queue takes nothing gets one order, not one after the other.
#[actix_rt::test]
async fn a_worker_whose_queue_is_full_is_given_nothing_before_it_registers_again() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let (sender, orders) = mpsc::unbounded_channel();
    let (is_full, refused) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
    let (full, count) = (Arc::clone(&is_full), Arc::clone(&refused));
    let link: WorkerLink = Arc::new(move |order: Order| {
        if full.load(Ordering::SeqCst) {
            count.fetch_add(usize::from(matches!(order, Order::Assign(_))), Ordering::SeqCst);
            return Err(AskError::Full("the test's worker"));
        }
        sender.send(order).map_err(|_| AskError::Stopped("the test's worker"))
    });
    let mut hand = Hand::join_by(&rig, "hand", 1, link, orders).await;
    let task = rig.submit(1).await;
    rig.ledger_says("the lease is back", |ledger| (ledger.counters().leases_returned > 0).then_some(()))
        .await;
    // Time for many rounds of a scheduler that has a worker to give it to: each of these is an entry and wakes it.
    for number in 2..30 {
        rig.submit(number).await;
    }
    assert_eq!(refused.load(Ordering::SeqCst), 1, "orders to a full queue");
    assert_eq!(rig.counters().leases_granted, 1);
    assert_eq!(rig.view(task).await.task.attempts_used, 0);
    assert!(matches!(hand.beat(&[]).await, Err(WorkerError::Refused(Rejection::UnknownWorker(_)))));

    is_full.store(false, Ordering::SeqCst);
    hand.register(1).await.unwrap();
    let assignment = hand.assignment().await;
    assert_eq!(assignment.task, task);
    hand.report(lease_of(&assignment), proof_of(assignment)).await.unwrap();
    rig.stop().await;
}

/// The registry panics and forgets everybody. The worker registers again, which changes nothing in the ledger and so
/// brings no event; the scheduler must hear of it all the same.
#[actix_rt::test]
async fn a_worker_that_registers_again_with_a_rebuilt_registry_is_given_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let (sender, orders) = mpsc::unbounded_channel();
    let link: WorkerLink = Arc::new(move |order| match order {
        Order::Revoke { .. } => panic!("as planned: the link"),
        order => sender.send(order).map_err(|_| AskError::Stopped("the test's worker")),
    });
    let mut hand = Hand::join_by(&rig, "hand", 1, link, orders).await;
    let withdrawn = rig.submit(1).await;
    assert_eq!(hand.assignment().await.task, withdrawn);
    rig.tasks.cancel(Cancel { tenant: TenantId::DEFAULT, task: withdrawn }).await.unwrap();
    poll_until("the registry has forgotten the worker", async || {
        matches!(hand.beat(&[]).await, Err(WorkerError::Refused(Rejection::UnknownWorker(_)))).then_some(())
    })
    .await;
    let task = rig.submit(2).await;
    for number in 3..10 {
        rig.submit(number).await;
    }
    assert_eq!(hand.register(1).await.unwrap().incarnation, hand.incarnation);
    assert_eq!(hand.assignment().await.task, task);
    rig.stop().await;
}

#[actix_rt::test]
async fn an_unreadable_input_fails_its_task_once_and_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let task = rig.submit(1).await;
    rig.stop().await;
    let options = Options { data_key: [8; 32], ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::Session(real_prover()), options).await;
    let view = rig.ended(task).await;
    match &view.task.state {
        TaskState::Failed { reason: FailureReason::Permanent(cause), .. } => {
            assert_eq!(cause.kind, FailureKind::InputUnreadable);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((view.task.attempts.len(), rig.counters().leases_granted), (1, 1));
    let good = rig.submit(2).await;
    assert_eq!(rig.ended(good).await.task.status(), TaskStatus::Completed, "another task");
    rig.stop().await;
}
