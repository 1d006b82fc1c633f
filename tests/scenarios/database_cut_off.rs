//! The network between the leader and PostgreSQL drops everything; the other coordinators still reach it.

use crate::support::database::{HOST, is_missed};
use crate::support::{Cluster, Load, Plan, checks, poll_until};
use std::time::Duration;

#[test]
fn a_leader_that_is_cut_off_from_postgresql_goes_on_and_catches_up() {
    let mut cluster = Cluster::start(&Plan::archived());
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(120), 5);
    let leader = cluster.leader();
    let term = cluster.view(&leader).unwrap().term;
    cluster.cut(&leader, &[HOST.to_owned()]);
    // Connections are not told: it is a limit of time that finds out.
    is_missed(&cluster);
    let before = cluster.book.acknowledgements();
    poll_until("submissions", || (cluster.book.acknowledgements() > before + 30).then_some(()));
    assert_eq!(cluster.view(&leader).unwrap().term, term, "no reason for an election");
    cluster.heal(&leader, &[HOST.to_owned()]);
    load.stop();
    checks::conclude(&mut cluster);
}
