//! The applied ledger after crashes: its file may fall behind, and together with the log it never loses anything.

use super::support::{
    append, apply, crash_copy, entries, input, log_id, open_log, open_machine, records, replay,
    stored_membership, task_id,
};
use crate::ledger::BodyKey;
use crate::raft::events::AppliedNotice;
use openraft::RaftSnapshotBuilder as _;
use openraft::storage::{RaftLogStorage as _, RaftStateMachine as _};
use std::io::SeekFrom;
use tokio::io::AsyncSeekExt as _;

#[tokio::test]
async fn after_a_crash_the_log_restores_what_the_ledgers_file_lacks() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    let (mut machine, _events) = open_machine(directory.path());
    append(&mut log, entries(0..=50, 200)).await;
    apply(&mut machine, entries(0..=20, 200)).await;
    machine.flush().unwrap();
    apply(&mut machine, entries(21..=50, 200)).await;

    let crashed = crash_copy(directory.path());
    let mut reopened_log = open_log(crashed.path());
    let (mut reopened, _) = open_machine(crashed.path());
    let applied = reopened.applied();
    assert_eq!(
        applied,
        Some(log_id(1, 20)),
        "what was not flushed is gone, as redb says, and nothing else is"
    );
    assert_eq!(reopened.applied_state().await.unwrap().1, stored_membership());
    replay(&mut reopened, &mut reopened_log).await;
    assert_eq!(records(&reopened), records(&machine));
    for number in 2..=50 {
        let body = reopened.reader().body(BodyKey::Input(task_id(number))).unwrap();
        assert_eq!(body, Some(input(number, 200)), "the input of task {number}");
    }
}

#[tokio::test]
async fn a_closed_ledger_reopens_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (mut machine, _events) = open_machine(directory.path());
    apply(&mut machine, entries(0..=30, 50)).await;
    machine.flush().unwrap();
    let before = records(&machine);
    drop(machine);
    let (reopened, _) = open_machine(directory.path());
    assert_eq!(reopened.applied(), Some(log_id(1, 30)));
    assert_eq!(records(&reopened), before);
    assert_eq!(reopened.reader().body(BodyKey::Input(task_id(9))).unwrap(), Some(input(9, 50)));
    assert_eq!(reopened.reader().body(BodyKey::Proof(task_id(9))).unwrap(), None);
}

#[tokio::test]
async fn a_snapshot_is_published_only_when_what_it_holds_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    let (mut machine, _events) = open_machine(directory.path());
    append(&mut log, entries(0..=30, 100)).await;
    apply(&mut machine, entries(0..=30, 100)).await;
    let built = machine.get_snapshot_builder().await.build_snapshot().await.unwrap();
    assert_eq!(built.meta.last_log_id, Some(log_id(1, 30)));
    log.purge(log_id(1, 30)).await.unwrap();

    let crashed = crash_copy(directory.path());
    let (mut reopened, _) = open_machine(crashed.path());
    assert_eq!(reopened.applied(), Some(log_id(1, 30)), "the log no longer has these entries");
    assert_eq!(records(&reopened), records(&machine));
    let current = reopened.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!(current.meta, built.meta);
}

#[tokio::test]
async fn an_installed_snapshot_survives_a_crash_with_its_records_and_bodies() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, _leader_events) = open_machine(from.path());
    apply(&mut leader, entries(0..=30, 300)).await;
    let built = leader.get_snapshot_builder().await.build_snapshot().await.unwrap();

    let (mut follower, mut events) = open_machine(to.path());
    apply(&mut follower, entries(0..=3, 300)).await;
    while let Some(AppliedNotice::Applied(applied)) = events.recv().await {
        if applied.index.0 == 3 {
            break;
        }
    }
    let mut receiving = follower.begin_receiving_snapshot().await.unwrap();
    let mut sent = built.snapshot;
    sent.seek(SeekFrom::Start(0)).await.unwrap();
    tokio::io::copy(&mut sent, &mut receiving).await.unwrap();
    follower.install_snapshot(&built.meta, receiving).await.unwrap();
    assert_eq!(events.recv().await, Some(AppliedNotice::Gap), "no events tell what a snapshot changed");

    let crashed = crash_copy(to.path());
    let (mut reopened, _) = open_machine(crashed.path());
    assert_eq!(records(&reopened), records(&leader));
    assert_eq!(reopened.applied_state().await.unwrap(), (Some(log_id(1, 30)), stored_membership()));
    assert_eq!(reopened.reader().body(BodyKey::Input(task_id(30))).unwrap(), Some(input(30, 300)));
    assert_eq!(reopened.get_current_snapshot().await.unwrap().unwrap().meta, built.meta);
    let parts = std::fs::read_dir(crashed.path().join("snapshots")).unwrap().count();
    assert_eq!(parts, 1, "one snapshot and nothing unfinished");
}

#[tokio::test]
async fn a_crash_between_receiving_a_snapshot_and_taking_it_over_is_mended_at_the_next_start() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut leader, _leader_events) = open_machine(from.path());
    apply(&mut leader, entries(0..=30, 10)).await;
    leader.get_snapshot_builder().await.build_snapshot().await.unwrap();
    let (mut follower, _follower_events) = open_machine(to.path());
    apply(&mut follower, entries(0..=3, 10)).await;
    drop(follower);
    let published = std::fs::read_dir(from.path().join("snapshots")).unwrap().next().unwrap().unwrap();
    std::fs::copy(published.path(), to.path().join("snapshots").join(published.file_name())).unwrap();

    let (reopened, _) = open_machine(to.path());
    assert_eq!(reopened.applied(), Some(log_id(1, 30)));
    assert_eq!(records(&reopened), records(&leader));
}

#[tokio::test]
async fn applying_goes_on_while_a_snapshot_is_built_and_the_snapshot_is_of_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let (mut machine, _events) = open_machine(directory.path());
    apply(&mut machine, entries(0..=200, 2_000)).await;
    let mut builder = machine.get_snapshot_builder().await;
    let building = tokio::spawn(async move { builder.build_snapshot().await.unwrap() });
    for index in 201..=260 {
        apply(&mut machine, entries(index..=index, 2_000)).await;
    }
    let built = building.await.unwrap();
    let index = built.meta.last_log_id.unwrap().index;
    assert!((200..=260).contains(&index));

    let (same, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut expected, _) = open_machine(same.path());
    apply(&mut expected, entries(0..=index, 2_000)).await;
    let (mut installed, _) = open_machine(other.path());
    installed.install_snapshot(&built.meta, built.snapshot).await.unwrap();
    assert_eq!(records(&installed), records(&expected));
}
