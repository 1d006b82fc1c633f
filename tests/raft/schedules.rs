//! Schedules that broke another implementation of Raft, as regressions of ours. A scripted peer says what a member would
//! say: it votes, leads and lags as the schedule wants.

use crate::late_grants::{Grants, LateGrants};
use crate::support::{Cluster, PATIENCE, config, has_task, poll_until, register, submit};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, VoteRequest, VoteResponse,
};
use openraft::{CommittedLeaderId, EntryPayload, LogId, Membership, SnapshotMeta, StoredMembership, Vote};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use zkpnet::ledger::{LogIndex, Term};
use zkpnet::raft::{
    Batch, InProcessNetwork, Member, NodeId, PeerReply, PeerRequest, RaftConfig, RaftService, Role,
    TypeConfig,
};

type Entry = openraft::Entry<TypeConfig>;

/// A member that runs no Raft, and says what the test wants.
struct Scripted {
    network: InProcessNetwork,
    id: NodeId,
}

impl Scripted {
    async fn say(&self, to: NodeId, request: PeerRequest) -> PeerReply {
        let transport = self.network.transport(self.id);
        transport.call(to, &Member::new("", ""), request, Duration::from_secs(5)).await.unwrap()
    }

    async fn ask_for_a_vote(
        &self,
        to: NodeId,
        term: u64,
        last: Option<LogId<NodeId>>,
    ) -> VoteResponse<NodeId> {
        let request = VoteRequest::new(Vote::new(term, self.id), last);
        let PeerReply::Vote(reply) = self.say(to, PeerRequest::Vote(request)).await else {
            panic!("no vote")
        };
        reply
    }

    async fn append(
        &self,
        to: NodeId,
        term: u64,
        prev: Option<LogId<NodeId>>,
        entries: Vec<Entry>,
        commit: Option<LogId<NodeId>>,
    ) -> AppendEntriesResponse<NodeId> {
        let vote = Vote::new_committed(term, self.id);
        let request = AppendEntriesRequest { vote, prev_log_id: prev, entries, leader_commit: commit };
        let reply = self.say(to, PeerRequest::AppendEntries(request)).await;
        let PeerReply::AppendEntries(reply) = reply else { panic!("{reply:?}") };
        reply
    }

    /// As the leader of `term`, makes a follower stand for election; repeated until the follower has noticed who leads.
    async fn has_take_over(&self, to: NodeId, term: u64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reply = self.say(to, PeerRequest::TakeOver { term: Term(term) }).await;
            let PeerReply::TakeOver(taken) = reply else { panic!("{reply:?}") };
            let Err(reason) = taken else { return };
            assert!(Instant::now() < deadline, "node {to} does not stand: {reason}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn log_id(&self, term: u64, index: u64) -> LogId<NodeId> {
        LogId::new(CommittedLeaderId::new(term, self.id), index)
    }

    fn founding(&self, voters: u64) -> Entry {
        let members: BTreeMap<_, _> =
            (1..=voters).map(|id| (NodeId(id), Member::new(format!("{id}"), "mem"))).collect();
        let ids: BTreeSet<_> = members.keys().copied().collect();
        Entry {
            log_id: self.log_id(0, 0),
            payload: EntryPayload::Membership(Membership::new(vec![ids], members)),
        }
    }

    fn task(&self, term: u64, index: u64, number: u64) -> Entry {
        let command = if number == 0 { register() } else { submit(number, 10) };
        Entry { log_id: self.log_id(term, index), payload: EntryPayload::Normal(Batch::new(vec![command])) }
    }
}

/// One real node among scripted ones. Its elections take longer than a test, so that it does what it is told.
struct Real {
    network: InProcessNetwork,
    folder: TempDir,
    id: NodeId,
    raft: RaftService,
}

impl Real {
    async fn start(network: &InProcessNetwork, id: NodeId) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let raft = Self::run(network, id, &folder).await;
        Self { network: network.clone(), folder, id, raft }
    }

