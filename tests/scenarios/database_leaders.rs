//! The work of archiving goes from leader to leader, one of which does not know that it was deposed.

use crate::support::{Cluster, Load, Plan, checks, poll_until, rounds};
use std::time::Duration;

#[test]
fn leaders_that_follow_each_other_archive_everything_once_and_a_thawed_one_writes_nothing() {
    let mut cluster = Cluster::start(&Plan::archived());
    let load = Load::start(&cluster.book, &cluster.apis(), 4, Duration::from_millis(60), 5);
    for round in 0..rounds(3, 10) {
        let before = cluster.database().tasks();
        poll_until("rows", || (cluster.database().tasks() > before + 5).then_some(()));
        let old = cluster.leader_among(&cluster.coordinators);
        let others = cluster.others(&old);
        // Frozen in the middle of whatever it does to the archive, it holds its claim and its open transaction.
        cluster.process(&old).signal("STOP");
        let new = cluster.leader_among(&others);
        let before = cluster.database().tasks();
        poll_until("rows of the new leader", || (cluster.database().tasks() > before + 5).then_some(()));
        if round.is_multiple_of(2) {
            cluster.process(&old).signal("CONT");
        } else {
            cluster.kill(&old);
            cluster.start_host(&old);
        }
        cluster.caught_up(&old);
        println!("round {round}: {old}, then {new}");
    }
    load.stop();
    checks::conclude(&mut cluster);
}
