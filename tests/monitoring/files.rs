//! The files under `docker/`, and the programs that read them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A path below the root of the repository.
pub(crate) fn path(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(relative)
}

pub(crate) fn text(relative: &str) -> String {
    let path = path(relative);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of a file, without those that are comments.
pub(crate) fn code(relative: &str) -> String {
    let text = text(relative);
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs a program to its end. One that is missing is a failure: what it would have told is not known.
pub(crate) fn run(command: &mut Command, package: &str) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; it is in the Debian package {package}"))
}

/// What both outputs of a program say.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The names of our metrics in expressions of PromQL, without what histograms add to theirs.
pub(crate) fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("zkpnet_") || word.starts_with("process_"));
    ours.map(|word| crate::exposition::family(word).to_owned()).collect()
}
