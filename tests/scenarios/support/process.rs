//! One zkpnet process on one host of the network.

use super::lab::{Lab, run};
use super::poll_for;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_zkpnet");

/// A process, or one that has ended; killed when dropped.
pub(crate) struct Process {
    role: String,
    config: PathBuf,
    log: PathBuf,
    /// Variables beside `PATH`; a node refuses those of its own prefix that it does not know, so that nothing is inherited.
    variables: Vec<(String, String)>,
    child: Option<Child>,
}

impl Process {
    /// A process that does not run yet.
    pub(crate) fn new(role: &str, config: &Path, log: &Path, variables: Vec<(String, String)>) -> Self {
        Self { role: role.to_owned(), config: config.to_owned(), log: log.to_owned(), variables, child: None }
    }

    /// Starts it on the host; what it writes is appended to its log.
    pub(crate) fn start(&mut self, lab: &Lab, host: &str) {
        assert!(self.child.is_none(), "{host} runs already");
        let log: File = OpenOptions::new().create(true).append(true).open(&self.log).unwrap();
        let mut command = lab.command(host, BINARY);
        command.arg(&self.role).arg("--config").arg(&self.config);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOSTNAME", host);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // For builds that can make a mistake on purpose (`scripts/planted.sh`).
        command.envs(std::env::var_os("PLANTED_BUG").map(|bug| ("PLANTED_BUG", bug)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// SIGKILL: nothing is flushed, nothing is said. One that has ended by itself is let be.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("it does not run");
        run("kill", &[&format!("-{name}"), &child.id().to_string()]);
    }

    /// Waits until the process has ended by itself.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("it does not run");
        let log = self.log.clone();
        poll_for(limit, &format!("the process of {} to end", log.display()), || child.try_wait().unwrap())
    }

    /// The exit status of a process that has ended by itself.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().unwrap()
    }

    /// Whether it was started and not taken down by the test.
    pub(crate) fn is_started(&self) -> bool {
        self.child.is_some()
    }

    /// All that it has written, earlier lives included.
    pub(crate) fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
