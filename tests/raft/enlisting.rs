//! A process without a number waits on its port, and an operator has the leader add it, over real sockets.

use crate::network_support::{NetNode, lone, plain};
use crate::support::{config, has_task, poll_until, register, submit};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use zkpnet::raft::{
    AdminError, Aim, EnlistError, Enrolment, Identity, NodeAbout, NodeId, RaftService, Standing,
    StoreIdentity, TcpOptions, TcpTransport, TransportError,
};

const NAME: &str = "four";

/// A process that waits to be added.
struct Waiting {
    folder: TempDir,
    transport: Arc<TcpTransport>,
    identity: Identity,
}

impl Waiting {
    fn new(data_key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let transport = TcpTransport::bind(TcpOptions::new("127.0.0.1:0", NAME, data_key)).unwrap();
        let StoreIdentity { store, node, cluster } = StoreIdentity::prepare(folder.path()).unwrap();
        let (name, address) = (NAME.to_owned(), transport.address().to_string());
        Self { folder, transport, identity: Identity { name, address, store, node, cluster } }
    }

    fn address(&self) -> String {
        self.identity.address.clone()
    }

    fn wait(&self) -> JoinHandle<Enrolment> {
        let (transport, identity) = (self.transport.clone(), self.identity.clone());
        tokio::spawn(async move { transport.wait_to_be_added(identity).await.unwrap() })
    }

    async fn start(&self, node: NodeId) -> RaftService {
        let config = config(node, self.folder.path());
        let (raft, _) = RaftService::start(config, self.transport.clone()).await.unwrap();
        raft.set_about(NodeAbout { name: NAME.to_owned(), ..NodeAbout::default() });
        self.transport.set_store(raft.store_id());
        raft
    }
}

async fn cluster_of_one() -> NetNode {
    let node = lone(1, plain("127.0.0.1:0")).await;
    node.found().await;
    for command in [register(), submit(7, 10)] {
        node.raft.propose(command).await.unwrap().reply.unwrap();
    }
    node
}

fn standing(raft: &RaftService, id: NodeId) -> Option<Standing> {
    raft.members().into_iter().find(|member| member.id == id).map(|member| member.standing)
}

fn reason(refused: Result<NodeId, EnlistError>) -> String {
    match refused {
        Err(EnlistError::Address { reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_waits_is_added_as_a_learner_and_gets_a_vote_when_that_is_asked_for() {
    let (one, four) = (cluster_of_one().await, Waiting::new("the data key"));
    let waits = four.wait();
    let id = one.raft.enlist(NAME, four.address(), Aim::Learner).await.unwrap();
    let enrolment = waits.await.unwrap();
    let cluster = one.raft.cluster_id().unwrap();
    let store = four.identity.store;
    assert_eq!(enrolment, Enrolment { node: id, cluster, store, aim: Aim::Learner });
    let raft = four.start(id).await;
    poll_until("it has what was committed before", || has_task(&raft, 7).then_some(())).await;
    poll_until("it knows that it is a member", || {
        (standing(&raft, id) == Some(Standing::Learner)).then_some(())
    })
    .await;
    let elsewhere = raft.enlist("five", "127.0.0.1:1", Aim::Learner).await;
    assert!(
        matches!(elsewhere, Err(EnlistError::Change(AdminError::NotLeader { leader: Some(_) }))),
        "{elsewhere:?}"
    );
    // The same order again adds nobody; and it may ask for more.
    assert_eq!(one.raft.enlist(NAME, four.address(), Aim::Learner).await, Ok(id));
    assert_eq!(standing(&one.raft, id), Some(Standing::Learner), "nobody asked for a vote");
    assert_eq!(one.raft.enlist(NAME, four.address(), Aim::Voter).await, Ok(id));
    poll_until("it has a vote", || (standing(&raft, id) == Some(Standing::Voter)).then_some(())).await;
    assert_eq!(one.raft.members().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_added_whom_the_operator_did_not_mean() {
    let (one, four) = (cluster_of_one().await, Waiting::new("the data key"));
    let _waits = four.wait();
    let other_name = one.raft.enlist("five", four.address(), Aim::Voter).await;
    assert!(
        matches!(&other_name, Err(EnlistError::Name { found, .. }) if found == NAME),
        "a process was added under another name than its own: {other_name:?}"
    );
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let silent = reason(one.raft.enlist(NAME, &nobody, Aim::Voter).await);
    assert!(silent.contains(&nobody), "{silent}");
    let elsewhere = cluster_of_one().await;
    let other_cluster = reason(one.raft.enlist(NAME, &elsewhere.address, Aim::Voter).await);
    assert!(other_cluster.contains("belongs to cluster"), "{other_cluster}");
    // It has a number of its own choice, and has founded nothing yet.
    let founder = lone(2, plain("127.0.0.1:0")).await;
    founder.raft.set_about(NodeAbout { name: "two".to_owned(), ..NodeAbout::default() });
    let numbered = reason(one.raft.enlist("two", &founder.address, Aim::Voter).await);
    assert!(numbered.contains("number 2 already"), "{numbered}");
    let other_key = Waiting::new("another data key");
    let _waits_too = other_key.wait();
    let sealed = reason(one.raft.enlist(NAME, other_key.address(), Aim::Voter).await);
    assert!(sealed.contains("storage.key_file"), "{sealed}");
    let port = four.transport.address().port();
    let other_address = reason(one.raft.enlist(NAME, format!("localhost:{port}"), Aim::Voter).await);
    assert!(other_address.contains(&four.address()), "{other_address}");
    assert_eq!(one.raft.members().len(), 1, "somebody was added");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_forgot_its_number_waits_again_and_is_told_the_same_one() {
    let (one, four) = (cluster_of_one().await, Waiting::new("the data key"));
    let waits = four.wait();
    let id = one.raft.enlist(NAME, four.address(), Aim::Learner).await.unwrap();
    // It ends before it has stored what it was told.
    assert_eq!(waits.await.unwrap().node, id);
    let waits = four.wait();
    // The leader calls the member, and hears that it has no number: that is no refusal of the leader.
    let called = one.ask_at(id, &four.address()).await;
    assert!(
        matches!(&called, Err(TransportError::Unreachable { reason, .. }) if reason.contains("zkpnet cluster add")),
        "{called:?}"
    );
    assert!(one.transport.refusers().is_empty() && one.transport.refusals().borrow().is_none());
    assert_eq!(one.raft.enlist(NAME, four.address(), Aim::Learner).await, Ok(id));
    assert_eq!(waits.await.unwrap().node, id);
    let raft = four.start(id).await;
    poll_until("it has what was committed before", || has_task(&raft, 7).then_some(())).await;
}
