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
