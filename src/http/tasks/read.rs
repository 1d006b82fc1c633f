//! `GET /api/v1/tasks/{id}` and `GET /api/v1/tasks`.

use super::super::cursor;
use super::super::problem::{Problem, ProblemBody};
use super::super::query::Query;
use super::super::request_id::RequestId;
use super::super::state::{AppState, Limits};
use super::super::time_text::{parse_duration, parse_rfc3339};
use super::document::{AsOfDocument, TaskDocument, TaskListAnswer};
use super::{X_COMMIT_INDEX, task_id};
use crate::actors::tasks::messages::{AwaitTask, Consistency, GetTask, ListTasks, TaskView};
use crate::ledger::{CircuitId, LogIndex, TaskFilter, TaskId, TaskStatus, TenantId};
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::{Either, select};
use std::pin::pin;
use std::time::Duration;

/// Tasks on a page when the request does not say.
const LIMIT_DEFAULT: u16 = 50;
/// Tasks on a page at most.
const LIMIT_MAX: u16 = 500;

/// Get a task
///
/// With everything that is known of it; the proof once it is completed. The answer reflects every write acknowledged
/// before the question, by any coordinator.
#[utoipa::path(
    get, path = "/api/v1/tasks/{id}", tag = "tasks", operation_id = "getTask",
    params(
        ("id" = String, Path, description = "The task's id"),
        ("wait" = Option<String>, Query, description = "Hold the request until the task has ended, for at most this long: `500ms`, `30s`, `1m`. Cut to the server's limit; then the task is answered as it is", example = "30s"),
        ("consistency" = Option<String>, Query, description = "`stale` answers from the local copy, also without a leader, and says in `as_of` how old it may be; `linearizable` is the default")
    ),
    responses(
        (status = 200, description = "The task", body = TaskDocument),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such task", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "There is no leader, or too much at once", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(in crate::http) async fn get(
    request: HttpRequest,
    path: web::Path<String>,
    id: RequestId,
    state: web::Data<AppState>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, Problem> {
    let task = task_id(&path)?;
    let mut query = Query::of(&request, &["wait", "consistency"])?;
    let wait = query.take_as("wait", parse_duration)?.filter(|wait| !wait.is_zero());
    let consistency = query.take_as("consistency", parse_consistency)?.unwrap_or_default();
    let view = match wait {
        Some(_) if consistency == Consistency::Stale => {
            return Err(Problem::field("consistency", "stale does not go with `wait`"));
        }
        Some(wait) => wait_for(&state, task, wait.min(limits.wait_max)).await?,
        None => state.tasks.get(GetTask { tenant: TenantId::DEFAULT, task, consistency }).await?,
    };
    let as_of = (consistency == Consistency::Stale).then(|| AsOfDocument::of(&view.as_of));
    Ok(HttpResponse::Ok().json(TaskDocument::of_view(&view, as_of, id.0)))
}

/// Waits for the task's end, or for that of the node.
async fn wait_for(state: &AppState, task: TaskId, limit: Duration) -> Result<TaskView, Problem> {
    let tenant = TenantId::DEFAULT;
    let ended = state.tasks.wait(AwaitTask { tenant, task, limit });
    match select(pin!(ended), pin!(state.readiness.until_draining())).await {
        Either::Left((view, _)) => Ok(view?),
        // Who waits must not keep the node from ending.
        Either::Right(_) => {
            let consistency = Consistency::Linearizable;
            Ok(state.tasks.get(GetTask { tenant, task, consistency }).await?)
        }
    }
}

/// What `wait` asks for, for the middleware's time limit; `None` when it asks for nothing or is wrong.
pub(crate) fn requested_wait(query: &str) -> Option<Duration> {
    query.split('&').find_map(|pair| parse_duration(pair.strip_prefix("wait=")?).ok())
}

/// List tasks
///
/// Newest first. A page may hold fewer tasks than `limit` and still have a `next_cursor`; the last page has none.
#[utoipa::path(
    get, path = "/api/v1/tasks", tag = "tasks", operation_id = "listTasks",
    params(
        ("status" = Option<String>, Query, description = "pending, assigned, in_progress, completed, failed or cancelled"),
        ("circuit" = Option<String>, Query, description = "A circuit's name"),
        ("since" = Option<String>, Query, description = "Submitted at or after this time (RFC 3339)"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the previous page, with the same filters"),
        ("limit" = Option<u16>, Query, description = "1 to 500; 50 when absent"),
        ("consistency" = Option<String>, Query, description = "`stale` answers from the local copy, also without a leader; `linearizable` is the default"),
        ("X-Commit-Index" = Option<u64>, Header, description = "Of an earlier write: the list reflects at least that entry, which is cheaper than the default")
    ),
    responses(
        (status = 200, description = "A page", body = TaskListAnswer),
        (status = 400, description = "A parameter is wrong", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "There is no leader, or too much at once", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(in crate::http) async fn list(
    request: HttpRequest,
    id: RequestId,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let list = list_request(&request)?;
    let filter = list.filter.clone();
    let answer = state.tasks.list(list).await?;
    Ok(HttpResponse::Ok().json(TaskListAnswer {
        success: true,
        tasks: answer.tasks.iter().map(TaskDocument::of_record).collect(),
        next_cursor: answer.next_before.map(|before| cursor::encode(before, &filter)),
        as_of: AsOfDocument::of(&answer.as_of),
        request_id: id.0,
    }))
}

fn list_request(request: &HttpRequest) -> Result<ListTasks, Problem> {
    let known = ["status", "circuit", "since", "cursor", "limit", "consistency"];
    let mut query = Query::of(request, &known)?;
    let filter = TaskFilter {
        status: query.take_as("status", parse_status)?,
        circuit: query.take_as("circuit", CircuitId::new)?,
        since: query.take_as("since", parse_rfc3339)?,
    };
    let before = query.take_as("cursor", |text| cursor::decode(text, &filter))?;
    let limit = query.take_as("limit", parse_limit)?.unwrap_or(LIMIT_DEFAULT);
    let asked = query.take_as("consistency", parse_consistency)?;
    let consistency = match (asked, at_least(request)?) {
        (Some(consistency), _) => consistency,
        (None, Some(index)) => Consistency::AtLeast(index),
        (None, None) => Consistency::Linearizable,
    };
    Ok(ListTasks { tenant: TenantId::DEFAULT, filter, before, limit, consistency })
}

fn at_least(request: &HttpRequest) -> Result<Option<LogIndex>, Problem> {
    let Some(value) = request.headers().get(X_COMMIT_INDEX) else { return Ok(None) };
    let index = value.to_str().ok().and_then(|text| text.parse().ok());
    index
        .map(|index| Some(LogIndex(index)))
        .ok_or_else(|| Problem::field("X-Commit-Index", "must be a whole number, as a write answered it"))
}

fn parse_status(text: &str) -> Result<TaskStatus, String> {
    TaskStatus::ALL.into_iter().find(|status| status.as_str() == text).ok_or_else(|| {
        let words: Vec<&str> = TaskStatus::ALL.iter().map(|status| status.as_str()).collect();
        format!("must be one of {}", words.join(", "))
    })
}

fn parse_limit(text: &str) -> Result<u16, String> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| format!("must be a whole number from 1 to {LIMIT_MAX}"))
}

fn parse_consistency(text: &str) -> Result<Consistency, &'static str> {
    match text {
        "stale" => Ok(Consistency::Stale),
        "linearizable" => Ok(Consistency::Linearizable),
        _ => Err("must be stale or linearizable"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn listed(uri: &str) -> Result<ListTasks, String> {
        list_request(&TestRequest::with_uri(uri).to_http_request()).map_err(|problem| problem.detail)
    }

    #[test]
    fn a_list_without_parameters_is_the_newest_tasks_and_linearizable() {
        let list = listed("/").unwrap();
        assert_eq!((list.limit, list.before, list.consistency), (50, None, Consistency::Linearizable));
        assert_eq!(list.filter, TaskFilter::default());
    }

    #[test]
    fn each_wrong_parameter_is_named() {
        for (uri, field) in [
            ("/?status=done", "status"),
            ("/?circuit=", "circuit"),
            ("/?circuit=a%20b", "circuit"),
            ("/?since=now", "since"),
            ("/?cursor=abc", "cursor"),
            ("/?limit=0", "limit"),
            ("/?limit=501", "limit"),
            ("/?limit=-1", "limit"),
            ("/?consistency=eventual", "consistency"),
            ("/?page=2", "page"),
        ] {
            let detail = listed(uri).unwrap_err();
            assert!(detail.starts_with(&format!("{field}: ")), "{uri} gave {detail}");
        }
    }

    #[test]
    fn a_list_takes_back_the_index_of_a_write() {
        let request = TestRequest::with_uri("/").insert_header(("X-Commit-Index", "12")).to_http_request();
        assert_eq!(list_request(&request).unwrap().consistency, Consistency::AtLeast(LogIndex(12)));
        let request = TestRequest::with_uri("/").insert_header(("X-Commit-Index", "-1")).to_http_request();
        assert!(list_request(&request).is_err());
    }

    #[test]
    fn the_time_limit_follows_what_wait_asks_for() {
        assert_eq!(requested_wait("consistency=stale&wait=30s"), Some(Duration::from_secs(30)));
        assert_eq!(requested_wait("await=30s"), None);
        assert_eq!(requested_wait("wait=long"), None);
    }
}
