//! What a submission is refused for, field by field.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::super::super::json::parse;
use super::*;
use crate::proof::Bytes32;
use std::collections::BTreeSet;
use utoipa::PartialSchema;

fn decode(body: &str) -> Result<(Statement, TaskOptions), String> {
    decode_merkle(parse(body.as_bytes()).unwrap()).map_err(|error| error.to_string())
}

fn refusal(body: &str) -> String {
    decode(body).unwrap_err()
}

#[test]
fn the_quick_starts_submission_is_taken() {
    let body = r#"{"leaves":["0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef",
        "0xfedcba0987654321fedcba0987654321fedcba0987654321fedcba0987654321"],"leaf_index":0}"#;
    let (Statement::MerkleLeaves { leaves, leaf_index: 0 }, options) = decode(body).unwrap() else {
        panic!("another form");
    };
    assert_eq!(leaves.len(), 2);
    assert_eq!(options, TaskOptions::default());
}

#[test]
fn each_wrong_leaf_is_named_with_its_reason() {
    for (body, expected) in [
        (r#"{"leaves":["0x123..."],"leaf_index":0}"#, "leaves[0]: character 4 after 0x is not a hex digit"),
        (
            r#"{"leaves":["0x1","0xfgh"],"leaf_index":0}"#,
            "leaves[1]: character 2 after 0x is not a hex digit",
        ),
        (
            r#"{"leaves":["0x1",7],"leaf_index":0}"#,
            "leaves[1]: expected a string of 0x and 1 to 64 hex digits, got a number",
        ),
        (
            r#"{"leaves":[["0x1"]],"leaf_index":0}"#,
            "leaves[0]: expected a string of 0x and 1 to 64 hex digits, got an array",
        ),
        (r#"{"leaves":[],"leaf_index":0}"#, "leaves: must not be empty"),
        (r#"{"leaves":"0x1","leaf_index":0}"#, "leaves: expected an array, got a string"),
        (r#"{"leaves":null,"leaf_index":0}"#, "leaves: expected an array, got null"),
        (r#"{"leaf_index":0}"#, "leaves: is missing"),
        ("{}", "leaves: is missing"),
        (r#"{"leaves":["0x1\u0000"],"leaf_index":0}"#, "leaves[0]: character 2 after 0x is not a hex digit"),
    ] {
        assert_eq!(refusal(body), expected);
    }
}

#[test]
fn each_wrong_index_is_named_with_its_reason() {
    let with_index = |index: &str| refusal(&format!(r#"{{"leaves":["0x1","0x2"],"leaf_index":{index}}}"#));
    assert_eq!(with_index("2"), "leaf_index: must be below the number of leaves, 2");
    assert_eq!(with_index("-1"), "leaf_index: must not be negative");
    assert_eq!(with_index("0.5"), "leaf_index: expected a whole number, got a fraction");
    assert_eq!(with_index("\"0\""), "leaf_index: expected a whole number, got a string");
    assert_eq!(with_index("true"), "leaf_index: expected a whole number, got a boolean");
    assert!(with_index("1e0").starts_with("leaf_index: expected a whole number below 2^64"));
    assert!(with_index("99999999999999999999").starts_with("leaf_index: expected a whole number below 2^64"));
    assert_eq!(refusal(r#"{"leaves":["0x1"]}"#), "leaf_index: is missing");
}

#[test]
fn a_hundred_thousand_leaves_are_taken_and_one_more_is_refused() {
    let body =
        |count: usize| format!(r#"{{"leaves":["0x1"{}],"leaf_index":0}}"#, r#","0x1""#.repeat(count - 1));
    assert!(decode(&body(LEAVES_MAX)).is_ok());
    assert_eq!(refusal(&body(LEAVES_MAX + 1)), "leaves: must have at most 100000 elements, got 100001");
}

#[test]
fn the_path_form_is_taken_and_its_parts_are_checked() {
    let body = |index: &str, path: &str| {
        format!(r#"{{"leaf":"0xa","leaf_index":{index},"path":{path},"root":"0xb"}}"#)
    };
    let (statement, _) = decode(&body("3", r#"["0x1","0x2"]"#)).unwrap();
    let Statement::MerklePath { leaf, leaf_index: 3, path, .. } = statement else { panic!("another form") };
    assert_eq!((leaf, path.len()), ("0xa".parse::<Bytes32>().unwrap(), 2));
    assert!(decode(&body("0", "[]")).is_ok(), "one leaf is a tree");
    assert!(refusal(&body("4", r#"["0x1","0x2"]"#)).starts_with("leaf_index: must be below 2^2"));
    assert!(refusal(&body("1", "[]")).starts_with("leaf_index: must be below 2^0"));
    let long = format!("[\"0x1\"{}]", ",\"0x1\"".repeat(32));
    assert_eq!(refusal(&body("0", &long)), "path: must have at most 32 elements, got 33");
    let deepest = format!("[\"0x1\"{}]", ",\"0x1\"".repeat(31));
    assert!(decode(&body("4294967295", &deepest)).is_ok());
    assert!(refusal(&body("4294967296", &deepest)).starts_with("leaf_index: must be below 2^32"));
    assert_eq!(refusal(r#"{"leaf":"0xa","leaf_index":0,"path":[]}"#), "root: is missing");
    assert_eq!(refusal(r#"{"root":"0xa","leaf_index":0,"path":[]}"#), "leaf: is missing");
}

#[test]
fn both_forms_at_once_are_refused() {
    let mixed = r#"{"leaves":["0x1"],"leaf_index":0,"root":"0x1"}"#;
    assert!(refusal(mixed).starts_with("root: does not go with `leaves`"));
}

#[test]
fn options_are_taken_and_wrong_ones_are_refused() {
    let with = |options: &str| decode(&format!(r#"{{"leaves":["0x1"],"leaf_index":0,{options}}}"#));
    let all =
        r#""priority":"high","deadline_seconds":60,"max_attempts":3,"summary":"for Ada","hash":"poseidon""#;
    let expected = TaskOptions {
        priority: Priority::High,
        deadline: Some(Duration::from_secs(60)),
        max_attempts: Some(3),
        summary: Some("for Ada".into()),
    };
    assert_eq!(with(all).unwrap().1, expected);
    let wrong = |options: &str| with(options).unwrap_err();
    assert_eq!(wrong(r#""priority":"urgent""#), "priority: must be low, normal or high");
    assert_eq!(wrong(r#""deadline_seconds":0"#), "deadline_seconds: must be from 1 to 31536000");
    assert_eq!(wrong(r#""max_attempts":17"#), "max_attempts: must be from 1 to 16");
    assert_eq!(wrong(r#""summary":"a\u0000b""#), "summary: must not hold control characters");
    let long = format!(r#""summary":"{}""#, "é".repeat(201));
    assert_eq!(wrong(&long), "summary: must have at most 200 characters, got 201");
    assert_eq!(wrong(r#""priorty":"low""#), "priorty: is not a known field; did you mean `priority`?");
}

#[test]
fn what_a_later_version_brings_is_refused_as_not_supported() {
    for options in [r#""hash":"sha256""#, r#""webhook_url":"https://example.com""#] {
        let body = format!(r#"{{"leaves":["0x1"],"leaf_index":0,{options}}}"#);
        let error = decode_merkle(parse(body.as_bytes()).unwrap()).unwrap_err();
        assert!(error.unsupported && error.reason.contains("not supported by this version"), "{error}");
    }
}

#[test]
fn the_described_fields_are_the_decoded_ones() {
    fn properties(schema: &serde_json::Value) -> BTreeSet<String> {
        match schema {
            serde_json::Value::Object(object) => object
                .iter()
                .flat_map(|(key, value)| match (key.as_str(), value) {
                    ("properties", serde_json::Value::Object(fields)) => fields.keys().cloned().collect(),
                    _ => properties(value),
                })
                .collect(),
            serde_json::Value::Array(items) => items.iter().flat_map(properties).collect(),
            _ => BTreeSet::new(),
        }
    }
    let described = |schema: serde_json::Value| {
        let common = serde_json::to_value(CommonOptions::schema()).unwrap();
        properties(&schema).union(&properties(&common)).cloned().collect::<BTreeSet<_>>()
    };
    let decoded = |form: &[&str]| {
        let names = form.iter().chain(OPTIONS).filter(|name| **name != "webhook_url");
        names.map(|name| (*name).to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(described(serde_json::to_value(MerkleLeavesRequest::schema()).unwrap()), decoded(LEAVES_FORM));
    assert_eq!(described(serde_json::to_value(MerklePathRequest::schema()).unwrap()), decoded(PATH_FORM));
}
