//! One exchange with one coordinator: bounded in time and size, over connections that are kept.
//!
//! The one thing that it must get right is what a failure means: a connection that could not be made carried nothing,
//! whereas of every other failure nobody knows what it left behind.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::HeaderMap;
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::error::Error as _;
use std::time::Duration;

/// A coordinator that is there accepts at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Shorter than the coordinators keep theirs (75 s), so that it is this side that closes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections to each coordinator that are kept for the next request.
const IDLE_CONNECTIONS_MAX: usize = 256;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Headers of an answer.
const HEADERS_MAX: usize = 64;
/// Bytes of an answer's body: a page of 500 tasks is a fraction of it.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A request as it is put to coordinators; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// A coordinator's answer, whole.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// There was no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExchangeError {
    /// No connection came about: the coordinator knows nothing of the request.
    #[error("no connection: {0}")]
    NotSent(String),
    /// The request may have arrived.
    #[error("no answer: {0}")]
    Unknown(String),
    /// What came back is no answer of a coordinator; the request may have been fulfilled.
    #[error("a malformed answer: {0}")]
    Malformed(String),
}

/// The connections to all coordinators.
pub(super) struct Upstream {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Upstream {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .http1_max_headers(HEADERS_MAX)
            .build(connector);
        Self { client }
    }

    /// Puts the request to the coordinator at `authority` and reads its answer.
    pub(super) async fn exchange(
        &self,
        authority: &Authority,
        outgoing: &Outgoing,
        limit: Duration,
    ) -> Result<Reply, ExchangeError> {
        match tokio::time::timeout(limit, self.exchange_unbounded(authority, outgoing)).await {
            Ok(result) => result,
            Err(_) => Err(ExchangeError::Unknown(format!("not within {} ms", limit.as_millis()))),
        }
    }

    async fn exchange_unbounded(
        &self,
        authority: &Authority,
        outgoing: &Outgoing,
    ) -> Result<Reply, ExchangeError> {
        let request = build(authority, outgoing)?;
        let response = self.client.request(request).await.map_err(|error| {
            let text = with_source(&error);
            if error.is_connect() { ExchangeError::NotSent(text) } else { ExchangeError::Unknown(text) }
        })?;
        receive(response).await
    }
}

fn build(authority: &Authority, outgoing: &Outgoing) -> Result<Request<Full<Bytes>>, ExchangeError> {
    let not_sent = |error: hyper::http::Error| ExchangeError::NotSent(error.to_string());
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(authority.clone())
        .path_and_query(outgoing.target.clone())
        .build()
        .map_err(not_sent)?;
    let mut request = Request::new(Full::new(outgoing.body.clone()));
    *request.method_mut() = outgoing.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = outgoing.headers.clone();
    Ok(request)
}

async fn receive(response: Response<hyper::body::Incoming>) -> Result<Reply, ExchangeError> {
    let (parts, body) = response.into_parts();
    // Coordinators neither redirect nor switch protocols.
    if !(parts.status.is_success() || parts.status.is_client_error() || parts.status.is_server_error()) {
        return Err(ExchangeError::Malformed(format!("status {}", parts.status.as_u16())));
    }
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| {
        let is_too_large = error.downcast_ref::<http_body_util::LengthLimitError>().is_some();
        let text = error.to_string();
        if is_too_large { ExchangeError::Malformed(text) } else { ExchangeError::Unknown(text) }
    })?;
    Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes() })
}

fn with_source(error: &hyper_util::client::legacy::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}
