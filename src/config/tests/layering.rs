//! The layers: which value wins, and that every key can be reached from every layer.

use std::path::PathBuf;

use super::super::keys::{KeySpec, Raw};
use super::super::sections::keys;
use super::super::{FlagOverride, LoadRequest, Origin, Role, load};
use super::*;

/// A right value of a key that is not its default for any role.
fn sample(spec: &KeySpec) -> &'static str {
    match spec.path {
        "http.port" | "grpc.port" | "raft.raft_port" | "database.port" => "6543",
        "raft.heartbeat_interval" => "70ms",
        "raft.election_timeout_max" => "9s",
        "raft.election_timeout_min" => "600ms",
        "tasks.retry_backoff_base" => "2s",
        "raft.batch_bytes_max" | "raft.snapshot_log_bytes" | "http.body_limit_bytes" => "2MiB",
        "raft.peers" => "other-1=other-1:7001,other-2=[::1]:7002",
        "database.ssl_mode" => "verify-full",
        "log.level" => "trace",
        "tasks.max_attempts" => "7",
        "log.format" => "json",
        "prover.preload" => "merkle-poseidon-8,merkle-poseidon-32",
        // Not the default of any role, and a conflict with nothing.
        "raft.bootstrap" => "false",
        "raft.tls_enabled" | "worker.tls_enabled" => "false",
        "cluster.insecure" => "true",
        _ => match spec.expected {
            "a whole number" => "77",
            "a path" => "/tmp/some where",
            "a text" => "0012",
            expected if expected.starts_with("a duration") => "17m",
            expected if expected.starts_with("a size") => "48MiB",
            expected if expected.starts_with("an id") => "Some_id-1.x",
            expected if expected.starts_with("a host") => "192.168.7.7",
            expected if expected.starts_with("an address") => "db.example:1234",
            expected if expected.starts_with("a URL") => "https://collector.example:4318/otlp",
            other => panic!("no sample for {} ({other})", spec.path),
        },
    }
}

#[test]
fn every_default_is_a_right_value_of_its_key() {
    for spec in keys() {
        for role in Role::ALL {
            if let Some(text) = spec.default.text(role) {
                assert!((spec.read)(spec, Raw::Text(text)).is_ok(), "{} = {text}", spec.path);
            }
        }
    }
}

#[test]
fn every_role_loads_from_its_defaults_without_a_notice() {
    for role in Role::ALL {
        assert_eq!(notices(&loaded(load_yaml(role, ""))), Vec::<String>::new(), "{role}");
    }
}

#[test]
fn the_ports_of_the_roles_are_those_of_the_documents() {
    let port = |role| loaded(load_yaml(role, "")).config.http.port;
    let ports = [Role::Dev, Role::Coordinator, Role::Worker, Role::Gateway].map(port);
    assert_eq!(ports, [8080, 8090, 8070, 8080]);
    let config = loaded(load_yaml(Role::Coordinator, "")).config;
    assert_eq!((config.grpc.port, config.raft.raft_port), (9090, 7000));
}

#[test]
fn dev_listens_on_loopback_and_needs_no_host_name() {
    let loaded = load(&LoadRequest::new(Role::Dev)).unwrap();
    assert!(loaded.config.http.host.is_loopback());
    assert_eq!(loaded.config.coordinator.id.as_str(), "coordinator-local");
    assert_eq!(loaded.config.raft.node_id.as_str(), "coordinator-local");
    assert_eq!(loaded.config.raft.advertise_address.to_string(), "coordinator-local:7000");
    assert_eq!(loaded.config.storage.keys_dir, PathBuf::from("data/dev/keys"));
    assert_eq!(loaded.config.raft.data_dir, PathBuf::from("data/dev/raft"));
}

#[test]
fn a_coordinator_takes_its_names_from_the_host_and_says_so() {
    let loaded = loaded(load_env(Role::Coordinator, &[]));
    assert_eq!(loaded.config.coordinator.id.as_str(), HOSTNAME);
    assert_eq!(loaded.config.raft.advertise_address.to_string(), "host-7:7000");
    assert_eq!(loaded.origins["coordinator.id"], Origin::Derived("the host's name"));
}

