//! `POST /api/v1/tasks/{id}/cancel`.

use super::super::body::read_nothing;
use super::super::problem::{Problem, ProblemBody};
use super::super::request_id::RequestId;
use super::super::state::{AppState, Limits};
use super::{commit_index_header, task_id};
use crate::actors::tasks::messages::Cancel;
use crate::ledger::TenantId;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

/// The task is withdrawn.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct CancelAnswer {
    /// Always true.
    success: bool,
    /// Which task.
    #[schema(format = Uuid)]
    task_id: String,
    /// `cancelled`.
    status: &'static str,
    /// For people.
    message: &'static str,
    /// The request's id.
    request_id: String,
}

/// Withdraw a task
///
/// A proof that is being made for it is thrown away. To withdraw a task twice is harmless; one that has ended another
/// way is 409.
#[utoipa::path(
    post, path = "/api/v1/tasks/{id}/cancel", tag = "tasks", operation_id = "cancelTask",
    params(("id" = String, Path, description = "The task's id")),
    responses(
        (status = 200, description = "It is withdrawn", body = CancelAnswer,
            headers(("X-Commit-Index" = u64, description = "The log entry that decided it"))),
        (status = 400, description = "The id is not a UUID, or there is a body", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The task has ended another way", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Try again, or `outcome_unknown`", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(in crate::http) async fn cancel(
    request: HttpRequest,
    payload: web::Payload,
    path: web::Path<String>,
    id: RequestId,
    state: web::Data<AppState>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, Problem> {
    let task = task_id(&path)?;
    read_nothing(&request, payload, &limits).await?;
    let cancelled = state.tasks.cancel(Cancel { tenant: TenantId::DEFAULT, task }).await?;
    Ok(HttpResponse::Ok().insert_header(commit_index_header(cancelled.commit_index)).json(CancelAnswer {
        success: true,
        task_id: cancelled.task.to_string(),
        status: "cancelled",
        message: "the task is withdrawn",
        request_id: id.0,
    }))
}
