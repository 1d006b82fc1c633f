//! What is published: the files under `config/`, the reference in `docs/`, and the effective print.
//!
//! `REGENERATE=1 cargo test --lib config::` rewrites the generated parts.

use std::path::{Path, PathBuf};

use super::super::sections::keys;
use super::super::{
    LoadRequest, Origin, Role, commented_defaults, load, reference_markdown, render_effective,
};
use super::*;

const GENERATED_BELOW: &str = "writes all below this line -->\n\n";

const DEV_HEADER: &str = "\
# zkpnet dev: the whole service in one process, for development.
#
# Every key that dev uses stands here at its built-in default; delete what you do not change. Without this file dev
# runs the same. `zkpnet config check --role dev --config <file>` says what a file comes to, and what is wrong in it.
# Each key has a variable, ZKPNET_<SECTION>__<KEY>, that overrides it. docs/configuration.md tells the rest.
#
# Generated from the table of keys: `REGENERATE=1 cargo test --lib config::`.
";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Compares a committed file with what it should be, or writes it.
#[track_caller]
fn hold(path: &Path, expected: &str) {
    if std::env::var_os("REGENERATE").is_some() {
        std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap().replace("\r\n", "\n");
    assert!(found == expected, "{} is out of date: REGENERATE=1 cargo test --lib config::", path.display());
}

fn load_file(role: Role, path: &Path) -> Loaded {
    let mut request = LoadRequest::new(role);
    request.file = Some(path.to_owned());
    request.hostname = Some(HOSTNAME.to_owned());
    if path.ends_with("coordinator-cluster.yaml") {
        // The one file that leaves the names to the environment.
        request.env = environment(&[("COORDINATOR_COORDINATOR_ID", "coordinator-1")]);
    }
    loaded(load(&request))
}

#[test]
fn the_reference_is_that_of_the_table() {
    let path = root().join("docs/configuration.md");
    let found = std::fs::read_to_string(&path).unwrap().replace("\r\n", "\n");
    let (prose, _) = found.split_once(GENERATED_BELOW).expect("the mark above the generated part");
    hold(&path, &format!("{prose}{GENERATED_BELOW}{}", reference_markdown()));
}

#[test]
fn dev_yaml_is_that_of_the_table() {
    hold(&root().join("config/dev.yaml"), &format!("{DEV_HEADER}{}", commented_defaults(Role::Dev)));
}

#[test]
fn dev_yaml_says_what_is_built_in_and_gives_no_notice() {
    let built_in = loaded(load_yaml(Role::Dev, ""));
    let from_file = load_file(Role::Dev, &root().join("config/dev.yaml"));
    assert_eq!(notices(&from_file), Vec::<String>::new());
    assert_eq!(from_file.effective, built_in.effective);
    for spec in keys().filter(|spec| spec.roles.contains(Role::Dev)) {
        let set = matches!(from_file.origins.get(spec.path), Some(Origin::File { .. }));
        assert_eq!(set, spec.default.text(Role::Dev).is_some(), "{}", spec.path);
    }
}

#[test]
fn every_published_file_loads_for_its_role() {
    let mut count = 0;
    for folder in ["config", "config/dev", "config/prod"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            // `coordinator-local`, `coordinator-1` and such are coordinators.
            let role = name.split('-').next().unwrap().parse::<Role>();
            load_file(role.unwrap_or_else(|error| panic!("{}: {error}", path.display())), &path);
            count += 1;
        }
    }
    assert!(count >= 7, "only {count} files were found");
}

#[test]
fn one_file_serves_three_coordinators_that_differ_by_environment() {
    let mut request = LoadRequest::new(Role::Coordinator);
    request.file = Some(root().join("config/coordinator-cluster.yaml"));
    for n in 1..=3 {
        let name = format!("coordinator-{n}");
        request.env =
            environment(&[("COORDINATOR_COORDINATOR_ID", &name), ("COORDINATOR_RAFT_NODE_ID", &name)]);
        let config = load(&request).unwrap().config;
        assert_eq!(config.raft.advertise_address.to_string(), format!("{name}:7000"));
        assert_eq!(config.grpc.advertise_address.to_string(), format!("{name}:9090"));
    }
}

#[test]
fn the_published_coordinator_is_one_of_three_that_share_the_file() {
    let path = root().join("config/coordinator.yaml");
    let config = load_file(Role::Coordinator, &path).config;
    assert!(config.raft.bootstrap);
    assert_eq!(config.raft.advertise_address.to_string(), "coordinator-1:7000");
    let mut request = LoadRequest::new(Role::Coordinator);
    request.file = Some(path);
    request.env = environment(&[
        ("COORDINATOR_COORDINATOR_ID", "coordinator-2"),
        ("COORDINATOR_RAFT_NODE_ID", "coordinator-2"),
        ("COORDINATOR_RAFT_BOOTSTRAP", "false"),
        ("COORDINATOR_DATABASE_PASSWORD", "zkp_password"),
    ]);
    let config = load(&request).unwrap().config;
    assert_eq!(config.coordinator.id.as_str(), "coordinator-2");
    assert_eq!(config.raft.advertise_address.to_string(), "coordinator-2:7000");
    assert!(!config.raft.bootstrap);
    assert_eq!(config.database.password.unwrap().expose(), "zkp_password");
}

#[test]
fn the_effective_print_loads_to_the_same() {
    let env = [
        ("ZKPNET_RAFT__PEERS", "yes=yes:7000,b=[::1]:7001"),
        ("ZKPNET_DATABASE__USER", "012"),
        ("ZKPNET_DATABASE__NAME", "a: b # \"c\""),
        ("ZKPNET_STORAGE__DATA_DIR", "C:\\data dir"),
        ("ZKPNET_RAFT__NODE_ID", "no"),
        ("ZKPNET_COORDINATOR__ID", "1e5"),
        ("ZKPNET_STORAGE__KEY_FILE", "k"),
        ("ZKPNET_CLUSTER__INSECURE", "true"),
    ];
    for role in Role::ALL {
        let first = loaded(load_env(role, &env));
        let text = render_effective(&first);
        let again = loaded(load_yaml(role, &text));
        for spec in keys().filter(|spec| spec.roles.contains(role)) {
            assert_eq!(
                again.effective[spec.path], first.effective[spec.path],
                "{role} {}\n{text}",
                spec.path
            );
        }
    }
}

#[test]
fn the_effective_print_says_where_values_came_from() {
    let env = [
        ("ZKPNET_LOG__LEVEL", "debug"),
        ("COORDINATOR_DATABASE_PASSWORD", "x"),
        ("COORDINATOR_DATABASE_HOST", "db"),
    ];
    let text = render_effective(&loaded(load_from(Role::Coordinator, "http: {port: 8091}", &env, &[])));
    let line =
        |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap().to_owned();
    assert!(line("level: debug").ends_with("  # variable ZKPNET_LOG__LEVEL"), "{text}");
    assert!(line("port: 8091").ends_with("  # test.yaml:1:14"), "{text}");
    assert!(line("password: \"[redacted]\"").ends_with("# variable COORDINATOR_DATABASE_PASSWORD"), "{text}");
    assert!(line("max_attempts: 5").ends_with('5'), "{text}");
    assert!(!text.contains("coordinator_address"), "a worker's key for a coordinator:\n{text}");
}
