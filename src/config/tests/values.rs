//! What each type takes and refuses, and that text stays text.

use std::time::Duration;

use proptest::prelude::*;

use super::super::sections::key;
use super::super::{ByteSize, Role};
use super::*;

/// The message for a value that its key must refuse, given by a variable.
#[track_caller]
fn refusal(path: &str, text: &str) -> String {
    let variable = key(path).unwrap_or_else(|| panic!("no key {path}")).variable();
    only_error(load_env(Role::Coordinator, &[(&variable, text)]))
}

#[track_caller]
fn refuses(path: &str, texts: &[&str], fragment: &str) {
    for text in texts {
        let message = refusal(path, text);
        assert!(message.contains(fragment), "{path} = {text:?}: {message}");
    }
}

#[test]
fn numbers_are_digits_and_nothing_else() {
    let not_numbers = ["12x", "1e3", "1.0", "-1", "+1", "0x10", "010", "1_000", " 1", "yes", "١"];
    refuses("tasks.max_attempts", &not_numbers, "expected a whole number, found the text");
    refuses("http.port", &["65536", "99999999999999999999"], "too large: at most 65535");
    refuses("raft.raft_port", &["0"], "0 is out of range: allowed is 1 to 65535");
}

#[test]
fn a_number_or_boolean_in_quotes_is_text() {
    let message = only_error(load_yaml(Role::Dev, "http: {port: '8080'}"));
    assert!(
        message.ends_with("expected a whole number, found the text \"8080\" (without the quotes)"),
        "{message}"
    );
    let message = only_error(load_yaml(Role::Dev, "raft: {bootstrap: \"true\"}"));
    assert!(message.contains("(without the quotes)"), "{message}");
}

#[test]
fn booleans_are_true_and_false_only() {
    refuses("raft.bootstrap", &["yes", "1", "True", "on", "t"], "expected true or false, found the text");
}

#[test]
fn durations_have_one_number_and_one_unit() {
    refuses("tasks.lease_duration", &["3", "30"], "has no unit: write 3");
    let wrong = ["s", "3 s", "1.5s", "1m30s", "3sec", "3S", "-3s", "03s", "3us"];
    refuses("tasks.lease_duration", &wrong, "expected a duration such as");
    refuses("tasks.lease_duration", &["999999999999999999d"], "too long");
    refuses("tasks.lease_duration", &["999ms", "61m"], "is out of range: allowed is 1s to 1h");
    let config =
        loaded(load_yaml(Role::Dev, "tasks: {lease_duration: 5m}\nshutdown: {grace: 1500ms}")).config;
    assert_eq!(config.tasks.lease_duration, Duration::from_secs(300));
    assert_eq!(config.shutdown.grace, Duration::from_millis(1500));
}

#[test]
fn sizes_are_binary_or_bytes() {
    refuses("http.body_limit_bytes", &["10MB", "10M", "10m", "10k"], "is ambiguous: write 10");
    refuses("http.body_limit_bytes", &["10mib", "1.5MiB", "MiB", "10 MiB", "-1"], "expected a size such as");
    refuses("http.body_limit_bytes", &["99999999TiB", "99999999999999999999"], "too large");
    let size = |yaml| loaded(load_yaml(Role::Dev, yaml)).config.http.body_limit_bytes;
    assert_eq!(size("http: {body_limit_bytes: 10MiB}"), ByteSize::from_bytes(10_485_760));
    assert_eq!(size("http: {body_limit_bytes: 2048}"), ByteSize::from_bytes(2048));
}

#[test]
fn ids_are_short_and_plain() {
    refuses("coordinator.id", &["a b", "a/b", "ä", "a,b", "a=b"], "expected an id of 1 to 64");
    refuses("coordinator.id", &[&"a".repeat(65)], "longer than 64");
    assert!(load_env(Role::Dev, &[("ZKPNET_COORDINATOR__ID", &"a".repeat(64))]).is_ok());
}

#[test]
fn hosts_are_names_or_addresses_without_a_port() {
    refuses("http.host", &["a b", "-a", "a..b", "256.1.1.1", "1.2.3", "host!"], "expected a host name");
    refuses("http.host", &["localhost:80"], "the port has a key of its own");
    refuses("http.host", &["http://localhost"], "not a URL");
    for right in ["0.0.0.0", "::", "[::1]", "localhost", "my_service", "a.example.org", "10.0.0.1"] {
        assert!(load_env(Role::Coordinator, &[("ZKPNET_HTTP__HOST", right)]).is_ok(), "{right}");
    }
}

