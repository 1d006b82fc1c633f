//! Printing: text for people, JSON for programs, and nothing that panics when nobody reads.

use serde_json::Value;
use std::io::{self, Write};

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// The service's own JSON
    Json,
}

/// Prints results to standard output.
pub(super) struct Printer {
    format: Format,
}

impl Printer {
    pub(super) const fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints an answer: as it is, or in the words of `text`.
    pub(super) fn print(&self, answer: &Value, text: impl FnOnce(&Value) -> String) -> io::Result<()> {
        match self.format {
            Format::Json => print_line(&format!("{answer:#}")),
            Format::Text => print_line(&text(answer)),
        }
    }
}

/// Prints to standard output; a broken pipe is an error like any other.
pub(super) fn print_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.trim_end_matches('\n').as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Prints `error: …` to standard error, as far as somebody listens.
pub(super) fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "error: {text}");
}

/// Prints a remark to standard error, as far as somebody listens.
pub(super) fn print_note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "note: {text}");
}

/// A member of a JSON object as text; empty when it is absent.
pub(super) fn member(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Rows in columns as wide as their widest cell.
pub(super) fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(header.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let line = |cells: Vec<&str>| {
        let padded: Vec<String> =
            cells.iter().enumerate().map(|(column, cell)| format!("{cell:<0$}", width(column))).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// Text from the service, safe to print on a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
