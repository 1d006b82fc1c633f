//! The client commands against a whole node: what they print, and their exit codes.

use crate::service::{Service, new_leaf};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkpnet"));
    // What the tests themselves are set by is no node's configuration.
    let own = std::env::vars_os()
        .map(|(name, _)| name)
        .filter(|name| name.to_string_lossy().starts_with("ZKPNET_"));
    own.for_each(|name| {
        command.env_remove(name);
    });
    command
        .args(args)
        .env("ZKPNET_SERVER", format!("http://{}", Service::shared().addr))
        .stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn succeeded(args: &[&str]) -> String {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn in_folder(folder: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_task_is_submitted_from_a_file_and_its_proof_checked_without_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let leaves = in_folder(&folder, "leaves.txt", &format!("{}\n\n0x2\n", new_leaf()));
    let submit = ["task", "submit", "merkle", "--leaves-file", text(&leaves), "--leaf-index", "1"];
    let printed = succeeded(&[&submit[..], &["--wait", "60s", "--output", "json"]].concat());
    let task = in_folder(&folder, "task.json", &printed);
    let key = in_folder(&folder, "key.json", &succeeded(&["circuit", "verifying-key", "merkle-poseidon-4"]));
    let verify = ["proof", "verify", "--task-file", text(&task), "--verifying-key", text(&key)];
    assert!(succeeded(&verify).starts_with("valid: merkle-poseidon-4"));

    let mut changed: Value = serde_json::from_str(&printed).unwrap();
    changed["public_inputs"]["merkle_root"] = "0x1".into();
    let changed = in_folder(&folder, "changed.json", &changed.to_string());
    let output = run(&["proof", "verify", "--task-file", text(&changed), "--verifying-key", text(&key)]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).starts_with("not valid: "));

    let output = run(&["proof", "verify", "--task-file", text(&key), "--verifying-key", text(&key)]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn a_task_is_shown_listed_and_submitted_once_for_one_key() {
    let leaf = new_leaf();
    let submit = [
        "task",
        "submit",
        "merkle",
        "--leaf",
        &leaf,
        "--leaf-index",
        "0",
        "--idempotency-key",
        "from the command line",
    ];
    let first = succeeded(&submit);
    assert_eq!(first, succeeded(&submit));
    let id = first.split(' ').next().unwrap();
    assert!(succeeded(&["task", "get", id, "--wait", "60s"]).contains("completed"));
    assert!(succeeded(&["task", "list", "--limit", "500"]).contains(id));
}

#[test]
fn a_refusal_is_told_with_its_reason_and_request_and_exits_1() {
    let output = run(&["task", "submit", "merkle", "--leaf", "0x123...", "--leaf-index", "0"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(
        said.starts_with("error: leaves[0]: character 4 after 0x is not a hex digit (400 invalid_field"),
        "{said}"
    );
    assert!(said.contains("request "), "{said}");
}

#[test]
fn a_service_that_is_not_there_exits_3_and_wrong_usage_2() {
    let output = command(&["task", "list"]).env("ZKPNET_SERVER", "http://127.0.0.1:9").output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    let output = run(&["task", "list", "--server", "nowhere"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert_eq!(run(&["task", "frobnicate"]).status.code(), Some(2));
}

#[test]
fn a_health_check_exits_0_for_a_node_that_lives_and_1_for_none() {
    assert_eq!(run(&["healthcheck"]).status.code(), Some(0));
    assert_eq!(run(&["healthcheck", "--ready"]).status.code(), Some(0));
    assert_eq!(run(&["healthcheck", "--server", "http://127.0.0.1:9"]).status.code(), Some(1));
}

#[test]
fn a_configuration_is_checked_and_all_its_errors_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let right = in_folder(&folder, "right.yaml", "http:\n  port: 8123\n");
    assert!(
        succeeded(&["config", "check", "--role", "dev", "--config", text(&right)]).contains("port: 8123")
    );
    let wrong = in_folder(&folder, "wrong.yaml", "http:\n  prot: 8123\n  wait_max: soon\n");
    let output = run(&["config", "check", "--config", text(&wrong)]);
    assert_eq!(output.status.code(), Some(2));
    let said = said(&output);
    assert!(said.lines().filter(|line| line.starts_with("error: ")).count() == 2, "{said}");
}

#[test]
fn a_reader_who_leaves_early_is_no_error() {
    let mut child =
        command(&["circuit", "list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), ""));
}
