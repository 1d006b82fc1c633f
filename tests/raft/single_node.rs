//! One node: what its handle promises.

use crate::support::{
    assert_input, config, has_task, input, poll_until, records, register, start_single, submit, task_id,
};
use std::collections::BTreeSet;
use std::time::Duration;
use zkpnet::ledger::{BodyKey, Command, Event, LogIndex, Rejection, Reply, TenantId, UnixMillis};
use zkpnet::raft::{
    AppliedNotice, InProcessNetwork, NodeId, ProposeError, RaftConfig, RaftService, ReadError, Role,
    StartError, StoreError,
};

const ONE: NodeId = NodeId(1);

#[tokio::test]
async fn a_proposal_is_answered_with_what_the_ledger_said() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, mut events) = start_single(config(ONE, directory.path())).await;
    let first = raft.propose(register()).await.unwrap();
    assert_eq!(first.reply, Ok(Reply::Done));
    let second = raft.propose(submit(7, 100)).await.unwrap();
    assert_eq!(second.reply, Ok(Reply::Submitted { task: task_id(7) }));
    assert!(second.index > first.index);
    let unknown = Command::CancelTask { tenant: TenantId::DEFAULT, task: task_id(8), at: UnixMillis(1) };
    assert_eq!(raft.propose(unknown).await.unwrap().reply, Err(Rejection::UnknownTask(task_id(8))));
    assert_input(&raft, 7, 100).await;
    assert_eq!(raft.body(BodyKey::Proof(task_id(7))).await.unwrap(), None);

    assert!(raft.read_barrier().await.unwrap() >= second.index);
    let Some(AppliedNotice::Applied(applied)) = events.recv().await else { panic!("no event") };
    assert!(matches!(applied.events.as_slice(), [Event::CircuitRegistered(_)]), "{applied:?}");
    assert_eq!((applied.index, applied.term), (first.index, first.term));
    let Some(AppliedNotice::Applied(applied)) = events.recv().await else { panic!("no event") };
    assert!(matches!(applied.events.as_slice(), [Event::TaskSubmitted { .. }]), "{applied:?}");

    let status = raft.status();
    assert_eq!((status.role, status.term, status.fatal.clone()), (Role::Leader, first.term, None));
    assert_eq!(status.leader.as_ref().map(|leader| leader.name.as_str()), Some("one"));
    assert!(status.is_confirmed_leader(Duration::from_secs(5)), "{status:?}");
    raft.shutdown().await.unwrap();
    assert_eq!(events.recv().await, None);
}

#[tokio::test]
async fn a_node_without_a_cluster_and_a_stopped_node_refuse_for_sure() {
    let directory = tempfile::tempdir().unwrap();
    let network = InProcessNetwork::default();
    let (raft, _events) =
        RaftService::start(config(ONE, directory.path()), network.transport(ONE)).await.unwrap();
    assert!(!raft.is_initialized().await.unwrap());
    assert_eq!(raft.cluster_id(), None);
    assert_eq!(raft.propose(register()).await, Err(ProposeError::NotLeader { leader: None }));
    assert_eq!(raft.read_barrier().await, Err(ReadError::NotLeader { leader: None }));
    raft.shutdown().await.unwrap();
    raft.shutdown().await.unwrap();
    assert_eq!(raft.propose(register()).await, Err(ProposeError::Stopped));
    assert_eq!(raft.read_barrier().await, Err(ReadError::Stopped));
    assert!(matches!(raft.body(BodyKey::Input(task_id(1))).await, Err(StoreError::Closed { .. })));
    assert_eq!(raft.status().role, Role::Stopped);
    assert_eq!(raft.watch_status().borrow().role, Role::Stopped);
}

#[tokio::test]
async fn founding_a_cluster_twice_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, _events) = start_single(config(ONE, directory.path())).await;
    let cluster = raft.cluster_id().unwrap();
    let log = raft.status().last_log;
    let members = [(ONE, zkpnet::raft::Member::new("other", "elsewhere"))].into();
    assert_eq!(raft.initialize(members).await.unwrap(), cluster);
    assert_eq!(raft.status().last_log, log);
    assert!(raft.is_initialized().await.unwrap());
}

