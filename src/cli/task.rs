//! `zkpnet task`: submit, get, list, cancel.

use super::client::{Client, percent_encode};
use super::output::{member, printable, table};
use super::{Failure, ServiceArgs, Verdict, duration};
use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The largest file of leaves: a hundred thousand of them and room for spaces.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The server is asked to wait for so long at a time; its own limit may be shorter.
const WAIT_STEP_MAX: Duration = Duration::from_secs(30);

/// Arguments of `zkpnet task`.
#[derive(Debug, clap::Args)]
pub struct TaskArgs {
    #[command(subcommand)]
    command: TaskCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TaskCommand {
    /// Submit a task
    Submit(SubmitArgs),
    /// Show a task
    Get(GetArgs),
    /// List tasks, newest first
    List(ListArgs),
    /// Withdraw a task
    Cancel(CancelArgs),
}

#[derive(Debug, clap::Args)]
struct SubmitArgs {
    #[command(subcommand)]
    kind: SubmitKind,
}

#[derive(Debug, clap::Subcommand)]
enum SubmitKind {
    /// Prove knowledge of a leaf of a Merkle tree with a public root
    Merkle(Box<MerkleArgs>),
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("tree").required(true).args(["leaves_file", "leaf", "path_file"]))]
struct MerkleArgs {
    /// A file of all leaves: a JSON array, or one leaf a line; `-` is standard input
    #[arg(long, value_name = "FILE", requires = "leaf_index")]
    leaves_file: Option<PathBuf>,
    /// A leaf, repeated for each (other users of this machine may see it: secrets go into a file)
    #[arg(long, value_name = "0x…", num_args = 1.., requires = "leaf_index")]
    leaf: Vec<String>,
    /// Which leaf, from 0
    #[arg(long, value_name = "N")]
    leaf_index: Option<u64>,
    /// A file with one leaf and its path: {"leaf": …, "leaf_index": …, "path": […], "root": …}; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "leaf_index")]
    path_file: Option<PathBuf>,
    /// low, normal or high
    #[arg(long)]
    priority: Option<String>,
    /// Fail the task when it is not proved within this time, such as 10m
    #[arg(long, value_parser = duration, value_name = "TIME")]
    deadline: Option<Duration>,
    /// How many attempts may fail
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Shown to people
    #[arg(long, value_name = "TEXT")]
    summary: Option<String>,
    /// The same key with the same request is the same task, however often it is sent
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Ask for a new proof even if an equal task is there
    #[arg(long)]
    no_cache: bool,
    /// Wait for the proof for at most this long, such as 30s, and show the task
    #[arg(long, value_parser = duration, value_name = "TIME")]
    wait: Option<Duration>,
    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Debug, clap::Args)]
struct GetArgs {
    /// The task's id
    id: String,
    /// Wait for its end for at most this long, such as 30s
    #[arg(long, value_parser = duration, value_name = "TIME")]
    wait: Option<Duration>,
    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// pending, assigned, in_progress, completed, failed or cancelled
    #[arg(long)]
    status: Option<String>,
    /// A circuit's name
    #[arg(long)]
    circuit: Option<String>,
    /// Submitted at or after this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Tasks on a page
    #[arg(long, value_name = "N")]
    limit: Option<u16>,
    /// From the previous page
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    service: ServiceArgs,
}

#[derive(Debug, clap::Args)]
struct CancelArgs {
    /// The task's id
    id: String,
    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) fn run(args: TaskArgs) -> Result<Verdict, Failure> {
    match args.command {
        TaskCommand::Submit(SubmitArgs { kind: SubmitKind::Merkle(args) }) => submit(&args),
        TaskCommand::Get(args) => get(&args),
        TaskCommand::List(args) => list(&args),
        TaskCommand::Cancel(args) => cancel(&args),
    }
}

fn submit(args: &MerkleArgs) -> Result<Verdict, Failure> {
    let body = merkle_body(args).map_err(Failure::Usage)?;
    let mut headers = Vec::new();
    if let Some(key) = &args.idempotency_key {
        headers.push(("Idempotency-Key", key.as_str()));
    }
    if args.no_cache {
        headers.push(("Cache-Control", "no-cache"));
    }
    let client = args.service.client()?;
    let answer = client.post("/api/v1/tasks/merkle", &headers, &body)?;
    match args.wait {
        None => {
            args.service.printer().print(&answer, |answer| {
                format!("{} {}", member(answer, "task_id"), member(answer, "status"))
            })?;
            Ok(Verdict::Done)
        }
        Some(wait) => show(&client, &member(&answer, "task_id"), Some(wait), &args.service),
    }
}

fn merkle_body(args: &MerkleArgs) -> anyhow::Result<Value> {
    let mut body = match &args.path_file {
        Some(file) => match serde_json::from_slice(&read_file(file)?) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) => bail!("{} must hold a JSON object with leaf, leaf_index, path and root", file.display()),
            Err(error) => {
                bail!("{} is not JSON: line {}, column {}", file.display(), error.line(), error.column())
            }
        },
        None => {
            let leaves = match &args.leaves_file {
                Some(file) => leaves_of(file)?,
                None => args.leaf.clone(),
            };
            let mut fields = Map::new();
            fields.insert("leaves".into(), json!(leaves));
            fields.insert("leaf_index".into(), json!(args.leaf_index));
            fields
        }
    };
    let seconds = args.deadline.map(|deadline| deadline.as_secs() + u64::from(deadline.subsec_nanos() > 0));
    for (name, value) in [
        ("priority", json!(args.priority)),
        ("deadline_seconds", json!(seconds)),
        ("max_attempts", json!(args.max_attempts)),
        ("summary", json!(args.summary)),
    ] {
        if !value.is_null() {
            body.insert(name.into(), value);
        }
    }
    Ok(Value::Object(body))
}

