//! What a task looks like from its submission to its end, and what the node says of itself.

use crate::service::{Service, new_leaf, tree};
use serde_json::{Value, json};

#[test]
fn the_quick_starts_task_is_taken_proved_and_shown() {
    let service = Service::shared();
    let body = json!({"leaves": [
        "0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef",
        "0xfedcba0987654321fedcba0987654321fedcba0987654321fedcba0987654321",
    ], "leaf_index": 0});
    let accepted = service.submit(&[], &body);
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let answer = accepted.json();
    let id = answer["task_id"].as_str().unwrap();
    assert_eq!((&answer["success"], &answer["status"]), (&json!(true), &json!("pending")));
    assert_eq!(accepted.header("location").unwrap(), format!("/api/v1/tasks/{id}"));
    assert!(accepted.header("x-commit-index").unwrap().parse::<u64>().unwrap() > 0);

    let task = service.completed(id);
    assert_eq!(task["circuit"], "merkle-poseidon-4");
    assert_eq!(task["circuit_type"], "merkle_proof");
    assert_eq!(task["proof"].as_str().unwrap().len(), 384);
    assert_eq!(task["public_inputs"], json!({"merkle_root": task["merkle_root"]}));
    assert_eq!(task["merkle_root"].as_str().unwrap().len(), 66);
    assert_eq!(task["verifying_key"].as_str().unwrap().len(), 64);
    assert_eq!(task["worker_id"], "worker-1");
    assert!(task["timings_ms"]["proving"].as_u64().is_some());
    let moments = ["created_at", "started_at", "completed_at"].map(|name| task[name].as_str().unwrap());
    assert!(moments.is_sorted(), "{moments:?}");
    assert!(!task.to_string().contains("1234567890abcdef"), "a leaf is shown");
}

#[test]
fn the_path_form_proves_the_same_root_as_the_leaves() {
    let service = Service::shared();
    let whole = service.completed(&service.take(&new_leaf()));
    let leaf = format!("0x{:x}", u64::from_str_radix("1000", 16).unwrap() - 1);
    let alone = service.completed(&service.take(&leaf));
    assert_ne!(whole["merkle_root"], alone["merkle_root"]);
    // A tree of one leaf: an empty path, and the leaf's node is the root.
    let body = json!({"leaf": leaf, "leaf_index": 0, "path": [], "root": alone["merkle_root"]});
    let answer = service.submit(&[("cache-control", "no-cache")], &body);
    assert_eq!(answer.status, 202, "{}", answer.text);
    let task = service.completed(answer.json()["task_id"].as_str().unwrap());
    assert_eq!(task["merkle_root"], alone["merkle_root"]);
}

#[test]
fn wait_that_passes_answers_the_task_as_it_is() {
    let service = Service::shared();
    let id = service.take(&new_leaf());
    let answer = service.get(&format!("/api/v1/tasks/{id}?wait=1ms"));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["task_id"], id.as_str());
    for wrong in ["30", "-1s", "soon", ""] {
        let answer = service.get(&format!("/api/v1/tasks/{id}?wait={wrong}"));
        assert_eq!((answer.status, &answer.problem()["field"]), (400, &json!("wait")), "{wrong:?}");
    }
}

#[test]
fn a_stale_answer_says_how_current_it_is() {
    let service = Service::shared();
    let id = service.take(&new_leaf());
    let answer = service.get(&format!("/api/v1/tasks/{id}?consistency=stale")).json();
    assert!(answer["as_of"]["index"].as_u64().unwrap() > 0, "{answer}");
    assert_eq!(service.get(&format!("/api/v1/tasks/{id}")).json().get("as_of"), None);
}

#[test]
fn a_withdrawn_task_stays_withdrawn_and_a_completed_one_cannot_be() {
    let service = Service::shared();
    let completed = service.a_completed_task()["task_id"].as_str().unwrap();
    let late = service.post(&format!("/api/v1/tasks/{completed}/cancel"), &[], "");
    assert_eq!((late.status, &late.problem()["code"]), (409, &json!("task_finished")));

    // Its circuit's key takes long to make, so that it surely still waits.
    let deep = vec![format!("0x{}", "1".repeat(10)); 1 << 12];
    let answer = service.submit(&[], &json!({"leaves": deep, "leaf_index": 5}));
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["task_id"].as_str().unwrap().to_owned();
    let waiting = service.get(&format!("/api/v1/tasks/{id}")).json();
    assert_eq!(waiting["status"], "pending");
    assert_eq!(waiting["waiting_for"], "the key of circuit merkle-poseidon-12 is being made");
    for _ in 0..2 {
        let answer = service.post(&format!("/api/v1/tasks/{id}/cancel"), &[], "{}");
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!("cancelled")), "{}", answer.text);
        assert!(answer.header("x-commit-index").is_some());
    }
    assert_eq!(service.get(&format!("/api/v1/tasks/{id}")).json()["status"], "cancelled");
    let with_fields = service.post(&format!("/api/v1/tasks/{id}/cancel"), &[], r#"{"why":1}"#);
    assert_eq!((with_fields.status, &with_fields.problem()["field"]), (400, &json!("body")));
}