#[tokio::test]
async fn everything_is_there_after_a_restart_in_the_same_process() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, _events) = start_single(config(ONE, directory.path())).await;
    raft.propose(register()).await.unwrap();
    for number in 0..20 {
        raft.propose(submit(number, 50)).await.unwrap();
    }
    let (before, names) = (records(&raft), (raft.store_id(), raft.cluster_id()));
    let twice =
        RaftService::start(config(ONE, directory.path()), InProcessNetwork::default().transport(ONE)).await;
    assert!(matches!(twice, Err(StartError::Store(StoreError::InUse { .. }))), "{twice:?}");
    raft.shutdown().await.unwrap();
    assert_eq!(records(&raft), before, "a stopped node still shows what it had");

    let (raft, _events) = start_single(config(ONE, directory.path())).await;
    assert_eq!(records(&raft), before);
    assert_eq!((raft.store_id(), raft.cluster_id()), names);
    assert_input(&raft, 19, 50).await;
    raft.propose(submit(20, 50)).await.unwrap().reply.unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_releases_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, _events) = start_single(config(ONE, directory.path())).await;
    raft.propose(register()).await.unwrap();
    let mut status = raft.watch_status();
    drop(raft);
    while status.changed().await.is_ok() {}
    let mut started = None;
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while started.is_none() {
        assert!(std::time::Instant::now() < deadline, "the files are still in use");
        let network = InProcessNetwork::default();
        started = RaftService::start(config(ONE, directory.path()), network.transport(ONE)).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_wait_together_share_an_entry() {
    let directory = tempfile::tempdir().unwrap();
    let (raft, _events) = start_single(config(ONE, directory.path())).await;
    raft.propose(register()).await.unwrap();
    let mut proposals = tokio::task::JoinSet::new();
    for number in 0..1_000 {
        let raft = raft.clone();
        proposals.spawn(async move { raft.propose(submit(number, 30)).await.unwrap() });
    }
    let committed = proposals.join_all().await;
    assert!(committed.iter().all(|committed| committed.reply.is_ok()));
    let entries: BTreeSet<LogIndex> = committed.iter().map(|committed| committed.index).collect();
    assert!(entries.len() <= 500, "1000 commands took {} entries", entries.len());
    assert!((0..1_000).all(|number| has_task(&raft, number)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_for_sure_and_has_no_effect() {
    let directory = tempfile::tempdir().unwrap();
    let limits = RaftConfig {
        proposals_waiting_max: 4,
        entries_in_flight_max: 1,
        entry_commands_max: 2,
        entry_bytes_max: 10_000,
        ..config(ONE, directory.path())
    };
    let (raft, _events) = start_single(limits).await;
    raft.propose(register()).await.unwrap();
    let large = raft.propose(submit(1_000, 20_000)).await;
    assert!(matches!(large, Err(ProposeError::TooLarge { bytes_max: 10_000, .. })), "{large:?}");
    let mut proposals = tokio::task::JoinSet::new();
    for number in 0..300 {
        let raft = raft.clone();
        proposals.spawn(async move { (number, raft.propose(submit(number, 100)).await) });
    }
    let results = proposals.join_all().await;
    let refused = results.iter().filter(|(_, result)| result.is_err()).count();
    assert!(refused > 0, "300 proposals at once went through a queue of 4");
    for (number, result) in results {
        assert_eq!(has_task(&raft, number), result.is_ok(), "task {number}: {result:?}");
        assert!(matches!(result, Ok(_) | Err(ProposeError::Overloaded)), "task {number}: {result:?}");
    }
}

#[tokio::test]
async fn the_log_is_cut_by_size_and_a_restart_needs_only_what_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let small =
        RaftConfig { snapshot_after_bytes: 200_000, log_entries_kept: 5, ..config(ONE, directory.path()) };
    let (raft, _events) = start_single(small.clone()).await;
    raft.propose(register()).await.unwrap();
    for number in 0..60 {
        raft.propose(submit(number, 10_000)).await.unwrap();
    }
    poll_until("a snapshot is built and the log purged", || raft.status().purged).await;
    assert!(raft.status().snapshot.is_some());
    let before = records(&raft);
    raft.shutdown().await.unwrap();
    let (raft, _events) = start_single(small).await;
    assert_eq!(records(&raft), before);
    assert!(raft.status().purged.is_some());
    for number in 0..60 {
        assert_input(&raft, number, 10_000).await;
    }
}

#[test]
fn the_handle_works_where_there_is_no_timer_and_no_runtime_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (raft, _events) = runtime.block_on(start_single(config(ONE, directory.path())));
    drop(runtime);
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    bare.block_on(async {
        raft.propose(register()).await.unwrap();
        raft.propose(submit(1, 10)).await.unwrap();
        raft.read_barrier().await.unwrap();
        assert_eq!(raft.body(BodyKey::Input(task_id(1))).await.unwrap(), Some(input(1, 10)));
        raft.trigger_snapshot().await.unwrap();
        raft.shutdown().await.unwrap();
    });
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let bad = RaftConfig { heartbeat: Duration::from_millis(400), ..config(ONE, directory.path()) };
    let started = RaftService::start(bad, InProcessNetwork::default().transport(ONE)).await;
    assert!(matches!(started, Err(StartError::Config(_))), "{started:?}");
}
