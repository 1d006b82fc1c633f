//! What the command line takes and refuses.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::client::percent_encode;
use super::output::{printable, table};
use super::*;
use clap::{CommandFactory, Parser};

fn parses(line: &str) -> bool {
    Cli::try_parse_from(line.split(' ')).is_ok()
}

#[test]
fn the_definition_of_the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn a_cause_that_an_error_tells_already_is_not_told_again() {
    let cause = || anyhow::anyhow!("address in use");
    let told = cause().context("cannot listen on 1: address in use; take another port");
    assert_eq!(in_words(&told), "cannot listen on 1: address in use; take another port");
    assert_eq!(in_words(&cause().context("the server ended")), "the server ended: address in use");
}

#[test]
fn a_backup_is_taken_to_a_named_file_or_verified_and_never_both() {
    assert!(parses("zkpnet cluster backup --out f --server http://a:8090 --token-file t --without-keys"));
    assert!(parses("zkpnet cluster backup --out f --from-data-dir raft --keys-dir keys"));
    assert!(parses("zkpnet cluster backup verify f"));
    assert!(parses("zkpnet cluster restore f --config c.yaml --data-dir d --id coordinator-1"));
    assert!(!parses("zkpnet cluster backup"));
    assert!(!parses("zkpnet cluster backup --out f --keys-dir keys"));
    assert!(!parses("zkpnet cluster backup --out f verify g"));
    assert!(!parses("zkpnet cluster restore"));
}

#[test]
fn a_submission_needs_exactly_one_form_of_tree() {
    assert!(parses("zkpnet task submit merkle --leaf 0x1 0x2 --leaf-index 0"));
    assert!(parses("zkpnet task submit merkle --leaf 0x1 --leaf 0x2 --leaf-index 0 --wait 30s"));
    assert!(parses("zkpnet task submit merkle --leaves-file - --leaf-index 0"));
    assert!(parses("zkpnet task submit merkle --path-file p.json --deadline 10m"));
    assert!(!parses("zkpnet task submit merkle --leaf-index 0"));
    assert!(!parses("zkpnet task submit merkle --leaf 0x1"));
    assert!(!parses("zkpnet task submit merkle --leaf 0x1 --leaves-file f --leaf-index 0"));
    assert!(!parses("zkpnet task submit merkle --path-file p.json --leaf-index 0"));
    assert!(!parses("zkpnet task submit merkle --leaf 0x1 --leaf-index 0 --wait 30"));
}

#[test]
fn nodes_and_checks_are_taken() {
    for line in [
        "zkpnet dev --http-port 0 --data-dir /tmp/x --log-level debug",
        "zkpnet demo",
        "zkpnet config check --role worker --config w.yaml",
        "zkpnet proof verify --task-file t.json --verifying-key k.json",
        "zkpnet circuit list --output json",
        "zkpnet circuit verifying-key merkle-poseidon-4",
        "zkpnet healthcheck --ready",
        "zkpnet task list --status pending --limit 5",
        "zkpnet tls init --out certs --host coordinator-1 --host 10.0.0.1 --force",
        "zkpnet tls token --out token",
        "zkpnet tls data-key --out data.key",
        "zkpnet task cancel 01890a5d-ac96-774b-bcce-b302099a8057",
    ] {
        assert!(parses(line), "{line}");
    }
    assert!(!parses("zkpnet config check --role king"));
    assert!(!parses("zkpnet tls init --out certs"));
}

#[test]
fn a_wrong_server_is_refused_before_anything_is_sent() {
    for wrong in ["", "127.0.0.1:8080", "ftp://host", "http://", "http://host/path", "http://host?x=1"] {
        assert!(Client::new(wrong).is_err(), "{wrong:?}");
    }
    for right in
        ["http://127.0.0.1:8080", "http://localhost:8080/", "https://zkp.example.com", "http://[::1]:8080"]
    {
        assert!(Client::new(right).is_ok(), "{right:?}");
    }
}

#[test]
fn an_unreachable_service_is_no_answer_and_not_a_no() {
    // Port 9 of the loopback interface (discard) is not served.
    let client = Client::new("http://127.0.0.1:9").unwrap();
    let error = client.get("/api/v1/tasks", std::time::Duration::ZERO).unwrap_err();
    assert!(!error.is_no(), "{error}");
    assert!(error.to_string().starts_with("no answer from http://127.0.0.1:9"), "{error}");
}

#[test]
fn text_of_the_service_cannot_command_the_terminal() {
    assert_eq!(printable("a\u{1b}[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
}

#[test]
fn a_path_part_cannot_leave_its_place() {
    assert_eq!(percent_encode("../health?x#é"), "..%2Fhealth%3Fx%23%C3%A9");
}

#[test]
fn a_table_is_as_wide_as_its_cells() {
    let rows = [vec!["long cell".to_owned(), "b".to_owned()], vec!["é".to_owned(), String::new()]];
    assert_eq!(table(&["A", "B"], &rows), "A          B\nlong cell  b\né");
}
