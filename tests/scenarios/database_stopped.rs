//! PostgreSQL is stopped for a while, in good order.

use crate::postgres::Stop;
use crate::support::database::{archive_of, is_missed};
use crate::support::{Cluster, Load, Plan, checks, hold_for, poll_until, rounds};
use std::time::Duration;

#[test]
fn without_postgresql_tasks_are_taken_proved_and_told_of_and_then_archived() {
    let mut cluster = Cluster::start(&Plan::archived());
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(120), 5);
    cluster.database().stop(Stop::Fast);
    is_missed(&cluster);
    // A minute in the long mode.
    hold_for(Duration::from_secs(rounds(10, 60) as u64), || {
        let archive = archive_of(&cluster, &cluster.leader());
        assert!(archive.is_none_or(|archive| archive["kind"] == "postgres"));
    });
    let before = cluster.book.acknowledgements();
    poll_until("submissions without it", || (cluster.book.acknowledgements() > before + 20).then_some(()));
    cluster.prove_one("without-archive");
    let health = cluster.client(&cluster.leader(), Duration::from_secs(3)).get("/health").unwrap().body;
    assert_eq!(health["status"], "degraded", "{health}");
    cluster.database().start_again();
    load.stop();
    checks::conclude(&mut cluster);
}
