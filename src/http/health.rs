//! How the node does: `/health` for people and tests, `/livez` and `/readyz` for whoever restarts it or sends it requests.
//!
//! `/health` answers 200 whenever the process serves, and says in `status` what it thinks of itself; only `/readyz` turns
//! requests away. `/livez` asks nobody: a node without a leader must not be restarted for it.

use super::problem::{Problem, ProblemBody, ProblemCode};
use super::state::{AppState, Phase};
use crate::actors::tasks::messages::HealthView;
use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

/// How a coordinator does.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct HealthDocument {
    /// What it thinks of itself.
    status: HealthStatus,
    /// Its configured id.
    coordinator_id: String,
    /// Raft, as it sees it.
    raft: RaftDocument,
    /// The workers.
    workers: WorkersDocument,
    /// The work that workers can take.
    capacity: CapacityDocument,
    /// The scheduler.
    scheduler: SchedulerDocument,
    /// The archive of finished tasks.
    archive: ArchiveDocument,
    /// This node's disk, when less is free on it than `storage.free_bytes_min`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    storage: Option<StorageDocument>,
}

/// What a node thinks of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum HealthStatus {
    /// Everything works.
    Healthy,
    /// It works, and something is missing.
    Degraded,
    /// It cannot take tasks.
    Unhealthy,
}

/// Raft, as one node sees it.
#[derive(Serialize, ToSchema)]
#[schema(as = RaftHealth)]
pub(super) struct RaftDocument {
    /// `Leader`, `Follower`, `Candidate`, `Learner` or `Stopped`.
    state: &'static str,
    /// Whether it leads.
    is_leader: bool,
    /// The leader's address; null when none is known.
    leader_address: Option<String>,
    /// This node's name.
    node_id: String,
    /// The term.
    term: u64,
    /// The last entry known to be committed.
    commit_index: u64,
    /// The last entry applied.
    applied_index: u64,
}

/// How many workers there are.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkersHealth)]
pub(super) struct WorkersDocument {
    /// Registered, whatever their state.
    total: u64,
    /// Taking work.
    active: u64,
    /// Silent for more than half their lease; only the leader hears them, so that others say 0.
    suspect: u64,
    /// Lost.
    dead: u64,
}

/// How much work the workers can take.
#[derive(Serialize, ToSchema)]
#[schema(as = CapacityHealth)]
pub(super) struct CapacityDocument {
    /// Leases that active workers may hold.
    total: u64,
    /// Leases held.
    used: u64,
    /// The difference.
    available: u64,
}

/// The scheduler's running totals, the same on every coordinator.
#[derive(Serialize, ToSchema)]
#[schema(as = SchedulerHealth)]
pub(super) struct SchedulerDocument {
    /// Whether this node schedules: the leader does.
    enabled: bool,
    /// Leases granted.
    tasks_assigned: u64,
    /// Attempts that failed, and leases that were lost.
    assignments_failed: u64,
}

/// The archive.
#[derive(Serialize, ToSchema)]
#[schema(as = ArchiveHealth)]
pub(super) struct ArchiveDocument {
    /// `postgres`; or `none`: finished tasks stay in the ledger.
    kind: &'static str,
    /// Finished tasks, circuits and workers that it has not been told of; the same on every coordinator.
    lag: u64,
    /// Why this node cannot use it, or cannot bring it what waits; absent when it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    error: Option<String>,
    /// Why old tasks are not removed from it, or the coordinators not recorded in it; absent when they are. Finished tasks are
    /// archived meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    upkeep_error: Option<String>,
}

/// This node's disk.
#[derive(Serialize, ToSchema)]
#[schema(as = StorageHealth)]
pub(super) struct StorageDocument {
    /// Why this node takes no task while it leads.
    error: String,
}

/// What `/health` says when the front desk does not answer.
#[derive(Serialize)]
struct Silent {
    status: HealthStatus,
    error: String,
}

impl From<HealthView> for HealthDocument {
    fn from(view: HealthView) -> Self {
        let (workers, capacity, counters) = (view.workers, view.capacity, view.counters);
        Self {
            status: judge(&view),
            coordinator_id: view.coordinator_id,
            raft: RaftDocument {
                state: view.raft.state,
                is_leader: view.raft.is_leader,
                leader_address: view.raft.leader_address,
                node_id: view.raft.node_id,
                term: view.raft.term,
                commit_index: view.raft.commit_index,
                applied_index: view.raft.applied_index,
            },
            workers: WorkersDocument {
                total: workers.total,
                active: workers.active,
                suspect: workers.suspect,
                dead: workers.dead,
            },
            capacity: CapacityDocument {
                total: capacity.total,
                used: capacity.used,
                available: capacity.total.saturating_sub(capacity.used),
            },
            scheduler: SchedulerDocument {
                enabled: view.scheduler_enabled,
                tasks_assigned: counters.leases_granted,
                assignments_failed: counters.leases_lost.saturating_add(counters.attempts_failed),
            },
            archive: ArchiveDocument {
                kind: if view.archive.is_configured { "postgres" } else { "none" },
                lag: view.archive.lag,
                error: view.archive.error,
                upkeep_error: view.archive.upkeep_error,
            },
            storage: view.shortage.map(|shortage| StorageDocument { error: shortage.to_string() }),
        }
    }
}

