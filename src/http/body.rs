//! Reading a request's body: its type, its size, its time, and the room that all bodies share.
//!
//! The framework's extractor is not used, because its errors have no field and no place in the text, and because it
//! counts every request alone: here the bodies of all requests together have a bound as well.

use super::json::{Json, parse};
use super::problem::{Problem, ProblemCode};
use super::state::{BODY_FREE_BYTES, BODY_UNIT_BYTES, Limits};
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::{HttpRequest, web};
use futures_util::StreamExt;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bodies from this size are parsed on the pool for blocking work: a megabyte takes milliseconds, and the thread that
/// would parse it serves other clients.
const PARSED_APART_FROM_BYTES: usize = 32 << 10;

/// A body in memory, and the room that it takes until it is dropped.
pub(crate) struct Received {
    bytes: Vec<u8>,
    _room: Room,
}

impl Received {
    /// Takes the bytes out; the room is taken for as long as this lives.
    pub(crate) fn take_bytes(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }
}

/// Reads the body as JSON and decodes it.
pub(super) async fn read_json<T: Send + 'static>(
    request: &HttpRequest,
    payload: web::Payload,
    limits: &Limits,
    decode: impl FnOnce(Json) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    check_content_type(request)?;
    let received = receive(request, payload, limits).await?;
    let is_large = received.bytes.len() >= PARSED_APART_FROM_BYTES;
    let run = move || {
        let json = parse(&received.bytes)?;
        // The text is not needed beside its tree.
        drop(received);
        decode(json)
    };
    if !is_large {
        return run();
    }
    match web::block(run).await {
        Ok(result) => result,
        Err(error) => Err(Problem::internal(format!("reading a body: {error}"))),
    }
}

/// For requests without content: an empty body or an empty object.
pub(super) async fn read_nothing(
    request: &HttpRequest,
    payload: web::Payload,
    limits: &Limits,
) -> Result<(), Problem> {
    let received = receive(request, payload, limits).await?;
    if received.bytes.is_empty() {
        return Ok(());
    }
    match parse(&received.bytes)? {
        Json::Object(fields) if fields.is_empty() => Ok(()),
        _ => Err(Problem::field("body", "must be empty or an empty object")),
    }
}

fn check_content_type(request: &HttpRequest) -> Result<(), Problem> {
    let refuse = |detail: &str| Err(Problem::new(ProblemCode::UnsupportedMediaType, detail));
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    match header(CONTENT_ENCODING) {
        None => {}
        Some(encoding) if encoding.trim().eq_ignore_ascii_case("identity") => {}
        Some(_) => return refuse("the body must not be compressed"),
    }
    let Some(content_type) = header(CONTENT_TYPE) else {
        return refuse("Content-Type is missing; send application/json");
    };
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        return refuse("Content-Type must be application/json");
    }
    let charset =
        parts.find_map(|part| part.to_ascii_lowercase().strip_prefix("charset=").map(str::to_owned));
    match charset.as_deref().map(|charset| charset.trim_matches('"')) {
        None | Some("utf-8" | "utf8") => Ok(()),
        Some(_) => refuse("the charset must be utf-8"),
    }
}

fn content_length(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a body as it is, within its limits.
pub(crate) async fn receive(
    request: &HttpRequest,
    payload: web::Payload,
    limits: &Limits,
) -> Result<Received, Problem> {
    if content_length(request).is_some_and(|length| length > limits.body_bytes_max as u64) {
        return Err(too_large(limits));
    }
    let reading = tokio::time::timeout(limits.request_timeout, receive_chunks(payload, limits));
    reading
        .await
        .unwrap_or_else(|_| Err(Problem::new(ProblemCode::RequestTimeout, "the body did not come in time")))
}

async fn receive_chunks(mut payload: web::Payload, limits: &Limits) -> Result<Received, Problem> {
    let mut bytes = Vec::new();
    let mut room = Room { of: Arc::clone(&limits.body_room), taken: None, bytes: 0 };
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            Problem::new(ProblemCode::BadRequest, format!("the body could not be read: {error}"))
        })?;
        if bytes.len() + chunk.len() > limits.body_bytes_max {
            return Err(too_large(limits));
        }
        // Room is taken as bytes arrive and not as they are announced, so that it cannot be held by announcing.
        room.grow_to(bytes.len() + chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(Received { bytes, _room: room })
}

fn too_large(limits: &Limits) -> Problem {
    let max = limits.body_bytes_max;
    Problem::new(ProblemCode::BodyTooLarge, format!("the body may have at most {max} bytes"))
}

/// A part of the room for bodies.
struct Room {
    of: Arc<Semaphore>,
    taken: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room {
    fn grow_to(&mut self, bytes: usize) -> Result<(), Problem> {
        let in_units = |bytes: usize| bytes.saturating_sub(BODY_FREE_BYTES).div_ceil(BODY_UNIT_BYTES);
        let units = in_units(bytes) - in_units(self.bytes);
        if units == 0 {
            self.bytes = bytes;
            return Ok(());
        }
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let more = Arc::clone(&self.of).try_acquire_many_owned(units).map_err(|_| {
            Problem::new(ProblemCode::Overloaded, "too many large requests at once; nothing was stored")
        })?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        self.bytes = bytes;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn room(units: usize) -> Room {
        Room { of: Arc::new(Semaphore::new(units)), taken: None, bytes: 0 }
    }

    #[test]
    fn small_bodies_need_none_of_the_room_that_large_ones_share() {
        let mut small = room(0);
        small.grow_to(BODY_FREE_BYTES).unwrap();
        assert!(small.grow_to(BODY_FREE_BYTES + 1).is_err());
    }

    #[test]
    fn a_body_takes_what_it_has_beyond_that_however_it_comes() {
        let mut whole = room(3);
        whole.grow_to(BODY_FREE_BYTES + 3 * BODY_UNIT_BYTES).unwrap();
        assert_eq!(whole.of.available_permits(), 0);
        let mut pieces = room(3);
        for bytes in (0..=BODY_FREE_BYTES + 3 * BODY_UNIT_BYTES).step_by(100) {
            pieces.grow_to(bytes).unwrap();
        }
        assert_eq!(pieces.of.available_permits(), 0);
        assert!(pieces.grow_to(BODY_FREE_BYTES + 3 * BODY_UNIT_BYTES + 1).is_err());
    }
}
