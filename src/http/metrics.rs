//! `GET /metrics` in Prometheus' text format.
//!
//! Two sources: the process's recorder, and what is so at the moment of asking (the node's health, its parts' figures, the
//! process). The latter is written here and not put into the recorder, which is one per process: figures of the ledger must
//! not outlive the question, nor mix with those of another node in the same process.

use super::state::AppState;
use crate::actors::tasks::messages::HealthView;
use crate::backup::BackupDesk;
use crate::telemetry::{self, Page, table};
use actix_web::{HttpResponse, web};

/// Metrics in Prometheus' text format
#[utoipa::path(
    get, path = "/metrics", tag = "node", operation_id = "getMetrics",
    responses((status = 200, description = "Metrics", body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(state: web::Data<AppState>) -> HttpResponse {
    let recorded = state.metrics.render();
    let backup_taken = state.backups.as_ref().map_or(0, BackupDesk::latest_unix_seconds);
    let health = state.tasks.health().await;
    metrics_page(recorded, move |page| {
        page.value(&table::UP, u64::from(health.is_ok()));
        page.value(&table::BACKUP_TAKEN, backup_taken);
        if let Ok(view) = &health {
            write_node(page, view);
        }
        for source in state.sources.iter() {
            source.write(page);
        }
    })
    .await
}

/// Answers a page of metrics: what the recorder has, what `write` knows, and what every process shows. `write` may block.
pub(crate) async fn metrics_page(
    recorded: String,
    write: impl FnOnce(&mut Page) + Send + 'static,
) -> HttpResponse {
    let written = web::block(move || {
        let mut page = Page::after(recorded);
        write(&mut page);
        page.by_label(&table::BUILD_INFO, [(env!("CARGO_PKG_VERSION"), 1)]);
        telemetry::write_process(&mut page);
        page.into_text()
    });
    match written.await {
        Ok(text) => HttpResponse::Ok().content_type(telemetry::CONTENT_TYPE).body(text),
        // The threads that may block are gone: the process ends.
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

fn write_node(page: &mut Page, view: &HealthView) {
    let counters = &view.counters;
    page.by_label(&table::TASKS, view.tasks.iter().map(|(status, count)| (status.as_str(), *count)));
    let outcomes = [
        ("submitted", counters.tasks_submitted),
        ("cached", counters.tasks_cached),
        ("completed", counters.tasks_completed),
        ("failed", counters.tasks_failed),
        ("cancelled", counters.tasks_cancelled),
        ("forgotten", counters.tasks_forgotten),
    ];
    page.by_label(&table::TASKS_TOTAL, outcomes);
    page.value(&table::OPEN_INPUT_BYTES, view.open_input_bytes);
    write_scheduler(page, view);
    write_raft(page, view);
    if view.archive.is_configured {
        page.value(&table::ARCHIVE_UP, u64::from(view.archive.is_up));
        page.value(&table::ARCHIVE_LAG, view.archive.lag);
    }
    let workers = &view.workers;
    let states = [
        ("active", workers.active),
        ("suspect", workers.suspect),
        ("draining", workers.draining),
        ("dead", workers.dead),
    ];
    page.by_label(&table::WORKERS, states);
    page.value(&table::CAPACITY_LEASES, view.capacity.total);
    page.value(&table::CAPACITY_LEASES_USED, view.capacity.used);
}

fn write_scheduler(page: &mut Page, view: &HealthView) {
    let counters = &view.counters;
    page.value(&table::SCHEDULER_ENABLED, u64::from(view.scheduler_enabled));
    page.value(&table::SCHEDULER_TASKS_ASSIGNED, counters.leases_granted);
    let reasons = [
        ("failed", counters.attempts_failed),
        ("lost", counters.leases_lost),
        ("returned", counters.leases_returned),
    ];
    page.by_label(&table::SCHEDULER_ENDED, reasons);
}

fn write_raft(page: &mut Page, view: &HealthView) {
    let raft = &view.raft;
    page.value(&table::RAFT_IS_LEADER, u64::from(raft.is_leader));
    page.value(&table::RAFT_HAS_LEADER, u64::from(raft.leader_address.is_some()));
    page.value(&table::RAFT_TERM, raft.term);
    page.value(&table::RAFT_COMMIT_INDEX, raft.commit_index);
    page.value(&table::RAFT_APPLIED_INDEX, raft.applied_index);
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::healthy;
    use super::*;
    use std::collections::BTreeSet;

    fn page() -> String {
        let mut page = Page::default();
        write_node(&mut page, &healthy());
        page.into_text()
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
