//! What a worker says of itself: `/health`, `/livez`, `/readyz`, `/metrics`.

use super::Desk;
use crate::http::{self, Phase, Problem, ProblemCode};
use crate::node::figures;
use crate::telemetry::table;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde::Serialize;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(http::get("/health", health))
        .service(http::get("/livez", livez))
        .service(http::get("/readyz", readyz))
        .service(http::get("/ready", readyz))
        .service(http::get("/metrics", metrics))
        .default_service(web::to(http::unknown_path));
}

#[derive(Serialize)]
struct HealthDocument {
    status: Status,
    worker_id: String,
    /// The coordinator whose orders come in; null while the worker looks for one.
    coordinator: Option<String>,
    /// Which life of the worker this is, as the coordinator counts.
    incarnation: Option<u64>,
    /// Tasks that it takes at once.
    capacity: u32,
    /// Proofs that it makes at once.
    slots: usize,
    /// Leases in hand, finished ones included.
    leases_held: usize,
    /// Finished proofs that no coordinator has acknowledged yet.
    unacknowledged_results: usize,
    /// Circuits whose key is in memory.
    held_keys: Vec<String>,
    /// Why it is not registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// It is registered and takes work.
    Healthy,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// No coordinator hands it work.
    Unhealthy,
}

fn document(desk: &Desk) -> HealthDocument {
    let session = desk.session.status();
    let coordinator = desk.coordinator.registered_with();
    let is_registered = coordinator.is_some() && session.incarnation.is_some();
    let status = match desk.readiness.phase() {
        Phase::Draining => Status::Draining,
        _ if is_registered => Status::Healthy,
        _ => Status::Unhealthy,
    };
    HealthDocument {
        status,
        worker_id: desk.worker_id.clone(),
        coordinator,
        incarnation: session.incarnation.map(|incarnation| incarnation.0),
        capacity: desk.capacity,
        slots: desk.pool.slots(),
        leases_held: session.leases,
        unacknowledged_results: session.unacknowledged,
        held_keys: desk.pool.held_keys().iter().map(|circuit| circuit.as_str().to_owned()).collect(),
        problem: session.problem,
    }
}

/// How it does; 200 whenever it serves.
async fn health(desk: web::Data<Desk>) -> HttpResponse {
    HttpResponse::Ok().json(document(&desk))
}

/// Whether the process answers. A worker without a coordinator must not be restarted for it.
async fn livez() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n")
}

/// Whether it takes work.
async fn readyz(desk: web::Data<Desk>) -> Result<HttpResponse, Problem> {
    let document = document(&desk);
    let failure = match document.status {
        Status::Healthy => None,
        Status::Draining => Some("the worker is shutting down".to_owned()),
        Status::Unhealthy => {
            Some(document.problem.unwrap_or_else(|| "no coordinator has been found yet".to_owned()))
        }
    };
    desk.readiness.tell(failure.as_slice());
    match failure {
        None => Ok(HttpResponse::Ok().content_type(ContentType::plaintext()).body("ok\n")),
        Some(reason) => Err(Problem::new(ProblemCode::Unavailable, reason)),
    }
}

/// Metrics in Prometheus' text format.
async fn metrics(desk: web::Data<Desk>) -> HttpResponse {
    let document = document(&desk);
    http::metrics_page(desk.metrics.render(), move |page| {
        let registered = document.coordinator.is_some() && document.incarnation.is_some();
        page.value(&table::UP, 1);
        page.value(&table::WORKER_REGISTERED, u64::from(registered));
        page.value(&table::WORKER_CAPACITY, document.capacity);
        page.value(&table::WORKER_SLOTS, document.slots);
        page.value(&table::WORKER_LEASES, document.leases_held);
        page.value(&table::WORKER_UNACKNOWLEDGED, document.unacknowledged_results);
        figures::write_disk(page, &desk.data_dir);
    })
    .await
}
