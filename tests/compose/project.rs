//! A compose project of the tests: a copy of the tree's files, the images, the ports, and everything taken down at the end.

use crate::shell::poll_until;
use crate::support::free_port;
use serde_json::Value;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// One project at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Always the same, so that what a run left behind that was killed is found by the next one.
const NAME: &str = "zkpnet-compose-test";
/// The tag of the image under test; `latest` is the user's.
const TAG: &str = "test";

/// The names that compose gives to containers and that the documents use.
const CONTAINERS: [&str; 8] = [
    "coordinator-1",
    "coordinator-2",
    "coordinator-3",
    "worker-1",
    "worker-2",
    "gateway",
    "coordinator-local",
    "zkp-secrets",
];

/// A clean clone's files, and what is started from them.
pub(crate) struct Project {
    tree: tempfile::TempDir,
    /// A free port for the database, which the documents name nowhere.
    postgres_port: u16,
    _turn: MutexGuard<'static, ()>,
}

impl Project {
    /// The files in a folder of their own; nothing is started. `ports` must be free.
    pub(crate) fn new(ports: &[u16]) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        images();
        let tree = tempfile::Builder::new().prefix("zkpnet-compose-").tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["docker", "config"] {
            let copied = Command::new("cp").arg("-r").arg(source.join(folder)).arg(tree.path()).status();
            assert!(copied.unwrap().success());
        }
        let project = Self { tree, postgres_port: free_port(), _turn: turn };
        take_down();
        refuse_strangers();
        for port in ports {
            let listener = TcpListener::bind(("127.0.0.1", *port));
            assert!(
                listener.is_ok(),
                "port {port} of this machine is in use, and the quick start needs it: {listener:?}"
            );
        }
        project
    }

    pub(crate) fn tree(&self) -> &Path {
        self.tree.path()
    }

    /// Gives a command the project's environment: what a user has set is not the test's.
    pub(crate) fn dress(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let prefixes = ["ZKP", "COMPOSE_", "POSTGRES_", "COORDINATOR_", "WORKER_", "API_GATEWAY_"];
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(&*name);
            }
        }
        command
            .env("TREE", self.tree())
            .env("ZKPNET", env!("CARGO_BIN_EXE_zkpnet"))
            .env("COMPOSE_PROJECT_NAME", NAME)
            .env("ZKP_TAG", TAG)
            .env("POSTGRES_IMAGE", "zkp-ci/postgres")
            .env("PROMETHEUS_IMAGE", "zkp-ci/prometheus")
            .env("HAPROXY_IMAGE", "zkp-ci/haproxy")
            .env("POSTGRES_PORT", self.postgres_port.to_string());
    }

    /// docker-compose on one of the files; fails the test when it fails.
    pub(crate) fn compose(&self, file: &str, arguments: &[&str]) -> String {
        let mut command = Command::new("docker-compose");
        command.arg("-f").arg(self.tree().join("docker").join(file)).args(arguments);
        self.dress(&mut command);
        succeeded(&mut command)
    }
}

/// Removes what bears the project's name, whichever file and run it is of: containers, networks and volumes.
fn take_down() {
    let ours = format!("label=com.docker.compose.project={NAME}");
    let kinds: [(&[&str], &[&str]); 3] = [
        (&["ps", "-a", "-q"], &["rm", "-f", "-v"]),
        (&["network", "ls", "-q"], &["network", "rm"]),
        (&["volume", "ls", "-q"], &["volume", "rm"]),
    ];
    // Never a panic: this runs also while a test fails. What stays is in the way of the next project, which says so.
    let told = |command: &mut Command| {
        let output = command.stdin(Stdio::null()).output();
        let failed = output.as_ref().map_or(true, |output| !output.status.success());
        if failed {
            eprintln!("{command:?}: {output:?}");
        }
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    for (list, remove) in kinds {
        let found = told(Command::new("docker").args(list).args(["--filter", &ours]));
        if !found.is_empty() {
            told(Command::new("docker").args(remove).args(found.lines()));
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in CONTAINERS {
                if let Ok(log) = Command::new("docker").args(["logs", "--tail", "15", name]).output() {
                    eprintln!("--- {name}\n{}", String::from_utf8_lossy(&log.stdout));
                }
            }
        }
        take_down();
    }
}

/// `docker inspect` of a container or an image.
pub(crate) fn inspect(what: &str) -> Value {
    let told = succeeded(Command::new("docker").args(["inspect", what]));
    serde_json::from_str::<Value>(&told).unwrap()[0].take()
}

/// Waits until a container's health check is content.
pub(crate) fn healthy(container: &str) {
    poll_until(&format!("{container} to be healthy"), || {
        (inspect(container.trim())["State"]["Health"]["Status"] == "healthy").then_some(())
    });
}

/// What a command prints; fails the test when it fails.
pub(crate) fn succeeded(command: &mut Command) -> String {
    let Output { status, stdout, stderr } =
        command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8_lossy(&stdout).into_owned()
}

/// The image under test; made at first use. Needs no project.
pub(crate) fn images() -> String {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let script: PathBuf = [env!("CARGO_MANIFEST_DIR"), "docker/ci/images.sh"].iter().collect();
        let mut command = Command::new(script);
        command.args(["--binary", env!("CARGO_BIN_EXE_zkpnet"), TAG]).stdin(Stdio::null());
        let output = command.output().map_err(|error| error.to_string())?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(told) }
    });
    if let Err(error) = made {
        panic!("the images are not there, so that nothing here can be tested: {error}");
    }
    format!("zkp-coordinator:{TAG}")
}

/// Containers of these names that are not this project's are somebody's: they are not touched.
fn refuse_strangers() {
    let named = succeeded(Command::new("docker").args(["ps", "-a", "--format", "{{.Names}}"]));
    let strangers: Vec<&str> = named.lines().filter(|name| CONTAINERS.contains(name)).collect();
    assert!(
        strangers.is_empty(),
        "containers of the documents' names are there already: {strangers:?}; take them down first"
    );
}
