//! Names of variables: both families, the cluster's documents, and names that are not ours.

use std::collections::BTreeSet;

use super::super::sections::{key, keys};
use super::super::variables::{prefixed, prefixed_table, prefixes};
use super::super::{LoadRequest, Role, load};
use super::*;

/// Every variable that the cluster's documents tell the reader to set, a value for it, the role, and the key that it
/// sets (none: it is accepted and means nothing any more).
const DOCUMENTED: [(&str, &str, Role, Option<&str>); 11] = [
    ("COORDINATOR_COORDINATOR_ID", "coordinator-2", Role::Coordinator, Some("coordinator.id")),
    ("COORDINATOR_RAFT_NODE_ID", "coordinator-2", Role::Coordinator, Some("raft.node_id")),
    ("COORDINATOR_RAFT_RAFT_PORT", "7000", Role::Coordinator, Some("raft.raft_port")),
    ("COORDINATOR_RAFT_BOOTSTRAP", "true", Role::Coordinator, Some("raft.bootstrap")),
    ("COORDINATOR_DATABASE_HOST", "postgres", Role::Coordinator, Some("database.host")),
    ("COORDINATOR_DATABASE_USER", "zkp_user", Role::Coordinator, Some("database.user")),
    ("COORDINATOR_DATABASE_PASSWORD", "zkp_password", Role::Coordinator, Some("database.password")),
    ("WORKER_WORKER_ID", "worker-1-cluster", Role::Worker, Some("worker.id")),
    (
        "WORKER_WORKER_COORDINATOR_ADDRESS",
        "coordinator-1:9090",
        Role::Worker,
        Some("worker.coordinator_address"),
    ),
    ("API_GATEWAY_DATABASE_HOST", "postgres", Role::Gateway, None),
    ("API_GATEWAY_DATABASE_USER", "zkp_user", Role::Gateway, None),
];

/// Those that the documents show as mistakes, with the name that is right.
const MISTAKES: [(&str, Role, &str); 5] = [
    ("DATABASE_HOST", Role::Coordinator, "COORDINATOR_DATABASE_HOST"),
    ("RAFT_ADDR", Role::Coordinator, "COORDINATOR_RAFT_ADVERTISE_ADDRESS"),
    ("COORDINATOR_ID", Role::Coordinator, "COORDINATOR_COORDINATOR_ID"),
    ("RAFT_NODE_ID", Role::Coordinator, "COORDINATOR_RAFT_NODE_ID"),
    ("WORKER_ID", Role::Worker, "WORKER_WORKER_ID"),
];

