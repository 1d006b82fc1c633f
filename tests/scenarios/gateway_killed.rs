//! The gateway dies and is started again. It holds nothing, so that nothing can be lost with it.

use crate::support::{Cluster, Load, Plan, checks, poll_until};
use std::time::Duration;

#[test]
fn a_gateway_that_is_killed_loses_nothing_and_serves_again_after_its_start() {
    let mut cluster = Cluster::start(&Plan::default());
    let load = Load::start(&cluster.book, &[cluster.api("gateway")], 3, Duration::from_millis(60), 5);
    for _ in 0..3 {
        let before = cluster.book.acknowledgements();
        poll_until("submissions", || (cluster.book.acknowledgements() > before + 15).then_some(()));
        cluster.kill("gateway");
        cluster.start_host("gateway");
    }
    let before = cluster.book.acknowledgements();
    poll_until("submissions after the last start", || {
        (cluster.book.acknowledgements() > before).then_some(())
    });
    load.stop();
    checks::conclude(&mut cluster);
}
