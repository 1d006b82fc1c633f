//! A gateway in this process, and a client of it.

use crate::http::{Answer, HttpClient};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::OnceLock;
use std::time::Duration;
use zkpnet::gateway::GatewayOptions;
use zkpnet::http::{HttpOptions, Readiness};

/// The body limit of the gateways under test.
pub(crate) const BODY_LIMIT_BYTES: usize = 64 << 10;

/// A gateway; it runs on a thread of its own until the process ends.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) readiness: Readiness,
    client: HttpClient,
}

impl Deref for Door {
    type Target = HttpClient;

    fn deref(&self) -> &HttpClient {
        &self.client
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
        let addr = addr.recv_timeout(Duration::from_secs(60)).unwrap();
        Self { readiness, client: HttpClient::new(addr) }
    }

    pub(crate) fn submit(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        self.post("/api/v1/tasks/merkle", headers, body)
    }
}

pub(crate) fn metrics() -> metrics_exporter_prometheus::PrometheusHandle {
    static METRICS: OnceLock<metrics_exporter_prometheus::PrometheusHandle> = OnceLock::new();
    let install = || metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    METRICS.get_or_init(install).clone()
}
