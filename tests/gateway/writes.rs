//! Writes through failures: an answer, and one effect.

use crate::door::Door;
use crate::fake::{Deed, Fake, Stored, problem};
use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BODY: &str = r#"{"leaves":["0x1"],"leaf_index":0}"#;

/// A leader that stores every submission, and does `first` instead of the answer to the first of them.
fn forgetful_leader(stored: &Stored, first: Deed) -> Fake {
    let (stored, times) = (stored.clone(), AtomicUsize::new(0));
    Fake::start(true, move |seen| {
        let answer = stored.submit(seen);
        if times.fetch_add(1, Ordering::SeqCst) == 0 { first.clone() } else { answer }
    })
}

#[test]
fn a_submission_whose_answer_is_lost_is_repeated_and_counts_once() {
    let broken = [
        Deed::Break,
        problem(503, "outcome_unknown"),
        Deed::Raw(b"nonsense\r\n\r\n".to_vec()),
        Deed::Raw(b"HTTP/1.1 202 Accepted\r\ncontent-length: 100\r\n\r\n{\"success\"".to_vec()),
        Deed::Raw(b"HTTP/1.1 307 Elsewhere\r\nlocation: http://other/\r\ncontent-length: 0\r\n\r\n".to_vec()),
        problem(502, "whatever"),
    ];
    for first in broken {
        let stored = Stored::default();
        let leader = forgetful_leader(&stored, first.clone());
        let answer = Door::before(&[leader.addr]).submit(&[], BODY);
        assert_eq!(answer.status, 202, "{first:?}: {}", answer.text);
        assert_eq!(answer.json()["task_id"], "task-0");
        let seen = leader.seen();
        assert_eq!((seen.len(), stored.count()), (2, 1), "{first:?}");
        assert_eq!(seen[0].header("idempotency-key"), seen[1].header("idempotency-key"));
        assert_eq!((&seen[1].body[..], &seen[1].method[..]), (BODY.as_bytes(), "POST"));
    }
}

#[test]
fn two_submissions_get_two_keys_and_a_clients_own_key_is_left_alone() {
    let stored = Stored::default();
    let kept = stored.clone();
    let leader = Fake::start(true, move |seen| kept.submit(seen));
    let door = Door::before(&[leader.addr]);
    door.submit(&[], BODY);
    door.submit(&[], BODY);
    door.submit(&[("idempotency-key", "my own")], BODY);
    assert_eq!(stored.count(), 3);
    assert_eq!(leader.seen()[2].header("idempotency-key"), Some("my own"));
}

#[test]
fn a_submission_follows_the_leader_when_it_moves() {
    let stored = Stored::default();
    let kept = stored.clone();
    let old = Fake::start(true, |_| problem(503, "no_leader"));
    let new = Fake::start(false, move |seen| kept.submit(seen));
    let third = Fake::start(false, |_| Deed::Break);
    let door = Door::before(&[old.addr, new.addr, third.addr]);
    let asking = std::thread::spawn({
        let door = door.clone();
        move || door.submit(&[], BODY)
    });
    old.wait_for(2);
    new.set_leader(true, 2);
    assert_eq!(asking.join().unwrap().status, 202);
    // The old one has not noticed: the higher term decides, and what is known is not asked for again.
    assert_eq!(door.submit(&[], BODY).status, 202);
    assert_eq!((stored.count(), new.seen().len()), (2, 2));
    assert!(third.seen().is_empty(), "a follower was asked to write");
}

#[test]
fn a_leader_that_dies_is_replaced_without_a_word_to_the_client() {
    let stored = Stored::default();
    let (of_old, of_new) = (stored.clone(), stored.clone());
    let old = Fake::start(true, move |seen| of_old.submit(seen));
    let new = Fake::start(false, move |seen| of_new.submit(seen));
    let door = Door::before(&[old.addr, new.addr]);
    assert_eq!(door.submit(&[], BODY).status, 202);
    old.die();
    let asking = std::thread::spawn({
        let door = door.clone();
        move || door.submit(&[], BODY)
    });
    crate::support::poll_until("the gateway sees that there is no leader", || {
        (door.get("/health").json()["status"] == "unhealthy").then_some(())
    });
    new.set_leader(true, 2);
    assert_eq!(asking.join().unwrap().status, 202);
    assert_eq!(new.seen().len(), 1);
}

