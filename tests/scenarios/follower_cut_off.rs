//! A follower is cut off for ten seconds, which is many election timeouts, and comes back. Plain Raft would depose the leader.

use crate::support::{Cluster, Load, Plan, checks, hold_for};
use std::time::Duration;

#[test]
fn a_follower_that_was_cut_off_comes_back_without_an_election() {
    let mut cluster = Cluster::start(&Plan::default());
    let leader = cluster.leader_among(&cluster.coordinators);
    let term = cluster.view(&leader).unwrap().term;
    let others = cluster.others(&leader);
    let (follower, third) = (&others[0], &others[1]);
    let addresses = [cluster.api(&leader), cluster.api(third)];
    let load = Load::start(&cluster.book, &addresses, 2, Duration::from_millis(150), 5);
    let unchanged = |cluster: &Cluster| {
        let view = cluster.view(&leader).expect("the leader answers");
        assert!(view.is_leader && view.term == term, "{leader} led in term {term}: {view:?}");
    };
    cluster.cut(follower, &cluster.coordinators);
    hold_for(Duration::from_secs(10), || unchanged(&cluster));
    cluster.heal(follower, &cluster.coordinators);
    hold_for(Duration::from_secs(4), || unchanged(&cluster));
    cluster.caught_up(follower);
    load.stop();
    for host in &cluster.coordinators {
        let view = cluster.view(host).unwrap();
        assert_eq!((view.term, view.leader.as_ref()), (term, Some(&leader)), "{host}");
    }
    checks::conclude(&mut cluster);
}
