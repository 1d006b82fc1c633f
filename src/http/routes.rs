//! Which handler answers which path.
//!
//! Every path takes HEAD where it takes GET, and answers 405 with `Allow` to any other method; everything else is 404.

use super::problem::{Problem, ProblemCode};
use super::{backup, circuits, cluster, health, metrics, openapi, proofs, root, tasks, workers};
use actix_web::{Handler, HttpResponse, Resource, Responder, web};

/// Adds all routes.
pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(get("/", root::root))
        .service(
            web::resource("/api/v1/tasks")
                .route(web::get().to(tasks::read::list))
                .route(web::head().to(tasks::read::list))
                .default_service(web::to(only_get)),
        )
        .service(post("/api/v1/tasks/merkle", tasks::submit::submit_merkle))
        .service(get("/api/v1/tasks/{id}", tasks::read::get).default_service(web::to(only_get_of_a_task)))
        .service(post("/api/v1/tasks/{id}/cancel", tasks::cancel::cancel))
        .service(post("/api/v1/proofs/verify", proofs::verify))
        .service(get("/api/v1/circuits", circuits::list))
        .service(get("/api/v1/circuits/{id}", circuits::get))
        .service(get("/api/v1/circuits/{id}/verifying-key", circuits::verifying_key))
        .service(get("/api/v1/cluster", cluster::get))
        .service(get("/api/v1/cluster/backup", backup::take))
        .service(post("/api/v1/cluster/{action}", cluster::change))
        .service(get("/api/v1/workers", workers::list))
        .service(get("/health", health::health))
        .service(get("/livez", health::livez))
        .service(get("/readyz", health::readyz))
        .service(get("/ready", health::readyz))
        .service(get("/metrics", metrics::metrics))
        .service(get("/openapi.json", openapi::openapi))
        .default_service(web::to(unknown_path));
}

/// A path that takes GET and HEAD.
pub(crate) fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args> + Clone,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(only_get))
}

/// A path that takes POST.
pub(crate) fn post<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path).route(web::post().to(handler)).default_service(web::to(only_post))
}

async fn only_get() -> Result<HttpResponse, Problem> {
    Err(method_not_allowed("GET, HEAD"))
}

/// A word in the place of an id is the path of a kind of task that this version does not have.
async fn only_get_of_a_task(path: web::Path<String>) -> Result<HttpResponse, Problem> {
    match tasks::task_id(&path) {
        Ok(_) => only_get().await,
        Err(_) => unknown_path().await,
    }
}

async fn only_post() -> Result<HttpResponse, Problem> {
    Err(method_not_allowed("POST"))
}

fn method_not_allowed(allow: &'static str) -> Problem {
    let detail = format!("this path takes {allow}");
    Problem { allow: Some(allow), ..Problem::new(ProblemCode::MethodNotAllowed, detail) }
}

/// The answer to a path that leads nowhere.
pub(crate) async fn unknown_path() -> Result<HttpResponse, Problem> {
    Err(Problem::new(
        ProblemCode::UnknownPath,
        "there is nothing at this path; /openapi.json lists what there is",
    ))
}
