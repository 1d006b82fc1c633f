//! Who may speak on the Raft port, over real sockets: certificates and their roles, tokens, clusters, storages.

use crate::network::{assert_equal_ledgers, commit, three, unchanged};
use crate::network_support::{
    NetNode, certificate, lone, plain, probe, repeat_until, start, was_let_in, with_tls, with_token,
};
use crate::support::{assert_input, register, submit};
use zkpnet::raft::{AddressError, NodeId, Refusal, TcpOptions, TransportError};
use zkpnet::tls::{CertRole, DevelopmentCertificates};

const ANY: &str = "127.0.0.1:0";
const TOKEN: &str = "correct-horse-battery";

fn is_refused_for(refusal: impl Fn(&Refusal) -> bool) -> impl Fn(&AddressError) -> bool {
    move |error| matches!(error, AddressError::Refused { refusal: found, .. } if refusal(found))
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_with_certificates_replicate() {
    let folder = tempfile::tempdir().unwrap();
    let authority = DevelopmentCertificates::new().unwrap();
    let files = certificate(folder.path(), &authority, CertRole::Coordinator);
    let nodes = three(|listen| with_tls(listen, &files), unchanged).await;
    commit(&nodes, register()).await;
    commit(&nodes, submit(1, 300_000)).await;
    assert_equal_ledgers(&nodes).await;
    for node in &nodes {
        assert_input(&node.raft, 1, 300_000).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_with_a_token_replicate() {
    let nodes = three(|listen| with_token(listen, TOKEN), unchanged).await;
    commit(&nodes, register()).await;
    commit(&nodes, submit(1, 1_000)).await;
    assert_equal_ledgers(&nodes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_coordinators_certificate_of_the_same_authority_is_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = DevelopmentCertificates::new().unwrap();
    let coordinator = certificate(folder.path(), &authority, CertRole::Coordinator);
    let node = lone(1, with_tls(ANY, &coordinator)).await;
    let answer = probe(with_tls(ANY, &coordinator), &node.address).await;
    assert!(was_let_in(&answer), "{answer:?}");
    for role in [CertRole::Worker, CertRole::Gateway, CertRole::Admin] {
        let files = certificate(folder.path(), &authority, role);
        let error = probe(with_tls(ANY, &files), &node.address).await.unwrap_err();
        let by_role = is_refused_for(|refusal| matches!(refusal, Refusal::Certificate { .. }));
        assert!(by_role(&error), "{role}: {error:?}");
    }
    // Without a certificate of this authority there is not even TLS.
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger =
        certificate(elsewhere.path(), &DevelopmentCertificates::new().unwrap(), CertRole::Coordinator);
    for options in [with_tls(ANY, &stranger), plain(ANY), with_token(ANY, TOKEN)] {
        let error = probe(options, &node.address).await.unwrap_err();
        assert!(matches!(error, AddressError::Unreachable { .. }), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_host_is_not_taken_for_the_peers() {
    let folder = tempfile::tempdir().unwrap();
    let authority = DevelopmentCertificates::new().unwrap();
    let files = certificate(folder.path(), &authority, CertRole::Coordinator);
    let pair = authority.issue(CertRole::Coordinator, &["elsewhere.example.com".to_owned()]).unwrap();
    std::fs::write(&files.cert, pair.certificate).unwrap();
    std::fs::write(&files.key, pair.key.as_bytes()).unwrap();
    let node = lone(1, with_tls(ANY, &files)).await;
    let error = probe(with_tls(ANY, &files), &node.address).await.unwrap_err();
    assert!(
        matches!(&error, AddressError::Unreachable { reason, .. } if reason.contains("TLS")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_token_or_none_is_refused() {
    let node = lone(1, with_token(ANY, TOKEN)).await;
    let answer = probe(with_token(ANY, TOKEN), &node.address).await;
    assert!(was_let_in(&answer), "{answer:?}");
    for options in [with_token(ANY, "another-good-token"), plain(ANY)] {
        let error = probe(options, &node.address).await.unwrap_err();
        assert!(is_refused_for(|refusal| *refusal == Refusal::Token)(&error), "{error:?}");
    }
    // As a member it fares no better, and the node whose token is right does not call that a refusal of itself.
    let other = lone(2, with_token(ANY, "another-good-token")).await;
    for (from, to) in [(&node, &other), (&other, &node)] {
        let asked = from.ask(to).await;
        assert!(matches!(asked, Err(TransportError::Unreachable { .. })), "{asked:?}");
        assert_eq!(*from.transport.refusals().borrow(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_refused_and_learns_why() {
    let (one, two, asking) =
        (lone(1, plain(ANY)).await, lone(2, plain(ANY)).await, lone(3, plain(ANY)).await);
    for node in [&one, &two, &asking] {
        node.found().await;
    }
    for (from, to) in [(&asking, &one), (&two, &asking)] {
        let asked = from.ask(to).await;
        let Err(TransportError::Unreachable { reason, .. }) = &asked else { panic!("{asked:?}") };
        assert!(reason.contains("belongs to cluster"), "{reason}");
    }
    let refused = asking.transport.refusals().borrow().clone().unwrap();
    assert_eq!(refused.by, one.id);
    let expected =
        Refusal::Cluster { ours: one.raft.cluster_id().unwrap(), theirs: asking.raft.cluster_id().unwrap() };
    assert_eq!(refused.refusal, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_another_data_key_and_a_number_twice_are_refused() {
    let (one, two) = (lone(1, plain(ANY)).await, lone(2, plain(ANY)).await);
    let refused = async |from: &NetNode, to: u64, address: &str| match from.ask_at(NodeId(to), address).await
    {
        Err(TransportError::Unreachable { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    let reason = refused(&one, 3, &two.address).await;
    assert!(reason.contains("node 2 answers at the address of node 3"), "{reason}");
    let other_key = lone(4, TcpOptions { data_key_print: "another key".to_owned(), ..plain(ANY) }).await;
    let reason = refused(&one, 4, &other_key.address).await;
    assert!(reason.contains("data keys differ"), "{reason}");
    let twin = lone(1, plain(ANY)).await;
    let reason = refused(&one, 1, &twin.address).await;
    assert!(reason.contains("say that they are node 1"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_back_with_a_wiped_disk_is_refused_and_told_what_to_do() {
    let mut nodes = three(plain, unchanged).await;
    commit(&nodes, register()).await;
    assert_equal_ledgers(&nodes).await;
    // Whoever leads has spoken to all, so the storage of node 3 was seen by whoever will dial it next.
    let store = nodes[2].raft.store_id();
    let (id, _lost, address) = nodes.pop().unwrap().stop().await;
    let wiped = start(id, tempfile::tempdir().unwrap(), plain(&address), unchanged).await;
    let mut refusals = wiped.transport.refusals();
    let refused = tokio::time::timeout(crate::support::PATIENCE, refusals.wait_for(Option::is_some));
    let refused = refused.await.unwrap().unwrap().clone().unwrap();
    let Refusal::Store { node, recorded, found, .. } = &refused.refusal else { panic!("{refused:?}") };
    assert_eq!((*node, *recorded, *found), (id, store, wiped.raft.store_id()));
    assert!(refused.refusal.to_string().contains("zkpnet cluster remove 3"), "{}", refused.refusal);
    assert!(wiped.transport.refusers().contains(&refused.by));
    commit(&nodes, submit(1, 100)).await;
    assert_eq!(wiped.raft.status().last_log, None, "the wiped node was given the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_are_replaced_are_used_by_new_connections() {
    let folder = tempfile::tempdir().unwrap();
    let old = DevelopmentCertificates::new().unwrap();
    let files = certificate(folder.path(), &old, CertRole::Coordinator);
    let node = lone(1, with_tls(ANY, &files)).await;
    let running = lone(2, with_tls(ANY, &files)).await;
    running.ask(&node).await.unwrap();

    let (old_folder, new_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let new = DevelopmentCertificates::new().unwrap();
    let with_old = certificate(old_folder.path(), &old, CertRole::Coordinator);
    let with_new = certificate(new_folder.path(), &new, CertRole::Coordinator);
    assert!(was_let_in(&probe(with_tls(ANY, &with_old), &node.address).await));
    assert!(!was_let_in(&probe(with_tls(ANY, &with_new), &node.address).await));

    certificate(folder.path(), &new, CertRole::Coordinator);
    let ask = || probe(with_tls(ANY, &with_new), &node.address);
    let _ = repeat_until("the new certificate is used", async || ask().await, was_let_in).await;
    assert!(
        !was_let_in(&probe(with_tls(ANY, &with_old), &node.address).await),
        "the old authority is trusted still"
    );
    // The connection that was there is not cut, and whoever dials with the same files dials with the new ones.
    running.ask(&node).await.unwrap();
    let third = lone(3, with_tls(ANY, &with_new)).await;
    repeat_until(
        "the running node dials with the new certificate",
        async || running.ask(&third).await,
        Result::is_ok,
    )
    .await
    .unwrap();
}
