//! A whole node in this process, and a client that shows all of an answer.

use crate::http::{Answer, HttpClient};
use serde_json::{Value, json};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use zkpnet::config::{FlagOverride, LoadRequest, Role, load};
use zkpnet::node::Node;

/// The body limit of the nodes under test.
pub(crate) const BODY_LIMIT_BYTES: usize = 1 << 20;

/// A node and a client of it. The node runs on a thread of its own until the process ends.
#[derive(Clone)]
pub(crate) struct Service {
    client: HttpClient,
}

impl Deref for Service {
    type Target = HttpClient;

    fn deref(&self) -> &HttpClient {
        &self.client
    }
}

impl Service {
    /// The node that most tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Service> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&folder("keys")))
    }

    /// A node of its own, for tests that count what is stored.
    pub(crate) fn fresh() -> Self {
        // The shared node's key is there before another looks for it.
        Self::shared().a_completed_task();
        Self::start(&folder("keys"))
    }

    fn start(keys: &std::path::Path) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let data = folder(&format!("node-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let (sender, addr) = std::sync::mpsc::channel();
        let settings = [
            ("http.port", "0".to_owned()),
            ("http.body_limit_bytes", BODY_LIMIT_BYTES.to_string()),
            ("http.workers", "2".to_owned()),
            ("storage.data_dir", data.display().to_string()),
            ("storage.keys_dir", keys.display().to_string()),
        ];
        let flags = settings.map(|(key, value)| FlagOverride { key, value, flag: "--test" }).to_vec();
        let loaded = load(&LoadRequest { flags, ..LoadRequest::new(Role::Dev) }).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            actix_rt::System::with_tokio_rt(move || runtime).block_on(async move {
                let mut node = Node::start(&loaded.config, metrics()).await.unwrap();
                sender.send(node.addr()).unwrap();
                eprintln!("a node under test has failed: {}", node.failed().await);
            });
        });
        Self { client: HttpClient::new(addr.recv_timeout(Duration::from_secs(120)).unwrap()) }
    }

    pub(crate) fn submit(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.post("/api/v1/tasks/merkle", headers, &body.to_string())
    }

    /// Submits a tree of the leaf, and gives the task's id.
    pub(crate) fn take(&self, leaf: &str) -> String {
        let answer = self.submit(&[], &tree(leaf));
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["task_id"].as_str().unwrap().to_owned()
    }

    /// The task once it is completed.
    pub(crate) fn completed(&self, id: &str) -> Value {
        let task = self.get(&format!("/api/v1/tasks/{id}?wait=60s")).json();
        assert_eq!(task["status"], "completed", "{task}");
        task
    }

    /// A task that was completed for all tests.
    pub(crate) fn a_completed_task(&self) -> &'static Value {
        static TASK: OnceLock<Value> = OnceLock::new();
        TASK.get_or_init(|| self.completed(&self.take("0xc0")))
    }

    /// How many tasks are stored; fails when it cannot tell.
    pub(crate) fn stored(&self) -> usize {
        let page = self.get("/api/v1/tasks?limit=500").json();
        assert_eq!(page.get("next_cursor"), None, "too many to count");
        page["tasks"].as_array().unwrap().len()
    }
}

/// A submission of a tree with one leaf.
pub(crate) fn tree(leaf: &str) -> Value {
    json!({"leaves": [leaf], "leaf_index": 0})
}

/// A leaf that no other test has.
pub(crate) fn new_leaf() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0x1000);
    format!("0x{:x}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// An empty folder of this run; those of the run before are removed with the first.
fn folder(name: &str) -> PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("api");
        let _ = std::fs::remove_dir_all(&root);
        root
    });
    let path = root.join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn metrics() -> metrics_exporter_prometheus::PrometheusHandle {
    static METRICS: OnceLock<metrics_exporter_prometheus::PrometheusHandle> = OnceLock::new();
    let install = || metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder().unwrap();
    METRICS.get_or_init(install).clone()
}
