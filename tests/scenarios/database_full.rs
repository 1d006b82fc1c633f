//! PostgreSQL's disk is full.

use crate::postgres::Stop;
use crate::support::database::is_missed;
use crate::support::{Cluster, Load, Plan, checks, poll_until};
use std::time::Duration;

#[test]
fn a_postgresql_whose_disk_is_full_loses_nothing_and_gets_the_rest_later() {
    let mut cluster = Cluster::start(&Plan { database_disk_mebibytes: Some(160), ..Plan::archived() });
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(120), 5);
    let before = cluster.database().tasks();
    poll_until("rows", || (cluster.database().tasks() > before + 5).then_some(()));
    cluster.database().disk.as_ref().unwrap().fill();
    is_missed(&cluster);
    let before = cluster.book.acknowledgements();
    poll_until("submissions", || (cluster.book.acknowledgements() > before + 20).then_some(()));
    cluster.database().disk.as_ref().unwrap().empty();
    // A server that could not write its log has ended itself, as an operator finds it.
    cluster.database().stop(Stop::Immediate);
    cluster.database().start_again();
    load.stop();
    checks::conclude(&mut cluster);
}
