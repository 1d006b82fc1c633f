//! A request's id: taken from the client when it is sane, else made here.

use super::problem::{Problem, X_REQUEST_ID};
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use std::future::{Ready, ready};

/// The longest id that is taken.
const LENGTH_MAX: usize = 128;

/// The id of the request being served. An extractor: the middleware in `observe` has put it there.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) String);

impl RequestId {
    /// The client's id, when it is 1 to 128 visible ASCII characters (no spaces, so that a log line stays one line of
    /// fields), else a new UUID.
    pub(super) fn of(header: Option<&[u8]>) -> Self {
        let is_sane =
            |id: &&[u8]| (1..=LENGTH_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        let taken = header.filter(is_sane).and_then(|id| std::str::from_utf8(id).ok());
        Self(taken.map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned))
    }

    pub(super) fn of_headers(headers: &actix_web::http::header::HeaderMap) -> Self {
        Self::of(headers.get(X_REQUEST_ID).map(|value| value.as_bytes()))
    }
}

impl FromRequest for RequestId {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.extensions().get::<Self>().cloned();
        ready(Ok(id.unwrap_or_else(|| Self::of_headers(request.headers()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_spoil_a_log_is_replaced() {
        for wrong in [&b""[..], b"two words", b"line\nbreak", b"\xff\xfe", &[b'a'; 129]] {
            let made = RequestId::of(Some(wrong));
            assert!(uuid::Uuid::try_parse(&made.0).is_ok(), "{wrong:?} gave {made:?}");
        }
        assert_eq!(RequestId::of(Some(&[b'a'; 128])).0.len(), 128);
        assert_eq!(RequestId::of(Some(b"abc/1:2")).0, "abc/1:2");
    }

    #[test]
    fn two_requests_without_an_id_get_different_ones() {
        assert_ne!(RequestId::of(None).0, RequestId::of(None).0);
    }
}
