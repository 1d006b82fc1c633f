//! Around every request that is passed on: its room, its body, its headers, its kind of patience, and its answer.
//!
//! The work is done apart from the client's connection. A write goes on when its client hangs up, so that it is not given
//! up between two attempts; a read ends with its client.

use super::upstream::{Outgoing, Reply};
use super::{Door, headers, read, write};
use crate::http::{Limits, Problem, ProblemCode, RequestId, receive};
use crate::ledger::RETRY_KEY_PREFIX;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use hyper::Method;
use hyper::http::uri::PathAndQuery;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// The first pause between two attempts; doubled from one to the next.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// The longest pause: what a client waits beyond an election.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How long to go on after a failure. Starts with the first one.
#[derive(Clone, Debug)]
pub(super) struct Patience {
    limit: Duration,
    until: Option<Instant>,
    pause: Duration,
}

impl Patience {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, until: None, pause: PAUSE_MIN }
    }

    /// Comes back when it is time for another attempt, or with false when the patience is at its end. The first other
    /// attempt is made at once: most failures are of one coordinator only.
    pub(super) async fn another(&mut self) -> bool {
        let Some(until) = self.until else {
            self.until = Some(Instant::now() + self.limit);
            return !self.limit.is_zero();
        };
        let now = Instant::now();
        if now >= until {
            return false;
        }
        tokio::time::sleep(self.pause.min(until - now)).await;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        true
    }
}

/// Ends its task when it is dropped.
struct EndsWithClient<T>(JoinHandle<T>);

impl<T> Drop for EndsWithClient<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A write without a body of consequence, or one that is idempotent by itself.
pub(super) async fn idempotent_write(
    request: HttpRequest,
    payload: web::Payload,
    id: RequestId,
    door: web::Data<Door>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, Problem> {
    let outgoing = outgoing(&request, Method::POST, &id)?;
    put_write(&request, payload, &door, &limits, outgoing).await
}

/// A submission. One that has no idempotency key gets a key here, so that it can be repeated.
pub(super) async fn submission(
    request: HttpRequest,
    payload: web::Payload,
    id: RequestId,
    door: web::Data<Door>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, Problem> {
    let mut outgoing = outgoing(&request, Method::POST, &id)?;
    if !outgoing.headers.contains_key(headers::IDEMPOTENCY_KEY) {
        let key = format!("{RETRY_KEY_PREFIX}{}", uuid::Uuid::now_v7());
        let key = key.parse().map_err(|_| Problem::internal("a made key is no header"))?;
        outgoing.headers.insert(headers::IDEMPOTENCY_KEY, key);
    }
    put_write(&request, payload, &door, &limits, outgoing).await
}

async fn put_write(
    request: &HttpRequest,
    payload: web::Payload,
    door: &web::Data<Door>,
    limits: &Limits,
    mut outgoing: Outgoing,
) -> Result<HttpResponse, Problem> {
    let mut received = receive(request, payload, limits).await?;
    // Only now: clients that send slowly must not keep out those that have sent.
    let room = room(&door.writes)?;
    outgoing.body = Bytes::from(received.take_bytes());
    let coordinators = Arc::clone(&door.coordinators);
    let (patience, limit) = (Patience::new(door.failover_wait), door.request_timeout + door.failover_wait);
    let work = door.runtime.spawn(async move {
        let _held = (room, received);
        write::write(&coordinators, outgoing, patience, limit).await
    });
    answer(work.await.map_err(|error| lost(&error))??)
}

/// A question with a body, which any coordinator answers.
pub(super) async fn question(
    request: HttpRequest,
    payload: web::Payload,
    id: RequestId,
    door: web::Data<Door>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, Problem> {
    let mut outgoing = outgoing(&request, Method::POST, &id)?;
    let mut received = receive(&request, payload, &limits).await?;
    let room = room(&door.writes)?;
    outgoing.body = Bytes::from(received.take_bytes());
    let reply = put_read(&door, outgoing, (room, Some(received))).await;
    answer(reply?)
}

/// A read. HEAD is asked as GET: the server leaves the body out.
pub(super) async fn get(
    request: HttpRequest,
    id: RequestId,
    door: web::Data<Door>,
) -> Result<HttpResponse, Problem> {
    let room = room(&door.reads)?;
    let outgoing = outgoing(&request, Method::GET, &id)?;
    answer(put_read(&door, outgoing, (room, None::<()>)).await?)
}

async fn put_read<H: Send + 'static>(
    door: &web::Data<Door>,
    outgoing: Outgoing,
    held: H,
) -> Result<Reply, Problem> {
    let coordinators = Arc::clone(&door.coordinators);
    let (patience, limit) = (Patience::new(door.failover_wait), door.request_timeout + door.failover_wait);
    let wait = read::waits(&outgoing.target).map(|wait| wait.min(door.wait_max));
    let mut work = EndsWithClient(door.runtime.spawn(async move {
        let _held = held;
        match wait {
            Some(wait) => read::read_waiting(&coordinators, &outgoing, &patience, wait, limit).await,
            None => read::read(&coordinators, &outgoing, patience, limit).await,
        }
    }));
    (&mut work.0).await.map_err(|error| lost(&error))?
}

fn room(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Problem> {
    let full = |_| Problem::new(ProblemCode::Overloaded, "too many requests are in hand; nothing was stored");
    Arc::clone(of).try_acquire_owned().map_err(full)
}

fn lost(error: &tokio::task::JoinError) -> Problem {
    Problem::internal(format!("passing a request on: {error}"))
}

fn outgoing(request: &HttpRequest, method: Method, id: &RequestId) -> Result<Outgoing, Problem> {
    let uri = request.uri();
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let target: PathAndQuery =
        target.parse().map_err(|_| Problem::new(ProblemCode::BadRequest, "the path cannot be passed on"))?;
    Ok(Outgoing { method, target, headers: headers::inward(request, &id.0), body: Bytes::new() })
}

/// A coordinator's answer as the client gets it.
fn answer(reply: Reply) -> Result<HttpResponse, Problem> {
    let status = actix_web::http::StatusCode::from_u16(reply.status.as_u16())
        .map_err(|error| Problem::internal(error.to_string()))?;
    let mut answer = HttpResponse::build(status);
    let connection = headers::named_by_connection(&reply.headers);
    for (name, value) in &reply.headers {
        if !headers::goes_outward(name, &connection) {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            answer.append_header((name, value));
        }
    }
    Ok(answer.body(reply.body))
}
