//! A gateway before a real node, which is killed under it.

use crate::door::Door;
use crate::fake::Fake;
use crate::support::{Client, DevNode};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("gateway").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn node(folder: &Path, port: &str) -> DevNode {
    DevNode::start(folder, &[("ZKPNET_HTTP__PORT", port)])
}

#[test]
fn a_task_goes_through_the_gateway_as_it_goes_to_a_node() {
    let addr = Fake::nobody();
    let _node = node(&folder("through"), &addr.port().to_string());
    let door = Door::before(&[addr]);
    let body = json!({"leaves": ["0xabc1"], "leaf_index": 0}).to_string();
    let first = door.submit(&[], &body);
    assert_eq!(first.status, 202, "{}", first.text);
    assert!(first.header("x-commit-index").is_some());
    let path = first.header("location").unwrap().to_owned();
    // More often than a task remembers the keys of clients: keys of the gateway's own take no place.
    for _ in 0..20 {
        let again = door.submit(&[], &body);
        assert_eq!((again.status, again.header("x-cache")), (200, Some("HIT")), "{}", again.text);
        assert_eq!(again.json()["task_id"], first.json()["task_id"]);
    }
    let task = door.get(&format!("{path}?wait=60s")).json();
    assert_eq!(task["status"], "completed", "{task}");
    let check =
        json!({"circuit": task["circuit"], "proof": task["proof"], "public_inputs": task["public_inputs"]});
    let headers = [("content-type", "application/json")];
    let verified = door.send("POST", "/api/v1/proofs/verify", &headers, check.to_string().as_bytes());
    assert_eq!(verified.json()["valid"], true, "{}", verified.text);
    assert_eq!(door.send("POST", &format!("{path}/cancel"), &[], b"").json()["code"], "task_finished");
    assert!(door.get("/openapi.json").json()["paths"].is_object());
}

#[test]
fn every_submission_counts_once_though_the_node_is_killed_under_them() {
    let (folder, addr) = (folder("killed"), Fake::nobody());
    let port = addr.port().to_string();
    let mut running = node(&folder, &port);
    let door = Door::with_patience(&[addr], Duration::from_secs(60));
    let (done, number) = (AtomicBool::new(false), AtomicU32::new(0));
    let (ids, running) = std::thread::scope(|scope| {
        let submit = || {
            let mut ids = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let leaf = format!("0x{:x}", 0x5000 + number.fetch_add(1, Ordering::SeqCst));
                let answer = door.submit(&[], &json!({"leaves": [leaf], "leaf_index": 0}).to_string());
                assert_eq!(answer.status, 202, "{leaf}: {}", answer.text);
                ids.push(answer.json()["task_id"].as_str().unwrap().to_owned());
            }
            ids
        };
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(submit)).collect();
        for round in 1..=3 {
            crate::support::poll_until("some submissions", || {
                (number.load(Ordering::SeqCst) > round * 20).then_some(())
            });
            running.kill();
            running = node(&folder, &port);
        }
        done.store(true, Ordering::SeqCst);
        let ids = clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>();
        (ids, running)
    });
    let acknowledged: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(acknowledged.len(), ids.len(), "two submissions were answered with one task");
    assert_eq!(stored(&running.client), acknowledged);
}

/// The ids of all tasks.
fn stored(client: &Client) -> BTreeSet<String> {
    let (mut ids, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = client.get(&format!("/api/v1/tasks?limit=500{cursor}")).unwrap().body;
        for task in page["tasks"].as_array().unwrap() {
            assert!(ids.insert(task["task_id"].as_str().unwrap().to_owned()));
        }
        match page["next_cursor"].as_str() {
            None => return ids,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}