#[test]
fn health_is_compact_and_shows_the_leader() {
    let answer = Service::shared().get("/health");
    assert!(answer.text.starts_with(r#"{"status":"healthy","coordinator_id":"#), "{}", answer.text);
    let health = answer.json();
    assert_eq!((&health["raft"]["state"], &health["raft"]["is_leader"]), (&json!("Leader"), &json!(true)));
    assert_eq!(health["workers"]["total"], 1);
    assert_eq!(health["archive"], json!({"kind": "none", "lag": 0}));
}

#[test]
fn probes_answer_and_readiness_tells_its_checks() {
    let service = Service::shared();
    assert_eq!(service.get("/livez").text, "ok\n");
    assert_eq!(service.get("/readyz").text, "ok\n");
    assert_eq!(service.get("/ready").text, "ok\n");
    let verbose = service.get("/readyz?verbose");
    assert_eq!(verbose.status, 200);
    assert!(verbose.text.lines().any(|line| line == "[+]leader ok"), "{}", verbose.text);
    assert!(verbose.text.ends_with("ready\n"));
}

#[test]
fn metrics_count_requests_by_route_and_show_the_scheduler() {
    let service = Service::shared();
    service.a_completed_task();
    service.get("/some/path/that/a/client/chose");
    let text = service.get("/metrics").text;
    let figure = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert!(figure("zkpnet_scheduler_tasks_assigned_total ") >= 1.0);
    assert!(figure("zkpnet_tasks{status=\"completed\"} ") >= 1.0);
    assert!(figure("zkpnet_raft_term ") >= 1.0);
    assert!(
        text.contains("route=\"unmatched\"") && !text.contains("that/a/client"),
        "a client's path is a label"
    );
    assert!(text.contains("route=\"/api/v1/tasks/merkle\""));
}

#[test]
fn circuits_are_listed_and_a_key_is_found_by_name_and_digest() {
    let service = Service::shared();
    let task = service.a_completed_task();
    let digest = task["verifying_key"].as_str().unwrap();
    let list = service.get("/api/v1/circuits").json();
    let names: Vec<&str> = list["circuits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|circuit| circuit["circuit"].as_str().unwrap())
        .collect();
    assert_eq!((names.first(), names.len()), (Some(&"merkle-poseidon-4"), 7));
    let by_name = service.get("/api/v1/circuits/merkle-poseidon-4/verifying-key").json();
    let by_digest = service.get(&format!("/api/v1/circuits/{digest}/verifying-key")).json();
    assert_eq!(by_name["verifying_key"], by_digest["verifying_key"]);
    let bytes = hex::decode(by_name["verifying_key"].as_str().unwrap()).unwrap();
    assert_eq!(blake3::hash(&bytes).to_hex().as_str(), digest);
    let circuit: Value = service.get("/api/v1/circuits/merkle-poseidon-4").json();
    assert_eq!((&circuit["key_origin"], &circuit["has_key"]), (&json!("dev"), &json!(true)));
    let none = service.get("/api/v1/circuits/merkle-poseidon-32/verifying-key");
    assert_eq!((none.status, &none.problem()["code"]), (409, &json!("no_key_yet")));
    let unknown = service.get("/api/v1/circuits/sudoku");
    assert_eq!((unknown.status, &unknown.problem()["code"]), (404, &json!("unknown_circuit")));
}

#[test]
fn the_root_points_to_the_description() {
    let root = Service::shared().get("/").json();
    assert_eq!(root["openapi"], "/openapi.json");
    assert_eq!(Service::shared().submit(&[], &tree("0xc0")).json()["success"], true);
}

#[test]
fn the_largest_tree_is_taken_while_small_ones_do_not_wait_behind_it_and_one_leaf_more_is_refused() {
    let service = Service::shared();
    let leaves: Vec<String> = (0..100_001).map(|number| format!("0x{number:x}")).collect();
    let refused = service.submit(&[], &json!({"leaves": leaves, "leaf_index": 0}));
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert_eq!(refused.json()["field"], "leaves");

    let largest = json!({"leaves": leaves[..100_000], "leaf_index": 99_999});
    let answer = std::thread::scope(|scope| {
        let large = scope.spawn(|| service.submit(&[], &largest));
        let id = service.take(&new_leaf());
        assert_eq!(service.completed(&id)["circuit"], "merkle-poseidon-4");
        large.join().unwrap()
    });
    assert_eq!(answer.status, 202, "{}", answer.text);
    let id = answer.json()["task_id"].as_str().unwrap().to_owned();
    let shown = service.get(&format!("/api/v1/tasks/{id}")).json();
    assert_eq!(shown["circuit"], "merkle-poseidon-20", "{shown}");
    // Its key takes seconds to make; that it can be proved is shown by smaller ones.
    let cancelled = service.send("POST", &format!("/api/v1/tasks/{id}/cancel"), &[], b"");
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
}