#[test]
fn a_wildcard_is_no_address_to_advertise() {
    let wildcards = ["0.0.0.0:7000", "[::]:7000", ":7000", "*:7000"];
    refuses("raft.advertise_address", &wildcards, "such as coordinator-1:7000");
    refuses("worker.coordinator_address", &["0.0.0.0:9090"], "such as coordinator-1:9090");
    refuses("raft.peers", &["a=0.0.0.0:7000"], "wildcard");
    refuses("raft.join", &[":7000"], "names no host");
}

#[test]
fn addresses_have_a_host_and_a_port() {
    refuses("raft.advertise_address", &["coordinator-1"], "the port is missing");
    refuses("raft.advertise_address", &["a:0", "a:x", "a:70000", "a:"], "is not a number from 1 to 65535");
    refuses("raft.advertise_address", &["::1:7000"], "stands in brackets");
    refuses("raft.advertise_address", &["tcp://a:7000"], "not a URL");
}

#[test]
fn peers_are_read_from_mappings_and_from_one_text() {
    let yaml =
        "raft:\n  peers:\n    - id: \"a\"\n      address: \"a:7000\"\n    - {id: b, address: 'b:7000'}\n";
    let from_file = loaded(load_yaml(Role::Coordinator, yaml)).config.raft.peers;
    let from_variable =
        loaded(load_env(Role::Coordinator, &[("COORDINATOR_RAFT_PEERS", "a=a:7000, b=b:7000")]));
    assert_eq!(from_file.len(), 2);
    assert_eq!(from_file, from_variable.config.raft.peers);
}

#[test]
fn each_fault_of_a_peer_is_named_at_its_place() {
    let yaml = "raft:\n  peers:\n    - id: a b\n      address: :7000\n    - id: c\n    - [x]\n";
    let messages = errors(load_yaml(Role::Coordinator, yaml));
    assert_eq!(messages.len(), 4, "{messages:#?}");
    assert!(messages[0].starts_with("`raft.peers[0].id` (test.yaml:3:11): expected an id"), "{messages:#?}");
    assert!(messages[1].starts_with("`raft.peers[0].address` (test.yaml:4:16)"), "{messages:#?}");
    assert_eq!(messages[2], "`raft.peers[1]` (test.yaml:5:7): the peer has no address");
    assert!(messages[3].starts_with("`raft.peers[2]` (test.yaml:6:7): expected a peer"), "{messages:#?}");
}

#[test]
fn names_of_circuits_are_well_formed() {
    refuses("prover.preload", &["Merkle", "a b", "-a", "a-", "a_b"], "item 1: expected a circuit's name");
    refuses("prover.preload", &["a,,b", "a,"], "of the list is empty");
    let message = only_error(load_yaml(Role::Dev, "prover:\n  preload: [merkle-poseidon-4, X]\n"));
    assert!(message.starts_with("`prover.preload[1]` (test.yaml:2:32)"), "{message}");
}

#[test]
fn a_value_of_the_wrong_kind_is_named() {
    let message = only_error(load_yaml(Role::Dev, "http: {port: [1]}"));
    assert!(message.ends_with("expected a whole number, found a list"), "{message}");
    let message = only_error(load_yaml(Role::Dev, "http: {host: {a: b}}"));
    assert!(message.ends_with("found a mapping"), "{message}");
    let message = only_error(load_yaml(Role::Dev, "prover: {preload: {a: b}}"));
    assert!(message.contains("expected a list"), "{message}");
}

#[test]
fn nothing_written_unsets_only_what_may_be_unset() {
    let loaded = loaded(load_from(
        Role::Coordinator,
        "http: {workers: }\nprover:\n  preload:\ndatabase: {host: db, password: 'x'}\n",
        &[("COORDINATOR_DATABASE_PASSWORD", ""), ("ZKPNET_RAFT__JOIN", "")],
        &[],
    ));
    assert_eq!(loaded.config.http.workers, None);
    assert!(loaded.config.prover.preload.is_empty() && loaded.config.raft.join.is_empty());
    assert!(loaded.config.database.password.is_none());
    let message = only_error(load_yaml(Role::Dev, "http:\n  port:\n"));
    assert!(message.contains("nothing is written here: expected a whole number"), "{message}");
    let message = only_error(load_env(Role::Dev, &[("ZKPNET_STORAGE__DATA_DIR", "")]));
    assert!(message.contains("is empty"), "{message}");
}

