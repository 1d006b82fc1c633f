//! What the tests on real processes share: a `zkpnet dev` in a folder, a client, and waiting for something to become true.

#![allow(dead_code, reason = "each test target uses its part of this")]

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{self, Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// No wait of a test is longer: when it is reached something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// Polls until `probe` finds something.
pub(crate) fn poll_until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll_every(Duration::from_millis(20), what, probe)
}

/// The same for a probe that is itself some work.
pub(crate) fn poll_every<T>(pause: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(pause);
    }
}

/// Ports that no system gives out by itself: Linux takes 32768 and above for connections and for listeners that name none, so one of
/// those that is free now may be another's when the server that it is for comes to bind it.
const PORTS: std::ops::Range<u32> = 10_000..32_000;

/// A port for a server that is told its port: nobody listens on it, and this process names it once.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Tests of another process begin elsewhere.
        let step = process::id().wrapping_mul(101).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + step % (PORTS.end - PORTS.start)).unwrap();
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// The binary, without what the tests themselves are set by: a node refuses variables that it does not know.
pub(crate) fn zkpnet() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkpnet"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ZKPNET_") {
            command.env_remove(name);
        }
    }
    command
}

/// A running `zkpnet dev`; killed when dropped.
pub(crate) struct DevNode {
    child: Child,
    pub(crate) client: Client,
    errors: mpsc::Receiver<String>,
}

impl DevNode {
    /// Starts a node on the folder and waits until it serves. `settings` are environment variables.
    pub(crate) fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut child = zkpnet()
            .arg("dev")
            .env("ZKPNET_HTTP__PORT", "0")
            .env("ZKPNET_STORAGE__DATA_DIR", folder)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, errors) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let mut said = Vec::new();
        let deadline = Instant::now() + LIMIT;
        let address = loop {
            let rest = deadline.saturating_duration_since(Instant::now());
            let line = errors
                .recv_timeout(rest)
                .unwrap_or_else(|_| panic!("did not start; it said:\n{}", said.join("\n")));
            if let Some((_, address)) = line.split_once("health   http://") {
                break address.split('/').next().unwrap().to_owned();
            }
            said.push(line);
        };
        Self { child, client: Client::new(&address), errors }
    }

    /// SIGKILL: nothing is flushed, nothing is said.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub(crate) fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process did not end within {limit:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What it has written to standard error since this was last asked.
    pub(crate) fn said(&self) -> Vec<String> {
        self.errors.try_iter().collect()
    }
}

impl Drop for DevNode {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client of the HTTP API.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    server: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(100)))
            .http_status_as_error(false)
            .build();
        Self { agent: config.into(), server: format!("http://{address}") }
    }

    pub(crate) fn get(&self, path: &str) -> Result<Answer, ureq::Error> {
        let mut answer = self.agent.get(format!("{}{path}", self.server)).call()?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string()?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    pub(crate) fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.server));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = request.send_json(body)?;
        let status = answer.status().as_u16();
        let text = answer.body_mut().read_to_string()?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }
}
