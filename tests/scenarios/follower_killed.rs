//! A follower dies: nobody waits for it, and it comes back as it was.

use crate::support::{Cluster, Load, Plan, checks, hold_for};
use std::time::Duration;

#[test]
fn a_killed_follower_costs_no_leader_and_catches_up_when_it_is_back() {
    let mut cluster = Cluster::start(&Plan::default());
    let leader = cluster.leader();
    let term = cluster.view(&leader).unwrap().term;
    let follower = cluster.others(&leader).remove(0);
    let addresses: Vec<String> = cluster.coordinators.iter().map(|host| cluster.api(host)).collect();
    let load = Load::start(&cluster.book, &addresses, 2, Duration::from_millis(100), 4);
    cluster.kill(&follower);
    let before = cluster.book.acknowledgements();
    hold_for(Duration::from_secs(3), || {
        let view = cluster.view(&leader).expect("the leader answers");
        assert!(view.is_leader && view.term == term, "it went on leading: {view:?}");
    });
    assert!(cluster.book.acknowledgements() > before + 10, "submissions went on");
    cluster.start_host(&follower);
    cluster.caught_up(&follower);
    load.stop();
    let view = cluster.view(&leader).unwrap();
    assert!(view.is_leader && view.term == term, "its return cost the leader: {view:?}");
    checks::conclude(&mut cluster);
}
