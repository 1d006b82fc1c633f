//! Rules among several values, and advice.

use super::super::Role;
use super::*;

#[track_caller]
fn contradiction(yaml: &str, keys: &[&str], fragment: &str) {
    let message = only_error(load_yaml(Role::Coordinator, yaml));
    for key in keys {
        assert!(message.contains(&format!("`{key}` (")), "{message}");
    }
    assert!(message.contains(fragment), "{message}");
}

#[test]
fn election_timeouts_leave_room_for_heartbeats_and_for_chance() {
    let keys = ["raft.election_timeout_min", "raft.election_timeout_max"];
    contradiction("raft: {election_timeout_min: 3s}", &keys, "less than the longest");
    contradiction(
        "raft: {election_timeout_min: 4s, election_timeout_max: 3s}",
        &keys,
        "less than the longest",
    );
    let keys = ["raft.election_timeout_min", "raft.heartbeat_interval"];
    contradiction("raft: {heartbeat_interval: 200ms}", &keys, "more than twice the heartbeat");
    assert!(load_yaml(Role::Coordinator, "raft: {heartbeat_interval: 199ms}").is_ok());
}

#[test]
fn peers_are_distinct() {
    let id = "raft: {peers: [{id: a, address: 'a:1'}, {id: a, address: 'b:1'}, {id: a, address: 'c:1'}]}";
    contradiction(id, &["raft.peers"], "the id a stands in the list more than once");
    let address = "raft: {peers: [{id: a, address: 'a:1'}, {id: b, address: 'a:1'}]}";
    contradiction(address, &["raft.peers"], "the address a:1 stands in the list more than once");
}

#[test]
fn the_node_that_makes_the_cluster_is_among_its_peers() {
    let peers = "peers: [{id: a, address: 'a:1'}, {id: b, address: 'b:1'}]";
    contradiction(
        &format!("raft: {{node_id: c, bootstrap: true, {peers}}}"),
        &["raft.bootstrap", "raft.node_id"],
        "and c is not",
    );
    assert!(load_yaml(Role::Coordinator, &format!("raft: {{node_id: a, bootstrap: true, {peers}}}")).is_ok());
    assert!(load_yaml(Role::Coordinator, &format!("raft: {{node_id: c, {peers}}}")).is_ok());
}

#[test]
fn a_node_makes_a_cluster_or_joins_one() {
    contradiction("raft: {bootstrap: true, join: ['a:7000']}", &["raft.bootstrap", "raft.join"], "either");
}

#[test]
fn the_advertised_address_agrees_with_the_peers() {
    let yaml = "raft: {node_id: a, advertise_address: 'x:1', peers: [{id: a, address: 'a:1'}]}";
    contradiction(yaml, &["raft.advertise_address", "raft.peers"], "their list says a:1 for a");
}

#[test]
fn tls_needs_its_files() {
    let messages = errors(load_yaml(Role::Coordinator, "raft: {tls_enabled: true}"));
    assert_eq!(messages.len(), 2, "{messages:?}");
    let yaml = "raft: {tls_enabled: true, cert_file: c.pem, key_file: k.pem}";
    assert!(load_yaml(Role::Coordinator, yaml).is_ok());
    let unused = loaded(load_yaml(Role::Coordinator, "raft: {cert_file: c.pem}"));
    assert!(notices(&unused).iter().any(|notice| notice.contains("this file is not used")));
}

#[test]
fn waits_and_retention_are_in_order() {
    contradiction(
        "tasks: {retry_backoff_base: 61s}",
        &["tasks.retry_backoff_base", "tasks.retry_backoff_max"],
        "longer",
    );
    contradiction("tasks: {retention_age: 5m}", &["tasks.cache_ttl", "tasks.retention_age"], "must be kept");
}

#[test]
fn listeners_do_not_share_a_port() {
    contradiction("http: {port: 7000}", &["http.port", "raft.raft_port"], "two listeners on port 7000");
    contradiction("grpc: {port: 8090}", &["http.port", "grpc.port"], "two listeners on port 8090");
    assert!(load_yaml(Role::Worker, "http: {port: 7000}").is_ok(), "a worker has no Raft port");
}

#[test]
fn workers_and_gateways_need_an_address() {
    assert!(
        only_error(load_env(Role::Worker, &[("WORKER_WORKER_COORDINATOR_ADDRESS", "")]))
            .contains("at least one")
    );
    assert!(
        only_error(load_env(Role::Gateway, &[("API_GATEWAY_GATEWAY_COORDINATORS", "")]))
            .contains("at least one")
    );
}

#[test]
fn a_rule_is_silent_when_one_of_its_values_is_wrong_by_itself() {
    let message =
        only_error(load_yaml(Role::Coordinator, "raft: {election_timeout_min: 9s, election_timeout_max: x}"));
    assert!(
        message.contains("`raft.election_timeout_max` (test.yaml:1:56): expected a duration"),
        "{message}"
    );
    let message = only_error(load_yaml(
        Role::Coordinator,
        "coordinator: {id: a b}\nraft: {bootstrap: true, peers: [{id: a, address: 'a:1'}]}",
    ));
    assert!(message.contains("`coordinator.id`"), "{message}");
}

#[test]
fn an_all_in_one_node_that_others_can_reach_is_warned_of() {
    let open = loaded(load_yaml(Role::Dev, "http: {host: 0.0.0.0}"));
    assert!(notices(&open)[0].contains("asks nobody who they are"));
    let shut = loaded(load_yaml(Role::Dev, "http: {host: localhost}"));
    assert!(shut.notices.is_empty());
    assert!(loaded(load_yaml(Role::Coordinator, "http: {host: 0.0.0.0}")).notices.is_empty());
}

#[test]
fn a_database_without_a_host_is_told() {
    let loaded = loaded(load_yaml(Role::Coordinator, "database: {ssl_mode: disable}"));
    assert!(
        notices(&loaded).iter().any(|notice| notice.contains("without `database.host` no database is used"))
    );
}

#[test]
fn a_coordinator_that_others_can_reach_asks_who_they_are_or_says_that_it_does_not() {
    let yaml =
        |rest: &str| format!("cluster: {{insecure: false}}\nraft: {{advertise_address: 'c-1:7000'{rest}}}");
    let message = only_error(load_yaml(Role::Coordinator, &yaml("")));
    assert!(message.contains("beyond loopback") && message.contains("cluster.insecure"), "{message}");
    let tls = yaml(", tls_enabled: true, cert_file: c.pem, key_file: k.pem, ca_file: ca.pem");
    assert!(load_yaml(Role::Coordinator, &tls).is_ok());
    let token = yaml("").replace("insecure: false", "insecure: false, token_file: token");
    assert!(load_yaml(Role::Coordinator, &token).is_ok());
    assert!(load_yaml(Role::Coordinator, &yaml("").replace("c-1", "127.0.0.1")).is_ok());
    assert!(load_yaml(Role::Coordinator, &yaml("").replace("insecure: false", "insecure: true")).is_ok());
}
