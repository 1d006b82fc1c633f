//! A worker dies in the middle of a proof.

use crate::support::{Cluster, Load, Plan, checks};
use std::time::Duration;

#[test]
fn the_task_of_a_worker_that_dies_at_work_is_proved_by_another() {
    let mut cluster = Cluster::start(&Plan { workers: 2, lease: "3s", ..Plan::default() });
    let load = Load::start(&cluster.book, &cluster.apis(), 1, Duration::from_millis(100), 1);
    // Stopped first, so that it is known to have been at work when it died.
    let task = cluster.freeze_at_work("worker-1");
    cluster.kill("worker-1");
    std::thread::sleep(Duration::from_millis(500));
    load.stop();
    checks::conclude(&mut cluster);
    let client = cluster.client(&cluster.leader(), Duration::from_secs(5));
    let (_, ended) = client.look(&task, "");
    assert_eq!(
        (ended["status"].as_str(), ended["worker_id"].as_str()),
        (Some("completed"), Some("worker-2")),
        "{ended}"
    );
    assert!(ended["attempts"].as_u64() >= Some(2), "{ended}");
}
