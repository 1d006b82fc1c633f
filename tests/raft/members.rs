//! Members come, are given votes, lose them, and go.

use crate::support::{Cluster, PATIENCE, config, has_task, poll_until, register, submit};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zkpnet::raft::{
    AdminError, AdmitReply, AdmitRequest, Member, NodeAbout, NodeId, PeerReply, PeerRequest, RaftConfig,
    RaftService, Role, Standing, StoreIdentity,
};

fn unchanged(_: &mut RaftConfig) {}

fn keep_little(config: &mut RaftConfig) {
    config.log_entries_kept = 3;
    config.snapshot_after_entries = 15;
}

/// A process that wants to join: its storage has a name, and it has no number yet.
struct Joiner {
    folder: TempDir,
    identity: StoreIdentity,
}

impl Joiner {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = StoreIdentity::prepare(folder.path()).unwrap();
        assert_eq!((identity.node, identity.cluster), (None, None));
        assert_eq!(StoreIdentity::prepare(folder.path()).unwrap(), identity, "asking again changes nothing");
        Self { folder, identity }
    }

    fn request(&self, name: &str) -> PeerRequest {
        let (name, address, store) = (name.to_owned(), format!("mem:{name}"), self.identity.store);
        PeerRequest::Admit(AdmitRequest { name, address, store })
    }

    /// Asks a member as a process without a number does.
    async fn ask(&self, cluster: &Cluster, whom: NodeId, name: &str) -> AdmitReply {
        let asker = cluster.network.transport(NodeId(0));
        let member = Member::new("", "");
        let reply = asker.call(whom, &member, self.request(name), Duration::from_secs(5)).await.unwrap();
        let PeerReply::Admit(reply) = reply else { panic!("{reply:?}") };
        reply
    }

    async fn start(&self, cluster: &Cluster, id: NodeId) -> RaftService {
        let config = config(id, self.folder.path());
        let raft = RaftService::start(config, cluster.network.transport(id)).await.unwrap().0;
        assert_eq!(raft.store_id(), self.identity.store);
        raft
    }
}

