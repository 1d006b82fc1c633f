//! Runs commands of a document in a shell of its own, bounded in time, and tells what each of them printed.

use crate::project::Project;
use crate::support::{LIMIT, poll_every};
use serde_json::Value;
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What differs between the documents' tree and this one, as shell functions, so that the commands stay as they are written.
const PRELUDE: &str = include_str!("prelude.sh");

/// Polls until `probe` finds something. Seldom, since most probes are shells with programs in them, on a machine that has a
/// cluster to run.
pub(crate) fn poll_until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll_every(Duration::from_millis(250), what, probe)
}

/// A command and what it printed on standard output.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) command: String,
    pub(crate) output: String,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.output).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs the commands one after another in one shell, in a folder of the project's tree. What they return is not looked at: the
/// documents' own commands fail on purpose here and there.
pub(crate) fn run(project: &Project, folder: &str, commands: &[String]) -> Vec<Told> {
    let mut script = PRELUDE.to_owned();
    for command in commands {
        script.push_str("\nprintf '\\n@@@\\n'\n");
        script.push_str(command);
    }
    let (output, errors) = (project.tree().join("output"), project.tree().join("errors"));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(project.tree().join(folder)).process_group(0);
    project.dress(&mut shell);
    shell.stdin(Stdio::null()).stdout(File::create(&output).unwrap()).stderr(File::create(&errors).unwrap());
    let mut shell = shell.spawn().unwrap();
    let deadline = Instant::now() + LIMIT;
    while shell.try_wait().unwrap().is_none() {
        if Instant::now() >= deadline {
            let _ = Command::new("kill").args(["-9", "--", &format!("-{}", shell.id())]).status();
            panic!("not done within {LIMIT:?}: {commands:#?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = String::from_utf8_lossy(&std::fs::read(&output).unwrap()).into_owned();
    eprint!("{}", String::from_utf8_lossy(&std::fs::read(&errors).unwrap()));
    let outputs: Vec<&str> = output.split("\n@@@\n").skip(1).collect();
    assert_eq!(outputs.len(), commands.len(), "the shell ended early: {output}");
    let told = commands.iter().zip(outputs);
    told.map(|(command, output)| Told { command: command.clone(), output: output.trim().to_owned() })
        .collect()
}

/// Runs one command in the root of the project's tree and gives what it printed.
pub(crate) fn line(project: &Project, command: &str) -> String {
    run(project, ".", &[command.to_owned()]).remove(0).output
}

/// The same for a command that prints JSON; `None` when it does not, as while nobody answers.
pub(crate) fn json(project: &Project, command: &str) -> Option<Value> {
    serde_json::from_str(&line(project, command)).ok()
}