#[test]
fn a_leader_that_hangs_is_left_when_another_leads() {
    let stored = Stored::default();
    let (of_old, of_new) = (stored.clone(), stored.clone());
    let old = Fake::start(true, move |seen| {
        of_old.submit(seen);
        Deed::Hang
    });
    let new = Fake::start(false, move |seen| of_new.submit(seen));
    let door = Door::before(&[old.addr, new.addr]);
    let asking = std::thread::spawn({
        let door = door.clone();
        move || (Instant::now(), door.submit(&[], BODY))
    });
    old.wait_for(1);
    new.set_leader(true, 2);
    let (began, answer) = asking.join().unwrap();
    assert_eq!((answer.status, answer.json()["task_id"].as_str()), (202, Some("task-0")));
    assert_eq!(stored.count(), 1);
    assert!(began.elapsed() < Duration::from_secs(15), "it was left for the time limit only");
}

#[test]
fn without_a_leader_a_write_is_503_with_retry_after_within_the_patience() {
    let patience = Duration::from_secs(1);
    let follower = Fake::start(false, |_| Deed::Break);
    for coordinators in [vec![Fake::nobody(), Fake::nobody()], vec![follower.addr]] {
        let door = Door::with_patience(&coordinators, patience);
        let began = Instant::now();
        let answer = door.submit(&[], BODY);
        assert_eq!((answer.status, answer.problem_code().as_str()), (503, "no_leader"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!((patience..patience * 8).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
    assert!(follower.seen().is_empty(), "a follower was asked to write");
}

#[test]
fn a_write_that_was_lost_with_its_cluster_is_not_said_to_be_undone() {
    let leader = Fake::start(true, |_| Deed::Break);
    let door = Door::with_patience(&[leader.addr], Duration::from_secs(1));
    let answer = door.submit(&[], BODY);
    assert_eq!((answer.status, answer.problem_code().as_str()), (503, "outcome_unknown"));
}

#[test]
fn a_refusal_after_an_unknown_outcome_is_not_the_last_word() {
    let times = AtomicUsize::new(0);
    let leader = Fake::start(true, move |_| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Deed::Break,
        _ => problem(429, "limit_reached"),
    });
    let door = Door::with_patience(&[leader.addr], Duration::from_secs(1));
    let answer = door.submit(&[], BODY);
    assert_eq!((answer.status, answer.problem_code().as_str()), (503, "outcome_unknown"));
}

#[test]
fn a_refusal_is_passed_on_and_not_repeated() {
    for (status, code) in
        [(400, "invalid_field"), (429, "limit_reached"), (503, "overloaded"), (500, "internal")]
    {
        let leader = Fake::start(true, move |_| problem(status, code));
        let answer = Door::before(&[leader.addr]).submit(&[], BODY);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)));
        assert_eq!(leader.seen().len(), 1, "{code}");
    }
}

#[test]
fn a_client_that_hangs_up_does_not_stop_its_submission_midway() {
    let stored = Stored::default();
    let kept = stored.clone();
    let old = Fake::start(true, |_| problem(503, "no_leader"));
    let new = Fake::start(false, move |seen| kept.submit(seen));
    let door = Door::before(&[old.addr, new.addr]);
    let mut client = TcpStream::connect(door.addr).unwrap();
    // The answer to the first request is never read, which makes the end of this connection a reset.
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: x\r\n\r\nPOST /api/v1/tasks/merkle HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    client.write_all(head.as_bytes()).unwrap();
    old.wait_for(1);
    drop(client);
    old.wait_for(3);
    new.set_leader(true, 2);
    new.wait_for(1);
    assert_eq!(stored.count(), 1);
}

#[test]
fn a_withdrawal_whose_answer_is_lost_is_repeated() {
    let times = AtomicUsize::new(0);
    let leader = Fake::start(true, move |_| match times.fetch_add(1, Ordering::SeqCst) {
        0 => Deed::Break,
        _ => crate::fake::answer(200, &serde_json::json!({"status": "cancelled"})),
    });
    let door = Door::before(&[leader.addr]);
    let path = "/api/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057/cancel";
    let answer = door.send("POST", path, &[], b"");
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("cancelled")));
    assert_eq!(leader.seen().iter().filter(|seen| seen.target == path).count(), 2);
}
