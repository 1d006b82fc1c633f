//! The same request again: idempotency keys and the result cache.

use crate::service::{Service, new_leaf, tree};
use serde_json::json;

#[test]
fn the_same_key_with_the_same_body_gives_the_first_answer_again() {
    let service = Service::shared();
    let (key, body) = ([("idempotency-key", "first answer again")], tree(&new_leaf()));
    let first = service.submit(&key, &body);
    assert_eq!(first.status, 202, "{}", first.text);
    service.completed(first.json()["task_id"].as_str().unwrap());
    let again = service.submit(&key, &body);
    assert_eq!((again.status, again.header("x-cache")), (202, None), "{}", again.text);
    assert_eq!(again.json()["task_id"], first.json()["task_id"]);
    assert_eq!(again.json()["status"], "pending");
    assert_eq!(again.header("location"), first.header("location"));
}

#[test]
fn the_same_key_with_another_body_is_422_and_stores_nothing() {
    let service = Service::fresh();
    let key = [("idempotency-key", "k")];
    assert_eq!(service.submit(&key, &tree("0x1")).status, 202);
    let other = service.submit(&key, &tree("0x2"));
    let problem = other.problem();
    assert_eq!((other.status, &problem["code"]), (422, &json!("idempotency_conflict")));
    assert_eq!(problem["field"], "Idempotency-Key");
    let other_options =
        service.submit(&key, &json!({"leaves": ["0x1"], "leaf_index": 0, "priority": "high"}));
    assert_eq!(other_options.status, 422, "{}", other_options.text);
    assert_eq!(service.stored(), 1);
}

#[test]
fn a_key_that_is_none_is_refused_by_name() {
    let service = Service::shared();
    for wrong in [" ", &"k".repeat(129), "k\u{e9}"] {
        let answer = service.submit(&[("idempotency-key", wrong)], &tree(&new_leaf()));
        assert_eq!(
            (answer.status, &answer.problem()["field"]),
            (400, &json!("Idempotency-Key")),
            "{wrong:?}"
        );
    }
}

#[test]
fn an_equal_request_is_answered_with_the_first_task_while_it_is_open_and_after() {
    let service = Service::shared();
    let body = tree(&new_leaf());
    let first = service.submit(&[], &body).json();
    for _ in 0..2 {
        let again = service.submit(&[], &body);
        assert_eq!((again.status, again.header("x-cache")), (200, Some("HIT")), "{}", again.text);
        assert_eq!(
            (&again.json()["status"], &again.json()["task_id"]),
            (&json!("cached"), &first["task_id"])
        );
        assert!(again.header("x-commit-index").is_some());
        service.completed(first["task_id"].as_str().unwrap());
    }
}

#[test]
fn no_cache_asks_for_a_new_proof_which_then_answers_equal_requests() {
    let service = Service::shared();
    let body = tree(&new_leaf());
    let first = service.submit(&[], &body).json();
    let new = service.submit(&[("cache-control", "max-age=0, No-Cache")], &body);
    assert_eq!((new.status, new.header("x-cache")), (202, None));
    assert_ne!(new.json()["task_id"], first["task_id"]);
    assert_eq!(service.submit(&[], &body).json()["task_id"], new.json()["task_id"]);
}

#[test]
fn an_equal_tree_with_other_options_is_another_task() {
    let service = Service::shared();
    let mut body = tree(&new_leaf());
    let first = service.submit(&[], &body);
    body["summary"] = json!("for Ada");
    let other = service.submit(&[], &body);
    assert_eq!(other.status, 202);
    assert_ne!(other.json()["task_id"], first.json()["task_id"]);
}
