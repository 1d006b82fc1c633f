//! Three members in one process: a leader that is cut off and does not know it.

use crate::support::{
    LIMIT, Options, Rig, Worker, members, poll_until, quick_policy, real_prover, submission,
};
use crate::workers::{Hand, lease_of};
use std::time::Duration;
use zkpnet::actors::tasks::messages::TaskError;
use zkpnet::actors::worker_registry::{News, WorkerError};
use zkpnet::ledger::{FailureCause, FailureKind, Ledger, Policy, Record, TaskStatus};
use zkpnet::raft::{InProcessNetwork, NodeId, Role};

async fn three(
    folder: &std::path::Path,
    network: &InProcessNetwork,
    policy: &Policy,
    lease: Duration,
) -> Vec<Rig> {
    let mut rigs = Vec::new();
    for number in 1..=3 {
        let options = Options { lease, policy: policy.clone(), ..Options::default() };
        rigs.push(Rig::member(number, folder, network, Worker::None, options).await);
    }
    rigs[0].raft.initialize(members(3)).await.unwrap();
    rigs
}

/// The place of the one that leads, among those that `may` lead.
async fn leader(rigs: &[Rig], may: impl Fn(usize) -> bool) -> usize {
    poll_until("somebody leads", async || {
        let leads = |rig: &Rig| {
            let status = rig.raft.status();
            status.is_confirmed_leader(LIMIT) && rig.scheduler.is_enabled()
        };
        rigs.iter().enumerate().position(|(place, rig)| may(place) && leads(rig))
    })
    .await
}

#[actix_rt::test]
async fn an_isolated_leader_that_goes_on_for_a_lease_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let network = InProcessNetwork::default();
    // Long enough that the second attempt falls due when the leader is cut off already.
    let policy = Policy { retry_backoff_base_ms: 2_000, retry_backoff_max_ms: 2_000, ..quick_policy() };
    let rigs = three(folder.path(), &network, &policy, Duration::from_secs(3)).await;
    let old = leader(&rigs, |_| true).await;

    let mut hand = Hand::join(&rigs[old], "old", 2).await;
    let (held, failed) = (rigs[old].submit(1).await, rigs[old].submit(2).await);
    let (mut first, mut second) = (hand.assignment().await, hand.assignment().await);
    if first.task != held {
        std::mem::swap(&mut first, &mut second);
    }
    let cause = FailureCause::new(FailureKind::ProverError, "as planned");
    hand.report(lease_of(&second), News::Failed(cause)).await.unwrap();

    network.isolate(NodeId(old as u64 + 1), (1..=3).map(NodeId));
    let log_at_isolation = rigs[old].raft.status().last_log;
    // It believes in itself for a lease still, and takes what it is given.
    let in_vain = {
        let tasks = rigs[old].tasks.clone();
        actix_rt::spawn(async move { tasks.submit(submission(3)).await })
    };
    poll_until("the old leader appends", async || {
        (rigs[old].raft.status().last_log > log_at_isolation).then_some(())
    })
    .await;
    let new = leader(&rigs, |place| place != old).await;
    poll_until("the old leader has noticed", async || {
        let _ = hand.beat(&[lease_of(&first)]).await;
        (!rigs[old].scheduler.is_enabled() && rigs[old].raft.status().role != Role::Leader).then_some(())
    })
    .await;

    let _session = rigs[new].employ("new", real_prover()).await;
    for task in [held, failed] {
        assert_eq!(rigs[new].ended(task).await.task.status(), TaskStatus::Completed);
    }
    let knows_end = |ledger: &Ledger| [held, failed].iter().any(|id| !ledger.task(*id).unwrap().is_open());
    assert!(!rigs[old].raft.with_ledger(knows_end), "it is not cut off");

    network.heal();
    assert!(in_vain.await.unwrap().is_err(), "what no majority stored was acknowledged");
    let records = poll_until("the ledgers are equally far", async || {
        let read = |rig: &Rig| {
            rig.raft.with_ledger(|ledger| (ledger.applied(), ledger.records().collect::<Vec<Record>>()))
        };
        let all: Vec<_> = rigs.iter().map(read).collect();
        all.iter().all(|(applied, _)| *applied == all[0].0).then_some(all)
    })
    .await;
    assert_eq!(records[0], records[1]);
    assert_eq!(records[1], records[2]);

    let counters = rigs[old].counters();
    assert_eq!((counters.tasks_submitted, counters.tasks_completed), (2, 2));
    for task in [held, failed] {
        let task = rigs[old].raft.with_ledger(|ledger| ledger.task(task).unwrap().clone());
        let workers: Vec<_> = task.attempts.iter().map(|attempt| attempt.worker.as_str()).collect();
        assert_eq!(workers, ["old", "new"], "a lease of the isolated leader took effect");
    }
    for rig in rigs {
        rig.stop().await;
    }
}

#[actix_rt::test]
async fn a_follower_takes_nothing_and_says_who_leads() {
    let folder = tempfile::tempdir().unwrap();
    let network = InProcessNetwork::default();
    let rigs = three(folder.path(), &network, &quick_policy(), Duration::from_secs(30)).await;
    let place = leader(&rigs, |_| true).await;
    let follower = &rigs[(place + 1) % 3];
    let expected = Some(format!("coordinator-{}:7000", place + 1));
    poll_until("the follower knows the leader", async || follower.raft.status().leader).await;
    match follower.tasks.submit(submission(1)).await {
        Err(TaskError::NoLeader { leader_address }) => assert_eq!(leader_address, expected),
        other => panic!("{other:?}"),
    }
    let hand = Hand::join(&rigs[place], "hand", 1).await;
    match hand.at(follower).register(1).await {
        Err(WorkerError::NotLeader { leader_address }) => assert_eq!(leader_address, expected),
        other => panic!("{other:?}"),
    }
    assert!(!follower.scheduler.is_enabled());
    for rig in rigs {
        rig.stop().await;
    }
}

/// The worker's process lives on and finds the new leader: what it holds stays its own.
#[actix_rt::test]
async fn a_change_of_leader_takes_no_lease_from_a_worker_that_reports_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let network = InProcessNetwork::default();
    let rigs = three(folder.path(), &network, &quick_policy(), Duration::from_secs(30)).await;
    let old = leader(&rigs, |_| true).await;
    let mut hand = Hand::join(&rigs[old], "hand", 1).await;
    let task = rigs[old].submit(1).await;
    let assignment = hand.assignment().await;
    network.isolate(NodeId(old as u64 + 1), (1..=3).map(NodeId));
    let new = leader(&rigs, |place| place != old).await;
    let hand = hand.at(&rigs[new]);
    let again = hand.register(1).await.unwrap();
    assert_eq!(again.incarnation, hand.incarnation, "the same process got another life");
    let lease = lease_of(&assignment);
    hand.beat(&[lease]).await.unwrap();
    hand.report(lease, crate::workers::proof_of(assignment)).await.unwrap();
    let view = rigs[new].ended(task).await;
    assert_eq!((view.task.status(), view.task.attempts.len()), (TaskStatus::Completed, 1));
    network.heal();
    for rig in rigs {
        rig.stop().await;
    }
}
