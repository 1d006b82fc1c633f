//! What happens around every request: its id, its time limit, its line in the log, its metrics, and the last word on
//! its errors.
//!
//! Every error leaves as a problem document with the request's id and path, whoever made it: a handler, an extractor or
//! the framework. A panic in a handler becomes a 500 of that one request. Bodies and query strings are never logged.

use super::meters::{self, InFlight};
use super::problem::{Context, Problem, X_REQUEST_ID};
use super::request_id::RequestId;
use super::state::Limits;
use super::tasks::read::requested_wait;
use super::trace_parent::context_of;
use crate::telemetry::trace::{Attribute, Span, SpanKind};
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{
    CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// Characters of a path that a log line shows.
const LOGGED_PATH_LENGTH_MAX: usize = 256;

/// The middleware.
pub(super) async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut seen = Seen::of(&request);
    request.extensions_mut().insert(RequestId(seen.context.request_id.clone()));
    request.extensions_mut().insert(seen.span.context());
    let limit = time_limit(&request);
    let in_flight = InFlight::enter();
    let serving = AssertUnwindSafe(tokio::time::timeout(limit, next.call(request))).catch_unwind();
    let result = match serving.await {
        Ok(Ok(Ok(answer))) => Ok(seen.finish(answer.map_into_boxed_body())),
        Ok(Ok(Err(error))) => Err(seen.problem_of(&error)),
        Ok(Err(_)) => Err(seen.out_of_time()),
        Err(_) => Err(Problem::internal("a handler panicked")),
    };
    drop(in_flight);
    match result {
        Ok(answer) => {
            let problem = answer.response().error().and_then(|error| error.as_error::<Problem>()).cloned();
            seen.record(answer.status().as_u16(), problem.as_ref(), Answerer::Handler);
            Ok(answer)
        }
        Err(problem) => {
            let problem = problem.with_context(&seen.context);
            seen.record(problem.status().as_u16(), Some(&problem), Answerer::Middleware);
            Err(problem.into())
        }
    }
}

/// How long the request may take; what `wait` asks for comes on top.
fn time_limit(request: &ServiceRequest) -> Duration {
    let Some(limits) = request.app_data::<web::Data<Limits>>() else { return Duration::MAX };
    let wait = requested_wait(request.query_string()).unwrap_or_default().min(limits.wait_max);
    limits.request_timeout + wait + limits.answer_grace
}

/// Who made an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answerer {
    /// The route's handler, or what stands before it.
    Handler,
    /// The handler did not come to an end.
    Middleware,
}

/// What is needed of a request once it is gone.
struct Seen {
    context: Context,
    method: Method,
    /// The route's pattern: a label of metrics must not take values that clients choose.
    route: String,
    began: Instant,
    /// What the request is in its trace; passed on by whoever works for it.
    span: Span,
}

impl Seen {
    fn of(request: &ServiceRequest) -> Self {
        let route = request.match_pattern().unwrap_or_else(|| "unmatched".to_owned());
        let mut parent = context_of(request.headers());
        if is_probe(&route) {
            // Asked for every few seconds, and part of nobody's work.
            parent = parent.unsampled();
        }
        Self {
            context: Context {
                request_id: RequestId::of_headers(request.headers()).0,
                instance: request.path().to_owned(),
            },
            method: request.method().clone(),
            route,
            began: Instant::now(),
            span: Span::begin("http request", SpanKind::Server, &parent),
        }
    }

    /// Puts the common headers on an answer, and the request's id into it when it is an error.
    fn finish(&self, answer: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        let problem = answer.response().error().map(|error| self.problem_of(error));
        let mut answer = match problem {
            Some(problem) => {
                let problem = problem.with_context(&self.context);
                let (request, _) = answer.into_parts();
                ServiceResponse::from_err(problem, request)
            }
            None => answer,
        };
        self.common_headers(answer.headers_mut());
        answer
    }

    fn problem_of(&self, error: &Error) -> Problem {
        match error.as_error::<Problem>() {
            Some(problem) => problem.clone(),
            None => {
                let problem = Problem::of_status(error.as_response_error().status_code());
                Problem { cause: Some(error.to_string().into()), ..problem }
            }
        }
    }

    fn out_of_time(&self) -> Problem {
        use super::problem::ProblemCode::{OutcomeUnknown, Unavailable};
        match self.method {
            Method::GET | Method::HEAD => Problem::new(Unavailable, "the node did not answer in time"),
            _ => Problem::new(
                OutcomeUnknown,
                "the node did not answer in time; the request may have been fulfilled",
            ),
        }
    }

    fn common_headers(&self, headers: &mut HeaderMap) {
        let mut set = |name: HeaderName, value: &'static str| {
            if !headers.contains_key(&name) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        };
        set(X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(REFERRER_POLICY, "no-referrer");
        set(CACHE_CONTROL, "no-store");
        if let Ok(id) = HeaderValue::from_str(&self.context.request_id) {
            headers.insert(X_REQUEST_ID, id);
        }
    }

    fn record(&mut self, status: u16, problem: Option<&Problem>, by: Answerer) {
        let elapsed = self.began.elapsed();
        self.tell_span(status);
        meters::record(method_label(&self.method), &self.route, status, elapsed);
        self.log(status, elapsed, problem, by);
    }

    fn tell_span(&mut self, status: u16) {
        let (method, route, id) = (method_label(&self.method), &self.route, &self.context.request_id);
        self.span.tell_text("http.request.method", method);
        self.span.tell_text("http.route", route);
        self.span.tell_text("zkpnet.request_id", id);
        self.span.tell("http.response.status_code", || Attribute::Count(u64::from(status)));
        if status >= 500 {
            self.span.fail();
        }
    }

    fn log(&self, status: u16, elapsed: Duration, problem: Option<&Problem>, by: Answerer) {
        let id = self.context.request_id.as_str();
        let trace_id = self.span.context().trace();
        let path: String = self.context.instance.chars().take(LOGGED_PATH_LENGTH_MAX).collect();
        let path = path.as_str();
        let (method, ms) = (self.method.as_str(), elapsed.as_secs_f64() * 1e3);
        let code = problem.map(|problem| problem.code.as_str()).unwrap_or_default();
        let field = problem.and_then(|problem| problem.field.as_deref()).unwrap_or_default();
        if let Some(cause) = problem.and_then(|problem| problem.cause.as_deref()) {
            tracing::error!(request_id = id, %trace_id, method, path, status, code, cause, "a request failed");
        }
        // That the node is not ready is told by the handler, when that is news.
        let is_told = by == Answerer::Handler && self.asks_for_readiness() && status == 503;
        if status >= 500 && !is_told {
            tracing::warn!(request_id = id, %trace_id, method, path, status, ms, code, "request");
        } else if is_probe(&self.route) {
            tracing::debug!(request_id = id, %trace_id, method, path, status, ms, "request");
        } else if status >= 400 {
            tracing::info!(request_id = id, %trace_id, method, path, status, ms, code, field, "request");
        } else {
            tracing::info!(request_id = id, %trace_id, method, path, status, ms, "request");
        }
    }

    fn asks_for_readiness(&self) -> bool {
        matches!(self.route.as_str(), "/readyz" | "/ready")
    }
}

/// Whether a machine asks for it every few seconds.
fn is_probe(route: &str) -> bool {
    matches!(route, "/readyz" | "/ready" | "/health" | "/livez" | "/metrics")
}

/// A method as a label: clients may send any word.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
