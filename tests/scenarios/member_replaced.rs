//! A coordinator is gone for good and another takes its place, while clients submit.

use crate::support::{Cluster, Load, Plan, checks, poll_until};
use serde_json::json;
use std::time::Duration;

#[test]
fn a_dead_coordinator_is_removed_and_a_new_one_becomes_a_voter_under_load() {
    let mut cluster = Cluster::start(&Plan::default());
    let leader = cluster.leader_among(&cluster.coordinators);
    let dead = cluster.others(&leader).remove(0);
    let load = Load::start(&cluster.book, &[cluster.api("gateway")], 2, Duration::from_millis(100), 5);
    cluster.kill(&dead);
    let removed = poll_until("its removal", || {
        let client = cluster.client(&cluster.leader(), Duration::from_secs(10));
        let answer = client.post("/api/v1/cluster/remove", &[], &json!({"member": dead})).ok()?;
        assert!(answer.status == 200 || answer.status == 503 || answer.status == 404, "{answer:?}");
        (answer.status != 503).then_some(answer)
    });
    println!("{}", removed.body);
    cluster.forget_coordinator(&dead);
    assert!(cluster.member(&dead).is_none());
    cluster.join_coordinator("coordinator-4");
    poll_until("the new coordinator to be a voter", || {
        let member = cluster.member("coordinator-4")?;
        (member["kind"] == "voter" && member["reachable"] == true).then_some(())
    });
    cluster.caught_up("coordinator-4");
    // The gateway, whose file does not name it, learns of it from the others: it may lead.
    poll_until("the gateway to know the new coordinator", || {
        let health = cluster.client("gateway", Duration::from_secs(2)).get("/health").ok()?.body;
        let known = health["coordinators"].as_array()?;
        known.iter().any(|it| it["address"] == "coordinator-4:8090" && it["reachable"] == true).then_some(())
    });
    // Two of the three that are left must be enough, the new one among them.
    let others = cluster.others("coordinator-4");
    let (stopped, kept) = (&others[0], &others[1]);
    cluster.kill(stopped);
    cluster.leader_among(&[kept.clone(), "coordinator-4".to_owned()]);
    let before = cluster.book.acknowledgements();
    poll_until("submissions that the new one has voted for", || {
        (cluster.book.acknowledgements() > before + 10).then_some(())
    });
    cluster.start_host(stopped);
    cluster.caught_up(stopped);
    load.stop();
    checks::conclude(&mut cluster);
}

#[test]
fn a_coordinator_that_waits_is_added_by_its_name_and_not_by_another() {
    let mut cluster = Cluster::start(&Plan::default());
    cluster.wait_coordinator("coordinator-4");
    let order = |name: &str| {
        let client = cluster.client(&cluster.leader(), Duration::from_secs(20));
        let body = json!({"member": name, "address": "coordinator-4:7000", "promote": true});
        client.post("/api/v1/cluster/add", &[], &body).ok()
    };
    // Until its port is there, the address is wrong.
    let refused = poll_until("the leader to find it under another name", || {
        let answer = order("coordinator-5")?;
        assert_ne!(answer.status, 200, "it was added under another name: {}", answer.body);
        (answer.body["field"] != "address" && answer.status != 503).then_some(answer)
    });
    assert_eq!((refused.status, &refused.body["field"]), (409, &json!("member")), "{}", refused.body);
    assert!(refused.body["detail"].as_str().unwrap().contains("coordinator-4"), "{}", refused.body);
    poll_until("it is added", || {
        let answer = order("coordinator-4")?;
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(())
    });
    poll_until("the new coordinator to be a voter", || {
        let member = cluster.member("coordinator-4")?;
        (member["kind"] == "voter" && member["reachable"] == true).then_some(())
    });
    cluster.caught_up("coordinator-4");
    // It is a member for good: it comes back without being added again.
    cluster.kill("coordinator-4");
    cluster.start_host("coordinator-4");
    cluster.caught_up("coordinator-4");
    checks::conclude(&mut cluster);
}
