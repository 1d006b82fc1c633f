//! Bad input is 400 with field and reason, never 500, and nothing is stored.

use crate::service::{BODY_LIMIT_BYTES, Service, tree};
use serde_json::{Value, json};

/// A bad body: what it is, the body, the field that the answer names, and a part of the reason.
type Case = (&'static str, String, &'static str, &'static str);

fn with_leaves(leaves: &str) -> String {
    format!(r#"{{"leaves":{leaves},"leaf_index":0}}"#)
}

fn with_index(index: &str) -> String {
    format!(r#"{{"leaves":["0x1","0x2"],"leaf_index":{index}}}"#)
}

fn path_form(path: &Value, root: &str) -> String {
    json!({"leaf": "0x1", "leaf_index": 0, "path": path, "root": root}).to_string()
}

fn cases() -> Vec<Case> {
    let modulus = "0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";
    vec![
        (
            "the placeholder of the quick start",
            with_leaves(r#"["0x123..."]"#),
            "leaves[0]",
            "not a hex digit",
        ),
        ("no leaves", with_leaves("[]"), "leaves", "must not be empty"),
        ("an index out of range", with_index("2"), "leaf_index", "below the number of leaves"),
        ("a negative index", with_index("-1"), "leaf_index", "negative"),
        ("a fractional index", with_index("0.5"), "leaf_index", "fraction"),
        ("a huge index", with_index("1e300"), "leaf_index", "whole number"),
        ("65 hex digits", with_leaves(&format!("[\"0x{}\"]", "1".repeat(65))), "leaves[0]", "65 hex digits"),
        ("no hex digits", with_leaves(r#"["0x0","0xgg"]"#), "leaves[1]", "not a hex digit"),
        ("no prefix", with_leaves(r#"["12"]"#), "leaves[0]", "must begin with 0x"),
        ("a number for a leaf", with_leaves("[12]"), "leaves[0]", "expected a string"),
        ("a string for the leaves", with_leaves("\"0x1\""), "leaves", "expected an array"),
        ("a string for the index", with_index("\"0\""), "leaf_index", "expected a whole number"),
        ("null for the index", with_index("null"), "leaf_index", "expected a whole number, got null"),
        ("no index", r#"{"leaves":["0x1"]}"#.into(), "leaf_index", "is missing"),
        ("an empty object", "{}".into(), "leaves", "is missing"),
        ("an array", "[]".into(), "body", "expected a JSON object"),
        (
            "an unknown field",
            r#"{"leaves":["0x1"],"leaf_index":0,"leaf_indx":1}"#.into(),
            "leaf_indx",
            "did you mean `leaf_index`?",
        ),
        (
            "both forms",
            r#"{"leaves":["0x1"],"leaf_index":0,"path":[]}"#.into(),
            "path",
            "does not go with `leaves`",
        ),
        ("a path that is too long", path_form(&json!(vec!["0x1"; 33]), "0x1"), "path", "at most 32"),
        ("a path that does not lead to the root", path_form(&json!(["0x1"]), "0x1"), "path", "does not lead"),
        ("a path element above the modulus", path_form(&json!([modulus]), "0x1"), "path[0]", "modulus"),
        (
            "an index beyond the path",
            path_form(&json!([]), "0x1").replace("\"leaf_index\":0", "\"leaf_index\":1"),
            "leaf_index",
            "below 2^0",
        ),
        (
            "a null byte in a summary",
            r#"{"leaves":["0x1"],"leaf_index":0,"summary":"\u0000"}"#.into(),
            "summary",
            "control",
        ),
        (
            "too many attempts",
            r#"{"leaves":["0x1"],"leaf_index":0,"max_attempts":99}"#.into(),
            "max_attempts",
            "from 1 to 16",
        ),
    ]
}

#[test]
fn each_bad_field_is_named_with_a_reason_and_nothing_is_stored() {
    let service = Service::fresh();
    service.take("0x5");
    let before = service.stored();
    for (what, body, field, reason) in cases() {
        let answer = service.post("/api/v1/tasks/merkle", &[], &body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text);
        let problem = answer.problem();
        assert_eq!((&problem["code"], &problem["field"]), (&json!("invalid_field"), &json!(field)), "{what}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.starts_with(&format!("{field}: ")) && detail.contains(reason), "{what}: {detail}");
    }
    assert_eq!(service.stored(), before);
}

#[test]
fn a_body_that_is_no_json_is_told_where_and_nothing_is_stored() {
    let service = Service::fresh();
    let deep = format!(r#"{{"leaves":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let bodies: [(&str, &[u8], &str); 7] = [
        ("nothing", b"", "line 1, column 0"),
        ("half of it", b"{\"leaves\":[", "line 1, column 11"),
        ("a second line", b"{\n  \"leaves\": nope}", "line 2"),
        ("a key twice", br#"{"leaf_index":0,"leaf_index":0,"leaves":["0x1"]}"#, "occurs twice"),
        ("deep nesting", deep.as_bytes(), "recursion limit"),
        ("no UTF-8", b"{\"leaves\":[\"\xff\"]}", "byte 12"),
        ("a raw null byte", b"{\"leaves\":[\"0x1\0\"]}", "control character"),
    ];
    for (what, body, expected) in bodies {
        let answer =
            service.send("POST", "/api/v1/tasks/merkle", &[("content-type", "application/json")], body);
        assert_eq!(answer.status, 400, "{what}: {}", answer.text);
        let problem = answer.problem();
        assert_eq!(problem["code"], "invalid_json", "{what}");
        assert!(problem["detail"].as_str().unwrap().contains(expected), "{what}: {}", problem["detail"]);
    }
    assert_eq!(service.stored(), 0);
}

#[test]
fn no_refusal_repeats_a_leaf() {
    let service = Service::shared();
    let secret = "5ec2e75ec2e75ec2e75ec2e7";
    for body in [
        with_leaves(&format!("[\"0x{secret}...\"]")),
        with_leaves(&format!("[\"{secret}\"]")),
        with_leaves(&format!("[{{\"{secret}\":1}}]")),
        format!("{{\"{secret}\":1}}"),
        format!("{{\"{secret}\":1,\"{secret}\":1}}"),
        json!({"leaf": format!("0x{secret}"), "leaf_index": 0, "path": [], "root": "0x1"}).to_string(),
    ] {
        let answer = service.post("/api/v1/tasks/merkle", &[], &body);
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(!answer.text.contains(secret), "{}", answer.text);
    }
}

#[test]
fn what_a_later_version_brings_is_said_to_be_missing() {
    let service = Service::shared();
    for (name, value) in [("hash", "sha256"), ("webhook_url", "https://example.com/hook")] {
        let mut body = tree("0x1");
        body[name] = json!(value);
        let answer = service.submit(&[], &body);
        assert_eq!(answer.status, 400);
        let problem = answer.problem();
        assert_eq!((&problem["code"], &problem["field"]), (&json!("not_supported"), &json!(name)));
    }
    let addition = service.post("/api/v1/tasks/addition", &[], r#"{"a":1,"b":2}"#);
    assert_eq!((addition.status, &addition.problem()["code"]), (404, &json!("unknown_path")));
}

#[test]
fn a_body_over_the_limit_is_413_whether_its_length_is_announced_or_not() {
    let service = Service::shared();
    let body = with_leaves(&format!("[\"0x{}\"]", "1".repeat(BODY_LIMIT_BYTES)));
    let announced = service.post("/api/v1/tasks/merkle", &[], &body);
    assert_eq!((announced.status, &announced.problem()["code"]), (413, &json!("body_too_large")));
    let chunked = service.post("/api/v1/tasks/merkle", &[("transfer-encoding", "chunked")], &body);
    assert_eq!((chunked.status, &chunked.problem()["code"]), (413, &json!("body_too_large")));
}

#[test]
fn a_body_of_the_limit_is_read() {
    let service = Service::shared();
    let mut body = tree(&crate::service::new_leaf()).to_string();
    body.push_str(&" ".repeat(BODY_LIMIT_BYTES - body.len()));
    let answer = service.post("/api/v1/tasks/merkle", &[], &body);
    assert_eq!(answer.status, 202, "{}", answer.text);
}
