//! The HTTP client of the commands: bounded in time and size, and clear about what an error means.

use super::output::printable;
use anyhow::{Context, bail};
use serde_json::Value;
use std::fmt;
use std::io::Read;
use std::time::Duration;
use ureq::http::Uri;
use ureq::{Agent, RequestBuilder};

/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole exchange, without what the server is asked to wait.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is read: a full page of tasks is far below it.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Speaks to one service.
pub(super) struct Client {
    agent: Agent,
    base: String,
}

/// The service did not do what was asked.
#[derive(Debug)]
pub(super) enum CallError {
    /// It answered with an error.
    Problem { status: u16, detail: String, code: String, request_id: String, task_id: String },
    /// There was no answer.
    NoAnswer { base: String, reason: String },
    /// The answer is not what this service answers.
    Strange { base: String, reason: String },
}

impl CallError {
    /// Whether the service said no, and would say it again.
    pub(super) const fn is_no(&self) -> bool {
        matches!(self, Self::Problem { status: 400..=499, .. } | Self::Strange { .. }) && !self.is_limit()
    }

    const fn is_limit(&self) -> bool {
        matches!(self, Self::Problem { status: 429, .. })
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem { status, detail, code, request_id, task_id } => {
                write!(f, "{} ({status} {}", printable(detail), printable(code))?;
                if !task_id.is_empty() {
                    write!(f, ", task {}", printable(task_id))?;
                }
                if !request_id.is_empty() {
                    write!(f, ", request {}", printable(request_id))?;
                }
                f.write_str(")")
            }
            Self::NoAnswer { base, reason } => write!(f, "no answer from {base}: {}", printable(reason)),
            Self::Strange { base, reason } => {
                write!(f, "{base} does not answer as it should: {}", printable(reason))
            }
        }
    }
}

impl Client {
    /// A client of the service at `server`.
    pub(super) fn new(server: &str) -> anyhow::Result<Self> {
        let base = server.trim_end_matches('/');
        let uri: Uri = base.parse().with_context(|| format!("{server:?} is no address"))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        if !matches!(scheme, "http" | "https") || uri.host().is_none_or(str::is_empty) {
            bail!("{server:?} is no address of a service: expected something like http://127.0.0.1:8080");
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            bail!("{server:?} must not have a path");
        }
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("zkpnet/", env!("CARGO_PKG_VERSION")));
        if uri.host().is_some_and(is_local) {
            // A proxy of the environment cannot know this machine's own services.
            config = config.proxy(None);
        }
        Ok(Self { agent: config.build().new_agent(), base: base.to_owned() })
    }

    /// Asks for a page, which the service may hold for `wait`.
    pub(super) fn get(&self, path_and_query: &str, wait: Duration) -> Result<Value, CallError> {
        let request = self.agent.get(self.url(path_and_query));
        self.call(request, wait, RequestBuilder::call)
    }

    /// Sends a JSON body with headers.
    pub(super) fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value, CallError> {
        let mut request = self.agent.post(self.url(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.call(request, Duration::ZERO, |request| request.send_json(body))
    }

    /// Asks only whether a page is answered with success.
    pub(super) fn probe(&self, path: &str, limit: Duration) -> Result<(), CallError> {
        let request = self.agent.get(self.url(path)).config().timeout_global(Some(limit)).build();
        let no_answer =
            |error: ureq::Error| CallError::NoAnswer { base: self.base.clone(), reason: error.to_string() };
        let status = request.call().map_err(no_answer)?.status();
        if status.is_success() {
            return Ok(());
        }
        Err(CallError::Strange {
            base: self.base.clone(),
            reason: format!("status {} at {path}", status.as_u16()),
        })
    }

    /// Asks for something large, to be read as a stream; the whole must be there within `limit`.
    pub(super) fn download(
        &self,
        path: &str,
        token: Option<&str>,
        limit: Duration,
    ) -> Result<impl Read + use<>, CallError> {
        let mut request = self.agent.get(self.url(path));
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let config = request.config().timeout_global(Some(limit));
        let request = config.timeout_recv_response(Some(EXCHANGE_TIMEOUT)).build();
        let response = request.call().map_err(|error| self.lost(&error))?;
        let status = response.status().as_u16();
        let mut body = response.into_body();
        if (200..300).contains(&status) {
            return Ok(body.into_with_config().limit(u64::MAX).reader());
        }
        let text = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Err(self.refusal(status, &text.map_err(|error| self.lost(&error))?))
    }

    /// What a connection that broke is told as.
    pub(super) fn lost(&self, error: &dyn fmt::Display) -> CallError {
        CallError::NoAnswer { base: self.base.clone(), reason: error.to_string() }
    }

    /// What an answer without success says.
    fn refusal(&self, status: u16, body: &[u8]) -> CallError {
        match serde_json::from_slice::<Value>(body) {
            Ok(problem) if problem.get("code").is_some() => {
                let text = |name| super::output::member(&problem, name);
                let (detail, code) = (text("detail"), text("code"));
                let (request_id, task_id) = (text("request_id"), text("task_id"));
                CallError::Problem { status, detail, code, request_id, task_id }
            }
            _ => CallError::Strange { base: self.base.clone(), reason: format!("status {status}") },
        }
    }

    fn url(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.base)
    }

    fn call<B>(
        &self,
        request: RequestBuilder<B>,
        wait: Duration,
        send: impl FnOnce(RequestBuilder<B>) -> Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<Value, CallError> {
        let no_answer = |error: ureq::Error| self.lost(&error);
        let strange = |reason: String| CallError::Strange { base: self.base.clone(), reason };
        let request = request.config().timeout_global(Some(EXCHANGE_TIMEOUT + wait)).build();
        let mut response = send(request).map_err(no_answer)?;
        let status = response.status().as_u16();
        let body =
            response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().map_err(no_answer)?;
        if (200..300).contains(&status) {
            return serde_json::from_slice(&body)
                .map_err(|error| strange(format!("status {status} with a body that is not JSON ({error})")));
        }
        Err(self.refusal(status, &body))
    }
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A text as a part of a path or a query.
pub(super) fn percent_encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
