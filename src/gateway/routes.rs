//! Which paths go through the door, and as what.
//!
//! A path stands here or is not passed on. Administration is not: it belongs to those who can reach a coordinator.

use super::{forward, pages};
use crate::http::{self, Problem, ProblemCode};
use actix_web::{HttpResponse, web};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(http::get("/", http::root))
        .service(http::get("/api/v1/tasks", forward::get))
        .service(http::post("/api/v1/tasks/merkle", forward::submission))
        .service(http::get("/api/v1/tasks/{id}", forward::get))
        .service(http::post("/api/v1/tasks/{id}/cancel", forward::idempotent_write))
        .service(http::post("/api/v1/proofs/verify", forward::question))
        .service(http::get("/api/v1/circuits", forward::get))
        .service(http::get("/api/v1/circuits/{id}", forward::get))
        .service(http::get("/api/v1/circuits/{id}/verifying-key", forward::get))
        .service(http::get("/api/v1/workers", forward::get))
        .service(http::get("/api/v1/cluster", forward::get))
        .service(web::resource("/api/v1/cluster/{rest:.*}").default_service(web::to(not_here)))
        .service(http::get("/openapi.json", forward::get))
        .service(http::get("/health", pages::health))
        .service(http::get("/livez", pages::livez))
        .service(http::get("/readyz", pages::readyz))
        .service(http::get("/ready", pages::readyz))
        .service(http::get("/metrics", pages::metrics))
        .default_service(web::to(http::unknown_path));
}

async fn not_here() -> Result<HttpResponse, Problem> {
    Err(Problem::new(
        ProblemCode::UnknownPath,
        "the cluster is not administrated through the gateway; ask a coordinator",
    ))
}
