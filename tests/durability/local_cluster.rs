//! `scripts/sh/start-local-cluster.sh` is interrupted: it stops what it started, in order, and leaves nothing behind.
//!
//! Most tests give it a program that does nothing but note when it ended, so that the order shows; one gives it the real one.

use crate::support::{LIMIT, poll_until};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// In the order in which they are to end; what stands in one line may end in any order.
const ORDER: [&[&str]; 3] =
    [&["gateway"], &["worker-1", "worker-2"], &["coordinator-1", "coordinator-2", "coordinator-3"]];

/// Plays every role of `zkpnet`: it runs until SIGTERM, takes a moment to end, and then notes its name.
const ACTOR: &str = r#"#!/usr/bin/env bash
case $1 in
  tls) : >"$4" ;;
  healthcheck) [ -e "$NOTES/ready" ] ;;
  *)
    name=${ZKPNET_COORDINATOR__ID:-${ZKPNET_WORKER__ID:-gateway}}
    trap 'kill "$idle"; sleep 0.2; echo "$name" >>"$NOTES/ended"; exit 0' TERM
    sleep 600 &
    idle=$!
    echo "$$" >"$NOTES/$name.started"
    wait "$idle"
    ;;
esac
"#;

/// The script at work, in a process group of its own, as a shell gives it one.
struct Script {
    child: Child,
    folder: tempfile::TempDir,
}

impl Script {
    /// Starts it with this program as `zkpnet`.
    fn start(binary: impl FnOnce(&Path) -> PathBuf) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let output = fs::File::create(path.join("output")).unwrap();
        // A shell does not trap what was ignored when it began, as an interruption is in whatever a script runs in the background.
        let mut command = Command::new("env");
        command
            .args(["--default-signal=INT", "bash"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/sh/start-local-cluster.sh"))
            .args(["--port-base", &free_base().to_string(), "--data"])
            .arg(path.join("data"))
            .env("ZKP_BINARY", binary(path))
            .env("NOTES", path)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ZKPNET_"))
        {
            command.env_remove(name);
        }
        Self { child: command.spawn().unwrap(), folder }
    }

    /// With [`ACTOR`].
    fn start_acted() -> Self {
        Self::start(|folder| {
            let actor = folder.join("zkpnet");
            fs::write(&actor, ACTOR).unwrap();
            fs::set_permissions(&actor, fs::Permissions::from_mode(0o755)).unwrap();
            actor
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn output(&self) -> String {
        fs::read_to_string(self.path("output")).unwrap()
    }

    /// The processes that it has started, by the files that name them; waits until all six are there.
    fn processes(&self) -> Vec<u32> {
        let names = ORDER.concat();
        let pid = |name: &&str| {
            let text = fs::read_to_string(self.path(&format!("data/run/{name}.pid"))).ok()?;
            text.trim().parse().ok()
        };
        poll_until("all six to be started", || names.iter().map(pid).collect())
    }

    /// Waits until the actors have set themselves up to be ended.
    fn acted(&self) -> Vec<u32> {
        let names = ORDER.concat();
        poll_until("all six to act", || {
            names.iter().all(|name| self.path(&format!("{name}.started")).exists()).then_some(())
        });
        self.processes()
    }

    fn becomes_ready(&self) {
        fs::write(self.path("ready"), "").unwrap();
        poll_until("the script to say that they are ready", || {
            self.output().contains("Ctrl-C stops them.").then_some(())
        });
    }

    /// To the script alone, as a service manager or `kill` does it.
    fn terminate(&self) {
        signal("TERM", &self.child.id().to_string());
    }

    /// To the whole group, as a terminal does it.
    fn interrupt(&self) {
        signal("INT", &format!("-{}", self.child.id()));
    }

    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        poll_until("the script to end", || {
            assert!(Instant::now() < deadline);
            self.child.try_wait().unwrap()
        })
    }

    /// Nothing of it runs, and no file says that something did.
    fn has_left_nothing(&self, processes: &[u32]) {
        let running: Vec<&u32> = processes.iter().filter(|pid| is_running(**pid)).collect();
        assert!(running.is_empty(), "{running:?} still run; it said:\n{}", self.output());
        let left: Vec<_> =
            fs::read_dir(self.path("data/run")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?} is left");
    }

    /// The order in which the actors ended was that of [`ORDER`], and each of them ended by itself.
    fn ended_in_order(&self) {
        let text = fs::read_to_string(self.path("ended")).unwrap();
        let mut names: Vec<&str> = text.lines().collect();
        assert_eq!(names.len(), 6, "{names:?}");
        let mut from = 0;
        for together in ORDER {
            names[from..from + together.len()].sort_unstable();
            from += together.len();
        }
        assert_eq!(names, ORDER.concat());
    }
}

impl Drop for Script {
    /// A test that fails leaves nothing running either.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for entry in fs::read_dir(self.path("data/run")).into_iter().flatten().flatten() {
            if let Ok(pid) = fs::read_to_string(entry.path()) {
                signal("KILL", pid.trim());
            }
        }
    }
}

fn signal(name: &str, to: &str) {
    let _ = Command::new("kill").args(["-s", name, "--", to]).stderr(Stdio::null()).status();
}

/// Whether it runs; one that nobody has waited for does not.
fn is_running(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let state = status.lines().find_map(|line| line.strip_prefix("State:"));
    state.is_some_and(|state| !state.trim().starts_with(['Z', 'X']))
}

/// A port base all of whose ports are free now.
fn free_base() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let start = 20_000 + (std::process::id() % 1_000) as u16 * 10;
    let mut bases = (start..start + 3_000).step_by(10);
    let found = bases.find(|base| {
        let offsets = [70, 71, 80, 90, 91, 92, 1090, 1091, 1092];
        let raft = [base - 1000, base - 999, base - 998];
        offsets.iter().map(|offset| base + offset).chain(raft).all(is_free)
    });
    found.expect("no free ports")
}

