//! The coordinators' disks are nearly full.

use crate::support::disk::SmallDisk;
use crate::support::{Cluster, LIMIT, Load, Plan, checks, poll_until};
use serde_json::json;
use std::time::Duration;

#[test]
fn with_too_little_room_no_task_is_taken_and_those_that_are_there_end() {
    let plan = Plan {
        coordinator_variables: vec![("ZKPNET_STORAGE__FREE_BYTES_MIN", "48MiB".to_owned())],
        ..Plan::default()
    };
    let mut cluster = Cluster::start_prepared(&plan, |cluster| {
        for host in cluster.coordinators.clone() {
            let disk = SmallDisk::mount(&cluster.data(&host), 192);
            cluster.disks.insert(host, disk);
        }
    });
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(80), 5);
    poll_until("submissions", || (cluster.book.acknowledgements() > 20).then_some(()));
    cluster.disks.values().for_each(|disk| disk.fill_but(32));
    for host in &cluster.coordinators {
        poll_until("every coordinator to tell of its disk", || {
            let health = cluster.client(host, LIMIT).get("/health").ok()?.body;
            (health["status"] == "degraded" && health["storage"]["error"].is_string()).then_some(())
        });
    }
    let taken = cluster.book.acknowledgements();
    let client = cluster.client(&cluster.leader(), LIMIT);
    let body = json!({"leaves": ["0xaa", "0xbb"], "leaf_index": 0});
    let refused =
        client.post("/api/v1/tasks/merkle", &[("Idempotency-Key", "on-a-full-disk")], &body).unwrap();
    assert_eq!((refused.status, refused.body["code"].as_str()), (503, Some("storage_low")), "{refused:?}");
    let is_empty = |status: &str| {
        let list = client.get(&format!("/api/v1/tasks?limit=1&status={status}")).unwrap().body;
        list["tasks"].as_array().is_some_and(Vec::is_empty)
    };
    poll_until("all that was taken to end", || {
        ["pending", "assigned", "in_progress"].into_iter().all(is_empty).then_some(())
    });
    // What was under way when the disks were found to be nearly full may have been answered since.
    assert!(cluster.book.acknowledgements() <= taken + 3, "tasks were taken all the same");
    cluster.disks.values().for_each(SmallDisk::empty);
    poll_until("submissions to be taken again", || {
        (cluster.book.acknowledgements() > taken + 20).then_some(())
    });
    load.stop();
    checks::conclude(&mut cluster);
}
