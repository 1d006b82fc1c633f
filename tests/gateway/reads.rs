//! Reads: spread over the coordinators, and answered as long as one of them can.

use crate::door::Door;
use crate::fake::{Deed, Fake, answer, problem};
use serde_json::json;
use std::time::{Duration, Instant};

const TASK: &str = "/api/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057";

fn task(status: &str) -> Deed {
    answer(200, &json!({"success": true, "status": status}))
}

#[test]
fn reads_are_spread_over_all_coordinators() {
    let fakes = [true, false, false].map(|leads| Fake::start(leads, |_| task("completed")));
    let door = Door::before(&fakes.clone().map(|fake| fake.addr));
    for _ in 0..9 {
        assert_eq!(door.get(TASK).status, 200);
    }
    assert_eq!(fakes.map(|fake| fake.seen().len()), [3, 3, 3]);
}

#[test]
fn a_read_that_one_coordinator_cannot_answer_is_answered_by_another() {
    let broken = [
        Deed::Break,
        Deed::Hang,
        Deed::Raw(b"\x16\x03\x01nonsense".to_vec()),
        problem(503, "no_leader"),
        problem(503, "unavailable"),
        problem(500, "internal"),
    ];
    for deed in broken {
        let bad = Fake::start(false, {
            let deed = deed.clone();
            move |_| deed.clone()
        });
        let good = Fake::start(true, |_| task("completed"));
        let door = Door::before(&[bad.addr, good.addr]);
        for _ in 0..2 {
            let answer = door.get(TASK);
            assert_eq!(
                (answer.status, answer.json()["status"].as_str()),
                (200, Some("completed")),
                "{deed:?}"
            );
        }
        assert!(!bad.seen().is_empty(), "{deed:?}: it was never asked");
    }
}

#[test]
fn a_coordinator_that_is_gone_costs_a_read_nothing_that_is_seen() {
    let good = Fake::start(true, |_| task("completed"));
    let door = Door::before(&[Fake::nobody(), good.addr, Fake::nobody()]);
    let began = Instant::now();
    for _ in 0..12 {
        assert_eq!(door.get(TASK).status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn answers_that_make_no_sense_everywhere_are_a_503() {
    let fakes =
        [true, false].map(|leads| Fake::start(leads, |_| Deed::Raw(b"HTTP/1.1 2x0 OK\r\n\r\n".to_vec())));
    let door = Door::with_patience(&fakes.map(|fake| fake.addr), Duration::from_millis(300));
    let answer = door.get(TASK);
    assert_eq!((answer.status, answer.problem_code().as_str()), (503, "no_leader"));
}

#[test]
fn a_refusal_is_the_answer() {
    let fakes = [true, false].map(|leads| Fake::start(leads, |_| problem(404, "unknown_task")));
    let door = Door::before(&fakes.clone().map(|fake| fake.addr));
    assert_eq!(door.get(TASK).status, 404);
    assert_eq!(fakes.iter().map(|fake| fake.seen().len()).sum::<usize>(), 1);
}

/// Milliseconds that a request asks to wait.
fn asked_wait_ms(target: &str) -> u64 {
    let (_, wait) = target.split_once("wait=").unwrap();
    wait.split('&').next().unwrap().strip_suffix("ms").unwrap().parse().unwrap()
}

#[test]
fn a_wait_survives_the_death_of_its_coordinator_and_goes_on_with_what_is_left_of_it() {
    let dying = Fake::start(true, |_| Deed::Hang);
    let other = Fake::start(false, |_| task("completed"));
    let door = Door::before(&[dying.addr, other.addr]);
    let waiting = std::thread::spawn({
        let door = door.clone();
        move || door.get(&format!("{TASK}?wait=9s"))
    });
    let first = asked_wait_ms(&dying.wait_for(1)[0].target);
    assert!((8_000..=9_000).contains(&first), "{first}");
    // Time that must not be waited for twice.
    std::thread::sleep(Duration::from_millis(300));
    dying.die();
    let answer = waiting.join().unwrap();
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("completed")));
    let second = asked_wait_ms(&other.seen()[0].target);
    assert!(second + 300 <= first, "asked for {first} ms and then for {second} ms");
}

#[test]
fn a_wait_that_a_coordinator_cuts_short_goes_on_elsewhere_until_its_end() {
    // As one that shuts down does.
    let ending = Fake::start(true, |_| task("pending"));
    let door = Door::before(&[ending.addr]);
    let began = Instant::now();
    let answer = door.get(&format!("{TASK}?wait=1s&consistency=linearizable"));
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("pending")));
    assert!(began.elapsed() >= Duration::from_secs(1), "it gave up early");
    let seen = ending.seen();
    assert!((2..60).contains(&seen.len()), "{} requests", seen.len());
    let waits: Vec<u64> = seen.iter().map(|seen| asked_wait_ms(&seen.target)).collect();
    assert!(waits.is_sorted_by(|earlier, later| earlier >= later), "{waits:?}");
    assert!(seen.iter().all(|seen| seen.target.contains("consistency=linearizable")));
}

#[test]
fn a_proof_is_checked_by_another_coordinator_when_one_breaks() {
    let bad = Fake::start(false, |_| Deed::Break);
    let good = Fake::start(true, |seen| {
        assert_eq!(seen.body, b"{\"proof\":1}");
        answer(200, &json!({"valid": true}))
    });
    let door = Door::before(&[bad.addr, good.addr]);
    let headers = [("content-type", "application/json")];
    for _ in 0..2 {
        let answer = door.send("POST", "/api/v1/proofs/verify", &headers, b"{\"proof\":1}");
        assert_eq!((answer.status, answer.json()["valid"].as_bool()), (200, Some(true)));
    }
}