fn standing(raft: &RaftService, id: NodeId) -> Option<Standing> {
    raft.members().into_iter().find(|member| member.id == id).map(|member| member.standing)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_asks_is_admitted_catches_up_and_is_given_a_vote() {
    let cluster = Cluster::start(3, keep_little).await;
    cluster.commit(register()).await;
    for number in 0..60 {
        cluster.commit(submit(number, 1_000)).await;
    }
    let leader = cluster.leader().await;
    let follower = cluster.others(leader)[0];
    let joiner = Joiner::new();
    let elsewhere = joiner.ask(&cluster, follower, "four").await;
    assert_eq!(elsewhere, AdmitReply::NotLeader { leader_address: Some(format!("mem:{leader}")) });
    let AdmitReply::Admitted { node: id, cluster: name } = joiner.ask(&cluster, leader, "four").await else {
        panic!("it was not admitted");
    };
    assert_eq!(Some(name), cluster.node(leader).cluster_id());
    assert_eq!(standing(cluster.node(leader), id), Some(Standing::Learner));
    let again = joiner.ask(&cluster, leader, "four").await;
    assert_eq!(again, AdmitReply::Admitted { node: id, cluster: name }, "asking again changes nothing");

    let raft = joiner.start(&cluster, id).await;
    poll_until("it has a vote", || {
        (standing(cluster.node(leader), id) == Some(Standing::Voter)).then_some(())
    })
    .await;
    poll_until("it knows so itself", || (standing(&raft, id) == Some(Standing::Voter)).then_some(())).await;
    assert!((0..60).all(|number| has_task(&raft, number)));
    assert_eq!(raft.cluster_id(), Some(name));
    let members = cluster.node(leader).members();
    let joined = members.iter().find(|member| member.id == id).unwrap();
    assert_eq!((joined.name.as_str(), joined.store), ("four", Some(joiner.identity.store)));
    assert!(joined.lag.unwrap() <= 1, "{joined:?}");
    // And its vote counts: three of four go on without one of the founders.
    cluster.network.isolate(follower, [NodeId(1), NodeId(2), NodeId(3), id]);
    cluster.commit(submit(100, 10)).await;
    assert_eq!(cluster.node(leader).transfer_leadership(Some(id)).await, Ok(id));
    raft.propose(submit(101, 10)).await.unwrap().reply.unwrap();
    raft.shutdown().await.unwrap();
    let known = StoreIdentity::prepare(joiner.folder.path()).unwrap();
    assert_eq!((known.node, known.cluster), (Some(id), Some(name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_belongs_to_one_storage_and_a_number_never_returns() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    let raft = cluster.node(leader);
    let joiner = Joiner::new();
    let AdmitReply::Refused(text) = joiner.ask(&cluster, leader, "node-1").await else { panic!("admitted") };
    assert!(text.contains("remove member 1"), "{text}");

    let mut numbers: BTreeSet<NodeId> = cluster.ids().into_iter().collect();
    for round in 0..5 {
        let id = raft.add_learner("four", format!("mem:{round}"), joiner.identity.store).await.unwrap();
        assert!(numbers.insert(id), "number {id} was given before");
        raft.remove(id).await.unwrap();
        assert_eq!(standing(raft, id), None);
    }
    let id = raft.add_learner("four", "mem:4", joiner.identity.store).await.unwrap();
    let wiped = Joiner::new();
    let AdmitReply::Refused(text) = wiped.ask(&cluster, leader, "four").await else { panic!("admitted") };
    assert!(text.contains(&format!("remove member {id}")), "{text}");
    assert!(matches!(joiner.ask(&cluster, leader, "five").await, AdmitReply::Refused(_)));
    for wrong in [String::new(), "n".repeat(10_000), "two\nlines".to_owned()] {
        let answer = Joiner::new().ask(&cluster, leader, &wrong).await;
        assert!(matches!(&answer, AdmitReply::Refused(text) if text.contains("printable")), "{answer:?}");
    }
    // Another address of the same member is noted.
    assert_eq!(raft.add_learner("four", "mem:moved", joiner.identity.store).await, Ok(id));
    let members = raft.members();
    assert_eq!(members.iter().find(|member| member.id == id).unwrap().address, "mem:moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_does_not_run_is_given_no_vote() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    let raft = cluster.node(leader);
    let id = raft.add_learner("four", "mem:4", Joiner::new().identity.store).await.unwrap();
    assert!(matches!(raft.promote(id).await, Err(AdminError::Unavailable(_))));
    assert_eq!(standing(raft, id), Some(Standing::Learner));
    assert!(matches!(raft.promote(NodeId(77)).await, Err(AdminError::Refused(_))));
    let follower = cluster.node(cluster.others(leader)[0]);
    assert!(matches!(follower.promote(id).await, Err(AdminError::NotLeader { leader: Some(_) })));
}

#[tokio::test(flavor = "multi_thread")]
async fn voters_are_demoted_and_removed_down_to_the_last_one() {
    let cluster = Cluster::start(3, unchanged).await;
    cluster.commit(register()).await;
    let first = cluster.leader().await;
    // A leader that is to go hands over, and says to whom.
    let Err(AdminError::NotLeader { leader: Some(second) }) = cluster.node(first).remove(first).await else {
        panic!("the leader removed itself");
    };
    let raft = cluster.node(second.id);
    poll_until("the next one leads", || (raft.status().role == Role::Leader).then_some(())).await;
    raft.remove(first).await.unwrap();
    assert_eq!(standing(raft, first), None);
    // The removed one does not know it, and disturbs nobody.
    let term = raft.status().term;
    let third = cluster.others(first).into_iter().find(|id| *id != second.id).unwrap();
    cluster.node(first).trigger_elect().await.unwrap();
    poll_until("it stood for election", || (cluster.node(first).status().term > term).then_some(())).await;
    raft.propose(submit(1, 10)).await.unwrap().reply.unwrap();
    assert_eq!((raft.status().term, cluster.node(third).status().term), (term, term));

    raft.demote(third).await.unwrap();
    assert_eq!(standing(raft, third), Some(Standing::Learner));
    raft.propose(submit(2, 10)).await.unwrap().reply.unwrap();
    poll_until("a learner follows", || has_task(cluster.node(third), 2).then_some(())).await;
    for refused in [raft.demote(second.id).await, raft.remove(second.id).await] {
        assert!(matches!(refused, Err(AdminError::Refused(_))), "{refused:?}");
    }
    raft.promote(third).await.unwrap();
    assert_eq!(standing(raft, third), Some(Standing::Voter));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_whose_leaving_would_cost_the_majority_stays() {
    let cluster = Cluster::start(3, unchanged).await;
    cluster.commit(register()).await;
    let leader = cluster.leader().await;
    let raft = cluster.node(leader);
    let [lost, kept] = cluster.others(leader)[..] else { panic!("three nodes") };
    cluster.network.isolate(lost, cluster.ids());
    poll_until("it is missed", || {
        let reports = raft.peer_reports();
        (reports.get(&lost).is_none_or(|(_, age)| *age > Duration::from_secs(1))).then_some(())
    })
    .await;
    for refused in [raft.remove(kept).await, raft.demote(kept).await] {
        assert!(
            matches!(&refused, Err(AdminError::Unavailable(text)) if text.contains("out of reach")),
            "{refused:?}"
        );
    }
    // Nothing is under way that could not be ended: the cluster goes on, and the lost one can be removed.
    raft.propose(submit(1, 10)).await.unwrap().reply.unwrap();
    raft.remove(lost).await.unwrap();
    raft.remove(kept).await.unwrap();
    raft.propose(submit(2, 10)).await.unwrap().reply.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_storage_of_a_founder_is_recorded_once() {
    let cluster = Cluster::start(3, unchanged).await;
    let leader = cluster.leader().await;
    let raft = cluster.node(leader);
    for id in cluster.ids() {
        let store = cluster.node(id).store_id();
        assert_eq!(raft.record_store(id, store).await, Ok(()));
        assert_eq!(raft.record_store(id, store).await, Ok(()), "again");
        let refused = raft.record_store(id, Joiner::new().identity.store).await;
        assert!(
            matches!(&refused, Err(AdminError::Refused(text)) if text.contains("remove member")),
            "{refused:?}"
        );
    }
    assert!(raft.members().iter().all(|member| member.store == Some(cluster.node(member.id).store_id())));
    assert_eq!(cluster.leader().await, leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_know_each_others_reports() {
    let cluster = Cluster::start(3, unchanged).await;
    cluster.commit(register()).await;
    let leader = cluster.leader().await;
    for raft in cluster.running() {
        let (name, version) = (format!("node-{}", raft.node()), "1.2.3".to_owned());
        raft.set_about(NodeAbout { name, version, ..NodeAbout::default() });
    }
    let raft = Arc::new(cluster.node(cluster.others(leader)[0]).clone());
    poll_until("the others are known", || {
        let reports = raft.peer_reports();
        let known = reports.values().filter(|(report, age)| {
            report.leader == Some(leader)
                && report.name == format!("node-{}", report.node)
                && report.version == "1.2.3"
                && report.store_bytes > 0
                && *age < Duration::from_secs(1)
        });
        let roles: Vec<_> = reports.values().map(|(report, _)| report.role.as_str()).collect();
        (known.count() == 2 && roles.contains(&"Leader") && roles.contains(&"Follower")).then_some(())
    })
    .await;
}

/// Three founders and a fourth member that has caught up and has no vote; the leader and the fourth.
async fn with_a_learner() -> (Cluster, NodeId, NodeId, Joiner, RaftService) {
    let cluster = Cluster::start(3, unchanged).await;
    cluster.commit(register()).await;
    let leader = cluster.leader().await;
    let joiner = Joiner::new();
    let id = cluster.node(leader).add_learner("four", "mem:4", joiner.identity.store).await.unwrap();
    let raft = joiner.start(&cluster, id).await;
    poll_until("it has caught up", || (standing(&raft, id) == Some(Standing::Learner)).then_some(())).await;
    (cluster, leader, id, joiner, raft)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_no_majority_has_confirmed_is_not_told_of() {
    let (cluster, leader, id, _joiner, fourth) = with_a_learner().await;
    let raft = cluster.node(leader).clone();
    cluster.network.isolate(leader, cluster.others(leader));
    let (log, promoting) = (raft.status().last_log, raft.clone());
    let promoted = tokio::spawn(async move { promoting.promote(id).await });
    poll_until("the leader has a membership of its own", || (raft.status().last_log > log).then_some(()))
        .await;
    while !promoted.is_finished() {
        assert_eq!(
            standing(&raft, id),
            Some(Standing::Learner),
            "whoever stops the leader now stops the cluster"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let refused = promoted.await.unwrap();
    assert!(matches!(refused, Err(AdminError::OutcomeUnknown(_))), "{refused:?}");
    let again = raft.promote(id).await;
    assert!(again.is_err(), "the vote that was not given was taken for given");

    cluster.network.heal();
    let deadline = Instant::now() + PATIENCE;
    while cluster.node(cluster.leader().await).promote(id).await.is_err() {
        assert!(Instant::now() < deadline, "it can be given no vote any more");
    }
    let known = || cluster.running().chain([&fourth]).all(|raft| standing(raft, id) == Some(Standing::Voter));
    poll_until("all know of the vote", || known().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_voters_whose_leader_goes_in_the_middle_is_ended_by_the_next() {
    let (cluster, mut leader, id, _joiner, fourth) = with_a_learner().await;
    loop {
        // The others hear of the change, and the leader does not hear that they did.
        for follower in cluster.others(leader) {
            cluster.network.cut_one_way(follower, leader);
        }
        let refused = cluster.node(leader).promote(id).await;
        assert!(refused.is_err(), "{refused:?}");
        let last = cluster.node(leader).status().last_log;
        if cluster.others(leader).iter().any(|&other| cluster.node(other).status().last_log >= last) {
            break;
        }
        // A message was under way when the link was cut, and kept the next one waiting.
        cluster.network.heal();
        leader = cluster.leader().await;
    }
    // It goes for good.
    cluster.network.isolate(leader, cluster.others(leader).into_iter().chain([id]));
    // The next leader may be the fourth itself.
    let rest = || cluster.others(leader).into_iter().map(|other| cluster.node(other)).chain([&fourth]);
    let known = || rest().all(|raft| standing(raft, id) == Some(Standing::Voter));
    poll_until("the vote is given", || known().then_some(())).await;
    let next = poll_until("one leads", || rest().find(|raft| raft.status().role == Role::Leader)).await;
    next.propose(submit(1, 10)).await.unwrap().reply.unwrap();
}