    async fn run(network: &InProcessNetwork, id: NodeId, folder: &TempDir) -> RaftService {
        let config = config(id, folder.path());
        RaftService::start(config, network.transport(id)).await.unwrap().0
    }

    async fn restart(&mut self) {
        self.raft.shutdown().await.unwrap();
        self.raft = Self::run(&self.network, self.id, &self.folder).await;
    }

    fn scripted(&self, id: u64) -> Scripted {
        Scripted { network: self.network.clone(), id: NodeId(id) }
    }
}

/// Waits for the time of a lease to pass, in which a node votes for nobody.
async fn pass_a_lease() {
    let began = Instant::now();
    let lease = Duration::from_millis(700);
    poll_until("the lease is over", || (began.elapsed() > lease).then_some(())).await;
}

/// openraft orders leaders by term and number, so a vote may move on to a higher number within a term, and never back: of
/// the two candidates at most one finds a majority that still stands by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_is_never_taken_back_across_restarts() {
    let mut real = Real::start(&InProcessNetwork::default(), NodeId(3)).await;
    let (one, two) = (real.scripted(1), real.scripted(2));
    let last = Some(one.log_id(1, 100));
    assert!(two.ask_for_a_vote(real.id, 5, last).await.vote_granted);
    assert!(!one.ask_for_a_vote(real.id, 5, last).await.vote_granted, "the vote was taken back");
    real.restart().await;
    assert!(!one.ask_for_a_vote(real.id, 5, last).await.vote_granted, "the vote was forgotten");
    assert!(two.ask_for_a_vote(real.id, 5, last).await.vote_granted, "and to whom it was given");
    assert!(!two.ask_for_a_vote(real.id, 4, last).await.vote_granted, "the term went back");
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_entries_are_there_after_a_restart_and_outvote_a_shorter_log() {
    let mut real = Real::start(&InProcessNetwork::default(), NodeId(3)).await;
    let (one, two) = (real.scripted(1), real.scripted(2));
    let entries = vec![one.founding(3), one.task(1, 1, 0), one.task(1, 2, 77)];
    let reply = one.append(real.id, 1, None, entries, Some(one.log_id(1, 2))).await;
    assert!(matches!(reply, AppendEntriesResponse::Success), "{reply:?}");
    real.restart().await;
    poll_until("its log is told", || (real.raft.status().last_log == Some(LogIndex(2))).then_some(())).await;
    pass_a_lease().await;
    let shorter = two.ask_for_a_vote(real.id, 50, Some(one.log_id(1, 1))).await;
    assert!(!shorter.vote_granted, "a log without an acknowledged entry was elected");
    poll_until("what was committed is applied", || has_task(&real.raft, 77).then_some(())).await;
}