#[test]
fn a_coordinator_on_a_host_without_a_name_is_told_what_to_write() {
    let errors = errors(load(&LoadRequest::new(Role::Coordinator)));
    assert_eq!(errors.len(), 2, "{errors:#?}");
    assert!(errors[0].starts_with("`coordinator.id` is not set"), "{errors:?}");
    assert!(errors[1].contains("such as coordinator-1:7000"), "{errors:?}");
}

#[test]
fn the_own_entry_among_the_peers_is_the_advertised_address() {
    let yaml = "raft: {node_id: b, peers: [{id: a, address: a:1}, {id: b, address: '10.0.0.2:7100'}]}";
    let loaded = loaded(load_yaml(Role::Coordinator, yaml));
    assert_eq!(loaded.config.raft.advertise_address.to_string(), "10.0.0.2:7100");
}

#[test]
fn each_layer_wins_over_the_one_before() {
    let yaml = "http: {port: 1001}";
    let prefixed = ("COORDINATOR_HTTP_PORT", "1002");
    let own = ("ZKPNET_HTTP__PORT", "1003");
    let flag = FlagOverride { key: "http.port", value: "1004".to_owned(), flag: "--http-port" };
    let port = |yaml: &str, env: &[(&str, &str)], flags: &[FlagOverride]| {
        let loaded = loaded(load_from(Role::Coordinator, yaml, env, flags));
        (loaded.config.http.port, loaded.origins.get("http.port").map(ToString::to_string))
    };
    assert_eq!(port("", &[], &[]), (8090, None));
    assert_eq!(port(yaml, &[], &[]), (1001, Some("test.yaml:1:14".to_owned())));
    assert_eq!(port(yaml, &[prefixed], &[]), (1002, Some("variable COORDINATOR_HTTP_PORT".to_owned())));
    assert_eq!(port(yaml, &[prefixed, own], &[]), (1003, Some("variable ZKPNET_HTTP__PORT".to_owned())));
    assert_eq!(port(yaml, &[prefixed, own], &[flag]), (1004, Some("flag --http-port".to_owned())));
}

#[test]
fn a_variable_that_another_overrides_is_named() {
    let env = [("COORDINATOR_HTTP_PORT", "1002"), ("ZKPNET_HTTP__PORT", "1003")];
    let loaded = loaded(load_env(Role::Coordinator, &env));
    assert_eq!(notices(&loaded), ["variable COORDINATOR_HTTP_PORT is overridden by ZKPNET_HTTP__PORT"]);
}

#[test]
fn a_wrong_value_stays_wrong_under_a_right_one() {
    let message = only_error(load_from(Role::Dev, "http: {port: x}", &[("ZKPNET_HTTP__PORT", "1")], &[]));
    assert!(message.starts_with("`http.port` (test.yaml:1:14)"), "{message}");
}

#[test]
fn every_key_can_be_set_by_its_variable_alone() {
    for spec in keys() {
        let name = spec.variable();
        for role in Role::ALL {
            let loaded = loaded(load_env(role, &[(&name, sample(spec))]));
            assert_eq!(loaded.origins.get(spec.path), Some(&Origin::Variable(name.clone())), "{name}");
            let shown = loaded.effective[spec.path].as_deref();
            assert_eq!(shown, Some(if spec.secret { "[redacted]" } else { sample(spec) }), "{name}");
        }
    }
}

#[test]
fn every_key_can_be_set_by_each_of_its_prefixed_names_alone() {
    for spec in keys() {
        let named = Role::ALL
            .into_iter()
            .filter_map(|role| Some((role, super::super::variables::prefixed(role, spec)?)));
        let named: Vec<_> = named.collect();
        assert!(!named.is_empty(), "{} has no prefixed name", spec.path);
        for (role, name) in named {
            let loaded = loaded(load_env(role, &[(&name, sample(spec))]));
            assert_eq!(loaded.origins.get(spec.path), Some(&Origin::Variable(name.clone())), "{role} {name}");
        }
    }
}

