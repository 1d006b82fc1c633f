//! `zkpnet raft inspect`: what is in the files of a node that does not run. It reads files and asks nobody.

use super::output::{Format, Printer, member, printable, table};
use super::{Failure, Verdict};
use crate::ledger::{LogPosition, TaskStatus};
use crate::raft::{Inspection, Standing, inspect};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Arguments of `zkpnet raft`.
#[derive(Debug, clap::Args)]
pub struct RaftArgs {
    #[command(subcommand)]
    command: RaftCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RaftCommand {
    /// Read and check a stopped node's data directory: names, term, log, members, snapshots, numbers of tasks, state hash
    Inspect(InspectArgs),
}

#[derive(Debug, clap::Args)]
struct InspectArgs {
    /// The data directory, with raft.redb and ledger.redb in it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(args: &RaftArgs) -> Result<Verdict, Failure> {
    let RaftCommand::Inspect(args) = &args.command;
    let found = inspect(&args.directory).map_err(|error| Failure::Usage(error.into()))?;
    let is_sound = found.snapshots.iter().all(|snapshot| snapshot.content.is_ok());
    Printer::new(args.output).print(&answer(&found), text)?;
    // A damaged snapshot is no reason not to start, and a reason to look.
    Ok(if is_sound { Verdict::Done } else { Verdict::No })
}

fn answer(found: &Inspection) -> Value {
    let position = |at: Option<LogPosition>| at.map(|at| json!({ "term": at.term.0, "index": at.index.0 }));
    let tasks: serde_json::Map<String, Value> = TaskStatus::ALL
        .into_iter()
        .map(|status| (status.as_str().to_owned(), json!(found.tasks.get(&status).copied().unwrap_or(0))))
        .collect();
    let members: Vec<Value> = found
        .members
        .iter()
        .map(|found| {
            json!({
                "id": found.id.0,
                "name": found.name,
                "address": found.address,
                "voter": found.standing == Standing::Voter,
                "store": found.store.map(|store| store.to_string()),
            })
        })
        .collect();
    let snapshots: Vec<Value> = found
        .snapshots
        .iter()
        .map(|snapshot| {
            json!({
                "file": snapshot.file.display().to_string(),
                "bytes": snapshot.bytes,
                "last": snapshot.content.as_ref().ok().map(|last| position(*last)),
                "error": snapshot.content.as_ref().err(),
            })
        })
        .collect();
    json!({
        "node": found.node.map(|node| node.0),
        "store": found.store.map(|store| store.to_string()),
        "cluster": found.cluster.map(|cluster| cluster.to_string()),
        "term": found.vote.map(|(term, _)| term.0),
        "voted_for": found.vote.map(|(_, node)| node.0),
        "last_log": position(found.last_log),
        "purged": position(found.purged),
        "committed": position(found.committed),
        "applied": position(found.applied),
        "members": members,
        "snapshots": snapshots,
        "tasks": tasks,
        "circuits": found.circuits,
        "waiting_for_archive": found.waiting_for_archive,
        "workers": found.workers,
        "state_hash": found.state_hash.map(|hash| hash.to_string()),
    })
}

fn text(answer: &Value) -> String {
    let position = |name: &str| match answer.get(name) {
        Some(at) if at.is_object() => format!("{} (term {})", member(at, "index"), member(at, "term")),
        _ => "none".to_owned(),
    };
    let plain = |name: &str| {
        let value = member(answer, name);
        if value.is_empty() { "none".to_owned() } else { value }
    };
    let mut rows: Vec<Vec<String>> = ["node", "store", "cluster", "term", "voted_for"]
        .iter()
        .map(|name| vec![name.replace('_', " "), plain(name)])
        .collect();
    rows.extend(
        ["last_log", "purged", "committed", "applied"]
            .iter()
            .map(|name| vec![name.replace('_', " "), position(name)]),
    );
    rows.extend(
        ["circuits", "workers", "waiting_for_archive", "state_hash"]
            .iter()
            .map(|name| vec![name.replace('_', " "), plain(name)]),
    );
    let tasks = answer.get("tasks").and_then(Value::as_object).into_iter().flatten();
    rows.extend(tasks.map(|(status, count)| vec![format!("tasks {status}"), count.to_string()]));
    let list = |name: &str| answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    for snapshot in list("snapshots") {
        let last = snapshot.get("last").map(|last| member(last, "index")).unwrap_or_default();
        let error = printable(&member(&snapshot, "error"));
        let what = if error.is_empty() { format!("up to {last}") } else { error };
        rows.push(vec!["snapshot".to_owned(), format!("{what}, {} bytes", member(&snapshot, "bytes"))]);
    }
    let members: Vec<Vec<String>> = list("members")
        .iter()
        .map(|found| {
            let vote = if found["voter"] == json!(true) { "voter" } else { "learner" };
            let cell = |name| printable(&member(found, name));
            vec![cell("id"), cell("name"), cell("address"), vote.to_owned(), cell("store")]
        })
        .collect();
    let members = table(&["MEMBER", "NAME", "ADDRESS", "VOTE", "STORE"], &members);
    format!("{}\n\n{members}", table(&["WHAT", "VALUE"], &rows))
}
