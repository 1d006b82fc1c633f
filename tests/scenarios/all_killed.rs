//! Every coordinator dies at once, as when the power fails.

use crate::support::{Cluster, Load, Plan, checks, poll_until, rounds};
use std::time::Duration;

#[test]
fn a_cluster_that_was_killed_as_a_whole_comes_back_with_all_that_it_acknowledged() {
    let mut cluster = Cluster::start(&Plan::default());
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(50), 5);
    for _ in 0..rounds(2, 10) {
        let before = cluster.book.acknowledgements();
        poll_until("submissions", || (cluster.book.acknowledgements() > before + 20).then_some(()));
        let hosts = cluster.coordinators.clone();
        hosts.iter().for_each(|host| cluster.kill(host));
        hosts.iter().for_each(|host| cluster.start_host(host));
        cluster.leader_among(&hosts);
    }
    load.stop();
    checks::conclude(&mut cluster);
}
