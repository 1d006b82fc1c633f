//! `GET /api/v1/workers`: the workers as the ledger knows them, the same on every coordinator.

use super::problem::{Problem, ProblemBody};
use super::query::Query;
use super::request_id::RequestId;
use super::state::AppState;
use super::time_text::rfc3339;
use crate::actors::tasks::messages::WorkerView;
use crate::ledger::WorkerState;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

/// One worker.
#[derive(Serialize, ToSchema)]
#[schema(as = Worker)]
pub(super) struct WorkerDocument {
    /// Its name.
    worker_id: String,
    /// `active`, `draining` (finishes what it holds) or `lost`.
    state: &'static str,
    /// Tasks that it takes at once.
    capacity: u32,
    /// Tasks that it holds.
    held: u64,
    /// The circuits that it can prove.
    circuits: Vec<String>,
    /// The version of its software.
    version: String,
    /// When it registered.
    registered_at: String,
    /// When it was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    lost_at: Option<String>,
}

/// All workers.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkerListAnswer {
    /// Always true.
    success: bool,
    /// The workers, by name; lost ones until they are forgotten.
    workers: Vec<WorkerDocument>,
    /// The request's id.
    request_id: String,
}

impl From<WorkerView> for WorkerDocument {
    fn from(view: WorkerView) -> Self {
        let WorkerView { worker, held } = view;
        Self {
            worker_id: worker.id.to_string(),
            state: match worker.state {
                WorkerState::Active => "active",
                WorkerState::Draining => "draining",
                WorkerState::Lost => "lost",
            },
            capacity: worker.capacity,
            held,
            circuits: worker.circuits.iter().map(ToString::to_string).collect(),
            version: worker.version.into(),
            registered_at: rfc3339(worker.registered_at),
            lost_at: worker.lost_at.map(rfc3339),
        }
    }
}

/// List the workers
#[utoipa::path(
    get, path = "/api/v1/workers", tag = "cluster", operation_id = "listWorkers",
    responses(
        (status = 200, description = "The workers", body = WorkerListAnswer),
        (status = 503, description = "Too much at once", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn list(
    request: HttpRequest,
    id: RequestId,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    let workers = state.tasks.workers().await?.into_iter().map(WorkerDocument::from).collect();
    Ok(HttpResponse::Ok().json(WorkerListAnswer { success: true, workers, request_id: id.0 }))
}
