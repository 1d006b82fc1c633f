//! What was archived leaves the leader: its ledger keeps as many finished tasks as it was told to, however many went through.
//!
//! Tasks are submitted and withdrawn, so that no prover is needed. What is exact is asserted: the ledger's records, and the
//! size of all of them in a backup. What the process occupies is printed, since the allocator and the store's cache have a say in it:
//! `ZKPNET_TEST_TASKS=10000 cargo test --test operations archived -- --nocapture` takes ten times as many tasks through it.

use crate::lab::{Entrance, Lab, Place, inspected, said_with};
use crate::postgres::{PASSWORD, Postgres, PostgresOptions, USER};
use crate::support::{Client, poll_until};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const DATABASE: &str = "zkp_network";
/// Finished tasks that the ledger keeps.
const KEPT: u64 = 50;
const CLIENTS: usize = 32;

/// Tasks of the first part; ten times as many in all.
fn first_part() -> u64 {
    std::env::var("ZKPNET_TEST_TASKS").ok().map_or(100, |text| text.parse().unwrap())
}

/// Submits and withdraws the tasks of these numbers, which no other task shares a leaf with.
fn take_through(client: &Client, from: u64, to: u64) {
    let next = AtomicU64::new(from);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let client = client.clone();
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= to {
                        return;
                    }
                    let body = json!({"leaves": [format!("0x{:x}", number + 1), "0xfe"], "leaf_index": 0});
                    // Refused while the key is made, and when the archive is far behind.
                    let task = poll_until("a submission to be taken", || {
                        let answer = client.post("/api/v1/tasks/merkle", &[], &body).unwrap();
                        (answer.status == 202).then(|| answer.body["task_id"].as_str().unwrap().to_owned())
                    });
                    let answer =
                        client.post(&format!("/api/v1/tasks/{task}/cancel"), &[], &json!({})).unwrap();
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            });
        }
    });
}

/// A value of the metrics.
fn value(page: &str, series: &str) -> u64 {
    let line = page.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

/// Waits until everything is archived and the ledger has forgotten what it need not keep; the metrics then.
fn settled(client: &Client, tasks: u64) -> String {
    let mut last = String::new();
    poll_until("the archive to have everything, and the ledger to forget it", || {
        last = client.get("/metrics").ok()?.body.as_str()?.to_owned();
        let is_settled = value(&last, "zkpnet_archive_lag_items") == 0
            && value(&last, "zkpnet_tasks{status=\"cancelled\"}") == KEPT
            && value(&last, "zkpnet_tasks_total{outcome=\"forgotten\"}") == tasks - KEPT;
        is_settled.then(|| last.clone())
    })
}

/// Bytes of everything that the ledger holds.
fn backup_bytes(lab: &Lab, place: &Place, name: &str) -> u64 {
    let file = lab.path(name);
    let out = file.to_str().unwrap();
    said_with(0, &lab.operate(place, &["backup", "--without-keys", "--out", out]));
    std::fs::metadata(&file).unwrap().len()
}

#[test]
fn the_leader_keeps_no_more_after_ten_times_as_many_archived_tasks() {
    let server = Postgres::start_with(PostgresOptions { fsync: false, ..Default::default() });
    server.create_database(DATABASE);
    let lab = Lab::new();
    let place = lab.place("coordinator-1", "data");
    let settings = [
        ("ZKPNET_DATABASE__HOST", "127.0.0.1".to_owned()),
        ("ZKPNET_DATABASE__PORT", server.port().to_string()),
        ("ZKPNET_DATABASE__USER", USER.to_owned()),
        ("ZKPNET_DATABASE__PASSWORD", PASSWORD.to_owned()),
        ("ZKPNET_DATABASE__NAME", DATABASE.to_owned()),
        ("ZKPNET_TASKS__RETENTION_COUNT", KEPT.to_string()),
        // So that the log, which also grows to its limit, does not hide what archived tasks would leave.
        ("ZKPNET_RAFT__SNAPSHOT_ENTRIES", "1000".to_owned()),
        ("ZKPNET_LOG__LEVEL", "warn".to_owned()),
    ];
    let founder = std::slice::from_ref(&place);
    let process = lab.coordinator_with(&place, &Entrance::Founds(founder), &settings);
    lab.ready(&place);
    let client = place.client();
    println!("archived tasks, resident MiB, files of Raft MiB, backup bytes, tasks a second");
    let mut taken = 0;
    let mut backups = Vec::new();
    for part in [1, 2, 5, 10] {
        let (tasks, began) = (first_part() * part, Instant::now());
        take_through(&client, taken, tasks);
        let page = settled(&client, tasks);
        let rate = (tasks - taken) as f64 / began.elapsed().as_secs_f64();
        taken = tasks;
        assert_eq!(server.sql(DATABASE, "SELECT count(*) FROM tasks"), tasks.to_string());
        let bytes = backup_bytes(&lab, &place, &format!("after-{tasks}.zkpbak"));
        backups.push(bytes);
        let mebibytes = |series| value(&page, series) >> 20;
        let resident = mebibytes("process_resident_memory_bytes");
        println!(
            "{tasks:>9} {resident:>6} {:>6} {bytes:>9} {rate:>7.0}",
            mebibytes("zkpnet_raft_store_bytes")
        );
    }
    // The same records. A number beyond 250 is encoded in three bytes, and not in one: a task has a dozen that grow with
    // the log. What is left of each of the forgotten tasks, nine times as many as in the first part, is less than four bytes.
    let (least, most) = (backups.iter().min().unwrap(), backups.iter().max().unwrap());
    assert!(most - least < KEPT * 64, "the ledger's records take {backups:?} bytes");
    process.stop();
    let tasks = inspected(&place.raft_dir())["tasks"].clone();
    let all: u64 = tasks.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((&tasks["cancelled"], all), (&json!(KEPT), KEPT), "{tasks}");
}
