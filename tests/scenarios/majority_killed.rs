//! Two of three coordinators die, the leader among them.

use crate::support::{Cluster, Plan, checks, poll_until};
use std::time::Duration;

#[test]
fn a_coordinator_that_is_left_alone_says_that_it_has_no_leader_and_wants_no_requests() {
    let mut cluster = Cluster::start(&Plan::default());
    let leader = cluster.leader();
    let others = cluster.others(&leader);
    let (lone, other) = (&others[0], &others[1]);
    for host in [&leader, other] {
        cluster.kill(host);
    }
    let client = cluster.client(lone, Duration::from_secs(5));
    poll_until("it to be not ready", || (client.get("/readyz").ok()?.status == 503).then_some(()));
    let health = client.get("/health").unwrap().body;
    assert_eq!(
        (&health["status"], &health["raft"]["leader_address"]),
        (&"unhealthy".into(), &().into()),
        "{health}"
    );
    for host in [&leader, other] {
        cluster.start_host(host);
    }
    cluster.leader_among(&cluster.coordinators);
    poll_until("it to be ready again", || (client.get("/readyz").ok()?.status == 200).then_some(()));
    checks::conclude(&mut cluster);
}
