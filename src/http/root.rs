//! What someone sees who opens the node in a browser.

use actix_web::HttpResponse;
use serde_json::json;

/// Where to go from here
#[utoipa::path(
    get, path = "/", tag = "node", operation_id = "getRoot",
    responses((status = 200, description = "Where to go from here", body = Object, content_type = "application/json"))
)]
pub(crate) async fn root() -> HttpResponse {
    HttpResponse::Ok().json(json!({
        "name": "zkpnet",
        "version": env!("CARGO_PKG_VERSION"),
        "what": "makes zero-knowledge proofs; POST /api/v1/tasks/merkle submits a task",
        "openapi": "/openapi.json",
        "health": "/health",
        "metrics": "/metrics",
        "tasks": "/api/v1/tasks",
        "circuits": "/api/v1/circuits",
    }))
}
