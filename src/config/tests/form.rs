//! The file's form: places, limits, and what of YAML is refused.

use proptest::prelude::*;

use super::super::yaml::FILE_BYTES_MAX;
use super::super::{LoadRequest, Role, load};
use super::*;

#[track_caller]
fn refused(yaml: &str, place: &str, fragment: &str) {
    let messages = errors(load_yaml(Role::Dev, yaml));
    let hit = messages.iter().any(|message| message.contains(place) && message.contains(fragment));
    assert!(hit, "{yaml:?} gave {messages:#?}");
}

#[test]
fn an_empty_file_and_empty_sections_mean_the_defaults() {
    for yaml in ["", "\n\n", "# nothing\n", "---\n", "http:\nraft:\n  # node_id: x\n", "{}"] {
        assert_eq!(loaded(load_yaml(Role::Dev, yaml)).config.http.port, 8080, "{yaml:?}");
    }
}

#[test]
fn duplicate_keys_are_refused_with_both_places() {
    refused("http:\n  port: 1\n  port: 2\n", "test.yaml:3:3", "\"port\" stands here twice, first in line 2");
    refused("http: {port: 1}\nlog: {level: info}\nhttp: {host: a}\n", "test.yaml:3:1", "first in line 1");
    refused("raft: {peers: [{id: a, id: b, address: 'a:1'}]}", "test.yaml:1:", "twice");
}

#[test]
fn anchors_aliases_and_tags_are_refused() {
    refused("http: &a {port: 1}\n", "test.yaml:1:", "anchors");
    refused("http: &a\n  port: 1\nraft: *a\n", "test.yaml:", "anchors");
    refused("http: {port: !!int 1}\n", "test.yaml:1:", "tags");
    refused("log: {level: !x info}\n", "test.yaml:1:", "tags");
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut yaml = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..40 {
        let items = vec![format!("*a{}", level - 1); 9].join(",");
        yaml.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    refused(&yaml, "test.yaml:1:", "anchors");
}

#[test]
fn deep_nesting_is_refused() {
    refused(&"[".repeat(200), "test.yaml:1:", "nested deeper");
    // The YAML library gives up before we do.
    refused(&"[".repeat(200_000), "test.yaml:1:", "recursion limit exceeded");
    refused(&format!("http: {}", "{a: ".repeat(100)), "test.yaml:1:", "nested deeper");
    let mut block = String::new();
    for depth in 0..500 {
        block.push_str(&format!("{}a:\n", " ".repeat(depth)));
    }
    refused(&block, "test.yaml:", "nested deeper");
}

#[test]
fn too_many_values_are_refused() {
    refused(&format!("prover: {{preload: [{}]}}", "a,".repeat(20_000)), "test.yaml:1:", "more than");
    refused(&format!("prover: {{preload: [{}]}}", "a,".repeat(100)), "test.yaml:1:", "at most 64 items");
}

#[test]
fn a_second_document_is_refused() {
    refused("http: {port: 1}\n---\nhttp: {port: 2}\n", "test.yaml:2:1", "second document");
}

#[test]
fn broken_yaml_is_refused_with_its_place() {
    refused("http:\n  port: [1\n", "test.yaml:", "not valid YAML");
    refused("http:\n\tport: 1\n", "test.yaml:", "not valid YAML");
    refused("http: a: b\n", "test.yaml:1:", "not valid YAML");
}

#[test]
fn what_is_not_sections_with_keys_is_refused() {
    refused("just text", "test.yaml:1:1", "expected sections");
    refused("- http\n", "test.yaml:1:1", "expected sections");
    refused("http: 8080\n", "test.yaml:1:7", "expected keys beneath it");
    refused("http:\n- port\n", "test.yaml:2:", "expected keys beneath it");
    refused("? [a]\n: b\n", "test.yaml:1:3", "must be a text");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one() {
    let hinted = |yaml: &str, wrong: &str, right: &str| {
        let message = only_error(load_yaml(Role::Dev, yaml));
        assert!(message.contains(&format!("unknown key `{wrong}`")), "{message}");
        assert!(message.ends_with(&format!("did you mean `{right}`?")), "{message}");
    };
    hinted("raft: {boostrap: true}", "raft.boostrap", "raft.bootstrap");
    hinted("raft: {nodeid: a}", "raft.nodeid", "raft.node_id");
    hinted("htpp: {port: 1}", "htpp", "http");
    hinted("port: 1", "port", "http.port");
    hinted("raft: {id: a}", "raft.id", "raft.node_id");
    hinted("raft: {port: 1}", "raft.port", "raft.raft_port");
    hinted("tasks: {retention: 1d}", "tasks.retention", "tasks.retention_age");
    hinted("raft: {max_attempts: 1}", "raft.max_attempts", "tasks.max_attempts");
    hinted("raft: {election-timeout-min: 1s}", "raft.election-timeout-min", "raft.election_timeout_min");
    hinted(
        "raft: {peers: [{id: a, address: 'a:1', addres: b}]}",
        "raft.peers[0].addres",
        "raft.peers[0].address",
    );
    let message = only_error(load_yaml(Role::Dev, "entirely_else: 1"));
    assert_eq!(message, "unknown key `entirely_else` (test.yaml:1:1)");
}

#[test]
fn a_file_that_cannot_be_read_is_one_error_beside_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut request = LoadRequest::new(Role::Dev);
    request.env = environment(&[("ZKPNET_HTTP__PORT", "x")]);
    request.file = Some(dir.path().join("absent.yaml"));
    let messages = errors(load(&request));
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages[0].contains("absent.yaml"), "{messages:?}");
    request.file = Some(dir.path().to_owned());
    assert_eq!(errors(load(&request)).len(), 2);
}

#[test]
fn a_file_over_the_limit_or_not_in_utf8_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.yaml");
    let mut request = LoadRequest::new(Role::Dev);
    request.file = Some(path.clone());
    std::fs::write(&path, "#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap())).unwrap();
    assert!(load(&request).is_ok());
    std::fs::write(&path, "#".repeat(usize::try_from(FILE_BYTES_MAX).unwrap() + 1)).unwrap();
    assert!(only_error(load(&request)).contains("larger than 1048576 bytes"));
    std::fs::write(&path, b"http: {host: \xff}").unwrap();
    assert!(only_error(load(&request)).contains("byte 13"));
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in "\\PC{0,200}") {
        let _ = load_yaml(Role::Coordinator, &text);
    }

    #[test]
    fn no_text_of_yaml_signs_makes_the_loader_panic(text in "[-:\\[\\]{}?,&*!|>'\"%@`# \\n\\tarftpeshi0]{0,120}") {
        let _ = load_yaml(Role::Coordinator, &text);
    }

    #[test]
    fn no_value_makes_the_loader_panic(index in 0usize..80, text in "\\PC{0,40}") {
        let spec = super::super::sections::keys().nth(index);
        if let Some(spec) = spec {
            let _ = load_env(Role::Coordinator, &[(&spec.variable(), &text)]);
        }
    }
}