#[test]
fn every_documented_variable_sets_its_key() {
    for (name, value, role, path) in DOCUMENTED {
        let loaded = loaded(load_env(role, &[(name, value)]));
        match path {
            Some(path) => {
                assert_eq!(loaded.origins[path].to_string(), format!("variable {name}"));
                let shown = if path == "database.password" { "[redacted]" } else { value };
                assert_eq!(loaded.effective[path].as_deref(), Some(shown), "{name}");
            }
            None => {
                assert!(loaded.origins.values().all(|origin| !origin.to_string().contains(name)), "{name}");
                assert_eq!(notices(&loaded).len(), 1, "{name}");
                assert!(
                    notices(&loaded)[0].starts_with(&format!("variable {name} is accepted and ignored")),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn dev_reads_the_documented_names_of_coordinators_and_workers() {
    let coordinators = DOCUMENTED.iter().filter(|(_, _, role, _)| *role == Role::Coordinator);
    for (name, value, _, path) in coordinators {
        let loaded = loaded(load_env(Role::Dev, &[(name, value)]));
        assert!(loaded.origins.contains_key(path.unwrap()), "{name}");
    }
    assert_eq!(loaded(load_env(Role::Dev, &[("WORKER_WORKER_ID", "w-9")])).config.worker.id.as_str(), "w-9");
}

#[test]
fn a_mistaken_name_is_not_read_and_the_right_one_is_named() {
    for (name, role, right) in MISTAKES {
        let loaded = loaded(load_env(role, &[(name, "!? no value of anything")]));
        assert_eq!(notices(&loaded), [format!("variable {name} is not read; did you mean {right}?")]);
    }
}

#[test]
fn mistaken_and_retired_names_of_other_roles_pass_in_silence() {
    let foreign = [
        ("DATABASE_HOST", "db"),
        ("API_GATEWAY_DATABASE_HOST", "db"),
        ("COORDINATOR_RAFT_BOOTSTRAP", "maybe"),
    ];
    assert_eq!(notices(&loaded(load_env(Role::Worker, &foreign))), Vec::<String>::new());
}

#[test]
fn the_table_of_prefixed_names_is_complete_and_without_collisions() {
    for role in Role::ALL {
        let table = prefixed_table(role);
        let read_by_role: Vec<&str> =
            keys().filter(|spec| spec.roles.contains(role)).map(|spec| spec.path).collect();
        let named: BTreeSet<&str> = table.values().map(|spec| spec.path).collect();
        // A collision of two names would leave the table shorter than the list of keys.
        assert_eq!(table.len(), read_by_role.len(), "{role}");
        assert_eq!(named, read_by_role.into_iter().collect(), "{role}");
        for (name, spec) in &table {
            assert!(key(spec.path).is_some(), "{name}");
            assert!(prefixes(role).iter().any(|prefix| name.starts_with(prefix)), "{name}");
        }
    }
    let nameless: Vec<&str> = keys()
        .filter(|spec| Role::ALL.into_iter().all(|role| prefixed(role, spec).is_none()))
        .map(|spec| spec.path)
        .collect();
    assert!(nameless.is_empty(), "{nameless:?}");
}

#[test]
fn own_names_are_distinct() {
    let names: BTreeSet<String> = keys().map(|spec| spec.variable()).collect();
    assert_eq!(names.len(), keys().count());
    assert!(names.contains("ZKPNET_RAFT__ELECTION_TIMEOUT_MIN"));
}

#[test]
fn an_unknown_own_variable_is_refused_with_the_nearest_known_one() {
    let hinted = |wrong: &str, right: &str| {
        let message = only_error(load_env(Role::Dev, &[(wrong, "1")]));
        assert_eq!(message, format!("unknown variable {wrong}; did you mean `{right}`?"));
    };
    hinted("ZKPNET_HTTP_PORT", "ZKPNET_HTTP__PORT");
    hinted("ZKPNET_RAFT__BOOSTRAP", "ZKPNET_RAFT__BOOTSTRAP");
    hinted("ZKPNET_CONFIGS", "ZKPNET_CONFIG");
    let message = only_error(load_env(Role::Dev, &[("ZKPNET_COMPLETELY_DIFFERENT_THING_ALTOGETHER", "1")]));
    assert_eq!(message, "unknown variable ZKPNET_COMPLETELY_DIFFERENT_THING_ALTOGETHER");
}

#[test]
fn an_unknown_prefixed_variable_is_a_notice_only() {
    let loaded =
        loaded(load_env(Role::Dev, &[("COORDINATOR_RAFT_BOOSTRAP", "x"), ("WORKER_CLASS", "gevent")]));
    let notices = notices(&loaded);
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert!(notices[0].ends_with("is not read; did you mean COORDINATOR_RAFT_BOOTSTRAP?"), "{notices:?}");
    assert!(notices[1].starts_with("variable WORKER_CLASS is not read"), "{notices:?}");
}

#[test]
fn variables_that_a_container_platform_sets_for_services_are_not_ours() {
    let links = [
        ("ZKPNET_SERVICE_HOST", "10.96.0.7"),
        ("ZKPNET_SERVICE_PORT", "8080"),
        ("ZKPNET_SERVICE_PORT_HTTP", "8080"),
        ("ZKPNET_PORT", "tcp://10.96.0.7:8080"),
        ("ZKPNET_PORT_8080_TCP", "tcp://10.96.0.7:8080"),
        ("ZKPNET_PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("COORDINATOR_PORT_9090_TCP_PROTO", "tcp"),
        ("COORDINATOR_1_SERVICE_HOST", "10.96.0.8"),
        ("COORDINATOR_HTTP_PORT", "tcp://10.96.0.9:8090"),
    ];
    assert_eq!(notices(&loaded(load_env(Role::Dev, &links))), Vec::<String>::new());
    assert!(load_env(Role::Dev, &[("ZKPNET_PORT", "8080")]).is_err());
}

#[cfg(unix)]
#[test]
fn variables_that_are_not_utf8_are_refused_when_they_are_ours() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
    let mut request = LoadRequest::new(Role::Dev);
    request.env.insert(bytes(b"OTHER_\xff"), bytes(b"\xff"));
    assert!(load(&request).is_ok());
    request.env.insert(bytes(b"ZKPNET_HTTP__HOST"), bytes(b"secret\xff"));
    request.env.insert(bytes(b"ZKPNET_\xff"), bytes(b"x"));
    let messages = errors(load(&request));
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(messages.iter().all(|message| message.contains("not UTF-8") && !message.contains("secret")));
}

#[test]
fn what_means_nothing_for_the_role_is_told() {
    let yaml = "database: {host: 'db'}\nraft: {tls_enabled: false}\nworker: {coordinator_address: 'a:1'}\n";
    let loaded = loaded(load_yaml(Role::Dev, yaml));
    let notices = notices(&loaded);
    assert_eq!(notices.len(), 1, "{notices:#?}");
    let foreign = "without meaning for the role dev: `raft.tls_enabled` (test.yaml:2:21), `worker.coordinator_address` (test.yaml:3:31)";
    assert_eq!(notices[0], foreign);
}
