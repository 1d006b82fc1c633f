//! Coordinators and a worker as processes on free ports of this machine, and the commands of an operator.

use crate::support::{Client, LIMIT, free_port, poll_until, zkpnet};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What is common to all processes of a test.
pub(crate) struct Lab {
    folder: tempfile::TempDir,
}

/// A coordinator's place: its name, ports and folder. The process may be another one after a restart.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) http: u16,
    grpc: u16,
    pub(crate) raft: u16,
    pub(crate) data: PathBuf,
}

/// How a coordinator comes to its cluster.
pub(crate) enum Entrance<'a> {
    Founds(&'a [Place]),
    Joins(&'a Place),
    /// Its folder says it.
    Has,
}

/// A process; killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for an end in order.
    pub(crate) fn stop(mut self) {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        let status = poll_until("the process to end", || self.child.try_wait().unwrap());
        assert_eq!(status.code(), Some(0), "it said:\n{}", self.said());
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has ended by itself, and gives what it said.
    pub(crate) fn said_at_its_end(mut self) -> String {
        poll_until("the process to end by itself", || self.child.try_wait().unwrap());
        self.said()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let text = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(15);
            eprintln!("{}:\n{}", self.log.display(), lines[from..].join("\n"));
        }
    }
}

impl Place {
    pub(crate) fn client(&self) -> Client {
        Client::new(&format!("127.0.0.1:{}", self.http))
    }

