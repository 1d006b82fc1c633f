//! One process after the other is restarted, as for an upgrade.

use crate::support::{Cluster, Load, Plan, checks, poll_until};
use std::time::{Duration, Instant};

#[test]
fn a_rolling_restart_ends_every_process_in_order_and_costs_nobody_a_task() {
    let mut cluster = Cluster::start(&Plan { workers: 2, ..Plan::default() });
    let load = Load::start(&cluster.book, &[cluster.api("gateway")], 2, Duration::from_millis(80), 5);
    let leader = cluster.leader();
    let mut hosts = cluster.others(&leader);
    hosts.push(leader);
    for host in &hosts {
        let asked = Instant::now();
        cluster.process(host).signal("TERM");
        let gap = poll_until("the next acknowledged submission", || cluster.book.acknowledged_after(asked));
        let status = cluster.process(host).wait(Duration::from_secs(20));
        println!(
            "{host}: {status} after {} ms, acknowledged again after {} ms",
            asked.elapsed().as_millis(),
            gap.as_millis()
        );
        assert_eq!(status.code(), Some(0), "{host} said:\n{}", cluster.process(host).said());
        cluster.start_host(host);
        cluster.caught_up(host);
    }
    for worker in ["worker-1", "worker-2"] {
        cluster.process(worker).signal("TERM");
        let status = cluster.process(worker).wait(Duration::from_secs(20));
        assert_eq!(status.code(), Some(0), "{worker} said:\n{}", cluster.process(worker).said());
        cluster.start_host(worker);
    }
    load.stop();
    cluster.prove_one("after");
    checks::conclude(&mut cluster);
}
