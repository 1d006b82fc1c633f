//! Requests to one server, and what their answers say happened.

use crate::history::{Phase, Reply};
use serde_json::{Value, json};
use std::time::Duration;

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Why there is none.
#[derive(Debug)]
#[expect(dead_code, reason = "the causes are shown when a test fails")]
pub(crate) enum NoAnswer {
    /// No connection came about, so that nothing was asked.
    NotAsked(String),
    /// It was sent, perhaps in part, and nothing came back in time.
    Lost(String),
}

/// A client of one address. It repeats nothing.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    server: String,
}

impl Client {
    /// A client that gives up after `limit`.
    pub(crate) fn new(address: &str, limit: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(Duration::from_millis(500).min(limit)))
            .timeout_global(Some(limit))
            .http_status_as_error(false)
            .build();
        Self { agent: config.into(), server: format!("http://{address}") }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer, NoAnswer> {
        answer(self.agent.get(format!("{}{path}", self.server)).call())
    }

    pub(crate) fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, NoAnswer> {
        let mut request = self.agent.post(format!("{}{path}", self.server));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request.send_json(body))
    }

    /// Submits the task of this number, which no other submission shares, under this key.
    pub(crate) fn submit(&self, key: &str, number: u64) -> Reply {
        let body = json!({"leaves": [format!("0x{number:x}"), "0xfe"], "leaf_index": 0});
        // Without the cache of results, so that only the key tells a repetition from another submission.
        let headers = [("Idempotency-Key", key), ("Cache-Control", "no-cache")];
        let answer = match self.post("/api/v1/tasks/merkle", &headers, &body) {
            Ok(answer) => answer,
            Err(none) => return none.into(),
        };
        match answer.status {
            200 | 202 => Reply::Taken(text(&answer.body["task_id"])),
            _ => not_done(&answer),
        }
    }

    /// Looks at a task; `query` is appended.
    pub(crate) fn look(&self, task: &str, query: &str) -> (Reply, Value) {
        let answer = match self.get(&format!("/api/v1/tasks/{task}{query}")) {
            Ok(answer) => answer,
            Err(none) => return (none.into(), Value::Null),
        };
        let reply = match (answer.status, answer.body["status"].as_str()) {
            (200, Some("pending" | "assigned" | "in_progress")) => Reply::Seen(task.to_owned(), Phase::Open),
            (200, Some("completed")) => {
                Reply::Seen(task.to_owned(), Phase::Completed(Some(text(&answer.body["proof"]))))
            }
            (200, Some("failed")) => Reply::Seen(task.to_owned(), Phase::Failed),
            (200, Some("cancelled")) => Reply::Seen(task.to_owned(), Phase::Cancelled),
            (404, _) if answer.body["code"] == "unknown_task" => Reply::NotThere,
            _ => not_done(&answer),
        };
        (reply, answer.body)
    }

    /// Withdraws a task.
    pub(crate) fn cancel(&self, task: &str) -> Reply {
        let answer = match self.post(&format!("/api/v1/tasks/{task}/cancel"), &[], &json!({})) {
            Ok(answer) => answer,
            Err(none) => return none.into(),
        };
        match (answer.status, answer.body["code"].as_str()) {
            (200 | 202, _) => Reply::Withdrawn,
            (409, Some("task_finished")) => Reply::TooLate,
            (404, Some("unknown_task")) => Reply::NotThere,
            _ => not_done(&answer),
        }
    }
}

/// What an answer that is not the one hoped for says: only a refusal that promises so means that nothing was done.
fn not_done(answer: &Answer) -> Reply {
    match (answer.status, answer.body["code"].as_str()) {
        (503, Some("no_leader" | "unavailable" | "overloaded" | "storage_low")) | (429, _) => Reply::Refused,
        (500..=599, _) => Reply::Unknown,
        _ => panic!("an answer that no client of a scenario provokes: {answer:?}"),
    }
}

impl From<NoAnswer> for Reply {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::NotAsked(_) => Reply::Refused,
            NoAnswer::Lost(_) => Reply::Unknown,
        }
    }
}

fn answer(sent: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, NoAnswer> {
    let lost = |error: ureq::Error| NoAnswer::Lost(error.to_string());
    let mut answer = sent.map_err(|error| match error {
        ureq::Error::ConnectionFailed | ureq::Error::Timeout(ureq::Timeout::Connect) => {
            NoAnswer::NotAsked(error.to_string())
        }
        ureq::Error::Io(ref cause) if cause.kind() == std::io::ErrorKind::ConnectionRefused => {
            NoAnswer::NotAsked(error.to_string())
        }
        _ => lost(error),
    })?;
    let status = answer.status().as_u16();
    let text = answer.body_mut().read_to_string().map_err(lost)?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