fn judge(view: &HealthView) -> HealthStatus {
    if view.raft.fatal_error.is_some() || view.raft.leader_address.is_none() {
        HealthStatus::Unhealthy
    } else if view.raft.members_missing > 0
        || view.raft.is_leader && !view.scheduler_enabled
        || view.archive.error.is_some()
        || view.archive.upkeep_error.is_some()
        || view.shortage.is_some()
        || view.archive.is_configured && view.archive.lag > view.archive.lag_max / 2
    {
        HealthStatus::Degraded
    } else {
        HealthStatus::Healthy
    }
}

/// How the node does
///
/// 200 whenever the process serves; `status` says what it thinks of itself.
#[utoipa::path(
    get, path = "/health", tag = "node", operation_id = "getHealth",
    responses((status = 200, description = "How the node does", body = HealthDocument))
)]
pub(super) async fn health(state: web::Data<AppState>) -> HttpResponse {
    match state.tasks.health().await {
        Ok(view) => HttpResponse::Ok().json(HealthDocument::from(view)),
        Err(error) => {
            HttpResponse::Ok().json(Silent { status: HealthStatus::Unhealthy, error: error.to_string() })
        }
    }
}

/// Whether the process answers
#[utoipa::path(
    get, path = "/livez", tag = "node", operation_id = "getLiveness",
    responses((status = 200, description = "It does", body = String, content_type = "text/plain"))
)]
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n")
}

/// One thing that must be so for the node to take requests.
struct Check {
    name: &'static str,
    /// Why it is not so.
    failure: Option<String>,
}

impl Check {
    fn new(name: &'static str, is_good: bool, failure: impl FnOnce() -> String) -> Self {
        Self { name, failure: (!is_good).then(failure) }
    }

    fn line(&self) -> String {
        match &self.failure {
            None => format!("[+]{} ok\n", self.name),
            Some(failure) => format!("[-]{} failed: {failure}\n", self.name),
        }
    }
}

/// Whether the node wants requests
///
/// `?verbose` answers one line a check. `/ready` is the same.
#[utoipa::path(
    get, path = "/readyz", tag = "node", operation_id = "getReadiness",
    params(("verbose" = Option<String>, Query, description = "One line a check, also when not ready")),
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
        (status = 503, description = "It does not; with `verbose` as text", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn readyz(
    request: HttpRequest,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let is_verbose = request.query_string().split('&').any(|pair| pair.split('=').next() == Some("verbose"));
    let checks = checks(&state).await;
    let failures: Vec<String> = checks
        .iter()
        .filter_map(|check| Some(format!("{}: {}", check.name, check.failure.as_ref()?)))
        .collect();
    state.readiness.tell(&failures);
    if is_verbose {
        let mut answer =
            if failures.is_empty() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
        let mut text: String = checks.iter().map(Check::line).collect();
        text.push_str(if failures.is_empty() { "ready\n" } else { "not ready\n" });
        return Ok(answer.content_type(ContentType::plaintext()).body(text));
    }
    if failures.is_empty() {
        return Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n"));
    }
    Err(Problem::new(ProblemCode::Unavailable, failures.join("; ")))
}

async fn checks(state: &AppState) -> Vec<Check> {
    let phase = state.readiness.phase();
    let life = Check::new("life", phase == Phase::Ready, || {
        match phase {
            Phase::Draining => "the node is shutting down",
            Phase::Starting | Phase::Ready => "the node is starting",
        }
        .to_owned()
    });
    match state.tasks.health().await {
        Ok(view) => {
            let mut checks = vec![life, Check { name: "front-desk", failure: None }];
            checks.extend(view_checks(&view));
            checks
        }
        Err(error) => vec![life, Check { name: "front-desk", failure: Some(error.to_string()) }],
    }
}

fn view_checks(view: &HealthView) -> [Check; 3] {
    let raft = &view.raft;
    [
        Check::new("raft", raft.fatal_error.is_none(), || raft.fatal_error.clone().unwrap_or_default()),
        Check::new("leader", raft.leader_address.is_some(), || "no leader is known".to_owned()),
        Check::new("scheduler", !raft.is_leader || view.scheduler_enabled, || {
            "this node leads and its scheduler is not enabled yet".to_owned()
        }),
    ]
}

#[cfg(test)]
#[path = "health_tests.rs"]
pub(super) mod tests;
