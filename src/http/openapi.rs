//! `GET /openapi.json`: the API's description, generated from the handlers.
//!
//! `tests/api/openapi.json` holds it: a change of the API is a change of that file, in the same commit.

use super::{backup, circuits, cluster, health, metrics, proofs, root, tasks, workers};
use actix_web::HttpResponse;
use std::sync::LazyLock;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "zkpnet",
        description = "Makes zero-knowledge proofs (Groth16 on BLS12-381). Every error is an RFC 9457 problem document with a stable `code`."
    ),
    paths(
        tasks::submit::submit_merkle,
        tasks::read::get,
        tasks::read::list,
        tasks::cancel::cancel,
        proofs::verify,
        circuits::list,
        circuits::get,
        circuits::verifying_key,
        cluster::get,
        cluster::change,
        backup::take,
        workers::list,
        health::health,
        health::livez,
        health::readyz,
        metrics::metrics,
        root::root,
        openapi,
    ),
    components(schemas(super::problem::ProblemCode)),
    tags(
        (name = "tasks", description = "Submit tasks, look at them, withdraw them"),
        (name = "proofs", description = "Check proofs"),
        (name = "circuits", description = "What can be proved, and the keys to check it with"),
        (name = "cluster", description = "The members, and changes of them"),
        (name = "node", description = "How the node does")
    )
)]
struct ApiDescription;

static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    // Made of strings and numbers only, so that it always serialises.
    let mut text = ApiDescription::openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

/// The API's description as JSON (OpenAPI 3.1), with a line break at its end.
#[must_use]
pub fn openapi_json() -> &'static str {
    &DOCUMENT
}

/// This description
#[utoipa::path(
    get, path = "/openapi.json", tag = "node", operation_id = "getOpenApi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"))
)]
pub(super) async fn openapi() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(openapi_json())
}
