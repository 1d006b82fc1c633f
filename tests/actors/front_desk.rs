//! The front desk: submissions, reads, waiting.

use crate::stall::poll_once;
use crate::support::{LIMIT, LONG_LEASE, Rig, Worker, real_prover, submission, uncached, waiting_for};
use crate::workers::{Hand, lease_of, proof_of};
use rand_core::{OsRng, RngCore};
use std::time::Duration;
use zkpnet::actors::tasks::messages::{Cancel, Consistency, ListTasks, Statement, Submit, TaskError};
use zkpnet::ledger::{BodyKey, IdempotencyKey, KeyAnswer, Priority, Task, TaskFilter, TaskStatus, TenantId};
use zkpnet::proof::Bytes32;

async fn all_tasks(rig: &Rig) -> Vec<Task> {
    let request = ListTasks {
        tenant: TenantId::DEFAULT,
        filter: TaskFilter::default(),
        before: None,
        limit: 1000,
        consistency: Consistency::Linearizable,
    };
    rig.tasks.list(request).await.unwrap().tasks
}

#[actix_rt::test]
async fn a_submitted_task_is_proved_verified_and_shown_to_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::Session(real_prover()), Duration::from_secs(10)).await;
    let task = rig.submit(1).await;
    let view = rig.ended(task).await;
    assert_eq!(view.task.status(), TaskStatus::Completed, "{view:?}");
    assert_eq!(view.proof.unwrap().len(), 192);
    rig.stop().await;
}

#[actix_rt::test]
async fn an_equal_request_gets_the_first_task_unless_it_asks_for_a_new_proof() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let first = rig.tasks.submit(submission(1)).await.unwrap();
    let second = rig.tasks.submit(submission(1)).await.unwrap();
    assert_eq!((second.task, second.answer), (first.task, KeyAnswer::Cached));
    let third = rig.tasks.submit(uncached(1)).await.unwrap();
    assert_eq!(third.answer, KeyAnswer::Submitted);
    assert_ne!(third.task, first.task);
    let mut urgent = submission(1);
    urgent.options.priority = Priority::High;
    assert_eq!(rig.tasks.submit(urgent).await.unwrap().answer, KeyAnswer::Submitted, "another manner");
    let mut others = submission(1);
    others.tenant = TenantId(5);
    assert_eq!(rig.tasks.submit(others).await.unwrap().answer, KeyAnswer::Submitted, "another tenant");
    rig.stop().await;
}

#[actix_rt::test]
async fn an_idempotency_key_repeats_its_first_answer_and_refuses_another_request() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let with_key = |number| Submit {
        idempotency_key: Some(IdempotencyKey::new("order 66").unwrap()),
        ..uncached(number)
    };
    let first = rig.tasks.submit(with_key(1)).await.unwrap();
    let again = rig.tasks.submit(with_key(1)).await.unwrap();
    assert_eq!((again.task, again.answer), (first.task, first.answer));
    assert_eq!(rig.tasks.submit(with_key(2)).await, Err(TaskError::IdempotencyConflict));
    assert_eq!(all_tasks(&rig).await.len(), 1);
    rig.stop().await;
}

#[actix_rt::test]
async fn waiting_for_a_finished_task_does_not_wait() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::Session(real_prover()), LONG_LEASE).await;
    let task = rig.submit(1).await;
    rig.ended(task).await;
    let long = rig.tasks.wait(waiting_for(task, Duration::from_secs(86_400)));
    let view = tokio::time::timeout(LIMIT, long).await.expect("it waited").unwrap();
    assert_eq!(view.task.status(), TaskStatus::Completed);
    rig.stop().await;
}

#[actix_rt::test]
async fn waiting_shows_the_task_as_it_is_when_its_limit_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let task = rig.submit(1).await;
    for limit in [Duration::ZERO, Duration::from_millis(50)] {
        let view = rig.tasks.wait(waiting_for(task, limit)).await.unwrap();
        assert_eq!(view.task.status(), TaskStatus::Pending);
        assert!(view.waiting_for.is_some() && view.proof.is_none());
    }
    rig.stop().await;
}

