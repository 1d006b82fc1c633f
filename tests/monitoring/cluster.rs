//! A cluster as processes on this machine's loopback: three coordinators, a worker, a gateway. It has proved something.

use crate::support::{Client, LIMIT, poll_until, zkpnet};
use serde_json::json;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

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

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

struct Ports {
    http: u16,
    grpc: u16,
    raft: u16,
}

fn start(folder: &Path, name: &str, arguments: &[&str], settings: &[(&str, String)]) -> Process {
    let log = fs::File::create(folder.join(format!("{name}.log"))).unwrap();
    let mut command: Command = zkpnet();
    command.args(arguments).envs(settings.iter().map(|(key, value)| (*key, value)));
    command.env("ZKPNET_HTTP__HOST", "127.0.0.1").env("ZKPNET_CLUSTER__INSECURE", "true");
    let data = folder.join(name);
    if name != "gateway" {
        command.env("ZKPNET_STORAGE__DATA_DIR", &data);
    }
    Process(command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
}

fn coordinator(folder: &Path, ports: &[Ports], number: usize) -> Process {
    let name = format!("coordinator-{}", number + 1);
    let peers: Vec<String> = ports
        .iter()
        .enumerate()
        .map(|(other, ports)| format!("coordinator-{}=127.0.0.1:{}", other + 1, ports.raft))
        .collect();
    let own = &ports[number];
    let settings = [
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
        ("ZKPNET_STORAGE__KEY_FILE", folder.join("data.key").display().to_string()),
    ];
    start(folder, &name, &["coordinator"], &settings)
}

fn page(client: &Client) -> String {
    client.get("/metrics").unwrap().body.as_str().unwrap().to_owned()
}

fn until_ready(client: &Client, who: &str) {
    poll_until(&format!("{who} is ready"), || {
        client.get("/readyz").ok().filter(|answer| answer.status == 200)
    });
}

fn submit(gateway: &Client, headers: &[(&str, &str)], leaf: &str) -> (u16, String) {
    let body = json!({"leaves": [leaf], "leaf_index": 0});
    let answer = gateway.post("/api/v1/tasks/merkle", headers, &body).unwrap();
    (answer.status, answer.body["task_id"].as_str().unwrap_or_default().to_owned())
}

fn gather() -> Pages {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("monitoring");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let key = folder.join("data.key");
    assert!(zkpnet().args(["tls", "data-key", "--out"]).arg(&key).status().unwrap().success());

    let ports: Vec<Ports> =
        (0..3).map(|_| Ports { http: free_port(), grpc: free_port(), raft: free_port() }).collect();
    let list = |port: fn(&Ports) -> u16| {
        ports.iter().map(|ports| format!("127.0.0.1:{}", port(ports))).collect::<Vec<_>>().join(",")
    };
    let mut running: Vec<Process> = (0..3).map(|number| coordinator(&folder, &ports, number)).collect();
    let gateway_port = free_port();
    let settings = [
        ("ZKPNET_HTTP__PORT", gateway_port.to_string()),
        ("ZKPNET_GATEWAY__COORDINATORS", list(|ports| ports.http)),
    ];
    running.push(start(&folder, "gateway", &["gateway"], &settings));
    let clients: Vec<Client> =
        ports.iter().map(|ports| Client::new(&format!("127.0.0.1:{}", ports.http))).collect();
    let gateway = Client::new(&format!("127.0.0.1:{gateway_port}"));
    for client in &clients {
        until_ready(client, "a coordinator");
    }
    until_ready(&gateway, "the gateway");

    // Before there is a worker: a queue that waits.
    let key = [("idempotency-key", "once")];
    let (status, task) = submit(&gateway, &key, "0xa1");
    assert_eq!(status, 202, "see the logs in {}", folder.display());
    let mut pages: Vec<String> = clients.iter().map(page).collect();

    let worker_port = free_port();
    let settings = [
        ("ZKPNET_WORKER__ID", "worker-1".to_owned()),
        ("ZKPNET_WORKER__COORDINATOR_ADDRESS", list(|ports| ports.grpc)),
        ("ZKPNET_HTTP__PORT", worker_port.to_string()),
    ];
    running.push(start(&folder, "worker-1", &["worker"], &settings));
    let worker = Client::new(&format!("127.0.0.1:{worker_port}"));
    until_ready(&worker, "the worker");
    poll_until("the task is proved", || {
        let task = gateway.get(&format!("/api/v1/tasks/{task}?wait=10s")).ok()?.body;
        assert_ne!(task["status"], "failed", "{task}");
        (task["status"] == "completed").then_some(())
    });
    // A refusal by the ledger: the key was used for another request.
    assert_eq!(submit(&gateway, &key, "0xa2").0, 422, "within {LIMIT:?}");
    pages.extend(clients.iter().map(page));
    Pages { coordinators: pages, worker: page(&worker), gateway: page(&gateway) }
}
