//! What an answer means for a repetition: the last word, a reason to ask elsewhere, or none at all.
//!
//! Only 503 and 500 are ever looked into. Everything else, refusals included, is the answer.

use super::upstream::Reply;
use hyper::StatusCode;
use serde::Deserialize;

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Pass it on.
    Final,
    /// This coordinator cannot, another may; nothing was stored.
    Elsewhere,
    /// It can, and has too much to do; nothing was stored.
    Busy,
    /// It may have been done.
    Unknown,
    /// A defect of that coordinator.
    Defect,
}

#[derive(Deserialize)]
struct Code<'a> {
    #[serde(borrow)]
    code: Option<&'a str>,
}

pub(super) fn verdict(reply: &Reply) -> Verdict {
    match reply.status {
        StatusCode::TOO_MANY_REQUESTS => Verdict::Busy,
        StatusCode::SERVICE_UNAVAILABLE => match code(reply) {
            Some("no_leader" | "unavailable") => Verdict::Elsewhere,
            Some("overloaded" | "archive_behind" | "storage_low" | "archive_unavailable") => Verdict::Busy,
            // What does not say that nothing was stored does not mean it either.
            _ => Verdict::Unknown,
        },
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Verdict::Unknown,
        status if status.is_server_error() => Verdict::Defect,
        _ => Verdict::Final,
    }
}

fn code(reply: &Reply) -> Option<&str> {
    serde_json::from_slice::<Code<'_>>(&reply.body).ok()?.code
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use hyper::HeaderMap;

    #[test]
    fn only_what_says_that_nothing_was_stored_is_believed_to_mean_it() {
        let cases = [
            (202, "", Verdict::Final),
            (409, r#"{"code":"task_finished"}"#, Verdict::Final),
            (429, r#"{"code":"limit_reached"}"#, Verdict::Busy),
            (500, r#"{"code":"internal"}"#, Verdict::Defect),
            (502, "", Verdict::Unknown),
            (503, r#"{"code":"no_leader"}"#, Verdict::Elsewhere),
            (503, r#"{"code":"unavailable"}"#, Verdict::Elsewhere),
            (503, r#"{"code":"overloaded"}"#, Verdict::Busy),
            (503, r#"{"code":"archive_behind"}"#, Verdict::Busy),
            (503, r#"{"code":"storage_low"}"#, Verdict::Busy),
            (503, r#"{"code":"archive_unavailable"}"#, Verdict::Busy),
            (503, r#"{"code":"outcome_unknown"}"#, Verdict::Unknown),
            (503, r#"{"code":7}"#, Verdict::Unknown),
            (503, "<html>", Verdict::Unknown),
        ];
        for (status, body, expected) in cases {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            let reply =
                Reply { status, headers: HeaderMap::new(), body: Bytes::from_static(body.as_bytes()) };
            assert_eq!(verdict(&reply), expected, "{status} {body}");
        }
    }
}
