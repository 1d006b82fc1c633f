//! Errors as RFC 9457 problem documents: one form for every refusal, the framework's own included.
//!
//! A [`Problem`] says what is wrong in words (`detail`), for programs (`code`, stable, listed in `docs/api.md`), and which
//! field (`field`). It never holds a request's values. The request's id and path are added by the middleware in
//! `observe`, which sees every answer on its way out.

use super::fields::FieldError;
use super::json::JsonError;
use crate::ledger::TaskId;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde::{Deserialize, Serialize};
use std::fmt;
use utoipa::ToSchema;

/// The media type of a problem document.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";
/// The header that carries a request's id.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What went wrong, for programs. The words are part of the API and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The body is not JSON, or has a key twice, or is nested too deeply.
    InvalidJson,
    /// A field, parameter or header is wrong; `field` names it.
    InvalidField,
    /// The field asks for something that this version does not have.
    NotSupported,
    /// A proof or a public input is no encoding of one.
    InvalidProof,
    /// There is nothing at this path.
    UnknownPath,
    /// There is no such task, or it is somebody else's.
    UnknownTask,
    /// There is no such circuit.
    UnknownCircuit,
    /// The cluster has no such member.
    UnknownMember,
    /// The cluster, as it is, does not allow the change.
    ChangeRefused,
    /// The request wants a token that it does not bring.
    Unauthorized,
    /// The path exists and does not take this method.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// The task has ended another way.
    TaskFinished,
    /// The circuit has no key yet, so that there can be no proof of it.
    NoKeyYet,
    /// The body is larger than allowed.
    BodyTooLarge,
    /// The body is not `application/json`, or is compressed.
    UnsupportedMediaType,
    /// The idempotency key was used for another request.
    IdempotencyConflict,
    /// A limit is reached; nothing was stored.
    LimitReached,
    /// The archive has fallen too far behind; nothing was stored.
    ArchiveBehind,
    /// The disk has too little room; nothing was stored.
    StorageLow,
    /// The answer may be in the archive, which cannot be read now.
    ArchiveUnavailable,
    /// Too much at once; nothing was stored.
    Overloaded,
    /// There is no leader to take it; nothing was stored.
    NoLeader,
    /// The node is starting or shutting down; nothing was stored.
    Unavailable,
    /// It may have been done; ask, or repeat it with the same idempotency key.
    OutcomeUnknown,
    /// Anything else that is wrong with the request.
    BadRequest,
    /// A defect of the node.
    Internal,
}

impl ProblemCode {
    /// The status that goes with it.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::InvalidJson
            | Self::InvalidField
            | Self::NotSupported
            | Self::InvalidProof
            | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::UnknownPath | Self::UnknownTask | Self::UnknownCircuit | Self::UnknownMember => {
                StatusCode::NOT_FOUND
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TaskFinished | Self::NoKeyYet | Self::ChangeRefused => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::IdempotencyConflict => StatusCode::UNPROCESSABLE_ENTITY,
            Self::LimitReached => StatusCode::TOO_MANY_REQUESTS,
            Self::ArchiveBehind
            | Self::StorageLow
            | Self::ArchiveUnavailable
            | Self::Overloaded
            | Self::NoLeader
            | Self::Unavailable
            | Self::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::InvalidJson => "The body is not valid JSON",
            Self::InvalidField => "The request is not valid",
            Self::NotSupported => "This version does not support it",
            Self::InvalidProof => "The proof is not well formed",
            Self::UnknownPath => "There is nothing here",
            Self::UnknownTask => "The task is not known",
            Self::UnknownCircuit => "The circuit is not known",
            Self::UnknownMember => "The member is not known",
            Self::ChangeRefused => "The change is refused",
            Self::Unauthorized => "A token is needed",
            Self::MethodNotAllowed => "The method is not allowed here",
            Self::RequestTimeout => "The request did not come in time",
            Self::TaskFinished => "The task has ended",
            Self::NoKeyYet => "The circuit has no key yet",
            Self::BodyTooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body's type is not supported",
            Self::IdempotencyConflict => "The idempotency key is taken",
            Self::LimitReached => "A limit is reached",
            Self::ArchiveBehind => "The archive is too far behind",
            Self::StorageLow => "The disk is nearly full",
            Self::ArchiveUnavailable => "The archive cannot be read",
            Self::Overloaded => "Too much at once",
            Self::NoLeader => "There is no leader",
            Self::Unavailable => "The node is not available",
            Self::OutcomeUnknown => "The outcome is not known",
            Self::BadRequest => "The request is not valid",
            Self::Internal => "Internal error",
        }
    }

    /// The word that `serde` writes for it.
    pub(super) fn as_str(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(word)) => word,
            _ => "internal".to_owned(),
        }
    }

    /// How long a client does well to wait, in seconds, where waiting helps.
    const fn retry_after_seconds(self) -> Option<u32> {
        match self {
            Self::LimitReached | Self::ArchiveBehind | Self::StorageLow | Self::ArchiveUnavailable => Some(5),
            Self::Overloaded | Self::NoLeader | Self::Unavailable | Self::OutcomeUnknown => Some(1),
            _ => None,
        }
    }
}