#[test]
fn a_plain_null_is_neither_nothing_nor_text() {
    for null in ["~", "null", "Null", "NULL"] {
        for key in ["password", "host", "port"] {
            let message = only_error(load_yaml(Role::Coordinator, &format!("database: {{{key}: {null}}}")));
            assert!(message.contains("null is not a value"), "{message}");
        }
        let message = only_error(load_yaml(Role::Dev, &format!("prover: {{preload: {null}}}")));
        assert!(message.contains("null is not a value"), "{message}");
    }
    let loaded = loaded(load_yaml(Role::Coordinator, "database: {host: a, password: 'null'}"));
    assert_eq!(loaded.config.database.password.unwrap().expose(), "null");
}

const LOOK_LIKE_SOMETHING_ELSE: [&str; 16] = [
    "012345",
    "1e5",
    "yes",
    "no",
    "true",
    "0x1F",
    "1.0",
    "-5",
    ".inf",
    "2026-01-02",
    "12:30:45",
    "0o17",
    "1_000",
    "+1",
    "10MiB",
    "1,2",
];

#[test]
fn text_that_looks_like_something_else_stays_text() {
    for text in LOOK_LIKE_SOMETHING_ELSE {
        let sources = [
            (format!("database:\n  host: h\n  user: {text}\n  password: {text}\n"), vec![]),
            (format!("database: {{host: h, user: '{text}', password: \"{text}\"}}"), vec![]),
            (
                "database: {host: h}".to_owned(),
                vec![("COORDINATOR_DATABASE_USER", text), ("COORDINATOR_DATABASE_PASSWORD", text)],
            ),
            (
                "database: {host: h}".to_owned(),
                vec![("ZKPNET_DATABASE__USER", text), ("ZKPNET_DATABASE__PASSWORD", text)],
            ),
        ];
        for (yaml, env) in sources {
            let database = loaded(load_from(Role::Coordinator, &yaml, &env, &[])).config.database;
            assert_eq!(database.user, text, "{yaml}");
            assert_eq!(database.password.unwrap().expose(), text, "{yaml}");
        }
    }
}

proptest! {
    #[test]
    fn a_password_is_what_was_written(password in "[^\\p{Cc}]{1,40}") {
        let by_variable = load_env(Role::Coordinator, &[("COORDINATOR_DATABASE_PASSWORD", &password)]).unwrap();
        prop_assert!(by_variable.config.database.password.unwrap().expose() == password);
        let single_quoted = password.replace('\'', "''");
        let yaml = format!("database:\n  password: '{single_quoted}'\n");
        // Two characters that YAML counts among line breaks or byte order marks are not kept by quotes.
        if !password.contains(['\u{feff}', '\u{2028}', '\u{2029}', '\u{fffe}', '\u{ffff}']) {
            let by_file = load_yaml(Role::Coordinator, &yaml).unwrap();
            prop_assert!(by_file.config.database.password.unwrap().expose() == password);
        }
    }

    #[test]
    fn durations_and_sizes_survive_printing(millis in 1_000u64..3_600_000, bytes in 1_024u64..1_000_000_000) {
        let env = [("ZKPNET_TASKS__LEASE_DURATION", format!("{millis}ms")), ("ZKPNET_HTTP__BODY_LIMIT_BYTES", bytes.to_string())];
        let env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let first = load_env(Role::Dev, &env).unwrap();
        let again = load_yaml(Role::Dev, &super::super::render_effective(&first)).unwrap();
        prop_assert_eq!(again.config.tasks.lease_duration, Duration::from_millis(millis));
        prop_assert_eq!(again.config.http.body_limit_bytes.bytes(), bytes);
    }
}

#[test]
fn a_collectors_url_has_a_host_and_no_secret() {
    let read = |url: &str| load_env(Role::Worker, &[("ZKPNET_TRACING__OTLP_ENDPOINT", url)]);
    for right in ["http://127.0.0.1:4318", "https://collector", "http://[::1]:4318/", "http://[::1]/a/b"] {
        let endpoint = loaded(read(right)).config.tracing.otlp_endpoint.unwrap();
        assert_eq!(endpoint.as_str(), right);
    }
    let wrong = [
        "collector:4318",
        "ftp://collector",
        "http://",
        "http://:4318",
        "http://collector:0",
        "http://collector:port",
        "http://collector/?x",
        "http://collector/a b",
    ];
    for wrong in wrong {
        assert!(only_error(read(wrong)).contains("expected a URL"), "{wrong}");
    }
    let message = only_error(read("http://me:hunter2@collector"));
    assert!(!message.contains("hunter2"), "{message}");
}
