//! Who may stand for election, who may go on leading, and how leadership is handed over.

use crate::support::{Cluster, has_task, poll_until, register, submit};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use zkpnet::raft::{AdminError, NodeId, ProposeError, RaftConfig, RaftService, ReadError, Role};

fn unchanged(_: &mut RaftConfig) {}

/// The longest election timeout of the tests' configuration, which is the lease too.
const TIMEOUT_MAX: Duration = Duration::from_millis(600);

/// Waits for a time to pass; what happens meanwhile is what is tested.
async fn pass(time: Duration) {
    let began = Instant::now();
    poll_until("time passes", || (began.elapsed() >= time).then_some(())).await;
}

fn terms(cluster: &Cluster) -> BTreeSet<u64> {
    cluster.running().map(|raft| raft.status().term.0).collect()
}

/// Waits until a node has heard its leader again, and then for long enough that it could have stood for election.
async fn settle(raft: &RaftService) {
    let heard = || raft.leader_heard_ago().filter(|ago| *ago < Duration::from_millis(200));
    poll_until("the leader is heard again", heard).await;
    pass(TIMEOUT_MAX).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_cut_off_comes_back_without_an_election() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    cluster.commit(register()).await;
    let term = cluster.node(leader).status().term;
    let [follower, _] = cluster.others(leader)[..] else { panic!("three nodes") };
    for round in 0..4 {
        cluster.network.isolate(follower, cluster.ids());
        pass(TIMEOUT_MAX * 4).await;
        cluster.network.heal();
        settle(cluster.node(follower)).await;
        assert_eq!(cluster.leader().await, leader, "round {round}");
        assert_eq!(terms(&cluster), BTreeSet::from([term.0]), "round {round}");
        cluster.commit(submit(round, 10)).await;
    }
    cluster.assert_equal_ledgers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_hear_the_leader_does_not_overthrow_it() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    cluster.commit(register()).await;
    let term = cluster.node(leader).status().term;
    let [follower, _] = cluster.others(leader)[..] else { panic!("three nodes") };
    cluster.network.cut_one_way(leader, follower);
    pass(TIMEOUT_MAX * 5).await;
    assert_eq!(terms(&cluster), BTreeSet::from([term.0]));
    cluster.commit(submit(1, 10)).await;
    cluster.network.heal();
    settle(cluster.node(follower)).await;
    assert_eq!((cluster.leader().await, terms(&cluster)), (leader, BTreeSet::from([term.0])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_hears_nobody_falls_silent_and_is_replaced() {
    let cluster = Cluster::start(3, unchanged).await;
    let old = cluster.leader().await;
    let others = cluster.others(old);
    cluster.commit(register()).await;
    // Its heartbeats arrive, and would renew its followers' leases for ever.
    for &other in &others {
        cluster.network.cut_one_way(other, old);
    }
    let new = cluster.leader_among(&others).await;
    cluster.node(new).propose(submit(1, 10)).await.unwrap().reply.unwrap();
    cluster.network.heal();
    cluster.leader().await;
    cluster.assert_equal_ledgers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_says_so_within_a_lease_and_refuses_at_once() {
    let cluster = Cluster::start(3, unchanged).await;
    let old = cluster.leader().await;
    cluster.commit(register()).await;
    let raft = cluster.node(old);
    let mut published = raft.watch_status();
    let cut = Instant::now();
    cluster.network.isolate(old, cluster.ids());
    poll_until("it does not lead", || (raft.status().role != Role::Leader).then_some(())).await;
    assert!(cut.elapsed() < TIMEOUT_MAX * 2, "{:?}", cut.elapsed());
    poll_until("it publishes that", || (published.borrow_and_update().role != Role::Leader).then_some(()))
        .await;
    let status = raft.status();
    assert_eq!((status.leader, raft.report().leader), (None, None));
    let asked = Instant::now();
    let refused = raft.propose(submit(1, 10)).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: None }));
    assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());
    assert_eq!(raft.read_barrier().await, Err(ReadError::Unconfirmed));
    let new = cluster.leader_among(&cluster.others(old)).await;
    assert_ne!(new, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_alone_in_its_cluster_always_leads() {
    let cluster = Cluster::start(1, unchanged).await;
    cluster.leader().await;
    pass(TIMEOUT_MAX * 3).await;
    assert_eq!(cluster.node(NodeId(1)).status().role, Role::Leader);
    cluster.commit(register()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_are_restarted_they_elect_a_leader_about_an_election_timeout_later() {
    let mut cluster = Cluster::start(3, unchanged).await;
    cluster.leader().await;
    cluster.commit(register()).await;
    for round in 0..3 {
        for id in cluster.ids() {
            cluster.stop_node(id).await;
        }
        for id in cluster.ids() {
            cluster.start_node(id).await;
        }
        let began = Instant::now();
        cluster.leader().await;
        // A split vote costs another timeout; more than four in a row would be no accident.
        assert!(began.elapsed() < TIMEOUT_MAX * 5, "{:?}", began.elapsed());
        println!("elected {:?} after the restart", began.elapsed());
        cluster.commit(submit(round, 10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn current_reads_are_served_by_every_member_and_see_what_was_acknowledged() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    cluster.commit(register()).await;
    for number in 0..50 {
        let committed = cluster.node(leader).propose(submit(number, 10)).await.unwrap();
        for raft in cluster.running() {
            assert!(raft.read_barrier().await.unwrap() >= committed.index);
            assert!(has_task(raft, number), "node {} does not show task {number}", raft.node());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_current_read_on_a_member_that_is_cut_off_is_refused_within_the_limit() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    let [follower, _] = cluster.others(leader)[..] else { panic!("three nodes") };
    cluster.network.isolate(follower, cluster.ids());
    let asked = Instant::now();
    cluster.node(follower).read_barrier().await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_goes_to_whom_it_is_given_with_three_and_with_five_voters() {
    for size in [3, 5] {
        let cluster = Cluster::start(size, unchanged).await;
        cluster.leader().await;
        cluster.commit(register()).await;
        let mut took = Vec::new();
        for round in 0..6 {
            let old = cluster.leader().await;
            let to = cluster.others(old)[round % (size as usize - 1)];
            let term = cluster.node(old).status().term.0;
            let began = Instant::now();
            assert_eq!(cluster.node(old).transfer_leadership(Some(to)).await, Ok(to), "round {round}");
            took.push(began.elapsed());
            // Not by a second election: the leases were given up.
            assert_eq!(cluster.node(to).status().term.0, term + 1, "round {round}");
            cluster.node(to).propose(submit(round as u64, 10)).await.unwrap().reply.unwrap();
            assert_eq!(cluster.leader().await, to);
        }
        println!("{size} voters, leadership transferred in {took:?}");
        cluster.assert_equal_ledgers().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_by_its_leader_to_a_voter_in_reach_only() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    let [one, two] = cluster.others(leader)[..] else { panic!("three nodes") };
    let not_leader = cluster.node(one).transfer_leadership(Some(two)).await;
    assert!(matches!(not_leader, Err(AdminError::NotLeader { leader: Some(known) }) if known.id == leader));
    let raft = cluster.node(leader);
    assert!(matches!(raft.transfer_leadership(Some(NodeId(9))).await, Err(AdminError::Refused(_))));
    cluster.network.isolate(one, cluster.ids());
    pass(TIMEOUT_MAX + Duration::from_millis(200)).await;
    assert!(matches!(raft.transfer_leadership(Some(one)).await, Err(AdminError::Unavailable(_))));
    assert_eq!(raft.transfer_leadership(None).await, Ok(two));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_shuts_down_leaves_another_one_behind() {
    let mut cluster = Cluster::start(3, unchanged).await;
    let old = cluster.leader().await;
    cluster.commit(register()).await;
    let term = cluster.node(old).status().term.0;
    cluster.stop_node(old).await;
    let leads = cluster.running().filter(|raft| raft.status().role == Role::Leader).count();
    assert_eq!((leads, terms(&cluster)), (1, BTreeSet::from([term + 1])));
    cluster.commit(submit(1, 10)).await;
}
