//! SIGTERM: not ready, leases finished or given back, state flushed, exit 0 within a bounded time.

use crate::support::{DevNode, poll_until};
use serde_json::json;
use std::time::Duration;

#[test]
fn sigterm_ends_the_node_in_order_and_the_next_start_finishes_what_was_open() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [("ZKPNET_SHUTDOWN__GRACE", "5s")];
    let mut node = DevNode::start(folder.path(), &settings);
    let tasks: Vec<String> = (1..=40)
        .map(|number| {
            let body = json!({"leaves": [format!("0x{number:x}")], "leaf_index": 0});
            let answer = node.client.post("/api/v1/tasks/merkle", &[], &body).unwrap();
            assert_eq!(answer.status, 202, "{answer:?}");
            answer.body["task_id"].as_str().unwrap().to_owned()
        })
        .collect();
    node.terminate();
    let status = node.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "it said:\n{}", node.said().join("\n"));

    let node = DevNode::start(folder.path(), &settings);
    for task in &tasks {
        let ended = poll_until("the task to end", || {
            let answer = node.client.get(&format!("/api/v1/tasks/{task}?wait=30s")).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            (answer.body["status"] == "completed").then_some(answer.body)
        });
        // Given back in order: no attempt was lost with the process.
        assert!(ended["attempts"].as_u64().unwrap() <= 2, "{ended}");
    }
}

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let _first = DevNode::start(folder.path(), &[]);
    let second = std::process::Command::new(env!("CARGO_BIN_EXE_zkpnet"))
        .arg("dev")
        .env("ZKPNET_HTTP__PORT", "0")
        .env("ZKPNET_STORAGE__DATA_DIR", folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_ne!(second.status.code(), Some(0));
    assert!(said.contains("another") && said.contains("redb"), "{said}");
}

#[test]
fn an_idle_node_ends_at_once_on_sigterm_though_a_client_waits() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = DevNode::start(folder.path(), &[("ZKPNET_SHUTDOWN__GRACE", "4s")]);
    let client = node.client.clone();
    let waiting = std::thread::spawn(move || client.get("/livez").map(|answer| answer.status));
    assert_eq!(waiting.join().unwrap().unwrap(), 200);
    node.terminate();
    assert_eq!(node.wait(Duration::from_secs(15)).code(), Some(0));
}
