//! The leader's disk becomes slow: every fsync takes a quarter of a second.

use crate::support::{Cluster, Load, Plan, checks, hold_for, poll_until, shim};
use std::time::Duration;

#[test]
fn a_leader_with_a_slow_disk_goes_on_leading_and_acknowledging() {
    let shim = shim::build();
    let variables = vec![
        ("LD_PRELOAD", shim.library.display().to_string()),
        ("SLOW_FSYNC_FILE", "{folder}/{host}.delay".to_owned()),
    ];
    let mut cluster = Cluster::start(&Plan { coordinator_variables: variables, ..Plan::default() });
    let leader = cluster.leader_among(&cluster.coordinators);
    let term = cluster.view(&leader).unwrap().term;
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(100), 5);
    let delay = cluster.folder().join(format!("{leader}.delay"));
    std::fs::write(&delay, "250").unwrap();
    let before = cluster.book.acknowledgements();
    hold_for(Duration::from_secs(8), || {
        let view = cluster.view(&leader).expect("the leader answers");
        assert!(view.is_leader && view.term == term, "{leader} led in term {term}: {view:?}");
    });
    let acknowledged = cluster.book.acknowledgements() - before;
    println!("{acknowledged} submissions acknowledged in 8 s with an fsync of 250 ms");
    assert!(acknowledged >= 8);
    assert!(std::fs::metadata(shim::counter(&delay)).unwrap().len() > 10, "the delay was in effect");
    std::fs::remove_file(&delay).unwrap();
    poll_until("the backlog", || {
        (cluster.book.acknowledgements() > before + acknowledged + 20).then_some(())
    });
    load.stop();
    checks::conclude(&mut cluster);
}
