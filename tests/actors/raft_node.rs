//! The Raft node: the door to the ledger.

use crate::stall::poll_once;
use crate::support::{LONG_LEASE, Options, Rig, Worker, poll_until, quick_policy, real_prover, submission};
use std::sync::{Arc, Mutex};
use zkpnet::actors::ask::AskError;
use zkpnet::actors::events::{Committed, Completeness, Leadership, LeadershipChanged, Subscriber};
use zkpnet::actors::raft_node::QueryError;
use zkpnet::actors::tasks::messages::{Consistency, GetTask, TaskError};
use zkpnet::ledger::{Command, Event, Ledger, TaskId, TaskStatus, TenantId};
use zkpnet::raft::ProposeError;

type Heard<T> = Arc<Mutex<Vec<T>>>;

/// A subscriber that notes what it hears, and whose mailbox is full as long as `is_full` says so.
fn listener(is_full: &Arc<Mutex<bool>>) -> (Subscriber, Heard<LeadershipChanged>, Heard<Committed>) {
    let (leaders, news) = (Heard::default(), Heard::default());
    let (note_leader, note_news) = (Arc::clone(&leaders), Arc::clone(&news));
    let (full, also_full) = (Arc::clone(is_full), Arc::clone(is_full));
    let room =
        |is_full: &Mutex<bool>| if *is_full.lock().unwrap() { Err(AskError::Full("it")) } else { Ok(()) };
    let subscriber = Subscriber {
        leadership: Box::new(move |message| room(&full).map(|()| note_leader.lock().unwrap().push(message))),
        committed: Box::new(move |message| {
            room(&also_full).map(|()| note_news.lock().unwrap().push(message))
        }),
    };
    (subscriber, leaders, news)
}

#[actix_rt::test]
async fn a_question_that_panics_costs_its_asker_an_answer_and_nobody_else_anything() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::Session(real_prover()), LONG_LEASE).await;
    let before = rig.submit(1).await;
    for _ in 0..3 {
        poll_until("it answers questions", async || rig.node.local(|_: &Ledger| ()).await.ok()).await;
        let answer = rig.node.local(|_: &Ledger| -> () { panic!("as planned: the question") }).await;
        assert_eq!(answer, Err(QueryError::Ask(AskError::NoReply("raft node"))));
    }
    let after = poll_until("it takes proposals", async || rig.tasks.submit(submission(2)).await.ok()).await;
    for task in [before, after.task] {
        assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    }
    rig.stop().await;
}

#[actix_rt::test]
async fn listeners_of_a_rebuilt_raft_node_are_told_to_read_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let (subscriber, leaders, news) = listener(&Arc::default());
    rig.node.subscribe(subscriber).unwrap();
    poll_until("it hears who leads", async || leaders.lock().unwrap().pop()).await;
    news.lock().unwrap().clear();
    let _ = rig.node.local(|_: &Ledger| -> () { panic!("as planned: the question") }).await;
    poll_until("it hears of a gap", async || {
        let mut news = news.lock().unwrap();
        news.drain(..).find(|committed| committed.completeness == Completeness::AfterGap)
    })
    .await;
    let told = poll_until("it hears again who leads", async || leaders.lock().unwrap().pop()).await;
    assert_eq!(told.role, Leadership::Leading);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_listener_whose_mailbox_was_full_is_told_of_the_gap_once_it_has_room() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let is_full = Arc::default();
    let (subscriber, leaders, news) = listener(&is_full);
    rig.node.subscribe(subscriber).unwrap();
    poll_until("it hears who leads", async || leaders.lock().unwrap().pop()).await;
    *is_full.lock().unwrap() = true;
    // Behind it is one whose mailbox has room: when that one has heard, the first was told in vain.
    let (behind, _, heard) = listener(&Arc::default());
    rig.node.subscribe(behind).unwrap();
    let task = rig.submit(1).await;
    let is_submission = |event: &Event| matches!(event, Event::TaskSubmitted { .. });
    poll_until("the news is told", async || {
        let mut heard = heard.lock().unwrap();
        heard.drain(..).find(|committed| committed.events.iter().any(is_submission))
    })
    .await;
    *is_full.lock().unwrap() = false;
    let first = poll_until("it hears of a gap", async || {
        let mut news = news.lock().unwrap();
        news.drain(..).find(|committed| committed.completeness == Completeness::AfterGap)
    })
    .await;
    let knows_task = rig.raft.with_ledger(|ledger| ledger.task(task).is_some());
    assert!(knows_task && first.index <= rig.raft.with_ledger(Ledger::applied));
    rig.stop().await;
}

#[actix_rt::test]
async fn a_proposal_whose_proposer_went_away_is_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let task = rig.submit(1).await;
    let cancel = Command::CancelTask { tenant: TenantId::DEFAULT, task, at: rig.node.now() };
    let mut proposal = Box::pin(rig.node.propose(cancel));
    assert!(poll_once(&mut proposal).is_pending());
    drop(proposal);
    rig.ledger_says("the task is withdrawn", |ledger| {
        (ledger.task(task)?.status() == TaskStatus::Cancelled).then_some(())
    })
    .await;
    rig.stop().await;
}

#[actix_rt::test]
async fn without_a_leader_everything_but_stale_reads_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::lone(folder.path(), Worker::None, Options::default()).await;
    assert!(matches!(rig.tasks.submit(submission(1)).await, Err(TaskError::NoLeader { .. })));
    let task = TaskId(uuid::Uuid::now_v7());
    let get = |consistency| rig.tasks.get(GetTask { tenant: TenantId::DEFAULT, task, consistency });
    assert!(matches!(get(Consistency::Linearizable).await, Err(TaskError::NoLeader { .. })));
    assert!(matches!(get(Consistency::Stale).await, Err(TaskError::UnknownTask(_))));
    assert!(!rig.tasks.health().await.unwrap().raft.is_leader);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_stopped_raft_says_for_sure_that_nothing_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    rig.raft.shutdown().await.unwrap();
    let refused = rig.node.propose(Command::SetPolicy(quick_policy())).await;
    assert!(matches!(&refused, Err(error) if error.is_refused()), "{refused:?}");
    assert!(matches!(refused, Err(ProposeError::Stopped)));
    assert!(matches!(rig.tasks.submit(submission(1)).await, Err(TaskError::Unavailable(_))));
    rig.guardian.retire().await;
}