/// The candidate of term 2 is deposed by a leader of term 3 and stands again in term 4: only then do its grants of term 2
/// arrive, each of which would make a majority with its own vote.
#[tokio::test(flavor = "multi_thread")]
async fn a_vote_that_was_granted_in_an_earlier_term_elects_nobody_in_a_later_one() {
    let (network, grants, folder) =
        (InProcessNetwork::default(), Grants::default(), tempfile::tempdir().unwrap());
    let id = NodeId(3);
    // A request for a vote lives as long as the shortest election timeout; this one outlives the schedule.
    let config = RaftConfig {
        election_timeout_min: Duration::from_secs(30),
        election_timeout_max: Duration::from_secs(60),
        ..config(id, folder.path())
    };
    let transport = LateGrants::new(network.transport(id), grants.clone());
    let raft = RaftService::start(config, Arc::new(transport)).await.unwrap().0;
    let scripted = |id| Scripted { network: network.clone(), id: NodeId(id) };
    let (one, two) = (scripted(1), scripted(2));
    one.append(id, 1, None, vec![one.founding(3), one.task(1, 1, 0)], Some(one.log_id(1, 1))).await;
    one.has_take_over(id, 1).await;
    poll_until("both are asked in term 2", || (grants.asked(2) == 2).then_some(())).await;
    two.append(id, 3, Some(one.log_id(1, 1)), Vec::new(), None).await;
    two.has_take_over(id, 3).await;
    poll_until("both are asked in term 4", || (grants.asked(4) == 2).then_some(())).await;

    let standing = || (raft.status().role, raft.status().term);
    poll_until("it says that it stands", || (standing() == (Role::Candidate, Term(4))).then_some(())).await;
    grants.release(2);
    poll_until("the grants of term 2 arrive", || (grants.arrived(2) == 2).then_some(())).await;
    let began = Instant::now();
    poll_until("there was time to count them", || {
        assert_eq!(standing(), (Role::Candidate, Term(4)), "a grant of term 2 was counted in term 4");
        (began.elapsed() > Duration::from_millis(500)).then_some(())
    })
    .await;
    // The same way, the same members, the right term: such a grant does elect.
    grants.release(4);
    poll_until("it leads", || (standing() == (Role::Leader, Term(4))).then_some(())).await;
    raft.propose(submit(1, 10)).await.unwrap().reply.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_message_of_a_deposed_leader_changes_nothing() {
    let real = Real::start(&InProcessNetwork::default(), NodeId(3)).await;
    let (old, new) = (real.scripted(1), real.scripted(2));
    let first = vec![old.founding(3), old.task(1, 1, 0), old.task(1, 2, 201)];
    old.append(real.id, 1, None, first, Some(old.log_id(1, 1))).await;
    // The leader of term 2 replaces the entry that was not committed, and commits its own.
    let reply = new
        .append(real.id, 2, Some(old.log_id(1, 1)), vec![new.task(2, 2, 101)], Some(new.log_id(2, 2)))
        .await;
    assert!(matches!(reply, AppendEntriesResponse::Success), "{reply:?}");
    poll_until("the entry of term 2 is applied", || has_task(&real.raft, 101).then_some(())).await;
    let delayed = vec![old.task(1, 2, 201), old.task(1, 3, 202)];
    let reply = old.append(real.id, 1, Some(old.log_id(1, 1)), delayed, Some(old.log_id(1, 3))).await;
    assert!(
        matches!(reply, AppendEntriesResponse::HigherVote(vote) if vote.leader_id.term == 2),
        "{reply:?}"
    );
    let told = || {
        let status = real.raft.status();
        (status.term.0, status.last_log, status.applied)
    };
    poll_until("its log is told", || (told() == (2, Some(LogIndex(2)), Some(LogIndex(2)))).then_some(()))
        .await;
    assert!(!has_task(&real.raft, 201) && !has_task(&real.raft, 202));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_an_older_term_is_refused_and_the_term_stays() {
    let real = Real::start(&InProcessNetwork::default(), NodeId(3)).await;
    let (old, new) = (real.scripted(1), real.scripted(2));
    new.append(real.id, 7, None, vec![new.founding(3)], None).await;
    let meta = SnapshotMeta {
        last_log_id: Some(old.log_id(1, 9)),
        last_membership: StoredMembership::default(),
        snapshot_id: "9-old".to_owned(),
    };
    let vote = Vote::new_committed(1, old.id);
    let request = InstallSnapshotRequest { vote, meta, offset: 0, data: vec![0; 10], done: true };
    let reply = old.say(real.id, PeerRequest::InstallSnapshot(request)).await;
    let PeerReply::InstallSnapshot(Ok(reply)) = reply else { panic!("{reply:?}") };
    assert_eq!(reply.vote.leader_id.term, 7);
    // What is told of the term may lag behind what was answered.
    poll_until("the term is told", || (real.raft.status().term.0 == 7).then_some(())).await;
    assert_eq!(real.raft.status().snapshot, None);
    pass_a_lease().await;
    assert!(!old.ask_for_a_vote(real.id, 7, Some(old.log_id(7, 99))).await.vote_granted, "a second vote");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_conflicts_after_a_compaction_is_replaced_where_it_stands() {
    let real = Real::start(&InProcessNetwork::default(), NodeId(3)).await;
    let (old, new) = (real.scripted(1), real.scripted(2));
    let mut entries = vec![old.founding(3), old.task(1, 1, 0)];
    entries.extend((2..=8).map(|index| old.task(1, index, 200 + index)));
    old.append(real.id, 1, None, entries, Some(old.log_id(1, 5))).await;
    poll_until("five are applied", || (real.raft.status().applied == Some(LogIndex(5))).then_some(())).await;
    real.raft.trigger_snapshot().await.unwrap();
    poll_until("they are in a snapshot", || (real.raft.status().snapshot == Some(LogIndex(5))).then_some(()))
        .await;
    let replaced: Vec<_> = (6..=7).map(|index| new.task(2, index, 100 + index)).collect();
    let commit = Some(new.log_id(2, 7));
    let reply = new.append(real.id, 2, Some(old.log_id(1, 5)), replaced, commit).await;
    assert!(matches!(reply, AppendEntriesResponse::Success), "{reply:?}");
    poll_until("the new ones are applied", || has_task(&real.raft, 107).then_some(())).await;
    poll_until("its log is told", || (real.raft.status().last_log == Some(LogIndex(7))).then_some(())).await;
    assert!(has_task(&real.raft, 106) && (202..=205).all(|number| has_task(&real.raft, number)));
    assert!((206..=208).all(|number| !has_task(&real.raft, number)), "an entry that was replaced is applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_four_voters_elect_nobody_and_commit_nothing() {
    let cluster = Cluster::start(4, |_| {}).await;
    cluster.commit(register()).await;
    let leader = cluster.leader().await;
    let others = cluster.others(leader);
    let term = cluster.node(leader).status().term;
    let (mine, theirs) = ([leader, others[0]], [others[1], others[2]]);
    for a in mine {
        theirs.iter().for_each(|&b| cluster.network.cut(a, b));
    }
    poll_until("nobody leads", || {
        cluster.running().all(|raft| raft.status().role != Role::Leader).then_some(())
    })
    .await;
    let began = Instant::now();
    poll_until("some election timeouts pass", || {
        assert!(
            cluster.running().all(|raft| raft.status().role != Role::Leader),
            "two of four elected a leader"
        );
        (began.elapsed() > Duration::from_secs(3)).then_some(())
    })
    .await;
    assert!(cluster.running().all(|raft| raft.status().term == term), "terms grew in vain");
    for raft in cluster.running() {
        assert!(raft.propose(submit(1, 10)).await.is_err());
    }
    cluster.network.heal();
    cluster.leader().await;
    cluster.commit(submit(2, 10)).await;
    cluster.assert_equal_ledgers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_longer_log_and_a_newer_one_the_newer_is_elected() {
    let network = InProcessNetwork::default();
    let (longer, newer) = (Real::start(&network, NodeId(2)).await, Real::start(&network, NodeId(3)).await);
    let dead = Scripted { network: network.clone(), id: NodeId(1) };
    let common = || vec![dead.founding(3), dead.task(1, 1, 0), dead.task(1, 2, 2), dead.task(1, 3, 3)];
    let mut long = common();
    long.extend([dead.task(1, 4, 4), dead.task(1, 5, 5)]);
    dead.append(longer.id, 1, None, long, Some(dead.log_id(1, 3))).await;
    dead.append(newer.id, 2, None, [common(), vec![dead.task(2, 4, 44)]].concat(), Some(dead.log_id(1, 3)))
        .await;
    poll_until("the node with the newer log leads", || {
        (newer.raft.status().role == Role::Leader).then_some(())
    })
    .await;
    newer.raft.propose(submit(6, 10)).await.unwrap().reply.unwrap();
    poll_until("the other follows", || has_task(&longer.raft, 6).then_some(())).await;
    for raft in [&longer.raft, &newer.raft] {
        assert!(has_task(raft, 44) && !has_task(raft, 4) && !has_task(raft, 5));
    }
}
