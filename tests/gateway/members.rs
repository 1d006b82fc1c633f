//! Coordinators that the gateway was not told of: learned from the page of the cluster, and forgotten.

use crate::door::Door;
use crate::fake::{Deed, Fake, Stored, answer, page};
use crate::support::poll_until;
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const BODY: &str = r#"{"leaves":["0x1"],"leaf_index":0}"#;

fn follower() -> Fake {
    Fake::start(false, |_| Deed::Break)
}

/// The coordinators that the gateway knows.
fn known(door: &Door) -> Vec<String> {
    let health = door.get("/health").json();
    let coordinators = health["coordinators"].as_array().unwrap();
    coordinators.iter().map(|it| it["address"].as_str().unwrap().to_owned()).collect()
}

fn poll_known(door: &Door, expected: &[SocketAddr]) {
    let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
    poll_until(&format!("the gateway to know {expected:?}"), || (known(door) == expected).then_some(()));
}

#[test]
fn a_leader_that_only_the_page_of_the_cluster_names_is_found() {
    let stored = Stored::default();
    let kept = stored.clone();
    let configured = follower();
    let leader = Fake::start(true, move |seen| kept.submit(seen));
    configured.set_page(page(&[&configured, &leader]));
    let door = Door::before(&[configured.addr, Fake::nobody()]);
    assert_eq!(door.submit(&[], BODY).status, 202);
    assert_eq!((stored.count(), leader.seen().len()), (1, 1));
    assert!(configured.seen().is_empty(), "a follower was asked to write");
    assert_eq!(door.get("/health").json()["leader"], leader.addr.to_string());
}

#[test]
fn a_leader_that_joins_later_is_found_when_the_one_that_was_known_dies() {
    let stored = Stored::default();
    let (of_old, of_new) = (stored.clone(), stored.clone());
    let (old, new) = (
        Fake::start(true, move |seen| of_old.submit(seen)),
        Fake::start(false, move |seen| of_new.submit(seen)),
    );
    let third = follower();
    [&old, &third].iter().for_each(|fake| fake.set_page(page(&[&old, &third])));
    let door = Door::before(&[old.addr, third.addr]);
    assert_eq!(door.submit(&[], BODY).status, 202);
    third.set_page(page(&[&old, &third, &new]));
    old.die();
    new.set_leader(true, 2);
    assert_eq!(door.submit(&[], BODY).status, 202);
    assert_eq!((stored.count(), new.seen().len()), (2, 1));
}

#[test]
fn a_member_that_was_removed_is_forgotten_and_a_configured_one_never_is() {
    let (leader, other, joined) = (Fake::start(true, |_| Deed::Break), follower(), follower());
    leader.set_page(page(&[&leader, &other, &joined]));
    let door = Door::before(&[leader.addr, other.addr]);
    poll_known(&door, &[leader.addr, other.addr, joined.addr]);
    let later = follower();
    leader.set_page(page(&[&later]));
    poll_known(&door, &[leader.addr, other.addr, later.addr]);
}

#[test]
fn a_configured_coordinator_is_not_known_a_second_time_by_the_address_that_it_advertises() {
    let (leader, joined) = (Fake::start(true, |_| Deed::Break), follower());
    leader.set_page(answer(
        200,
        &json!({"members": [
            {"name": leader.addr.to_string(), "http_address": "advertised.invalid:8090"},
            {"name": "joined", "http_address": joined.addr.to_string()},
            {"name": "silent", "http_address": null},
        ]}),
    ));
    let door = Door::before(&[leader.addr]);
    poll_known(&door, &[leader.addr, joined.addr]);
}

#[test]
fn pages_that_make_no_sense_change_nothing() {
    let joined = |address: &str| json!({"name": "joined", "http_address": address});
    let too_many: Vec<_> = (0..65).map(|_| joined("127.0.0.1:1")).collect();
    let members = |members: &serde_json::Value| answer(200, &json!({ "members": members }));
    let nonsense = [
        Deed::Break,
        Deed::Hang,
        Deed::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"members\": []".to_vec()),
        answer(500, &json!({"members": [joined("127.0.0.1:1")]})),
        answer(200, &json!(7)),
        members(&json!([])),
        members(&json!([{"name": 7, "http_address": "127.0.0.1:1"}])),
        members(&json!(too_many)),
        members(&json!([joined("http://127.0.0.1:1/"), {"name": "more", "http_address": "127.0.0.1"}])),
    ];
    let stands = |nonsense: &Deed| {
        let (leader, other) = (Fake::start(true, |_| answer(202, &json!({}))), follower());
        leader.set_page(answer(200, &json!({"members": [joined(&other.addr.to_string())]})));
        let door = Door::before(&[leader.addr]);
        poll_known(&door, &[leader.addr, other.addr]);
        leader.set_page(nonsense.clone());
        // When it is asked again, what it said before has been taken in.
        let pages = leader.pages() + 2;
        poll_until("the page to be read", || {
            door.get("/health");
            (leader.pages() >= pages).then_some(())
        });
        assert_eq!(known(&door), [leader.addr, other.addr].map(|addr| addr.to_string()), "{nonsense:?}");
        assert_eq!(door.submit(&[], BODY).status, 202, "{nonsense:?}");
    };
    std::thread::scope(|scope| {
        for nonsense in &nonsense {
            scope.spawn(move || stands(nonsense));
        }
    });
}

#[test]
fn while_nobody_leads_the_members_are_asked_for_now_and_then_only() {
    let alone = follower();
    alone.set_page(page(&[&alone]));
    let door = Door::with_patience(&[alone.addr], Duration::from_millis(1_500));
    let began = Instant::now();
    assert_eq!(door.submit(&[], BODY).status, 503);
    let most = 1 + began.elapsed().as_secs() / 2;
    assert!((1..=most).contains(&(alone.pages() as u64)), "{} times", alone.pages());
}
