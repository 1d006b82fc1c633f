//! `POST /api/v1/tasks/merkle`: a submission is answered only when it is durable.

use super::super::body::read_json;
use super::super::problem::{Problem, ProblemBody, ProblemCode};
use super::super::request_id::RequestId;
use super::super::state::{AppState, Limits, Phase};
use super::super::trace_parent::span_of;
use super::submission::{MerkleRequest, decode_merkle};
use super::{X_CACHE, commit_index_header};
use crate::actors::tasks::messages::{Accepted, Submit};
use crate::ledger::{CacheUse, IdempotencyKey, KeyAnswer, TenantId};
use actix_web::http::header::{CACHE_CONTROL, HeaderMap, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// A submission was taken, or an equal one had been.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct SubmitAnswer {
    /// Always true.
    success: bool,
    /// The task to ask for.
    #[schema(format = Uuid)]
    task_id: String,
    /// `pending` for a new task, `cached` for an earlier one.
    status: SubmitStatus,
    /// For people.
    message: &'static str,
    /// The request's id.
    request_id: String,
}

/// What became of a submission.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum SubmitStatus {
    /// A new task waits for a worker.
    Pending,
    /// An equal task is open or was completed recently.
    Cached,
}

/// Submit a Merkle task
///
/// Proves knowledge of some leaf of a Poseidon Merkle tree with a public root. Either all leaves are sent, or one leaf
/// with its path. The answer comes when the task is durable. The same request again gives the first task (`cached`)
/// while that is open or recently completed.
#[utoipa::path(
    post, path = "/api/v1/tasks/merkle", tag = "tasks", operation_id = "submitMerkle",
    request_body = MerkleRequest,
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 printable ASCII characters. The same key with the same body gives the first answer again, with another body 422"),
        ("Cache-Control" = Option<String>, Header, description = "`no-cache` asks for a new proof even if an equal task is there"),
        ("X-Request-ID" = Option<String>, Header, description = "1 to 128 visible ASCII characters; made when absent")
    ),
    responses(
        (status = 202, description = "The task is taken and durable", body = SubmitAnswer,
            headers(("Location" = String, description = "The task's path"), ("X-Commit-Index" = u64, description = "The log entry that took it"))),
        (status = 200, description = "An equal task is there", body = SubmitAnswer,
            headers(("X-Cache" = String, description = "HIT"), ("Location" = String, description = "The task's path"), ("X-Commit-Index" = u64, description = "The log entry that decided it"))),
        (status = 400, description = "A field is wrong; nothing is stored", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The idempotency key was used for another request", body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, description = "A limit is reached; nothing is stored", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Try again, or `outcome_unknown`: it may have been taken", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(in crate::http) async fn submit_merkle(
    request: HttpRequest,
    payload: web::Payload,
    id: RequestId,
    state: web::Data<AppState>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, Problem> {
    if state.readiness.phase() == Phase::Draining {
        return Err(Problem::new(ProblemCode::Unavailable, "the node is shutting down; nothing was stored"));
    }
    let idempotency_key = idempotency_key(request.headers())?;
    let cache = cache_use(request.headers());
    let decode = |json| decode_merkle(json).map_err(Problem::from);
    let (statement, options) = read_json(&request, payload, &limits, decode).await?;
    let submit = Submit { tenant: TenantId::DEFAULT, statement, options, idempotency_key, cache };
    let accepted = state.tasks.submit_traced(submit, span_of(&request)).await?;
    Ok(answer(&accepted, id))
}

fn answer(accepted: &Accepted, RequestId(request_id): RequestId) -> HttpResponse {
    let task_id = accepted.task.to_string();
    let location = format!("/api/v1/tasks/{task_id}");
    let (mut response, status, message) = match accepted.answer {
        KeyAnswer::Submitted => {
            (HttpResponse::Accepted(), SubmitStatus::Pending, "the task is stored and waits for a worker")
        }
        KeyAnswer::Cached => {
            let mut response = HttpResponse::Ok();
            response.insert_header((X_CACHE, "HIT"));
            (response, SubmitStatus::Cached, "an equal task was submitted before; this is its id")
        }
    };
    response
        .insert_header((LOCATION, location))
        .insert_header(commit_index_header(accepted.commit_index))
        .json(SubmitAnswer { success: true, task_id, status, message, request_id })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::field(IDEMPOTENCY_KEY, "occurs twice"));
    }
    let refuse = |reason: String| Problem::field(IDEMPOTENCY_KEY, reason);
    let text = value.to_str().map_err(|_| refuse("must consist of printable ASCII characters".to_owned()))?;
    IdempotencyKey::new(text).map(Some).map_err(|error| refuse(error.to_string()))
}

fn cache_use(headers: &HeaderMap) -> CacheUse {
    let asks =
        headers.get_all(CACHE_CONTROL).filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(','));
    let mut asks = asks.map(|directive| directive.trim().to_ascii_lowercase());
    if asks.any(|directive| directive == "no-cache" || directive == "no-store") {
        CacheUse::Bypassed
    } else {
        CacheUse::Allowed
    }
}
