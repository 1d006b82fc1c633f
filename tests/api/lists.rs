//! Lists: pages, filters, cursors.

use crate::service::Service;
use serde_json::{Value, json};

fn ids(page: &Value) -> Vec<String> {
    page["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| task["task_id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn pages_give_every_task_once_newest_first() {
    let service = Service::fresh();
    let mut submitted: Vec<String> = (1..=7).map(|number| service.take(&format!("0x{number}"))).collect();
    submitted.reverse();
    let (mut listed, mut path) = (Vec::new(), "/api/v1/tasks?limit=3".to_owned());
    loop {
        let page = service.get(&path).json();
        assert!(page["tasks"].as_array().unwrap().len() <= 3);
        listed.extend(ids(&page));
        let Some(cursor) = page.get("next_cursor") else { break };
        path = format!("/api/v1/tasks?limit=3&cursor={}", cursor.as_str().unwrap());
    }
    assert_eq!(listed, submitted);
}

#[test]
fn a_cursor_that_was_changed_or_belongs_to_another_list_is_400() {
    let service = Service::fresh();
    (1..=3).for_each(|number| drop(service.take(&format!("0x{number}"))));
    let page = service.get("/api/v1/tasks?limit=1").json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let first = if cursor.starts_with('A') { "B" } else { "A" };
    let changed = format!("{first}{}", &cursor[1..]);
    for path in [
        format!("/api/v1/tasks?cursor={changed}"),
        format!("/api/v1/tasks?cursor={}", &cursor[..cursor.len() - 1]),
        format!("/api/v1/tasks?status=pending&cursor={cursor}"),
        "/api/v1/tasks?cursor=".to_owned(),
    ] {
        let answer = service.get(&path);
        assert_eq!((answer.status, &answer.problem()["field"]), (400, &json!("cursor")), "{path}");
    }
    assert_eq!(service.get(&format!("/api/v1/tasks?cursor={cursor}")).status, 200);
}

#[test]
fn filters_show_what_they_say() {
    let service = Service::fresh();
    let id = service.take("0x1");
    let task = service.completed(&id);
    let count = |query: &str| ids(&service.get(&format!("/api/v1/tasks?{query}")).json()).len();
    assert_eq!(count("status=completed"), 1);
    assert_eq!(count("status=failed"), 0);
    assert_eq!(count("circuit=merkle-poseidon-4"), 1);
    assert_eq!(count("circuit=merkle-poseidon-8"), 0);
    assert_eq!(count(&format!("since={}", task["created_at"].as_str().unwrap())), 1);
    assert_eq!(count("since=2999-01-01T00:00:00Z"), 0);
}

#[test]
fn a_list_reflects_the_write_whose_index_it_is_given() {
    let service = Service::fresh();
    let accepted = service.submit(&[], &crate::service::tree("0x1"));
    let index = accepted.header("x-commit-index").unwrap();
    let page = service.send("GET", "/api/v1/tasks", &[("x-commit-index", index)], b"").json();
    assert_eq!(ids(&page).len(), 1);
    assert!(page["as_of"]["index"].as_u64().unwrap() >= index.parse::<u64>().unwrap());
    let wrong = service.send("GET", "/api/v1/tasks", &[("x-commit-index", "soon")], b"");
    assert_eq!((wrong.status, &wrong.problem()["field"]), (400, &json!("X-Commit-Index")));
}

#[test]
fn a_list_shows_no_proofs() {
    let service = Service::shared();
    service.a_completed_task();
    let page = service.get("/api/v1/tasks?status=completed&limit=5").json();
    let tasks = page["tasks"].as_array().unwrap();
    assert!(!tasks.is_empty() && tasks.iter().all(|task| task.get("proof").is_none()));
}
