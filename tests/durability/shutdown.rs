//! SIGTERM: not ready, leases finished or given back, state flushed, exit 0 within a bounded time.

use crate::support::{DevNode, poll_until, zkpnet};
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
    let second = zkpnet()
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
fn a_node_that_drains_is_not_ready_takes_nothing_and_answers_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = DevNode::start(folder.path(), &[("ZKPNET_SHUTDOWN__GRACE", "20s")]);
    let client = node.client.clone();
    // The deepest circuit: the drain waits for its proof, which takes a second or so.
    let path: Vec<String> = (0..32).map(|level| format!("0x{level:x}")).collect();
    let root = zkpnet::proof::merkle::root_of(
        &"0x1".parse().unwrap(),
        0,
        &path.iter().map(|node| node.parse().unwrap()).collect::<Vec<_>>(),
    );
    let body = json!({"leaf": "0x1", "leaf_index": 0, "path": path, "root": root.unwrap().to_string()});
    let submitted = client.post("/api/v1/tasks/merkle", &[], &body).unwrap();
    let task = submitted.body["task_id"].as_str().unwrap().to_owned();
    let waiting = std::thread::spawn({
        let client = client.clone();
        let path = format!("/api/v1/tasks/{task}?wait=60s");
        move || client.get(&path)
    });
    // The waiting request is in the node's hands once it counts it.
    poll_until("the request to be held", || {
        let page = client.get("/metrics").ok()?;
        let page = page.body.as_str()?.to_owned();
        page.lines().any(|line| line == "zkpnet_http_requests_in_flight 2").then_some(())
    });
    poll_until("the proof to be begun", || {
        let task = client.get(&format!("/api/v1/tasks/{task}")).unwrap();
        (task.body["status"] == "in_progress").then_some(())
    });
    node.terminate();
    poll_until("the node to say that it is not ready", || match client.get("/readyz") {
        Ok(answer) => (answer.status == 503).then_some(()),
        Err(error) => panic!("it ended before it was seen to drain: {error}"),
    });
    let refused = client.post("/api/v1/tasks/merkle", &[], &json!({"leaves": ["0x7"], "leaf_index": 0}));
    if let Ok(refused) = refused {
        assert_eq!(refused.status, 503, "{refused:?}");
    }
    let answer = waiting.join().unwrap().unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    // Told as it is then; the drain may just have finished it.
    assert!(["in_progress", "completed"].contains(&answer.body["status"].as_str().unwrap()), "{answer:?}");
    assert_eq!(node.wait(Duration::from_secs(40)).code(), Some(0));
}
