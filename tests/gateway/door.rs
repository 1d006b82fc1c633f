//! A gateway in this process, and a client of it.

use serde_json::Value;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Duration;
use ureq::Agent;
use ureq::http::{HeaderMap, Request};
use zkpnet::gateway::GatewayOptions;
use zkpnet::http::{HttpOptions, Readiness};

/// The body limit of the gateways under test.
pub(crate) const BODY_LIMIT_BYTES: usize = 64 << 10;

/// A gateway; it runs on a thread of its own until the process ends.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) addr: SocketAddr,
    pub(crate) readiness: Readiness,
    agent: Agent,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The code of a problem document that the gateway itself made.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"));
        assert_eq!(self.header("retry-after").is_some(), matches!(self.status, 429 | 503));
        problem["code"].as_str().unwrap().to_owned()
    }
}

impl Door {
    /// A gateway with a patience of twenty seconds.
    pub(crate) fn before(coordinators: &[SocketAddr]) -> Self {
        Self::with_patience(coordinators, Duration::from_secs(20))
    }

    pub(crate) fn with_patience(coordinators: &[SocketAddr], failover_wait: Duration) -> Self {
        let options = GatewayOptions {
            http: HttpOptions {
                host: "127.0.0.1".to_owned(),
                port: 0,
                threads: 2,
                connections_per_thread_max: 256,
                body_limit_bytes: BODY_LIMIT_BYTES as u64,
                wait_max: Duration::from_secs(60),
                request_timeout: Duration::from_secs(20),
                shutdown_grace: Duration::from_secs(1),
            },
            coordinators: coordinators.iter().map(ToString::to_string).collect(),
            failover_wait,
        };
        let readiness = Readiness::starting();
        let (sender, addr) = std::sync::mpsc::channel();
        let switch = readiness.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            actix_rt::System::with_tokio_rt(move || runtime).block_on(async move {
                let mut server = zkpnet::gateway::start(&options, switch.clone(), metrics()).unwrap();
                switch.set_ready();
                sender.send(server.addr()).unwrap();
                eprintln!("a gateway under test has ended: {:?}", server.ended().await);
            });
        });
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(100)))
            .http_status_as_error(false);
        let addr = addr.recv_timeout(Duration::from_secs(60)).unwrap();
        Self { addr, readiness, agent: config.build().into() }
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.addr));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = self.agent.configure_request(request.body(body).unwrap());
        let request = request.allow_non_standard_methods(true).build();
        let mut response = self.agent.run(request).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.body_mut().read_to_string().unwrap() }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut response = self.agent.get(format!("http://{}{path}", self.addr)).call().unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, text: response.body_mut().read_to_string().unwrap() }
    }

    pub(crate) fn submit(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.send("POST", "/api/v1/tasks/merkle", &headers, body.as_bytes())
    }
}

pub(crate) fn metrics() -> metrics_exporter_prometheus::PrometheusHandle {
    static METRICS: OnceLock<metrics_exporter_prometheus::PrometheusHandle> = OnceLock::new();
    let install = || metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    METRICS.get_or_init(install).clone()
}
