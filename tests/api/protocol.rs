//! HTTP itself: errors of the framework, methods, types, request ids, common headers.

use crate::service::{Service, tree};
use serde_json::json;

#[test]
fn an_unknown_path_is_a_problem() {
    let service = Service::shared();
    for path in ["/nope", "/api/v1", "/api/v1/tasks/", "/api/v2/tasks", "/health/", "//health", "/%00"] {
        let answer = service.get(path);
        assert_eq!((answer.status, &answer.problem()["code"]), (404, &json!("unknown_path")), "{path}");
    }
}

#[test]
fn a_wrong_method_is_405_and_says_which_are_right() {
    let service = Service::shared();
    for (method, path, allow) in [
        ("DELETE", "/api/v1/tasks", "GET, HEAD"),
        ("POST", "/api/v1/tasks", "GET, HEAD"),
        ("GET", "/api/v1/tasks/merkle", "POST"),
        ("PUT", "/health", "GET, HEAD"),
        ("OPTIONS", "/metrics", "GET, HEAD"),
        ("GET", "/api/v1/proofs/verify", "POST"),
        ("DELETE", "/api/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057", "GET, HEAD"),
        ("FROB", "/", "GET, HEAD"),
    ] {
        let answer = service.send(method, path, &[], b"");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some(allow)),
            "{method} {path}: {}",
            answer.text
        );
        assert_eq!(answer.problem()["code"], "method_not_allowed");
    }
}

#[test]
fn head_answers_as_get_does_without_a_body() {
    let answer = Service::shared().send("HEAD", "/health", &[], b"");
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[test]
fn only_uncompressed_json_is_taken() {
    let service = Service::shared();
    let body = tree(&crate::service::new_leaf()).to_string();
    let send =
        |headers: &[(&str, &str)]| service.send("POST", "/api/v1/tasks/merkle", headers, body.as_bytes());
    for wrong in [
        &[("content-type", "text/plain")][..],
        &[("content-type", "application/x-www-form-urlencoded")],
        &[("content-type", "application/jsonp")],
        &[("content-type", "application/json; charset=latin1")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        let answer = send(wrong);
        assert_eq!(
            (answer.status, &answer.problem()["code"]),
            (415, &json!("unsupported_media_type")),
            "{wrong:?}"
        );
    }
    let right = send(&[("content-type", "Application/JSON; Charset=\"UTF-8\"")]);
    assert_eq!(right.status, 202, "{}", right.text);
}

#[test]
fn a_request_id_is_taken_when_it_is_sane_and_made_when_it_is_not() {
    let service = Service::shared();
    let id_of = |id: &str, path: &str| {
        let answer = service.send("GET", path, &[("x-request-id", id)], b"");
        answer.header("x-request-id").unwrap().to_owned()
    };
    for path in ["/health", "/nope", "/api/v1/tasks?limit=x", "/metrics"] {
        assert_eq!(id_of("my-id/1", path), "my-id/1", "{path}");
        assert_ne!(id_of("two words", path), "two words", "{path}");
        assert_ne!(id_of(&"x".repeat(129), path), "x".repeat(129), "{path}");
    }
    let accepted = service.submit(&[("x-request-id", "mine")], &tree(&crate::service::new_leaf()));
    assert_eq!(accepted.json()["request_id"], "mine");
}

#[test]
fn every_answer_forbids_sniffing_and_storing() {
    let service = Service::shared();
    for path in ["/", "/health", "/nope", "/api/v1/tasks", "/openapi.json"] {
        let answer = service.get(path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[test]
fn an_id_that_is_no_uuid_is_400_and_an_unknown_one_404() {
    let service = Service::shared();
    let wrong = service.get("/api/v1/tasks/7");
    assert_eq!((wrong.status, &wrong.problem()["field"]), (400, &json!("id")));
    let unknown = service.get("/api/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057");
    assert_eq!((unknown.status, &unknown.problem()["code"]), (404, &json!("unknown_task")));
    let path = "/api/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057/cancel";
    let cancel = service.post(path, &[], "");
    assert_eq!((cancel.status, &cancel.problem()["code"]), (404, &json!("unknown_task")));
}