#[actix_rt::test]
async fn everybody_who_waits_hears_of_the_end_whatever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let (proved, withdrawn) = (rig.submit(1).await, rig.submit(2).await);
    let wait = |task| rig.tasks.wait(waiting_for(task, LIMIT));
    let waits = futures_util::future::join_all([proved, proved, withdrawn, withdrawn].map(wait));
    let ends = async {
        let cancel = Cancel { tenant: TenantId::DEFAULT, task: withdrawn };
        rig.tasks.cancel(cancel).await.unwrap();
        let mut hand = Hand::join(&rig, "hand", 1).await;
        let assignment = hand.assignment().await;
        hand.report(lease_of(&assignment), proof_of(assignment)).await.unwrap();
        rig.tasks.cancel(cancel).await.expect("to withdraw twice is harmless");
    };
    let (views, ()) = tokio::join!(waits, ends);
    let statuses: Vec<_> = views.into_iter().map(|view| view.unwrap().task.status()).collect();
    use TaskStatus::{Cancelled, Completed};
    assert_eq!(statuses, [Completed, Completed, Cancelled, Cancelled]);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_request_that_makes_no_sense_is_refused_with_its_field_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let leaf = Bytes32::new([1; 32]);
    let statements = [
        ("leaves", Statement::MerkleLeaves { leaves: vec![], leaf_index: 0 }),
        ("leaf_index", Statement::MerkleLeaves { leaves: vec![leaf], leaf_index: 1 }),
        ("path", Statement::MerklePath { leaf, leaf_index: 0, path: vec![leaf; 33], root: leaf }),
        ("path", Statement::MerklePath { leaf, leaf_index: 0, path: vec![leaf], root: leaf }),
        (
            "path[0]",
            Statement::MerklePath { leaf, leaf_index: 0, path: vec![Bytes32::new([0xff; 32])], root: leaf },
        ),
        ("leaf_index", Statement::MerklePath { leaf, leaf_index: 2, path: vec![leaf], root: leaf }),
    ];
    for (number, (expected, statement)) in statements.into_iter().enumerate() {
        match rig.tasks.submit(Submit { statement, ..submission(1) }).await {
            Err(TaskError::Invalid { field, .. }) => assert_eq!(field, expected, "statement {number}"),
            other => panic!("statement {number}: {other:?}"),
        }
    }
    assert_eq!(all_tasks(&rig).await, []);
    rig.stop().await;
}

/// However far a submission had come when its client went away.
#[actix_rt::test]
async fn a_client_that_hangs_up_leaves_a_whole_task_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    for polls in 0..12 {
        let mut submission = Box::pin(rig.tasks.submit(uncached(1)));
        for _ in 0..polls {
            if poll_once(&mut submission).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    let mut acknowledged = 0;
    for _ in 0..12 {
        let moment = Duration::from_micros(OsRng.next_u64() % 4_000);
        acknowledged +=
            usize::from(tokio::time::timeout(moment, rig.tasks.submit(uncached(1))).await.is_ok());
    }
    // What came before is decided before this: there is one queue.
    rig.submit(2).await;
    let tasks = all_tasks(&rig).await;
    assert!(tasks.len() > acknowledged && tasks.len() <= 24, "{} tasks", tasks.len());
    assert_eq!(rig.counters().tasks_submitted, tasks.len() as u64);
    for task in &tasks {
        let body = rig.node.body(BodyKey::Input(task.id)).await.unwrap();
        assert_eq!(body.map(|body| body.len() as u32), Some(task.input_bytes));
    }
    let _session = rig.employ("worker", real_prover()).await;
    for task in &tasks {
        assert_eq!(rig.ended(task.id).await.task.status(), TaskStatus::Completed);
    }
    assert_eq!(rig.counters().tasks_completed, tasks.len() as u64);
    rig.stop().await;
}