#[test]
fn sigterm_ends_everything_that_the_script_started_in_order() {
    let mut script = Script::start_acted();
    let processes = script.acted();
    script.becomes_ready();
    script.terminate();
    assert_eq!(script.ended().code(), Some(143), "it said:\n{}", script.output());
    script.ended_in_order();
    script.has_left_nothing(&processes);
}

#[test]
fn ctrl_c_ends_everything_that_the_script_started_in_order() {
    let mut script = Script::start_acted();
    let processes = script.acted();
    script.becomes_ready();
    script.interrupt();
    assert_eq!(script.ended().code(), Some(130), "it said:\n{}", script.output());
    script.ended_in_order();
    script.has_left_nothing(&processes);
}

#[test]
fn a_second_ctrl_c_does_not_keep_the_script_from_stopping_the_rest() {
    let mut script = Script::start_acted();
    let processes = script.acted();
    script.becomes_ready();
    script.interrupt();
    poll_until("the first to have ended", || fs::metadata(script.path("ended")).ok());
    script.interrupt();
    script.terminate();
    assert_eq!(script.ended().code(), Some(130), "it said:\n{}", script.output());
    script.ended_in_order();
    script.has_left_nothing(&processes);
}

#[test]
fn an_interruption_before_they_are_ready_ends_everything_too() {
    for code in [130, 143] {
        let mut script = Script::start_acted();
        let processes = script.acted();
        if code == 130 {
            script.interrupt()
        } else {
            script.terminate()
        }
        assert_eq!(script.ended().code(), Some(code), "it said:\n{}", script.output());
        assert!(!script.output().contains("Ctrl-C stops them."));
        script.ended_in_order();
        script.has_left_nothing(&processes);
    }
}

#[test]
fn a_real_cluster_that_is_interrupted_ends_by_itself_and_keeps_its_data() {
    let mut script = Script::start(|folder| {
        fs::write(folder.join("ready"), "").unwrap();
        env!("CARGO_BIN_EXE_zkpnet").into()
    });
    let processes = script.processes();
    script.becomes_ready();
    script.interrupt();
    assert_eq!(script.ended().code(), Some(130), "it said:\n{}", script.output());
    script.has_left_nothing(&processes);
    assert!(!script.output().contains("killed"), "it said:\n{}", script.output());
    for name in ["coordinator-1", "coordinator-2", "coordinator-3"] {
        assert!(script.path(&format!("data/{name}/raft/raft.redb")).exists(), "{name}'s data stays");
    }
}
