//! A coordinator loses its disk and is started as if it still were the member that it was.
//!
//! It has forgotten for whom it voted and what it acknowledged, so it must not take part; it is told what to do instead.

use crate::support::{Cluster, Load, Plan, checks, poll_until};
use std::time::Duration;

#[test]
fn a_coordinator_whose_disk_was_wiped_is_refused_and_told_the_remedy() {
    let mut cluster = Cluster::start(&Plan::default());
    let leader = cluster.leader_among(&cluster.coordinators);
    let wiped = cluster.others(&leader).remove(0);
    let load = Load::start(&cluster.book, &[cluster.api("gateway")], 2, Duration::from_millis(100), 5);
    cluster.kill(&wiped);
    let data = cluster.data(&wiped);
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    let before = cluster.process(&wiped).said().len();
    cluster.start_host(&wiped);
    let said = poll_until("the refusal", || {
        let said = cluster.process(&wiped).said().split_off(before);
        (said.contains("new node id") && said.contains("cluster remove")).then_some(said)
    });
    println!("{}", said.lines().find(|line| line.contains("cluster remove")).unwrap());
    // It takes no part: no leader, no follower that the others count on.
    for host in cluster.others(&wiped) {
        let view = cluster.view(&host).unwrap();
        assert_ne!(view.leader.as_ref(), Some(&wiped));
    }
    cluster.kill(&wiped);
    cluster.forget_coordinator(&wiped);
    cluster.leader_among(&cluster.coordinators);
    load.stop();
    checks::conclude(&mut cluster);
}
