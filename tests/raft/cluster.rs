//! Three nodes in one process: elections, a leader that is cut off, restarts, snapshots for those who lag.

use crate::support::{Cluster, PATIENCE, assert_input, has_task, poll_until, register, submit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use zkpnet::raft::{NodeId, ProposeError, RaftService, ReadError, Role};

fn unchanged(_: &mut zkpnet::raft::RaftConfig) {}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_elect_a_leader_and_hold_the_same_ledger() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    cluster.commit(register()).await;
    for number in 0..50 {
        cluster.commit(submit(number, 100)).await;
    }
    cluster.assert_equal_ledgers().await;
    for raft in cluster.running() {
        assert_input(raft, 49, 100).await;
    }
    let name = cluster.node(leader).cluster_id().unwrap();
    poll_until("all know the cluster's name", || {
        cluster.running().all(|raft| raft.cluster_id() == Some(name)).then_some(())
    })
    .await;
    let follower = cluster.node(cluster.others(leader)[0]);
    let Err(ProposeError::NotLeader { leader: Some(known) }) = follower.propose(submit(99, 10)).await else {
        panic!("a follower took a proposal");
    };
    assert_eq!((known.id, known.name), (leader, format!("node-{leader}")));
    assert!(!has_task(follower, 99));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_cut_off_knows_how_long_it_has_not_heard_of_the_leader() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    cluster.commit(register()).await;
    let [follower, third] = cluster.others(leader)[..] else { panic!("three nodes") };
    let heard = || cluster.node(follower).leader_heard_ago();
    poll_until("the follower has heard the leader", || heard().filter(|ago| *ago < Duration::from_secs(1)))
        .await;

    cluster.network.isolate(follower, [leader, third]);
    poll_until("the silence is told", || heard().filter(|ago| *ago > Duration::from_secs(1))).await;
    cluster.network.heal();
    poll_until("the leader is heard again", || heard().filter(|ago| *ago < Duration::from_secs(1))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_acknowledges_nothing_and_the_others_go_on() {
    let cluster = Cluster::start(3, unchanged).await;
    let old = cluster.leader().await;
    let others = cluster.others(old);
    cluster.commit(register()).await;
    cluster.commit(submit(1, 10)).await;

    cluster.network.isolate(old, others.iter().copied());
    let mut stranded = tokio::task::JoinSet::new();
    for number in 100..120 {
        let raft = cluster.node(old).clone();
        stranded.spawn(async move { (number, raft.propose(submit(number, 10)).await) });
    }
    assert_eq!(cluster.node(old).read_barrier().await, Err(ReadError::Unconfirmed));
    let new = cluster.leader_among(&others).await;
    for number in 2..20 {
        cluster.node(new).propose(submit(number, 10)).await.unwrap().reply.unwrap();
    }
    let stale = cluster.node(old).status();
    assert!(!stale.is_confirmed_leader(Duration::from_millis(600)), "{stale:?}");

    cluster.network.heal();
    for (number, result) in stranded.join_all().await {
        let error = result.expect_err("a leader without a majority acknowledged a command");
        assert!(
            matches!(error, ProposeError::OutcomeUnknown { .. } | ProposeError::NotLeader { .. }),
            "task {number}: {error:?}"
        );
        if error.is_refused() {
            assert!(!has_task(cluster.node(new), number), "task {number} was refused and has an effect");
        }
    }
    cluster.leader().await;
    cluster.assert_equal_ledgers().await;
    for raft in cluster.running() {
        assert!(
            (1..20).all(|number| has_task(raft, number)),
            "node {} lacks an acknowledged task",
            raft.node()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_words_are_lost_in_one_direction_is_replaced() {
    let cluster = Cluster::start(3, unchanged).await;
    let old = cluster.leader().await;
    let others = cluster.others(old);
    cluster.commit(register()).await;
    for &other in &others {
        cluster.network.cut_one_way(old, other);
    }
    // The others hear nothing from it, and it hears of the new leader's term.
    let new = cluster.leader_among(&others).await;
    cluster.node(new).propose(submit(1, 10)).await.unwrap().reply.unwrap();
    cluster.network.heal();
    cluster.assert_equal_ledgers().await;
}

/// Proposes tasks one after another to whoever leads, until told to stop; gives the numbers that were acknowledged.
fn load(nodes: Vec<RaftService>, first: u64, run: Arc<Run>) -> tokio::task::JoinHandle<Vec<u64>> {
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        let mut number = first;
        while !run.is_over.load(Ordering::SeqCst) {
            for raft in nodes.iter().filter(|raft| raft.status().role == Role::Leader) {
                if raft.propose(submit(number, 64)).await.is_ok() {
                    acknowledged.push(number);
                    run.acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                number += 1;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        acknowledged
    })
}

#[derive(Default)]
struct Run {
    is_over: AtomicBool,
    acknowledged: AtomicU64,
}

fn impatient(config: &mut zkpnet::raft::RaftConfig) {
    // A proposer that is stuck with a leader that was cut off soon turns to the next one.
    config.proposal_time_limit = Duration::from_millis(700);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_task_is_lost_when_leaders_are_cut_off_under_load() {
    let cluster = Cluster::start(3, impatient).await;
    cluster.leader().await;
    cluster.commit(register()).await;
    let run = Arc::new(Run::default());
    let nodes: Vec<_> = cluster.running().cloned().collect();
    let loads: Vec<_> =
        (0..4).map(|proposer| load(nodes.clone(), 1_000_000 * (proposer + 1), run.clone())).collect();
    let more = async |what: &str| {
        let before = run.acknowledged.load(Ordering::SeqCst);
        let has_grown = || (run.acknowledged.load(Ordering::SeqCst) >= before + 10).then_some(());
        poll_until(what, has_grown).await;
    };
    for _ in 0..3 {
        more("tasks are acknowledged").await;
        let old = cluster.leader().await;
        let others = cluster.others(old);
        cluster.network.isolate(old, others.iter().copied());
        cluster.leader_among(&others).await;
        more("tasks are acknowledged by the new leader").await;
        cluster.network.heal();
    }
    cluster.leader().await;
    run.is_over.store(true, Ordering::SeqCst);
    let mut acknowledged = Vec::new();
    for load in loads {
        acknowledged.extend(load.await.unwrap());
    }
    cluster.assert_equal_ledgers().await;
    for raft in cluster.running() {
        let lost: Vec<_> = acknowledged.iter().filter(|&&number| !has_task(raft, number)).collect();
        assert!(lost.is_empty(), "node {} lacks {lost:?}", raft.node());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_and_then_all_of_them_come_back_from_their_files() {
    let mut cluster = Cluster::start(3, unchanged).await;
    cluster.leader().await;
    cluster.commit(register()).await;
    let mut number = 0;
    for id in cluster.ids() {
        cluster.stop_node(id).await;
        for _ in 0..10 {
            cluster.commit(submit(number, 100)).await;
            number += 1;
        }
        cluster.start_node(id).await;
        cluster.leader().await;
        cluster.assert_equal_ledgers().await;
    }
    for id in cluster.ids() {
        cluster.stop_node(id).await;
    }
    for id in cluster.ids() {
        cluster.start_node(id).await;
    }
    cluster.leader().await;
    cluster.commit(submit(number, 100)).await;
    cluster.assert_equal_ledgers().await;
    for raft in cluster.running() {
        assert!((0..=number).all(|number| has_task(raft, number)));
    }
}

fn keep_little(config: &mut zkpnet::raft::RaftConfig) {
    config.log_entries_kept = 3;
    config.snapshot_after_entries = 15;
    // Many pieces, so that a transfer is more than one message.
    config.snapshot_chunk_bytes = 20_000;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_missed_what_the_log_has_dropped_gets_a_snapshot() {
    let mut cluster = Cluster::start(3, keep_little).await;
    let leader = cluster.leader().await;
    let absent = cluster.others(leader)[0];
    cluster.commit(register()).await;
    poll_until("the absent node has begun", || {
        cluster.node(absent).status().applied.filter(|index| index.0 >= 2)
    })
    .await;
    let had = cluster.node(absent).status().last_log.unwrap();
    cluster.stop_node(absent).await;
    for number in 0..80 {
        cluster.commit(submit(number, 5_000)).await;
    }
    poll_until("the others have dropped what it lacks", || {
        cluster.running().all(|raft| raft.status().purged > Some(had)).then_some(())
    })
    .await;
    cluster.start_node(absent).await;
    cluster.assert_equal_ledgers().await;
    let status = cluster.node(absent).status();
    assert!(status.snapshot > Some(had), "{status:?}");
    for number in 0..80 {
        assert_input(cluster.node(absent), number, 5_000).await;
    }
    // And what was installed is on its disk.
    cluster.stop_node(absent).await;
    cluster.start_node(absent).await;
    cluster.assert_equal_ledgers().await;
    assert_input(cluster.node(absent), 79, 5_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_to_stand_for_election_takes_over() {
    let cluster = Cluster::start(3, unchanged).await;
    cluster.commit(register()).await;
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        let old = cluster.leader().await;
        cluster.assert_equal_ledgers().await;
        // For the time of a lease after its election a leader votes for nobody else.
        let elected = std::time::Instant::now();
        poll_until("the lease is over", || (elected.elapsed() > Duration::from_millis(700)).then_some(()))
            .await;
        let target: NodeId = cluster.others(old)[0];
        let term = cluster.node(old).status().term;
        cluster.node(target).trigger_elect().await.unwrap();
        poll_until("another term", || (cluster.node(target).status().term > term).then_some(())).await;
        if cluster.leader().await == target {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "node {target} was never elected");
    }
    cluster.commit(submit(1, 10)).await;
    cluster.assert_equal_ledgers().await;
}
