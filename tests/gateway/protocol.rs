//! What goes through the door and what does not, on the level of HTTP.

use crate::door::{BODY_LIMIT_BYTES, Door};
use crate::fake::{Deed, Fake, answer};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

fn echo() -> Fake {
    Fake::start(true, |_| {
        Deed::Answer(
            200,
            vec![
                ("content-type", "application/json".into()),
                ("x-commit-index", "812".into()),
                ("x-hop", "private".into()),
                ("connection", "x-hop".into()),
                ("x-request-id", "another".into()),
            ],
            "{}".into(),
        )
    })
}

/// Sends bytes and reads until the end of the connection.
fn raw(door: &Door, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(door.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn what_belongs_to_the_request_is_passed_on_and_what_belongs_to_a_connection_is_not() {
    let fake = echo();
    let door = Door::before(&[fake.addr]);
    let headers = [
        ("x-request-id", "mine-1"),
        ("x-commit-index", "811"),
        ("x-forwarded-for", "198.51.100.9"),
        ("x-cluster-token", "guess"),
        ("te", "trailers"),
    ];
    let answer = door.send("GET", "/api/v1/tasks?status=completed&cursor=a%2Fb", &headers, b"");
    assert_eq!((answer.header("x-commit-index"), answer.header("x-hop")), (Some("812"), None));
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    let seen = &fake.seen()[0];
    assert_eq!(seen.target, "/api/v1/tasks?status=completed&cursor=a%2Fb");
    assert_eq!((seen.header("x-request-id"), seen.header("x-commit-index")), (Some("mine-1"), Some("811")));
    assert_eq!(seen.header("x-forwarded-for"), Some("198.51.100.9, 127.0.0.1"));
    assert_eq!((seen.header("x-cluster-token"), seen.header("te")), (None, None));
    assert_eq!(seen.header("host"), Some(fake.addr.to_string().as_str()));
}

#[test]
fn a_request_without_an_id_gets_one_that_the_coordinator_sees_too() {
    let fake = echo();
    let answer = Door::before(&[fake.addr]).get("/api/v1/circuits");
    let id = answer.header("x-request-id").unwrap();
    assert!(id.len() == 36, "{id}");
    assert_eq!(fake.seen()[0].header("x-request-id"), Some(id));
}

#[test]
fn a_trace_goes_on_behind_the_gateway_with_the_gateways_own_span() {
    let fake = echo();
    let door = Door::before(&[fake.addr]);
    let sent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    door.send("GET", "/api/v1/circuits", &[("traceparent", sent)], b"");
    door.send("GET", "/api/v1/circuits", &[("traceparent", "nonsense")], b"");
    let seen = fake.seen();
    let [first, second] = [0, 1].map(|n: usize| seen[n].header("traceparent").unwrap().to_owned());
    // The same trace, the client's word on sampling, and another span.
    assert_eq!((&first[..35], &first[52..]), (&sent[..35], "-00"));
    assert_ne!(first[36..52], sent[36..52]);
    assert!(second.len() == sent.len() && second[3..35] != sent[3..35], "{second}");
}

#[test]
fn head_is_answered_without_a_body() {
    let fake = echo();
    let door = Door::before(&[fake.addr]);
    let answer = raw(&door, b"HEAD /api/v1/circuits HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_body_above_the_limit_is_413_and_goes_nowhere() {
    let fake = echo();
    let door = Door::before(&[fake.addr]);
    let answer = door.submit(&[], &"x".repeat(BODY_LIMIT_BYTES + 1));
    assert_eq!((answer.status, answer.problem_code().as_str()), (413, "body_too_large"));
    let mut chunked = b"POST /api/v1/tasks/merkle HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..=BODY_LIMIT_BYTES / 0x1000 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[b'x'; 0x1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let answer = raw(&door, &chunked);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(fake.seen().len(), 0);
}

#[test]
fn a_chunked_body_reaches_the_coordinator_in_a_frame_of_the_gateways_own() {
    let fake = Fake::start(true, |_| answer(202, &json!({})));
    let door = Door::before(&[fake.addr]);
    let request = b"POST /api/v1/tasks/merkle HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    assert!(raw(&door, request).starts_with("HTTP/1.1 202 "));
    let seen = &fake.seen()[0];
    assert_eq!((seen.header("content-length"), seen.header("transfer-encoding")), (Some("2"), None));
    assert_eq!(seen.body, b"{}");
}

#[test]
fn a_request_with_two_ends_smuggles_nothing() {
    let fake = echo();
    let door = Door::before(&[fake.addr]);
    let hidden = "GET /api/v1/tasks?hidden HTTP/1.1\r\nhost: x\r\n\r\n";
    let head = "POST /api/v1/tasks/merkle HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
    let cases = [
        format!("{head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{head}content-length: 0\r\ncontent-length: {}\r\n\r\n{hidden}", hidden.len()),
        format!("{head}content-length: 0, 5\r\n\r\n{hidden}"),
        format!("{head}content-length: +0\r\n\r\n{hidden}"),
        format!("{head}transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{head}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("{head}content-length : 0\r\n\r\n{hidden}"),
    ];
    for request in cases {
        let answer = raw(&door, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 4"), "{request:?} gave {answer:?}");
        assert!(fake.seen().is_empty(), "{request:?} went through: {:?}", fake.seen());
    }
}

#[test]
fn administration_and_unknown_paths_do_not_go_through() {
    let fake = echo();
    let door = Door::before(&[fake.addr]);
    let cases = [
        ("POST", "/api/v1/cluster/transfer-leader", 404),
        ("POST", "/api/v1/cluster/remove", 404),
        ("GET", "/api/v1/cluster/add", 404),
        ("POST", "/api/v1/cluster/../tasks/merkle", 404),
        ("POST", "/api/v1/cluster", 405),
        ("DELETE", "/api/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057", 405),
        ("POST", "/raft/append", 404),
        ("GET", "/etc/passwd", 404),
        ("GET", "http://elsewhere/api/v1/none", 404),
    ];
    for (method, path, status) in cases {
        let text = raw(
            &door,
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes(),
        );
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {text}");
    }
    assert!(fake.seen().is_empty(), "{:?}", fake.seen());
    fake.set_page(answer(200, &json!({})));
    assert_eq!(door.get("/api/v1/cluster").status, 200);
}

#[test]
fn the_gateways_own_pages_tell_how_the_cluster_does() {
    let fakes = [true, false].map(|leads| Fake::start(leads, |_| answer(200, &json!({}))));
    let door = Door::before(&fakes.clone().map(|fake| fake.addr));
    let health = door.get("/health").json();
    assert_eq!(health["status"], "healthy");
    assert_eq!(health["leader"], fakes[0].addr.to_string());
    assert_eq!(health["coordinators"][1]["reachable"], true);
    assert_eq!(door.get("/ready").status, 200);

    fakes[1].die();
    let health = crate::support::poll_until("the missing coordinator is seen", || {
        let health = door.get("/health").json();
        (health["status"] == "degraded").then_some(health)
    });
    assert_eq!(health["coordinators"][1]["reachable"], false);
    let metrics = door.get("/metrics").text;
    let line = format!("zkpnet_gateway_coordinator_reachable{{coordinator=\"{}\"}} 0\n", fakes[1].addr);
    assert!(metrics.contains(&line), "{metrics}");
    assert!(metrics.contains("zkpnet_gateway_has_leader 1\n"), "{metrics}");

    fakes[0].die();
    crate::support::poll_until("the missing leader is seen", || {
        (door.get("/health").json()["status"] == "unhealthy").then_some(())
    });
    let ready = door.get("/readyz?verbose");
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("[-]leader failed"), "{}", ready.text);
    assert_eq!(door.get("/livez").status, 200);
}

#[test]
fn a_gateway_that_drains_is_not_ready() {
    let door = Door::before(&[echo().addr]);
    assert_eq!(door.get("/readyz").status, 200);
    door.readiness.set_draining();
    let answer = door.get("/readyz");
    assert_eq!((answer.status, answer.problem_code().as_str()), (503, "unavailable"));
}
