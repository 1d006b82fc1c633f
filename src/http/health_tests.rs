//! What `/health` and `/readyz` say of a node's state.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::actors::disk_room::Shortage;
use crate::actors::tasks::messages::{ArchiveView, CapacityView, RaftView, WorkersView};
use crate::ledger::{Counters, TaskStatus};

pub(in crate::http) fn healthy() -> HealthView {
    HealthView {
        coordinator_id: "coordinator-1".into(),
        raft: RaftView {
            state: "Leader",
            is_leader: true,
            leader_address: Some("coordinator-1:7000".into()),
            node_id: "coordinator-1".into(),
            term: 3,
            commit_index: 812,
            applied_index: 812,
            members_missing: 0,
            fatal_error: None,
        },
        workers: WorkersView { total: 2, active: 2, suspect: 1, draining: 0, dead: 0 },
        capacity: CapacityView { total: 8, used: 1 },
        scheduler_enabled: true,
        counters: Counters { leases_granted: 41, leases_lost: 2, attempts_failed: 3, ..Counters::default() },
        tasks: TaskStatus::ALL.iter().map(|status| (*status, 1)).collect(),
        open_input_bytes: 0,
        archive: ArchiveView::default(),
        shortage: None,
    }
}

#[test]
fn health_is_the_compact_document_of_the_contract() {
    let document = serde_json::to_string(&HealthDocument::from(healthy())).unwrap();
    assert_eq!(
        document,
        concat!(
            r#"{"status":"healthy","coordinator_id":"coordinator-1","raft":{"state":"Leader","is_leader":true,"#,
            r#""leader_address":"coordinator-1:7000","node_id":"coordinator-1","term":3,"commit_index":812,"applied_index":812},"#,
            r#""workers":{"total":2,"active":2,"suspect":1,"dead":0},"capacity":{"total":8,"used":1,"available":7},"#,
            r#""scheduler":{"enabled":true,"tasks_assigned":41,"assignments_failed":5},"archive":{"kind":"none","lag":0}}"#
        )
    );
}

#[test]
fn a_node_without_a_leader_is_unhealthy_and_not_ready() {
    let mut view = healthy();
    view.raft.leader_address = None;
    assert_eq!(judge(&view), HealthStatus::Unhealthy);
    let lines: String = view_checks(&view).iter().map(Check::line).collect();
    assert_eq!(lines, "[+]raft ok\n[-]leader failed: no leader is known\n[+]scheduler ok\n");
}

#[test]
fn a_node_that_misses_a_member_is_degraded() {
    let mut view = healthy();
    view.raft.members_missing = 1;
    assert_eq!(judge(&view), HealthStatus::Degraded);
}

#[test]
fn an_archive_that_does_not_work_or_is_far_behind_is_told_and_degrades() {
    let mut view = healthy();
    view.archive = ArchiveView { is_configured: true, lag: 7, lag_max: 10, ..ArchiveView::default() };
    assert_eq!(judge(&view), HealthStatus::Degraded, "more than half of what may wait");
    view.archive.lag = 5;
    assert_eq!(judge(&view), HealthStatus::Healthy);
    view.archive.error = Some("it is away".into());
    let document = serde_json::to_value(HealthDocument::from(view)).unwrap();
    assert_eq!(document["status"], "degraded");
    let expected = serde_json::json!({"kind": "postgres", "lag": 5, "error": "it is away"});
    assert_eq!(document["archive"], expected);
    let mut view = healthy();
    let upkeep_error = Some("it may not delete".to_owned());
    view.archive = ArchiveView { is_configured: true, is_up: true, upkeep_error, ..ArchiveView::default() };
    let document = serde_json::to_value(HealthDocument::from(view)).unwrap();
    assert_eq!(document["status"], "degraded");
    let expected = serde_json::json!({"kind": "postgres", "lag": 0, "upkeep_error": "it may not delete"});
    assert_eq!(document["archive"], expected);
}

#[test]
fn a_disk_with_too_little_room_is_told_and_degrades() {
    let mut view = healthy();
    view.shortage = Some(Shortage { free_bytes: 100 << 20, free_bytes_min: 256 << 20 });
    let document = serde_json::to_value(HealthDocument::from(view)).unwrap();
    assert_eq!(document["status"], "degraded");
    let expected =
        "100 MiB are free on the disk, and below 256 MiB (storage.free_bytes_min) no task is taken";
    assert_eq!(document["storage"], serde_json::json!({"error": expected}));
}

#[test]
fn a_leader_that_does_not_schedule_is_degraded_and_a_follower_is_not() {
    let mut view = healthy();
    view.scheduler_enabled = false;
    assert_eq!(judge(&view), HealthStatus::Degraded);
    view.raft.is_leader = false;
    assert_eq!(judge(&view), HealthStatus::Healthy);
}

#[test]
fn workers_beyond_their_capacity_leave_nothing_available() {
    let mut view = healthy();
    view.capacity = CapacityView { total: 1, used: 2 };
    assert_eq!(HealthDocument::from(view).capacity.available, 0);
}
