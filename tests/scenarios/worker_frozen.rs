//! A worker is stopped for longer than its lease and goes on as if nothing had been.

use crate::support::{Cluster, Load, Plan, checks, poll_until};
use std::time::Duration;

#[test]
fn a_worker_that_wakes_after_its_lease_harms_nothing_and_works_on() {
    let mut cluster = Cluster::start(&Plan { workers: 2, lease: "2s", ..Plan::default() });
    let load = Load::start(&cluster.book, &cluster.apis(), 1, Duration::from_millis(100), 1);
    let task = cluster.freeze_at_work("worker-1");
    let client = cluster.client(&cluster.leader(), Duration::from_secs(5));
    load.stop();
    poll_until("the task to be proved by the other worker", || {
        let (_, now) = client.look(&task, "");
        (now["status"] == "completed").then(|| assert_eq!(now["worker_id"], "worker-2", "{now}"))
    });
    // What it now reports is of a lease that it lost.
    cluster.process("worker-1").signal("CONT");
    cluster.kill("worker-2");
    let proved = cluster.prove_one("after");
    assert_eq!(proved["worker_id"], "worker-1", "it came back without a restart: {proved}");
    checks::conclude(&mut cluster);
}
