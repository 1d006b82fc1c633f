//! One hash over the ledger, the same on every replica, however it came to its state.

use crate::support::{Cluster, poll_until, register, submit};
use zkpnet::ledger::{Command, LogIndex, UnixMillis};
use zkpnet::raft::{NodeId, RaftConfig, RaftService};

fn unchanged(_: &mut RaftConfig) {}

fn keep_little(config: &mut RaftConfig) {
    config.log_entries_kept = 3;
    config.snapshot_after_entries = 15;
}

async fn assert_same_hash(cluster: &Cluster, what: &str) {
    cluster.assert_equal_ledgers().await;
    let hashes: Vec<_> = cluster.running().map(|raft| raft.report().state_hash).collect();
    assert!(hashes.iter().all(|hash| hash.is_some() && *hash == hashes[0]), "{what}: {hashes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_applied_a_restarted_one_and_one_that_was_given_a_snapshot_agree() {
    let mut cluster = Cluster::start(3, keep_little).await;
    let leader = cluster.leader().await;
    let [absent, other] = cluster.others(leader)[..] else { panic!("three nodes") };
    cluster.commit(register()).await;
    assert_same_hash(&cluster, "from the log").await;
    cluster.stop_node(absent).await;
    for number in 0..80 {
        cluster.commit(submit(number, 100)).await;
    }
    cluster.commit(Command::AdvanceClock { at: UnixMillis(50_000) }).await;
    poll_until("the log has dropped what the absent one lacks", || {
        cluster.running().all(|raft| raft.status().purged > Some(LogIndex(20))).then_some(())
    })
    .await;
    cluster.start_node(absent).await;
    assert_same_hash(&cluster, "from a snapshot").await;
    cluster.stop_node(other).await;
    cluster.start_node(other).await;
    cluster.leader().await;
    assert_same_hash(&cluster, "after a restart").await;
    cluster.commit(submit(200, 100)).await;
    assert_same_hash(&cluster, "and on from there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_are_compared_at_one_entry_while_the_log_goes_on() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    cluster.commit(register()).await;
    let mut previous = None;
    for number in 0..40 {
        let index = cluster.node(leader).propose(submit(number, 10)).await.unwrap().index;
        let own = cluster.node(leader).state_hash_at(index);
        assert!(own.is_some() && own != previous, "entry {index:?} changed nothing");
        previous = own;
        for id in cluster.others(leader) {
            let raft: &RaftService = cluster.node(leader);
            poll_until("the other has applied it", || {
                (cluster.node(id).status().applied >= Some(index)).then_some(())
            })
            .await;
            let (report, hash) = raft.probe(id, Some(index)).await.unwrap();
            assert_eq!((report.node, hash), (id, own), "entry {index:?}");
        }
    }
    assert_eq!(cluster.node(NodeId(1)).state_hash_at(LogIndex(1_000_000)), None);
}
