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
