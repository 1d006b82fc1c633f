//! The trace that a request brings with it, by W3C Trace Context.

use crate::telemetry::trace::TraceContext;
use actix_web::HttpMessage;
use actix_web::http::header::HeaderMap;

/// The header's name.
pub(crate) const TRACEPARENT: &str = "traceparent";

/// The trace of the request; a new one when it brings none, or more than one, or what is none.
pub(super) fn context_of(headers: &HeaderMap) -> TraceContext {
    brought(headers).unwrap_or_else(TraceContext::new_trace)
}

fn brought(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(TRACEPARENT);
    let value = values.next()?;
    // Two of them contradict each other, or say the same; the recommendation takes neither.
    if values.next().is_some() { None } else { TraceContext::parse(value.as_bytes()) }
}

/// The span of the request being served: the middleware in `observe` has put it there.
pub(crate) fn span_of(request: &impl HttpMessage) -> TraceContext {
    let span = request.extensions().get::<TraceContext>().copied();
    span.unwrap_or_else(TraceContext::new_trace)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    #[test]
    fn two_parents_are_as_good_as_none() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (name, value) = (HeaderName::from_static(TRACEPARENT), HeaderValue::from_static(text));
        let mut headers = HeaderMap::new();
        assert_eq!(brought(&headers), None);
        headers.append(name.clone(), value.clone());
        assert_eq!(brought(&headers).unwrap().traceparent().unwrap(), text);
        headers.append(name, value);
        assert_eq!(brought(&headers), None);
        assert_ne!(context_of(&headers).trace().to_string(), text[3..35]);
    }
}
