//! What the gateway says of itself: `/health`, `/livez`, `/readyz`, `/metrics`.
//!
//! It does as well as the coordinators that it reaches do, so that the first and the third ask them, at most twice a second.

use super::Door;
use super::coordinators::{Said, View};
use super::members::Coordinator;
use crate::http::{self, Phase, Problem, ProblemCode};
use crate::telemetry::table;
use actix_web::http::header::ContentType;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An answer may rest on a view that is this old.
const VIEW_AGE_MAX: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct HealthDocument<'a> {
    status: Status,
    /// The leader's address as it is configured here, or learned.
    leader: Option<&'a str>,
    coordinators: Vec<CoordinatorDocument<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// There is a leader, and every coordinator does well.
    Healthy,
    /// There is a leader, and some coordinator is missing.
    Degraded,
    /// There is no leader that can be reached.
    Unhealthy,
}

#[derive(Serialize)]
struct CoordinatorDocument<'a> {
    address: &'a str,
    reachable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    coordinator_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_leader: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    term: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commit_index: Option<u64>,
    /// Why it is not reachable.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

async fn view(door: &Door) -> View {
    let now = Instant::now();
    door.coordinators.refreshed(now.checked_sub(VIEW_AGE_MAX).unwrap_or(now)).await
}

fn judge(view: &View) -> Status {
    let all_well = view.said.iter().all(|(_, said)| said.as_ref().is_ok_and(|said| said.status == "healthy"));
    match view.leader {
        None => Status::Unhealthy,
        Some(_) if all_well => Status::Healthy,
        Some(_) => Status::Degraded,
    }
}

/// How it does; 200 whenever it serves.
pub(super) async fn health(door: web::Data<Door>) -> HttpResponse {
    let view = view(&door).await;
    let coordinators = view.said.iter().map(|(coordinator, said)| {
        let (error, said) = match said {
            Ok(said) => (None, Some(said)),
            Err(error) => (Some(error.as_str()), None),
        };
        let raft = said.and_then(|said| said.raft.as_ref());
        CoordinatorDocument {
            address: coordinator.address(),
            reachable: said.is_some(),
            coordinator_id: said.and_then(|said| said.coordinator_id.as_deref()),
            status: said.map(|said| said.status.as_str()),
            is_leader: raft.map(|raft| raft.is_leader),
            term: raft.map(|raft| raft.term),
            commit_index: raft.map(|raft| raft.commit_index),
            error,
        }
    });
    HttpResponse::Ok().json(HealthDocument {
        status: judge(&view),
        leader: view.leader.as_ref().map(|leader| leader.address()),
        coordinators: coordinators.collect(),
    })
}

/// Whether the process answers.
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n")
}

/// Whether it wants requests; `?verbose` tells one line a check.
pub(super) async fn readyz(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Problem> {
    let is_verbose = request.query_string().split('&').any(|pair| pair.split('=').next() == Some("verbose"));
    let life = match door.readiness.phase() {
        Phase::Ready => None,
        Phase::Starting => Some("the gateway is starting"),
        Phase::Draining => Some("the gateway is shutting down"),
    };
    let leader = view(&door).await.leader.is_none().then_some("no leader can be reached");
    let checks = [("life", life), ("leader", leader)];
    let failures: Vec<String> =
        checks.iter().filter_map(|(name, failure)| Some(format!("{name}: {}", (*failure)?))).collect();
    door.readiness.tell(&failures);
    if is_verbose {
        let mut text = String::new();
        for (name, failure) in checks {
            // Writing to a String cannot fail.
            let _ = match failure {
                None => writeln!(text, "[+]{name} ok"),
                Some(failure) => writeln!(text, "[-]{name} failed: {failure}"),
            };
        }
        text.push_str(if failures.is_empty() { "ready\n" } else { "not ready\n" });
        let mut answer =
            if failures.is_empty() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
        return Ok(answer.content_type(ContentType::plaintext()).body(text));
    }
    if failures.is_empty() {
        return Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n"));
    }
    Err(Problem::new(ProblemCode::Unavailable, failures.join("; ")))
}

/// Metrics in Prometheus' text format.
pub(super) async fn metrics(door: web::Data<Door>) -> HttpResponse {
    let recorded = door.metrics.render();
    let view = view(&door).await;
    http::metrics_page(recorded, move |page| {
        page.value(&table::UP, 1);
        page.value(&table::GATEWAY_HAS_LEADER, u64::from(view.leader.is_some()));
        let reachable = |(coordinator, said): &(Arc<Coordinator>, Result<Said, String>)| {
            (coordinator.address().to_owned(), u64::from(said.is_ok()))
        };
        page.by_label(&table::GATEWAY_COORDINATOR_REACHABLE, view.said.iter().map(reachable));
    })
    .await
}
