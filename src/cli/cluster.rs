//! `zkpnet cluster`: the members in one table, and an operator's changes of it.

use super::backup;
use super::client::{CallError, Client, percent_encode};
use super::output::{self, Format, Printer, member, table};
use super::{Failure, Verdict};
use anyhow::Context as _;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `zkpnet cluster`.
#[derive(Debug, clap::Args)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ClusterCommand {
    /// Show all members; ends with 1 when one is missing, or two states differ
    Status(StatusArgs),
    /// Let another voter lead, the most advanced one when none is named
    TransferLeader(TransferArgs),
    /// Add a process that waits for it: one started without raft.bootstrap, raft.peers and raft.join
    Add(AddArgs),
    /// Give a learner a vote
    Promote(MemberArgs),
    /// Take a voter's vote
    Demote(MemberArgs),
    /// Let a member go for good; its number is never given again
    Remove(MemberArgs),
    /// Store everything that a new cluster needs in one file, but for the data key
    Backup(backup::BackupArgs),
    /// Make a backup into the first coordinator of a new cluster; asks nobody
    Restore(backup::RestoreArgs),
}

#[derive(Debug, clap::Args)]
struct StatusArgs {
    #[command(flatten)]
    service: ServiceAndToken,
}

#[derive(Debug, clap::Args)]
struct TransferArgs {
    #[command(flatten)]
    service: ServiceAndToken,
    /// Who shall lead, by name or number
    #[arg(value_name = "MEMBER")]
    to: Option<String>,
}

#[derive(Debug, clap::Args)]
struct AddArgs {
    #[command(flatten)]
    service: ServiceAndToken,
    /// The new member's name (its coordinator.id)
    #[arg(value_name = "NAME")]
    member: String,
    /// Where its Raft port is reached: host:port, as it tells others
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// Give it a vote as soon as it has caught up
    #[arg(long)]
    promote: bool,
}

#[derive(Debug, clap::Args)]
struct MemberArgs {
    #[command(flatten)]
    service: ServiceAndToken,
    /// The member, by name or number
    #[arg(value_name = "MEMBER")]
    member: String,
}

/// A coordinator, and the right to change its cluster.
#[derive(Debug, clap::Args)]
struct ServiceAndToken {
    #[command(flatten)]
    service: MemberService,
    /// The file with the cluster's token, when the coordinators have one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// Which coordinator is asked, and how to print.
#[derive(Debug, clap::Args)]
struct MemberService {
    /// A coordinator's address; a change goes on to the leader by itself
    #[arg(long, default_value = "http://127.0.0.1:8090", value_name = "URL")]
    server: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

impl MemberService {
    fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.server).map_err(Failure::Usage)
    }

    fn printer(&self) -> Printer {
        Printer::new(self.output)
    }
}

/// Runs the command.
pub(super) fn run(args: ClusterArgs) -> Result<Verdict, Failure> {
    match args.command {
        ClusterCommand::Status(args) => status(&args),
        ClusterCommand::TransferLeader(args) => {
            let body = args.to.map_or_else(|| json!({}), |to| json!({"to": to}));
            change(&args.service, "transfer-leader", &body)
        }
        ClusterCommand::Add(args) => {
            let body = json!({"member": args.member, "address": args.address, "promote": args.promote});
            change(&args.service, "add", &body)
        }
        ClusterCommand::Promote(args) => change_member("promote", &args),
        ClusterCommand::Demote(args) => change_member("demote", &args),
        ClusterCommand::Remove(args) => change_member("remove", &args),
        ClusterCommand::Backup(args) => backup::backup(&args),
        ClusterCommand::Restore(args) => backup::restore(&args),
    }
}

fn change_member(action: &str, args: &MemberArgs) -> Result<Verdict, Failure> {
    change(&args.service, action, &json!({"member": args.member}))
}

fn status(args: &StatusArgs) -> Result<Verdict, Failure> {
    let service = &args.service.service;
    let answer = service.client()?.get("/api/v1/cluster", Duration::ZERO)?;
    service.printer().print(&answer, describe)?;
    let members = answer.get("members").and_then(Value::as_array);
    let all_there = members.is_some_and(|members| {
        members.iter().all(|member| member.get("reachable") == Some(&Value::Bool(true)))
    });
    let differs = member(&answer, "state_hashes") == "differ";
    let has_leader = answer.get("leader").is_some_and(Value::is_string);
    Ok(if all_there && has_leader && !differs { Verdict::Done } else { Verdict::No })
}

fn describe(answer: &Value) -> String {
    let header = [
        "ID",
        "NAME",
        "KIND",
        "STATE",
        "TERM",
        "COMMIT",
        "APPLIED",
        "LAG",
        "STORE",
        "VERSION",
        "STATE HASH",
        "RAFT",
    ];
    let members = answer.get("members").and_then(Value::as_array);
    let rows: Vec<Vec<String>> = members.into_iter().flatten().map(row).collect();
    let compared = member(answer, "compared_at_index");
    let states = match member(answer, "state_hashes").as_str() {
        "agree" => format!("state hashes agree after entry {compared}"),
        "differ" => format!("STATE HASHES DIFFER after entry {compared}: a replica is wrong"),
        _ => "state hashes could not be compared".to_owned(),
    };
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    format!(
        "{}\n\ncluster {}, leader {}, term {}\n{states}",
        table(&header, &rows),
        output::printable(&or_none(member(answer, "cluster_id"))),
        output::printable(&or_none(member(answer, "leader"))),
        member(answer, "term"),
    )
}

