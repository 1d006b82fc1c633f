//! What happens when something is full: an answer at once, and nothing half done.

use crate::stall::{ask_to_panic, poll_once, stall};
use crate::support::{
    Gate, LIMIT, LONG_LEASE, Options, Rig, Worker, poll_until, submission, uncached, waiting_for,
};
use crate::workers::{Hand, lease_of, proof_of};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use zkpnet::actors::events::Subscriber;
use zkpnet::actors::tasks::messages::TaskError;
use zkpnet::ledger::{Event, TaskStatus};

/// More than any mailbox holds.
const MANY: usize = 10_000;

fn is_overloaded<T>(poll: &Poll<Result<T, TaskError>>) -> bool {
    matches!(poll, Poll::Ready(Err(TaskError::Overloaded(_))))
}

#[actix_rt::test]
async fn a_full_mailbox_answers_overloaded_at_once_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let stalled = stall(|| rig.tasks.health()).await;
    let mut waiting = Vec::new();
    for _ in 0..MANY {
        let mut request = Box::pin(rig.tasks.circuits());
        match poll_once(&mut request) {
            Poll::Pending => waiting.push(request),
            refused => {
                assert!(is_overloaded(&refused), "{refused:?}");
                break;
            }
        }
    }
    assert!(waiting.len() < MANY, "the mailbox has no end");
    assert!(is_overloaded(&poll_once(&mut Box::pin(rig.tasks.submit(submission(1))))));
    drop(stalled);
    for request in waiting {
        request.await.expect("what was taken is answered");
    }
    assert_eq!(rig.counters().tasks_submitted, 0);
    rig.submit(1).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_full_reducer_queue_answers_overloaded_and_nothing_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { reducer_queue: 2, ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    let gate = Gate::closed();
    gate.fill(&rig.reducer).await;
    let refused = rig.tasks.submit(submission(1)).await;
    assert!(matches!(refused, Err(TaskError::Overloaded(_))), "{refused:?}");
    assert_eq!(rig.counters().tasks_submitted, 0);
    gate.open();
    poll_until("there is room again", async || rig.tasks.submit(submission(1)).await.ok()).await;
    assert_eq!(rig.counters().tasks_submitted, 1);
    rig.stop().await;
}

/// As many submissions in hand as there may be, one more that makes the front desk panic, and news in its mailbox behind
/// that: the rebuilt front desk takes requests, and who waited is woken all the same.
#[actix_rt::test]
async fn a_rebuilt_front_desk_wakes_those_whose_news_went_down_with_its_predecessor() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { reducer_queue: 2_000, ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    let mut hand = Hand::join(&rig, "hand", 1).await;
    let task = rig.submit(1).await;
    let assignment = hand.assignment().await;
    let mut wait = Box::pin(rig.tasks.wait(waiting_for(task, LIMIT)));
    assert!(poll_once(&mut wait).is_pending());

    let gate = Gate::closed();
    gate.hold(&rig.reducer).await;
    let mut in_hand = Vec::new();
    loop {
        assert!(in_hand.len() < MANY, "submissions in hand have no bound");
        let mut submission = Box::pin(rig.tasks.submit(uncached(2)));
        let mut answer = poll_once(&mut submission);
        if answer.is_pending() {
            // Asked after it, and so answered after it was taken or refused.
            rig.tasks.circuits().await.unwrap();
            answer = poll_once(&mut submission);
        }
        if answer.is_ready() {
            assert!(is_overloaded(&answer), "{answer:?}");
            break;
        }
        in_hand.push(submission);
    }

    let completed = Arc::new(Mutex::new(false));
    let heard = Arc::clone(&completed);
    let after_the_front_desk = Subscriber {
        leadership: Box::new(|_| Ok(())),
        committed: Box::new(move |news| {
            *heard.lock().unwrap() |=
                news.events.iter().any(|event| matches!(event, Event::TaskCompleted(_)));
            Ok(())
        }),
    };
    rig.node.subscribe(after_the_front_desk).unwrap();
    let stalled = stall(|| rig.tasks.health()).await;
    let _panics = ask_to_panic(rig.tasks.submit(uncached(2)));
    hand.report(lease_of(&assignment), proof_of(assignment)).await.unwrap();
    poll_until("the news is in the mailbox", async || completed.lock().unwrap().then_some(())).await;
    drop(stalled);

    let view = tokio::time::timeout(LIMIT * 2, wait).await.unwrap().unwrap();
    assert_eq!(view.task.status(), TaskStatus::Completed, "its end was missed");
    gate.open();
    poll_until("the front desk takes submissions", async || rig.tasks.submit(submission(3)).await.ok()).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_registry_that_missed_an_election_notices_silent_workers_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { lease: crate::support::SHORT_LEASE, ..Options::default() };
    let rig = Rig::lone(folder.path(), Worker::None, options).await;
    let stalled = stall(|| rig.registry.fleet()).await;
    let mut waiting = Vec::new();
    loop {
        let mut request = Box::pin(rig.registry.fleet());
        let is_refused = poll_once(&mut request).is_ready();
        waiting.push(request);
        assert!(waiting.len() < MANY, "the mailbox has no end");
        if is_refused {
            break;
        }
    }
    rig.found().await;
    drop(stalled);
    drop(waiting);
    let hand = poll_until("the mailbox is empty", async || rig.registry.fleet().await.ok()).await;
    assert_eq!(hand, []);
    let hand = Hand::join(&rig, "hand", 1).await;
    rig.ledger_says("the silent worker is lost", |ledger| {
        (ledger.worker(&hand.name)?.state == zkpnet::ledger::WorkerState::Lost).then_some(())
    })
    .await;
    rig.stop().await;
}