/// The body of every error (RFC 9457, and what earlier clients look at: `success`, `error`).
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemBody {
    /// Names the kind of problem; `urn:zkpnet:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:zkpnet:problem:invalid_field")]
    pub kind: String,
    /// The kind in words.
    pub title: &'static str,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong with this request, in words.
    #[schema(example = "leaves[1]: character 4 after 0x is not a hex digit")]
    pub detail: String,
    /// The path that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub instance: Option<String>,
    /// The kind for programs.
    pub code: ProblemCode,
    /// Always false.
    pub success: bool,
    /// The same as `detail`.
    pub error: String,
    /// The request's id, as in `X-Request-ID` and in the logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub request_id: Option<String>,
    /// The field, parameter or header that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "leaves[1]")]
    pub field: Option<String>,
    /// With `outcome_unknown`: the id of the task that may have been taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    pub task_id: Option<String>,
}

/// What a client is told when its request is not fulfilled.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(super) code: ProblemCode,
    pub(super) detail: String,
    pub(super) field: Option<String>,
    pub(super) task: Option<TaskId>,
    /// The methods that the path takes, for 405.
    pub(super) allow: Option<&'static str>,
    /// For the log only.
    pub(super) cause: Option<Box<str>>,
    /// Replaces the code's status, for the framework's own errors.
    pub(super) status: Option<StatusCode>,
    pub(super) context: Option<Box<Context>>,
}

/// What the middleware knows of the request.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(super) request_id: String,
    pub(super) instance: String,
}

impl Problem {
    pub(crate) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            field: None,
            task: None,
            allow: None,
            cause: None,
            status: None,
            context: None,
        }
    }

    /// A wrong field, parameter or header.
    pub(super) fn field(field: impl Into<String>, reason: impl Into<String>) -> Self {
        FieldError::new(field, reason).into()
    }

    /// A defect: the client is told that there is one, the log what it is.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        let detail =
            "the node has failed in a way that it did not foresee; its log says more under the request's id";
        Self { cause: Some(cause.into().into()), ..Self::new(ProblemCode::Internal, detail) }
    }

    /// An answer of the framework that has no body of its own.
    pub(super) fn of_status(status: StatusCode) -> Self {
        let code = match status {
            StatusCode::NOT_FOUND => ProblemCode::UnknownPath,
            StatusCode::METHOD_NOT_ALLOWED => ProblemCode::MethodNotAllowed,
            StatusCode::REQUEST_TIMEOUT => ProblemCode::RequestTimeout,
            StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::BodyTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemCode::UnsupportedMediaType,
            status if status.is_client_error() => ProblemCode::BadRequest,
            _ => ProblemCode::Internal,
        };
        let detail = status.canonical_reason().unwrap_or("the request failed").to_lowercase();
        Self { status: Some(status), ..Self::new(code, detail) }
    }

    pub(super) fn with_context(mut self, context: &Context) -> Self {
        self.context = Some(Box::new(context.clone()));
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.code.status())
    }

    /// The answer.
    pub(super) fn render(&self) -> HttpResponse {
        let (request_id, instance) = match &self.context {
            Some(context) => (Some(context.request_id.clone()), Some(context.instance.clone())),
            None => (None, None),
        };
        let body = ProblemBody {
            kind: format!("urn:zkpnet:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.status().as_u16(),
            detail: self.detail.clone(),
            instance,
            code: self.code,
            success: false,
            error: self.detail.clone(),
            request_id: request_id.clone(),
            field: self.field.clone(),
            task_id: self.task.map(|task| task.to_string()),
        };
        let mut answer = HttpResponse::build(self.status());
        if let Some(seconds) = self.code.retry_after_seconds() {
            answer.insert_header((RETRY_AFTER, seconds));
        }
        if let Some(methods) = self.allow {
            answer.insert_header((ALLOW, methods));
        }
        if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
            answer.insert_header((X_REQUEST_ID, id));
        }
        answer.insert_header((CONTENT_TYPE, PROBLEM_JSON));
        // Strings and numbers always serialise.
        answer.body(serde_json::to_vec(&body).unwrap_or_default())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        self.render()
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        let code = if error.unsupported { ProblemCode::NotSupported } else { ProblemCode::InvalidField };
        Self { field: Some(error.field.clone()), ..Self::new(code, error.to_string()) }
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        Self::new(ProblemCode::InvalidJson, error.to_string())
    }
}