fn row(one: &Value) -> Vec<String> {
    let text = |name: &str| {
        let text = member(one, name);
        if text.is_empty() { "-".to_owned() } else { text }
    };
    let is_reachable = one.get("reachable") == Some(&Value::Bool(true));
    let state = if is_reachable { output::printable(&text("state")) } else { "unreachable".to_owned() };
    let store = one.get("store_bytes").and_then(Value::as_u64).map_or_else(|| "-".to_owned(), mebibytes);
    let hash: String = text("state_hash").chars().take(12).collect();
    vec![
        text("id"),
        output::printable(&text("name")),
        text("kind"),
        state,
        text("term"),
        text("commit_index"),
        text("applied_index"),
        text("lag"),
        store,
        output::printable(&text("version")),
        output::printable(&hash),
        output::printable(&text("raft_address")),
    ]
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// Coordinators that a change is taken to at most: the first names the leader, a leader that is to go hands over and names
/// the next, and an election may come in between.
const ASKED_MAX: usize = 12;
/// The pause before a coordinator is asked again; an election takes a few of them.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// Asks for a change, and goes on to the leader as long as another one leads.
fn change(args: &ServiceAndToken, action: &str, body: &Value) -> Result<Verdict, Failure> {
    let path = format!("/api/v1/cluster/{}", percent_encode(action));
    let token = args.token()?;
    let bearer = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("Authorization", value.as_str())).collect();
    let client = |address: &str| Client::new(address).map_err(Failure::Usage);
    let answer = follow_leader(
        &args.service.server,
        |server| Ok(client(server)?.post(&path, &headers, body)),
        |server| Ok(leaders_address(&client(server)?.get("/api/v1/cluster", Duration::ZERO)?)),
        ASK_AGAIN_AFTER,
    )?;
    args.service.printer().print(&answer, |answer| output::printable(&member(answer, "message")))?;
    Ok(Verdict::Done)
}

/// Asks `server`, then whom it names as the leader, until one of them does not answer that another one leads.
fn follow_leader<T>(
    server: &str,
    ask: impl Fn(&str) -> Result<Result<T, CallError>, Failure>,
    leader_by: impl Fn(&str) -> Result<Option<String>, Failure>,
    pause: Duration,
) -> Result<T, Failure> {
    let mut server = server.to_owned();
    let mut asked = 1;
    loop {
        match ask(&server)? {
            Err(CallError::Problem { code, .. }) if code == "no_leader" && asked < ASKED_MAX => {}
            other => return Ok(other?),
        }
        match leader_by(&server)?.map(|leader| format!("http://{leader}")) {
            Some(leader) if leader != server => server = leader,
            // It is being elected.
            _ => std::thread::sleep(pause),
        }
        asked += 1;
    }
}

/// Where the leader's HTTP is reached, as the answering node knows it.
fn leaders_address(cluster: &Value) -> Option<String> {
    let leader = cluster.get("leader")?.as_str()?;
    let members = cluster.get("members")?.as_array()?;
    let is_leader = |one: &&Map<String, Value>| one.get("name").and_then(Value::as_str) == Some(leader);
    let found = members.iter().filter_map(Value::as_object).find(is_leader)?;
    let address = found.get("http_address")?.as_str()?;
    (!address.is_empty()).then(|| address.to_owned())
}

impl ServiceAndToken {
    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let read = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the token file {}", path.display()));
        read.map(|text| Some(text.trim().to_owned())).map_err(Failure::Usage)
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn no_leader() -> CallError {
        let text = String::new();
        CallError::Problem {
            status: 503,
            detail: text.clone(),
            code: "no_leader".to_owned(),
            request_id: text.clone(),
            task_id: text,
        }
    }

    #[test]
    fn a_change_follows_a_leader_that_hands_over_before_it_goes() {
        // The follower names the leader; that one is to be removed, and hands over to the third.
        let asked = RefCell::new(Vec::new());
        let answer = follow_leader(
            "http://a",
            |server| {
                asked.borrow_mut().push(server.to_owned());
                Ok(if server == "http://c" { Ok("done") } else { Err(no_leader()) })
            },
            |server| Ok(Some(if server == "http://a" { "b" } else { "c" }.to_owned())),
            Duration::ZERO,
        );
        assert!(matches!(answer, Ok("done")));
        assert_eq!(*asked.borrow(), ["http://a", "http://b", "http://c"]);
    }

    #[test]
    fn a_change_is_not_taken_around_for_ever() {
        let asked = RefCell::new(0);
        let answer = follow_leader::<()>(
            "http://a",
            |_| {
                *asked.borrow_mut() += 1;
                Ok(Err(no_leader()))
            },
            |server| Ok(Some(if server == "http://a" { "b" } else { "a" }.to_owned())),
            Duration::ZERO,
        );
        assert!(answer.is_err());
        assert_eq!(*asked.borrow(), ASKED_MAX);
    }
}
