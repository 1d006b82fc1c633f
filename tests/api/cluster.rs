//! The cluster's pages, on the cluster of one that every node is at least.

use crate::service::Service;

#[test]
fn a_lone_node_is_a_cluster_of_one_that_leads() {
    let service = Service::shared();
    let answer = service.send("GET", "/api/v1/cluster", &[], b"");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let cluster = answer.json();
    let members = cluster["members"].as_array().unwrap();
    assert_eq!(members.len(), 1, "{cluster}");
    assert_eq!((&members[0]["kind"], &members[0]["reachable"]), (&"voter".into(), &true.into()), "{cluster}");
    assert_eq!(members[0]["name"], cluster["leader"], "{cluster}");
    assert_eq!(cluster["state_hashes"], "unknown", "there is nobody to compare with: {cluster}");
}

#[test]
fn the_worker_of_the_node_is_listed_with_what_it_can_do() {
    let answer = Service::shared().send("GET", "/api/v1/workers", &[], b"");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let list = answer.json();
    let [worker] = &list["workers"].as_array().unwrap()[..] else { panic!("{list}") };
    assert_eq!((&worker["worker_id"], &worker["state"]), (&"worker-1".into(), &"active".into()), "{list}");
    assert!(worker["capacity"].as_u64().unwrap() >= 1, "{list}");
    let circuits = worker["circuits"].as_array().unwrap();
    assert!(circuits.iter().any(|name| name == "merkle-poseidon-4"), "{list}");
}

#[test]
fn changes_of_the_cluster_are_refused_by_field_by_member_and_by_rule() {
    let service = Service::shared();
    let json = [("Content-Type", "application/json")];
    let change = |action: &str, body: &str| {
        let answer = service.send("POST", &format!("/api/v1/cluster/{action}"), &json, body.as_bytes());
        let problem = answer.problem();
        (answer.status, problem["code"].as_str().unwrap().to_owned(), problem["field"].clone())
    };
    assert_eq!(change("remove", "{}"), (400, "invalid_field".into(), "member".into()));
    assert_eq!(change("remove", r#"{"member": 7}"#), (400, "invalid_field".into(), "member".into()));
    assert_eq!(change("remove", r#"{"mebmer": "x"}"#).1, "invalid_field");
    assert_eq!(change("remove", r#"{"member": "nobody"}"#).1, "unknown_member");
    assert_eq!(change("invite", "{}").1, "unknown_path");
    // The last voter stays.
    let (status, code, _) = change("remove", r#"{"member": "1"}"#);
    assert!((status, code.as_str()) == (409, "change_refused"), "{status} {code}");
}

#[test]
fn an_addition_that_cannot_be_made_names_the_field() {
    let service = Service::shared();
    let add = |body: &str| {
        let json = [("Content-Type", "application/json")];
        let answer = service.send("POST", "/api/v1/cluster/add", &json, body.as_bytes());
        let problem = answer.problem();
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        (answer.status, text("code"), text("field"))
    };
    let wrong = |field: &str| (400, "invalid_field".to_owned(), field.to_owned());
    assert_eq!(add(r#"{"address": "127.0.0.1:1"}"#), wrong("member"));
    assert_eq!(add(r#"{"member": "four"}"#), wrong("address"));
    assert_eq!(add(r#"{"member": "four", "address": ""}"#), wrong("address"));
    assert_eq!(add(r#"{"member": "four", "address": "127.0.0.1:1", "promote": "yes"}"#), wrong("promote"));
    let (status, code, field) = add(r#"{"member": "four", "address": "127.0.0.1:1", "promote": true}"#);
    assert_eq!((status, code.as_str(), field.as_str()), (409, "change_refused", "address"));
}
