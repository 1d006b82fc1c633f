//! Which headers go through the door, either way.
//!
//! Inward only those that the API knows: what a coordinator might believe of a proxy, or take for a credential of the
//! cluster, cannot be slipped in. How a message is framed is never taken over: the body is sent in a frame of this side's
//! own making. Outward everything but what belongs to one connection.

use crate::http::{TRACEPARENT, span_of};
use actix_web::HttpRequest;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Request headers that are passed on, all of their values in their order.
const PASSED_ON: [&str; 11] = [
    "accept",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-type",
    "idempotency-key",
    "if-none-match",
    "last-event-id",
    "tracestate",
    "user-agent",
    "x-commit-index",
];
/// Response headers that speak of one connection or one frame.
const OF_A_CONNECTION: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Characters of a chain of proxies that is believed to be one.
const FORWARDED_LENGTH_MAX: usize = 512;

/// The headers that a coordinator gets.
pub(super) fn inward(request: &HttpRequest, request_id: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in PASSED_ON {
        for value in request.headers().get_all(name) {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
    // The gateway's own span is what the coordinator's works for.
    let parent = span_of(request).traceparent();
    if let Some(value) = parent.and_then(|parent| HeaderValue::from_str(&parent).ok()) {
        headers.insert(TRACEPARENT, value);
    }
    if let Some(value) = forwarded_for(request).and_then(|chain| HeaderValue::from_str(&chain).ok()) {
        headers.insert(X_FORWARDED_FOR, value);
    }
    headers
}

/// The chain that came in, with the address that it came from at its end.
fn forwarded_for(request: &HttpRequest) -> Option<String> {
    let peer = request.peer_addr()?.ip().to_string();
    let values = request.headers().get_all(X_FORWARDED_FOR.as_str());
    let mut chain: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    if chain.iter().map(|part| part.len()).sum::<usize>() > FORWARDED_LENGTH_MAX {
        chain.clear();
    }
    chain.push(&peer);
    Some(chain.join(", "))
}

/// Whether a coordinator's header reaches the client; `connection` is what its `Connection` names.
pub(super) fn goes_outward(name: &HeaderName, connection: &[String]) -> bool {
    !OF_A_CONNECTION.contains(&name.as_str()) && !connection.iter().any(|named| named == name.as_str())
}

/// The headers that `Connection` declares to be of this connection only.
pub(super) fn named_by_connection(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn only_what_the_api_knows_goes_in() {
        let request = TestRequest::default()
            .peer_addr("192.0.2.7:1234".parse().unwrap())
            .insert_header(("content-type", "application/json"))
            .insert_header(("transfer-encoding", "chunked"))
            .insert_header(("host", "elsewhere"))
            .insert_header(("x-cluster-token", "guess"))
            .insert_header(("x-forwarded-for", "198.51.100.1"))
            .insert_header(("connection", "x-commit-index"))
            .to_http_request();
        let headers = inward(&request, "id-1");
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["content-type", "x-forwarded-for", "x-request-id"]);
        assert_eq!(headers[X_FORWARDED_FOR], "198.51.100.1, 192.0.2.7");
        assert_eq!(headers[X_REQUEST_ID], "id-1");
    }

    #[test]
    fn a_key_that_is_given_twice_stays_given_twice() {
        let request = TestRequest::default()
            .append_header(("idempotency-key", "a"))
            .append_header(("idempotency-key", "b"))
            .to_http_request();
        assert_eq!(inward(&request, "id").get_all(IDEMPOTENCY_KEY).iter().count(), 2);
    }

    #[test]
    fn what_belongs_to_a_connection_does_not_go_out() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Keep-Alive, X-Hop"));
        let named = named_by_connection(&headers);
        for stays in ["connection", "x-hop", "transfer-encoding", "content-length", "keep-alive"] {
            assert!(!goes_outward(&HeaderName::from_static(stays), &named), "{stays}");
        }
        for passes in ["x-commit-index", "location", "retry-after", "content-type"] {
            assert!(goes_outward(&HeaderName::from_static(passes), &named), "{passes}");
        }
    }
}
