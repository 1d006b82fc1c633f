//! One client's connection: kept while it lasts, made again when it does not.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection to one server at a time.
pub(super) struct Connection {
    authority: String,
    sender: Option<SendRequest<Full<Bytes>>>,
}

/// An answer with success.
pub(super) struct Answer {
    pub(super) body: Bytes,
}

/// Why there is none, in a word that can be counted: a problem's code, a status, or what broke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind(pub(super) String);

impl Kind {
    fn of(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether another server may do it.
    pub(super) fn is_of_the_server(&self) -> bool {
        matches!(self.0.as_str(), "no_leader" | "unavailable" | "not_connected" | "broken")
    }
}

impl Connection {
    pub(super) const fn new() -> Self {
        Self { authority: String::new(), sender: None }
    }

    /// Sends a request to `authority`, over the connection that is there if it leads to it.
    pub(super) async fn call(
        &mut self,
        authority: &str,
        method: Method,
        target: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<Answer, Kind> {
        let call = tokio::time::timeout(limit, self.call_unbounded(authority, method, target, body)).await;
        let result = call.unwrap_or_else(|_| Err(Kind::of("timeout")));
        if let Err(Kind(kind)) = &result
            && matches!(kind.as_str(), "broken" | "timeout" | "not_connected")
        {
            self.sender = None;
        }
        result
    }

    async fn call_unbounded(
        &mut self,
        authority: &str,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Answer, Kind> {
        if self.authority != authority || self.sender.as_ref().is_none_or(SendRequest::is_closed) {
            self.sender = Some(connect(authority).await.ok_or_else(|| Kind::of("not_connected"))?);
            authority.clone_into(&mut self.authority);
        }
        let Some(sender) = &mut self.sender else { return Err(Kind::of("not_connected")) };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|_| Kind::of("bad_target"))?;
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_str(authority).map_err(|_| Kind::of("bad_host"))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        sender.ready().await.map_err(|_| Kind::of("broken"))?;
        let response = sender.send_request(request).await.map_err(|_| Kind::of("broken"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| Kind::of("broken"))?.to_bytes();
        if status.is_success() { Ok(Answer { body }) } else { Err(refusal(status.as_u16(), &body)) }
    }
}

async fn connect(authority: &str) -> Option<SendRequest<Full<Bytes>>> {
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(authority)).await.ok()?.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
    // Ends when the sender is dropped or the server closes; its error is the next request's.
    tokio::spawn(connection);
    Some(sender)
}

fn refusal(status: u16, body: &[u8]) -> Kind {
    let problem: Option<Value> = serde_json::from_slice(body).ok();
    let code = problem.as_ref().and_then(|problem| problem.get("code")?.as_str());
    Kind(code.map_or_else(|| format!("status_{status}"), str::to_owned))
}
