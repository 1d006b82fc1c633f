//! Clusters as processes on this machine's loopback: coordinators, a worker, a gateway, with a database if a test wants one.

use crate::postgres::{PASSWORD, Postgres, PostgresOptions, USER};
use crate::support::{Client, LIMIT, free_port, poll_until, zkpnet};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The pages of `/metrics` of a cluster that has worked.
pub(crate) struct Pages {
    pub(crate) coordinators: Vec<String>,
    pub(crate) worker: String,
    pub(crate) gateway: String,
}

impl Pages {
    /// Gathered once for all tests: starting a cluster takes seconds.
    pub(crate) fn get() -> &'static Self {
        static PAGES: OnceLock<Pages> = OnceLock::new();
        PAGES.get_or_init(gather)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        let rest = [self.worker.as_str(), self.gateway.as_str()];
        self.coordinators.iter().map(String::as_str).chain(rest)
    }
}

const DATABASE: &str = "zkp_network";

struct Process {
    name: String,
    child: Child,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Ports {
    http: u16,
    grpc: u16,
    raft: u16,
}

/// Processes that form a cluster; killed when dropped.
pub(crate) struct Cluster {
    folder: PathBuf,
    ports: Vec<Ports>,
    /// Settings of every process.
    settings: Vec<(&'static str, String)>,
    running: Vec<Process>,
    /// The coordinators' archive; it ends after them.
    database: Option<Postgres>,
    pub(crate) coordinators: Vec<Client>,
    pub(crate) gateway: Client,
}

impl Cluster {
    /// Starts coordinators and a gateway in an empty folder of that name, and waits until they take tasks.
    pub(crate) fn start(name: &str, coordinators: usize, settings: &[(&'static str, String)]) -> Self {
        Self::start_with(name, coordinators, settings, None)
    }

    fn start_with(
        name: &str,
        coordinators: usize,
        settings: &[(&'static str, String)],
        database: Option<Postgres>,
    ) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("monitoring").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let key = folder.join("data.key");
        assert!(zkpnet().args(["tls", "data-key", "--out"]).arg(&key).status().unwrap().success());
        let ports: Vec<Ports> = (0..coordinators)
            .map(|_| Ports { http: free_port(), grpc: free_port(), raft: free_port() })
            .collect();
        let gateway_port = free_port();
        let at = |port: u16| Client::new(&format!("127.0.0.1:{port}"));
        let mut cluster = Self {
            coordinators: ports.iter().map(|ports| at(ports.http)).collect(),
            gateway: at(gateway_port),
            folder,
            ports,
            settings: settings.to_vec(),
            database,
            running: Vec::new(),
        };
        for number in 0..coordinators {
            cluster.start_coordinator(number);
        }
        let settings = [
            ("ZKPNET_HTTP__PORT", gateway_port.to_string()),
            ("ZKPNET_GATEWAY__COORDINATORS", cluster.addresses(|ports| ports.http)),
        ];
        cluster.launch("gateway", "gateway", &settings);
        for client in cluster.coordinators.clone() {
            cluster.until_ready(&client);
        }
        cluster.until_ready(&cluster.gateway.clone());
        cluster
    }

    /// Starts a worker, and waits until it takes work.
    pub(crate) fn start_worker(&mut self) -> Client {
        let port = free_port();
        let settings = [
            ("ZKPNET_WORKER__ID", "worker-1".to_owned()),
            ("ZKPNET_WORKER__COORDINATOR_ADDRESS", self.addresses(|ports| ports.grpc)),
            ("ZKPNET_HTTP__PORT", port.to_string()),
        ];
        self.launch("worker-1", "worker", &settings);
        let worker = Client::new(&format!("127.0.0.1:{port}"));
        self.until_ready(&worker);
        worker
    }

    /// Waits until this one serves. If it does not, or any process has ended, all of them say why.
    fn until_ready(&mut self, client: &Client) {
        let deadline = Instant::now() + LIMIT;
        while client.get("/readyz").map_or(true, |answer| answer.status != 200) {
            let ended = self.running.iter_mut().find_map(|process| {
                process.child.try_wait().unwrap().map(|status| format!("{} ended, {status}", process.name))
            });
            if ended.is_some() || Instant::now() > deadline {
                let logs: Vec<String> =
                    self.running.iter().map(|process| self.last_words(&process.name)).collect();
                panic!("not ready: {}\n{}", ended.unwrap_or_else(|| format!("{client:?}")), logs.join("\n"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of what a process has written.
    fn last_words(&self, name: &str) -> String {
        let log = self.log(name);
        let lines: Vec<&str> = log.lines().collect();
        format!("{name}:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
    }

    /// What a process has written.
    pub(crate) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap()
    }

    fn addresses(&self, port: fn(&Ports) -> u16) -> String {
        let addresses: Vec<String> =
            self.ports.iter().map(|ports| format!("127.0.0.1:{}", port(ports))).collect();
        addresses.join(",")
    }

    fn start_coordinator(&mut self, number: usize) {
        let name = format!("coordinator-{}", number + 1);
        let peers: Vec<String> = self
            .ports
            .iter()
            .enumerate()
            .map(|(other, ports)| format!("coordinator-{}=127.0.0.1:{}", other + 1, ports.raft))
            .collect();
        let own = &self.ports[number];
        let mut settings = vec![
            ("ZKPNET_COORDINATOR__ID", name.clone()),
            ("ZKPNET_RAFT__NODE_ID", name.clone()),
            ("ZKPNET_RAFT__BOOTSTRAP", "true".to_owned()),
            ("ZKPNET_RAFT__PEERS", peers.join(",")),
            ("ZKPNET_RAFT__HOST", "127.0.0.1".to_owned()),
            ("ZKPNET_RAFT__RAFT_PORT", own.raft.to_string()),
            ("ZKPNET_RAFT__ADVERTISE_ADDRESS", format!("127.0.0.1:{}", own.raft)),
            ("ZKPNET_HTTP__PORT", own.http.to_string()),
            ("ZKPNET_HTTP__ADVERTISE_ADDRESS", format!("127.0.0.1:{}", own.http)),
            ("ZKPNET_GRPC__HOST", "127.0.0.1".to_owned()),
            ("ZKPNET_GRPC__PORT", own.grpc.to_string()),
            ("ZKPNET_GRPC__ADVERTISE_ADDRESS", format!("127.0.0.1:{}", own.grpc)),
            ("ZKPNET_STORAGE__KEY_FILE", self.folder.join("data.key").display().to_string()),
        ];
        if let Some(database) = &self.database {
            settings.extend([
                ("ZKPNET_DATABASE__HOST", "127.0.0.1".to_owned()),
                ("ZKPNET_DATABASE__PORT", database.port().to_string()),
                ("ZKPNET_DATABASE__USER", USER.to_owned()),
                ("ZKPNET_DATABASE__PASSWORD", PASSWORD.to_owned()),
                ("ZKPNET_DATABASE__NAME", DATABASE.to_owned()),
                ("ZKPNET_DATABASE__SSL_MODE", "disable".to_owned()),
            ]);
        }
        self.launch(&name, "coordinator", &settings);
    }

    fn launch(&mut self, name: &str, role: &str, settings: &[(&str, String)]) {
        let log = fs::File::create(self.folder.join(format!("{name}.log"))).unwrap();
        let mut command: Command = zkpnet();
        command.arg(role);
        for (key, value) in settings.iter().chain(&self.settings) {
            command.env(key, value);
        }
        command.env("ZKPNET_HTTP__HOST", "127.0.0.1").env("ZKPNET_CLUSTER__INSECURE", "true");
        if role != "gateway" {
            command.env("ZKPNET_STORAGE__DATA_DIR", self.folder.join(name));
        }
        let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push(Process { name: name.to_owned(), child: command.spawn().unwrap() });
    }
}

pub(crate) fn page(client: &Client) -> String {
    client.get("/metrics").unwrap().body.as_str().unwrap().to_owned()
}

pub(crate) fn submit(gateway: &Client, headers: &[(&str, &str)], leaf: &str) -> (u16, String) {
    let body = json!({"leaves": [leaf], "leaf_index": 0});
    let answer = gateway.post("/api/v1/tasks/merkle", headers, &body).unwrap();
    (answer.status, answer.body["task_id"].as_str().unwrap_or_default().to_owned())
}

/// Waits until a task is proved.
pub(crate) fn until_proved(gateway: &Client, task: &str) {
    poll_until("the task is proved", || {
        let task = gateway.get(&format!("/api/v1/tasks/{task}?wait=10s")).ok()?.body;
        assert_ne!(task["status"], "failed", "{task}");
        (task["status"] == "completed").then_some(())
    });
}

fn gather() -> Pages {
    let database = Postgres::start_with(PostgresOptions { fsync: false, ..PostgresOptions::default() });
    database.create_database(DATABASE);
    let mut cluster = Cluster::start_with("metrics", 3, &[], Some(database));
    // Before there is a worker: a queue that waits.
    let key = [("idempotency-key", "once")];
    let (status, task) = submit(&cluster.gateway, &key, "0xa1");
    assert_eq!(status, 202, "see the logs in {}", cluster.folder.display());
    let mut pages: Vec<String> = cluster.coordinators.iter().map(page).collect();
    let worker = cluster.start_worker();
    until_proved(&cluster.gateway, &task);
    // A refusal by the ledger: the key was used for another request.
    assert_eq!(submit(&cluster.gateway, &key, "0xa2").0, 422, "within {LIMIT:?}");
    // All of it is in the archive, which the leader alone writes to.
    let archived = |page: &String| {
        let written = page.lines().any(|line| {
            line.strip_prefix("zkpnet_archive_batches_total ").is_some_and(|batches| batches != "0")
        });
        written && page.lines().any(|line| line == "zkpnet_archive_lag_items 0")
    };
    poll_until("the task is archived", || {
        cluster.coordinators.iter().map(page).any(|page| archived(&page)).then_some(())
    });
    pages.extend(cluster.coordinators.iter().map(page));
    Pages { coordinators: pages, worker: page(&worker), gateway: page(&cluster.gateway) }
}