/// The leaves of a file: a JSON array of strings, or one leaf a line. What a leaf must look like is the service's to judge.
fn leaves_of(file: &Path) -> anyhow::Result<Vec<String>> {
    let bytes = read_file(file)?;
    let text = String::from_utf8(bytes).map_err(|_| anyhow!("{} is not UTF-8", file.display()))?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(&text).map_err(|error| {
            // The error itself might repeat a leaf.
            let (line, column) = (error.line(), error.column());
            anyhow!("{} is no JSON array of strings: line {line}, column {column}", file.display())
        });
    }
    Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn read_file(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        bail!("{} is larger than {FILE_BYTES_MAX} bytes", file.display());
    }
    Ok(bytes)
}

fn get(args: &GetArgs) -> Result<Verdict, Failure> {
    show(&args.service.client()?, &args.id, args.wait, &args.service)
}

/// Shows a task, at the latest when `wait` has passed.
fn show(
    client: &Client,
    id: &str,
    wait: Option<Duration>,
    service: &ServiceArgs,
) -> Result<Verdict, Failure> {
    let path = format!("/api/v1/tasks/{}", percent_encode(id));
    let until = wait.map(|wait| Instant::now() + wait);
    let task = loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now())).unwrap_or_default();
        let step = left.min(WAIT_STEP_MAX);
        let query = if step.is_zero() { String::new() } else { format!("?wait={}ms", step.as_millis()) };
        let task = client.get(&format!("{path}{query}"), step)?;
        if step.is_zero() || has_ended(&task) {
            break task;
        }
    };
    service.printer().print(&task, describe)?;
    Ok(match member(&task, "status").as_str() {
        "failed" | "cancelled" => Verdict::No,
        "completed" => Verdict::Done,
        _ if wait.is_some() => Verdict::NoAnswer,
        _ => Verdict::Done,
    })
}

fn has_ended(task: &Value) -> bool {
    matches!(member(task, "status").as_str(), "completed" | "failed" | "cancelled")
}

fn describe(task: &Value) -> String {
    let shown = [
        "task_id",
        "status",
        "circuit",
        "merkle_root",
        "proof",
        "verifying_key",
        "worker_id",
        "attempts",
        "waiting_for",
        "queue_position",
        "error",
        "summary",
        "created_at",
        "started_at",
        "completed_at",
    ];
    let mut lines: Vec<String> = shown
        .iter()
        .map(|name| (name, printable(&member(task, name))))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:15} {value}"))
        .collect();
    if let Some(timings) = task.get("timings_ms") {
        let [queued, proving, verifying] =
            ["queued", "proving", "verifying"].map(|name| member(timings, name));
        lines.push(format!("{:15} queued {queued}, proving {proving}, verifying {verifying}", "timings_ms"));
    }
    for attempt in task.get("attempt_history").and_then(Value::as_array).into_iter().flatten() {
        let [number, worker, outcome, cause, message] =
            ["attempt", "worker_id", "outcome", "cause", "message"]
                .map(|name| printable(&member(attempt, name)));
        lines.push(
            format!("  attempt {number} on {worker}: {outcome} {cause} {message}").trim_end().to_owned(),
        );
    }
    lines.join("\n")
}

fn list(args: &ListArgs) -> Result<Verdict, Failure> {
    let limit = args.limit.map(|limit| limit.to_string());
    let parameters = [
        ("status", &args.status),
        ("circuit", &args.circuit),
        ("since", &args.since),
        ("limit", &limit),
        ("cursor", &args.cursor),
    ];
    let query: Vec<String> = parameters
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", percent_encode(value.as_ref()?))))
        .collect();
    let path = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let answer = args.service.client()?.get(&format!("/api/v1/tasks{path}"), Duration::ZERO)?;
    args.service.printer().print(&answer, |answer| {
        let tasks = answer.get("tasks").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let columns = ["task_id", "status", "circuit", "created_at", "summary"];
        let rows: Vec<Vec<String>> =
            tasks.iter().map(|task| columns.map(|name| printable(&member(task, name))).to_vec()).collect();
        let mut text = table(&["TASK", "STATUS", "CIRCUIT", "CREATED", "SUMMARY"], &rows);
        let next = member(answer, "next_cursor");
        if !next.is_empty() {
            text.push_str(&format!("\nmore: --cursor {}", printable(&next)));
        }
        text
    })?;
    Ok(Verdict::Done)
}

fn cancel(args: &CancelArgs) -> Result<Verdict, Failure> {
    let path = format!("/api/v1/tasks/{}/cancel", percent_encode(&args.id));
    let answer = args.service.client()?.post(&path, &[], &json!({}))?;
    args.service
        .printer()
        .print(&answer, |answer| format!("{} {}", member(answer, "task_id"), member(answer, "status")))?;
    Ok(Verdict::Done)
}