#[test]
fn every_key_can_be_set_by_a_flag_and_by_a_file() {
    for spec in keys() {
        let flag = FlagOverride { key: spec.path, value: sample(spec).to_owned(), flag: "--it" };
        let by_flag = loaded(load_from(Role::Coordinator, "", &[], &[flag]));
        let yaml = format!(
            "{}:\n  {}: {}\n",
            spec.section,
            spec.name,
            super::super::render::yaml_value(spec, sample(spec))
        );
        let by_file = loaded(load_yaml(Role::Coordinator, &yaml));
        assert_eq!(by_flag.effective[spec.path], by_file.effective[spec.path], "{yaml}");
        assert!(matches!(by_file.origins[spec.path], Origin::File { line: 2, .. }), "{yaml}");
    }
}

#[test]
fn a_flag_for_a_key_that_does_not_exist_is_an_error() {
    let flag = FlagOverride { key: "http.prot", value: "1".to_owned(), flag: "--http-port" };
    let message = only_error(load_from(Role::Dev, "", &[], &[flag]));
    assert_eq!(message, "unknown key `http.prot` (flag --http-port); did you mean `http.port`?");
}

#[test]
fn the_file_is_the_one_of_the_flag_or_else_the_one_of_the_variable() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (dir.path().join("first.yaml"), dir.path().join("second.yaml"));
    std::fs::write(&first, "http: {port: 1}\n").unwrap();
    std::fs::write(&second, "\u{feff}http: {port: 2}\n").unwrap();
    let mut request = LoadRequest::new(Role::Dev);
    request.env = environment(&[("ZKPNET_CONFIG", second.to_str().unwrap())]);
    assert_eq!(load(&request).unwrap().config.http.port, 2);
    request.file = Some(first);
    assert_eq!(load(&request).unwrap().config.http.port, 1);
    request.file = None;
    request.env = environment(&[("ZKPNET_CONFIG", "")]);
    assert!(only_error(load(&request)).contains("ZKPNET_CONFIG"));
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let yaml = "http:\n  port: 12x\n  hots: a\nraft:\n  boostrap: true\n  heartbeat_interval: 3\nlog: 5\n";
    let env = [
        ("ZKPNET_LOG__LEVEL", "loud"),
        ("ZKPNET_TASKS__MAX_ATTEMPT", "5"),
        ("COORDINATOR_TASKS_MAX_ATTEMPTS", "0"),
    ];
    let flag = FlagOverride { key: "storage.data_dir", value: String::new(), flag: "--data-dir" };
    let result = load_from(Role::Dev, yaml, &env, &[flag]);
    let whole = result.as_ref().err().map(ToString::to_string).unwrap();
    let found = errors(result);
    let expected = [
        "`http.port` (test.yaml:2:9): expected a whole number, found the text \"12x\"",
        "unknown key `http.hots` (test.yaml:3:3); did you mean `http.host`?",
        "unknown key `raft.boostrap` (test.yaml:5:3); did you mean `raft.bootstrap`?",
        "`raft.heartbeat_interval` (test.yaml:6:23): the duration \"3\" has no unit: write 3s or 3ms",
        "`log` (test.yaml:7:6): expected keys beneath it",
        "`tasks.max_attempts` (variable COORDINATOR_TASKS_MAX_ATTEMPTS): 0 is out of range: allowed is 1 to 16",
        "`log.level` (variable ZKPNET_LOG__LEVEL): expected error, warn, info, debug or trace, found the text \"loud\"",
        "unknown variable ZKPNET_TASKS__MAX_ATTEMPT; did you mean `ZKPNET_TASKS__MAX_ATTEMPTS`?",
        "`storage.data_dir` (flag --data-dir): is empty; leave it out to use the default",
    ];
    assert_eq!(found, expected);
    assert!(whole.starts_with("the configuration has 9 errors:\n  `http.port`"), "{whole}");
}
