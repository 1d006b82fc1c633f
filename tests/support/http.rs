//! A client of the HTTP API that shows all of an answer: status, headers and text.

#![allow(dead_code, reason = "each test target uses its part of this")]

use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, Request, Response};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    fn of(mut response: Response<ureq::Body>) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, text: text_of(&mut response) }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The problem document, checked for what every one has.
    pub(crate) fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["success"], false);
        assert_eq!(problem["error"], problem["detail"]);
        assert_eq!(problem["type"], format!("urn:zkpnet:problem:{}", problem["code"].as_str().unwrap()));
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        assert!(problem["instance"].as_str().unwrap().starts_with('/'));
        assert_eq!(self.header("retry-after").is_some(), matches!(self.status, 429 | 503));
        problem
    }

    /// The problem document's code.
    pub(crate) fn problem_code(&self) -> String {
        self.problem()["code"].as_str().unwrap().to_owned()
    }
}

/// A body, also one that is no text.
fn text_of(response: &mut Response<ureq::Body>) -> String {
    let bytes = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec().unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a test reads at most.
const BODY_BYTES_MAX: u64 = 256 << 20;

/// A client of one server; clones share its connections.
#[derive(Clone)]
pub(crate) struct HttpClient {
    pub(crate) addr: SocketAddr,
    agent: Agent,
}

impl HttpClient {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(100)))
            .http_status_as_error(false);
        Self { addr, agent: config.build().into() }
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = self.agent.configure_request(request.body(body).unwrap());
        let request = request.allow_non_standard_methods(true).build();
        Answer::of(self.agent.run(request).unwrap_or_else(|error| panic!("{method} {path}: {error}")))
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        Answer::of(self.agent.get(format!("http://{}{path}", self.addr)).call().unwrap())
    }

    /// Sends JSON.
    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send("POST", path, &headers, body.as_bytes())
    }
}
