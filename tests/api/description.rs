//! The API's description: as it is held, and true of the paths.

use crate::service::Service;
use serde_json::Value;
use std::path::Path;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

#[test]
fn the_description_is_the_one_that_is_held() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/openapi.json");
    let now = zkpnet::http::openapi_json();
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&file, now).unwrap();
    }
    let held = std::fs::read_to_string(&file).unwrap_or_default();
    let first = held.lines().zip(now.lines()).position(|(held, now)| held != now).unwrap_or(0) + 1;
    assert!(
        held == now,
        "the API has changed (first at line {first}); if that is meant, run the test with UPDATE_SNAPSHOTS=1 and commit the file"
    );
}

#[test]
fn the_served_description_is_openapi_3_1() {
    let answer = Service::shared().get("/openapi.json");
    assert_eq!(answer.text, zkpnet::http::openapi_json());
    assert!(answer.json()["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn every_described_path_takes_its_methods_and_no_other() {
    let service = Service::shared();
    let document: Value = serde_json::from_str(zkpnet::http::openapi_json()).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            let concrete =
                path.replace("{id}", "01890a5d-ac96-774b-bcce-b302099a8057").replace("{action}", "promote");
            let answer = service.send(&method.to_uppercase(), &concrete, &[], b"");
            if operations.get(method).is_some() {
                let is_missing = matches!(answer.status, 404 | 405)
                    && ["unknown_path", "method_not_allowed"]
                        .contains(&answer.problem()["code"].as_str().unwrap());
                assert!(!is_missing, "{method} {path}: {}", answer.text);
            } else {
                assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text);
            }
        }
    }
}

#[test]
fn every_reference_of_the_description_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str));
                object.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document: Value = serde_json::from_str(zkpnet::http::openapi_json()).unwrap();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
