//! Nodes over real sockets: a cluster that elects, replicates and passes snapshots; peers that are down, slow, or speak
//! nonsense.

use crate::network_support::{Line, NetNode, lone, plain, start};
use crate::support::{PATIENCE, assert_input, has_task, poll_until, records, register, submit};
use openraft::raft::InstallSnapshotRequest;
use openraft::{SnapshotMeta, StoredMembership, Vote};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use zkpnet::ledger::Command;
use zkpnet::raft::{
    Member, NodeId, PeerReply, PeerRequest, PeerTransport as _, RaftConfig, RaftService, Role, TcpOptions,
    TcpTransport, TransportError,
};

/// Three nodes that have founded a cluster.
pub(crate) async fn three(options: impl Fn(&str) -> TcpOptions, adjust: fn(&mut RaftConfig)) -> Vec<NetNode> {
    let mut nodes = Vec::new();
    for id in 1..=3 {
        let directory = tempfile::tempdir().unwrap();
        nodes.push(start(NodeId(id), directory, options("127.0.0.1:0"), adjust).await);
    }
    let members: BTreeMap<_, _> = nodes.iter().map(|node| (node.id, node.member())).collect();
    nodes[0].raft.initialize(members).await.unwrap();
    nodes
}

/// Proposes until a leader commits it.
pub(crate) async fn commit(nodes: &[NetNode], command: Command) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for node in nodes.iter().filter(|node| node.raft.status().role == Role::Leader) {
            if let Ok(committed) = node.raft.propose(command.clone()).await {
                committed.reply.unwrap();
                return;
            }
        }
        assert!(Instant::now() < deadline, "nobody committed {command:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn assert_equal_ledgers(nodes: &[NetNode]) {
    poll_until("all have applied the whole log", || {
        let statuses: Vec<_> = nodes.iter().map(|node| node.raft.status()).collect();
        let last = statuses.iter().map(|status| status.last_log).max()?;
        statuses.iter().all(|status| status.applied == last && status.last_log == last).then_some(())
    })
    .await;
    for node in nodes {
        assert_eq!(records(&node.raft), records(&nodes[0].raft), "nodes 1 and {}", node.id);
    }
}

pub(crate) fn unchanged(_: &mut RaftConfig) {}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_over_tcp_elect_replicate_and_replace_a_leader_that_stops() {
    let mut nodes = three(plain, unchanged).await;
    commit(&nodes, register()).await;
    for number in 0..20 {
        commit(&nodes, submit(number, 10_000)).await;
    }
    assert_equal_ledgers(&nodes).await;
    for node in &nodes {
        assert_input(&node.raft, 19, 10_000).await;
        assert_eq!(node.transport.refusals().borrow().as_ref(), None);
    }
    let leader = nodes.iter().position(|node| node.raft.status().role == Role::Leader).unwrap();
    let (id, directory, address) = nodes.remove(leader).stop().await;
    commit(&nodes, submit(20, 100)).await;
    // It comes back on the same port, and its peers find it by themselves.
    nodes.insert(leader, start(id, directory, plain(&address), unchanged).await);
    commit(&nodes, submit(21, 100)).await;
    assert_equal_ledgers(&nodes).await;
    assert!(has_task(&nodes[leader].raft, 20) && has_task(&nodes[leader].raft, 21));
    // It has spoken with the new leader at least, and knows the storage of whomever it has spoken with.
    let seen = nodes[leader].transport.seen_stores();
    assert!(!seen.is_empty());
    for (other, store) in seen {
        let node = nodes.iter().find(|node| node.id == other).unwrap();
        assert_eq!(store, node.raft.store_id(), "of node {other}");
    }
}

