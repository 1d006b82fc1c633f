//! PostgreSQL is killed while it writes, again and again.

use crate::postgres::Stop;
use crate::support::{Cluster, Load, Plan, checks, poll_until, rounds};
use std::time::Duration;

#[test]
fn a_postgresql_that_is_killed_in_mid_batch_has_everything_once() {
    let mut cluster = Cluster::start(&Plan::archived());
    let load = Load::start(&cluster.book, &cluster.apis(), 4, Duration::from_millis(60), 5);
    for round in 0..rounds(3, 12) {
        let before = cluster.database().tasks();
        poll_until("rows", || (cluster.database().tasks() > before + 3).then_some(()));
        // At another moment each time, with batches under way.
        std::thread::sleep(Duration::from_millis(13 * round as u64));
        cluster.database().stop(Stop::Kill);
        let before = cluster.book.acknowledgements();
        poll_until("submissions without it", || {
            (cluster.book.acknowledgements() > before + 10).then_some(())
        });
        cluster.database().start_again();
    }
    load.stop();
    checks::conclude(&mut cluster);
}
