//! `GET /metrics` in Prometheus' text format.
//!
//! Two sources: the process's recorder, and the node's health at the moment of asking. The latter is written here and not
//! put into the recorder, which is one per process: figures of the ledger must not outlive the question, nor mix with those
//! of another node in the same process.

use super::state::AppState;
use crate::actors::tasks::messages::HealthView;
use actix_web::{HttpResponse, web};
use std::fmt::Write;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics in Prometheus' text format
#[utoipa::path(
    get, path = "/metrics", tag = "node", operation_id = "getMetrics",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(state: web::Data<AppState>) -> HttpResponse {
    let mut text = state.metrics.render();
    let health = state.tasks.health().await;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    let mut page = Page(text);
    page.single("zkpnet_up", "gauge", "Whether the node's front desk answers.", u64::from(health.is_ok()));
    if let Ok(view) = &health {
        page.node(view);
    }
    HttpResponse::Ok().content_type(CONTENT_TYPE).body(page.0)
}

struct Page(String);

impl Page {
    fn header(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.header(name, kind, help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn labelled<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        self.header(name, kind, help);
        for (of, value) in values {
            let _ = writeln!(self.0, "{name}{{{label}=\"{of}\"}} {value}");
        }
    }

    fn node(&mut self, view: &HealthView) {
        let counters = &view.counters;
        let by_status = view.tasks.iter().map(|(status, count)| (status.as_str(), *count));
        self.labelled("zkpnet_tasks", "gauge", "Tasks in the ledger by status.", "status", by_status);
        self.labelled(
            "zkpnet_tasks_total",
            "counter",
            "What became of submissions and tasks since the cluster began.",
            "outcome",
            [
                ("submitted", counters.tasks_submitted),
                ("cached", counters.tasks_cached),
                ("completed", counters.tasks_completed),
                ("failed", counters.tasks_failed),
                ("cancelled", counters.tasks_cancelled),
                ("forgotten", counters.tasks_forgotten),
            ],
        );
        let bytes = view.open_input_bytes;
        self.single("zkpnet_open_input_bytes", "gauge", "Bytes of the sealed inputs of open tasks.", bytes);
        self.scheduler(view);
        self.raft(view);
        let workers = &view.workers;
        self.labelled(
            "zkpnet_workers",
            "gauge",
            "Workers by state.",
            "state",
            [("active", workers.active), ("draining", workers.draining), ("dead", workers.dead)],
        );
        let capacity = &view.capacity;
        self.single(
            "zkpnet_capacity_leases",
            "gauge",
            "Leases that active workers may hold.",
            capacity.total,
        );
        self.single("zkpnet_capacity_leases_used", "gauge", "Leases held.", capacity.used);
    }

    fn scheduler(&mut self, view: &HealthView) {
        let counters = &view.counters;
        let enabled = u64::from(view.scheduler_enabled);
        self.single("zkpnet_scheduler_enabled", "gauge", "Whether this node schedules.", enabled);
        self.single(
            "zkpnet_scheduler_tasks_assigned_total",
            "counter",
            "Leases granted, the same on every coordinator.",
            counters.leases_granted,
        );
        self.labelled(
            "zkpnet_scheduler_assignments_ended_total",
            "counter",
            "Leases that ended without a proof.",
            "reason",
            [
                ("failed", counters.attempts_failed),
                ("lost", counters.leases_lost),
                ("returned", counters.leases_returned),
            ],
        );
    }

    fn raft(&mut self, view: &HealthView) {
        let raft = &view.raft;
        self.single("zkpnet_raft_is_leader", "gauge", "Whether this node leads.", u64::from(raft.is_leader));
        let has_leader = u64::from(raft.leader_address.is_some());
        self.single("zkpnet_raft_has_leader", "gauge", "Whether this node knows a leader.", has_leader);
        self.single("zkpnet_raft_term", "gauge", "The term.", raft.term);
        self.single(
            "zkpnet_raft_commit_index",
            "gauge",
            "The last entry known to be committed.",
            raft.commit_index,
        );
        self.single("zkpnet_raft_applied_index", "gauge", "The last entry applied.", raft.applied_index);
    }
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::healthy;
    use super::*;
    use std::collections::BTreeSet;

    fn page() -> String {
        let mut page = Page(String::new());
        page.node(&healthy());
        page.0
    }

    #[test]
    fn what_the_quick_start_greps_for_is_there() {
        let page = page();
        let found: Vec<&str> =
            page.lines().filter(|line| line.contains("tasks_assigned") && !line.starts_with('#')).collect();
        assert_eq!(found, ["zkpnet_scheduler_tasks_assigned_total 41"]);
        assert!(page.contains("zkpnet_tasks{status=\"in_progress\"} 1\n"));
        assert!(page.contains("zkpnet_raft_term 3\n"));
    }

    #[test]
    fn every_metric_is_described_once_and_counters_end_in_total() {
        let page = page();
        let mut described = BTreeSet::new();
        for line in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap_or_default();
            assert!(described.insert(name.to_owned()), "{name} twice");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        }
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            assert!(described.contains(name), "{name} is not described");
        }
    }
}