fn keep_little(config: &mut RaftConfig) {
    config.log_entries_kept = 3;
    config.snapshot_after_entries = 15;
    config.snapshot_chunk_bytes = 20_000;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_in_many_pieces_is_installed_over_tcp() {
    let mut nodes = three(plain, keep_little).await;
    commit(&nodes, register()).await;
    assert_equal_ledgers(&nodes).await;
    let absent = nodes.iter().position(|node| node.raft.status().role != Role::Leader).unwrap();
    let had = nodes[absent].raft.status().last_log;
    let (id, directory, address) = nodes.remove(absent).stop().await;
    for number in 0..80 {
        commit(&nodes, submit(number, 5_000)).await;
    }
    poll_until("the others have dropped what it lacks", || {
        nodes.iter().all(|node| node.raft.status().purged > had).then_some(())
    })
    .await;
    nodes.insert(absent, start(id, directory, plain(&address), keep_little).await);
    assert_equal_ledgers(&nodes).await;
    let status = nodes[absent].raft.status();
    assert!(status.snapshot > had, "{status:?}");
    for number in 0..80 {
        assert_input(&nodes[absent].raft, number, 5_000).await;
    }
}

/// A piece of a snapshot that does not end here.
fn piece(bytes: usize) -> PeerRequest {
    PeerRequest::InstallSnapshot(InstallSnapshotRequest {
        vote: Vote::new_committed(1, NodeId(1)),
        meta: SnapshotMeta {
            last_log_id: None,
            last_membership: StoredMembership::default(),
            snapshot_id: "1".to_owned(),
        },
        offset: 0,
        data: vec![7; bytes],
        done: false,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_urgent_does_not_wait_behind_a_slow_snapshot() {
    let (one, two) = (lone(1, plain("127.0.0.1:0")).await, lone(2, plain("127.0.0.1:0")).await);
    let mut line = Line::to(two.address.clone(), 64 << 10).await;
    let member = Member::new("two", line.address.clone());
    let snapshot = one.transport.call(two.id, &member, piece(1 << 20), PATIENCE);
    let snapshot = tokio::spawn(snapshot);
    line.held.wait_for(|held| *held == 1).await.unwrap();
    for _ in 0..10 {
        let asked = one.ask_at(two.id, &line.address).await;
        assert!(matches!(asked, Ok(PeerReply::Vote(_))), "{asked:?}");
    }
    assert!(!snapshot.is_finished(), "it was not slow");
    line.release();
    let answer = snapshot.await.unwrap();
    assert!(matches!(answer, Ok(PeerReply::InstallSnapshot(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_down_is_told_at_once_and_found_when_it_is_back() {
    let (one, two) = (lone(1, plain("127.0.0.1:0")).await, lone(2, plain("127.0.0.1:0")).await);
    one.ask(&two).await.unwrap();
    let (id, directory, address) = two.stop().await;
    let begun = Instant::now();
    for _ in 0..20 {
        let asked = one.ask_at(id, &address).await;
        // The first may still find the old connection, which then ends.
        assert!(
            matches!(asked, Err(TransportError::Unreachable { .. } | TransportError::Failed { .. })),
            "{asked:?}"
        );
    }
    assert!(begun.elapsed() < PATIENCE / 4, "{:?}", begun.elapsed());
    let two = start(id, directory, plain(&address), unchanged).await;
    let back = Instant::now();
    while one.ask(&two).await.is_err() {
        assert!(back.elapsed() < PATIENCE, "the peer was not found again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accepts_and_says_nothing_costs_no_more_than_the_time_limit() {
    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let one = lone(1, plain("127.0.0.1:0")).await;
    let limit = Duration::from_millis(200);
    let begun = Instant::now();
    let vote = openraft::raft::VoteRequest::new(Vote::new(0, one.id), None);
    let request = PeerRequest::Vote(vote);
    let asked = one.transport.call(NodeId(2), &Member::new("", address), request, limit).await;
    // It was never sent, so it surely had no effect.
    assert!(matches!(asked, Err(TransportError::Unreachable { .. })), "{asked:?}");
    assert!(begun.elapsed() >= limit && begun.elapsed() < limit * 20, "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_dies_without_a_word_is_replaced() {
    let (one, two) = (lone(1, plain("127.0.0.1:0")).await, lone(2, plain("127.0.0.1:0")).await);
    // Each connection swallows everything after the first kilobytes, as a line does that was cut somewhere on the way.
    let line = Line::to(two.address.clone(), 4 << 10).await;
    let member = Member::new("two", line.address.clone());
    let ask = async || {
        let vote = openraft::raft::VoteRequest::new(Vote::new(0, one.id), None);
        let limit = Duration::from_millis(200);
        one.transport.call(two.id, &member, PeerRequest::Vote(vote), limit).await
    };
    let begun = Instant::now();
    while *line.held.borrow() == 0 {
        assert!(begun.elapsed() < PATIENCE, "the line was never cut");
        let _ = ask().await;
    }
    let lost = ask().await;
    assert!(matches!(lost, Err(TransportError::TimedOut { .. })), "{lost:?}");
    let begun = Instant::now();
    while let Err(error) = ask().await {
        assert!(begun.elapsed() < PATIENCE, "the dead connection is used still: {error}");
    }
}

/// Sends bytes to a node, and waits until it closes the connection.
async fn throw_at(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may have closed the connection before all is written.
    let _ = stream.write_all(bytes).await;
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the connection stays open");
    assert!(answer.len() < 1024, "{} bytes were answered", answer.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_closes_its_connection_and_harms_nothing_else() {
    let (one, two) = (lone(1, plain("127.0.0.1:0")).await, lone(2, plain("127.0.0.1:0")).await);
    one.ask(&two).await.unwrap();
    let preamble = b"zkpraft\n\x01\x00";
    let overlong = [preamble.as_slice(), &u32::MAX.to_le_bytes(), &[0; 100]].concat();
    let nonsense = [preamble.as_slice(), &100_u32.to_le_bytes(), &[9; 100]].concat();
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), &[0; 70_000], &overlong, &nonsense] {
        throw_at(&two.address, bytes).await;
        one.ask(&two).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_limit_closes_the_connection_and_the_next_one_is_answered() {
    let small = TcpOptions { frame_bytes_max: 64 << 10, ..plain("127.0.0.1:0") };
    let (one, two) = (lone(1, plain("127.0.0.1:0")).await, lone(2, small).await);
    let too_long = one.transport.call(two.id, &two.member(), piece(200_000), PATIENCE).await;
    assert!(matches!(too_long, Err(TransportError::Failed { .. })), "{too_long:?}");
    let fitting = one.transport.call(two.id, &two.member(), piece(20_000), PATIENCE).await;
    assert!(matches!(fitting, Ok(PeerReply::InstallSnapshot(_))), "{fitting:?}");
    // Nor does a node send what it would not take.
    let never_sent = two.transport.call(one.id, &one.member(), piece(200_000), PATIENCE).await;
    assert!(matches!(never_sent, Err(TransportError::Failed { .. })), "{never_sent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_hold_their_connections_do_not_keep_members_out_for_long() {
    let (one, two) = (lone(1, plain("127.0.0.1:0")).await, lone(2, plain("127.0.0.1:0")).await);
    let mut strangers = Vec::new();
    for _ in 0..100 {
        strangers.push(TcpStream::connect(&two.address).await.unwrap());
    }
    let begun = Instant::now();
    while one.ask(&two).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "the member was kept out");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_the_setting() {
    let taken = TcpTransport::bind(plain("127.0.0.1:0")).unwrap();
    let error = TcpTransport::bind(plain(&taken.address().to_string())).unwrap_err().to_string();
    assert!(error.contains("raft.raft_port") && error.contains(&taken.address().to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_stopped_has_let_go_of_port_and_files() {
    let node = lone(1, plain("127.0.0.1:0")).await;
    node.found().await;
    let transport = node.transport.clone();
    let (id, directory, address) = node.stop().await;
    let asked = transport.call(NodeId(2), &Member::new("", "127.0.0.1:1"), piece(1), PATIENCE).await;
    assert!(matches!(asked, Err(TransportError::Unreachable { .. })), "{asked:?}");
    // The old handle is still there, and in the way of nothing.
    let again = start(id, directory, plain(&address), unchanged).await;
    let leads = |raft: &RaftService| raft.status().role == Role::Leader;
    poll_until("it leads again", || leads(&again.raft).then_some(())).await;
}