    pub(crate) fn server(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub(crate) fn raft_dir(&self) -> PathBuf {
        self.data.join("raft")
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        let lab = Self { folder: tempfile::tempdir().unwrap() };
        let token = lab.path("token");
        let key = lab.path("data.key");
        succeeded(zkpnet().args(["tls", "token", "--out"]).arg(&token));
        succeeded(zkpnet().args(["tls", "data-key", "--out"]).arg(&key));
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn place(&self, name: &str, folder: &str) -> Place {
        let [http, grpc, raft] = std::array::from_fn(|_| free_port());
        Place { name: name.to_owned(), http, grpc, raft, data: self.path(folder) }
    }

    /// The variables that make a coordinator of the place.
    fn settings(&self, place: &Place) -> Vec<(&'static str, String)> {
        let local = |port: u16| format!("127.0.0.1:{port}");
        vec![
            ("ZKPNET_COORDINATOR__ID", place.name.clone()),
            ("ZKPNET_RAFT__NODE_ID", place.name.clone()),
            ("ZKPNET_RAFT__HOST", "127.0.0.1".into()),
            ("ZKPNET_RAFT__RAFT_PORT", place.raft.to_string()),
            ("ZKPNET_RAFT__ADVERTISE_ADDRESS", local(place.raft)),
            ("ZKPNET_HTTP__HOST", "127.0.0.1".into()),
            ("ZKPNET_HTTP__PORT", place.http.to_string()),
            ("ZKPNET_HTTP__ADVERTISE_ADDRESS", local(place.http)),
            ("ZKPNET_GRPC__HOST", "127.0.0.1".into()),
            ("ZKPNET_GRPC__PORT", place.grpc.to_string()),
            ("ZKPNET_GRPC__ADVERTISE_ADDRESS", local(place.grpc)),
            ("ZKPNET_STORAGE__DATA_DIR", place.data.display().to_string()),
            ("ZKPNET_STORAGE__KEY_FILE", self.path("data.key").display().to_string()),
            ("ZKPNET_CLUSTER__TOKEN_FILE", self.path("token").display().to_string()),
            ("ZKPNET_TASKS__LEASE_DURATION", "2s".into()),
        ]
    }

    pub(crate) fn coordinator(&self, place: &Place, entrance: &Entrance<'_>) -> Process {
        self.coordinator_with(place, entrance, &[])
    }

    pub(crate) fn coordinator_with(
        &self,
        place: &Place,
        entrance: &Entrance<'_>,
        settings: &[(&str, String)],
    ) -> Process {
        let mut command = zkpnet();
        command.arg("coordinator").envs(self.settings(place)).envs(settings.iter().cloned());
        match entrance {
            Entrance::Founds(peers) => {
                let peers: Vec<String> =
                    peers.iter().map(|peer| format!("{}=127.0.0.1:{}", peer.name, peer.raft)).collect();
                command.env("ZKPNET_RAFT__BOOTSTRAP", "true").env("ZKPNET_RAFT__PEERS", peers.join(","));
            }
            Entrance::Joins(member) => {
                command.env("ZKPNET_RAFT__JOIN", format!("127.0.0.1:{}", member.raft));
            }
            Entrance::Has => {}
        }
        self.spawn(command, &format!("{}-{}", place.name, place.http))
    }

    pub(crate) fn worker(&self, coordinators: &[Place]) -> Process {
        let http = free_port();
        let addresses: Vec<String> =
            coordinators.iter().map(|place| format!("127.0.0.1:{}", place.grpc)).collect();
        let mut command = zkpnet();
        command
            .arg("worker")
            .env("ZKPNET_WORKER__ID", "worker-1")
            .env("ZKPNET_WORKER__COORDINATOR_ADDRESS", addresses.join(","))
            .env("ZKPNET_HTTP__HOST", "127.0.0.1")
            .env("ZKPNET_HTTP__PORT", http.to_string())
            .env("ZKPNET_STORAGE__DATA_DIR", self.path(&format!("worker-{http}")))
            .env("ZKPNET_CLUSTER__TOKEN_FILE", self.path("token"))
            .env("ZKPNET_PROVER__SLOTS", "1");
        self.spawn(command, &format!("worker-{http}"))
    }

    fn spawn(&self, mut command: Command, name: &str) -> Process {
        let log = self.path(&format!("{name}.log"));
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Process { child: command.spawn().unwrap(), log }
    }

    /// `zkpnet cluster …` as an operator of the place types it, with the cluster's token.
    pub(crate) fn operate(&self, place: &Place, args: &[&str]) -> Output {
        let mut command = zkpnet();
        command.arg("cluster").args(args);
        command.arg("--server").arg(place.server()).arg("--token-file").arg(self.path("token"));
        command.output().unwrap()
    }

    pub(crate) fn backup(&self, place: &Place, out: &Path) -> Output {
        self.operate(place, &["backup", "--out", out.to_str().unwrap()])
    }

    /// `zkpnet cluster restore`, with the place's configuration.
    pub(crate) fn restore(&self, file: &Path, place: &Place) -> Output {
        self.restore_command(file, place).output().unwrap()
    }

    pub(crate) fn restore_command(&self, file: &Path, place: &Place) -> Command {
        let mut command = zkpnet();
        command.args(["cluster", "restore"]).arg(file).envs(self.settings(place));
        command
    }

    /// Waits until the place's coordinator takes tasks.
    pub(crate) fn ready(&self, place: &Place) {
        let client = place.client();
        poll_until("the coordinator to be ready", || {
            client.get("/readyz").is_ok_and(|answer| answer.status == 200).then_some(())
        });
    }
}

/// Runs a command that must succeed, and gives what it said.
pub(crate) fn succeeded(command: &mut Command) -> String {
    said_with(0, &command.output().unwrap())
}

/// What a command said that must have ended with this code.
pub(crate) fn said_with(code: i32, output: &Output) -> String {
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

/// One request; the number makes its leaf and its key its own.
pub(crate) fn submit(client: &Client, number: u64) -> Option<String> {
    let body = json!({"leaves": [format!("0x{number:x}"), "0xfe"], "leaf_index": 0, "max_attempts": 5});
    let key = format!("request-{number}");
    let answer = client.post("/api/v1/tasks/merkle", &[("Idempotency-Key", &key)], &body).ok()?;
    (answer.status == 202).then(|| answer.body["task_id"].as_str().unwrap().to_owned())
}

/// The same, until it is taken.
pub(crate) fn submit_until_taken(client: &Client, number: u64) -> String {
    poll_until("a submission to be taken", || submit(client, number))
}

/// The same, by whichever of them leads.
pub(crate) fn submit_to_leader(places: &[Place], number: u64) -> String {
    poll_until("the leader to take a submission", || {
        places.iter().find_map(|place| submit(&place.client(), number))
    })
}

/// Waits for a task's end, and for a proof that verifies.
pub(crate) fn proved(client: &Client, task: &str) -> Value {
    let ended = poll_until("the task to end", || {
        let answer = client.get(&format!("/api/v1/tasks/{task}?wait=10s")).ok()?;
        let status = answer.body["status"].as_str()?;
        ["completed", "failed", "cancelled"].contains(&status).then_some(answer.body)
    });
    assert_eq!(ended["status"], "completed", "{ended}");
    let body = json!({"circuit": ended["circuit"], "proof": ended["proof"], "public_inputs": ended["public_inputs"]});
    let verified = client.post("/api/v1/proofs/verify", &[], &body).unwrap();
    assert_eq!(verified.body["valid"], true, "{verified:?}");
    ended
}

/// A client that submits one task after the other until it is told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<(u64, String)>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(clients: Vec<Client>) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(1_000);
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, takes) = (Arc::clone(&stop), Arc::clone(&taken));
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            while !stopped.load(Ordering::SeqCst) && began.elapsed() < LIMIT {
                let number = NUMBER.fetch_add(1, Ordering::SeqCst);
                if let Some(task) = clients.iter().find_map(|client| submit(client, number)) {
                    takes.lock().unwrap().push((number, task));
                }
            }
        });
        Self { stop, taken, thread }
    }

    /// What was acknowledged so far.
    pub(crate) fn taken(&self) -> Vec<(u64, String)> {
        self.taken.lock().unwrap().clone()
    }

    pub(crate) fn stop(self) -> Vec<(u64, String)> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        self.taken.lock().unwrap().clone()
    }
}

/// A member of an object that a command printed as JSON.
pub(crate) fn field(output: &Output, name: &str) -> Value {
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    answer[name].clone()
}

/// What `zkpnet raft inspect` says of a folder.
pub(crate) fn inspected(folder: &Path) -> Value {
    let output = zkpnet().args(["raft", "inspect", "--output", "json"]).arg(folder).output().unwrap();
    serde_json::from_str(&String::from_utf8_lossy(&output.stdout))
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}
