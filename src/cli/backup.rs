//! `zkpnet cluster backup`, `backup verify` and `restore`. A backup gets its name once it is whole and was checked; what an
//! interrupted one leaves behind is called `….part`.

use super::client::Client;
use super::node_args::LoadArgs;
use super::output::{Format, Printer, member, print_note, printable, table};
use super::{Failure, Verdict, duration};
use crate::backup::{self, BackupError, Manifest, RestoreRequest, Restored, StoppedNode};
use crate::config::{Role, load};
use crate::ledger::LogIndex;
use crate::raft::{Founder, NodeId};
use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Said wherever a backup is taken or used: nothing else brings the inputs back.
const DATA_KEY_NOTE: &str = "the data key (storage.key_file) is NOT in the backup: keep a copy of it elsewhere, without it no \
                             queued task can be proved after a restore";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    #[command(flatten)]
    take: TakeArgs,
}

#[derive(Debug, clap::Subcommand)]
enum BackupCommand {
    /// Check a backup from its beginning to its end; asks nobody
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct TakeArgs {
    /// The file to write; it must not exist
    #[arg(long, value_name = "FILE", required = true)]
    out: Option<PathBuf>,
    /// Leave the files of the proving keys out: they are large, and stay the same
    #[arg(long)]
    without_keys: bool,
    /// A coordinator's address; any of them will do
    #[arg(long, default_value = "http://127.0.0.1:8090", value_name = "URL")]
    server: String,
    /// The file with the cluster's token, when the coordinators have one
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How long it may take
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = duration)]
    time_limit: Duration,
    /// Ask nobody: read the raft.data_dir of a coordinator that does not run, such as the last one of a lost majority
    #[arg(long, value_name = "DIR")]
    from_data_dir: Option<PathBuf>,
    /// With --from-data-dir: the coordinator's storage.keys_dir [default: keys beside the folder]
    #[arg(long, value_name = "DIR", requires = "from_data_dir")]
    keys_dir: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    load: LoadArgs,
    /// The coordinator's name
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Folder for everything that is kept
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn backup(args: &BackupArgs) -> Result<Verdict, Failure> {
    match &args.command {
        Some(BackupCommand::Verify(args)) => verify(args),
        None => take(&args.take),
    }
}

fn verify(args: &VerifyArgs) -> Result<Verdict, Failure> {
    let (manifest, ledger) = backup::check(&args.file).map_err(|error| Failure::Usage(error.into()))?;
    drop(ledger);
    let answer = described(&args.file, &manifest).map_err(Failure::Usage)?;
    Printer::new(args.output).print(&answer, |answer| text("the backup is whole", answer))?;
    print_note(DATA_KEY_NOTE);
    Ok(Verdict::Done)
}

fn take(args: &TakeArgs) -> Result<Verdict, Failure> {
    let Some(out) = &args.out else { return Err(Failure::Usage(anyhow!("--out names the file to write"))) };
    if out
        .try_exists()
        .with_context(|| format!("cannot look for {}", out.display()))
        .map_err(Failure::Usage)?
    {
        let reason = anyhow!("{} exists already: name another file, or remove it", out.display());
        return Err(Failure::Usage(reason));
    }
    let part = beside(out, "part");
    let beyond = match &args.from_data_dir {
        Some(directory) => from_stopped(args, directory, out, &part).map_err(Failure::Usage)?,
        None => {
            download(args, &part)?;
            None
        }
    };
    // All of it is read again from the disk that it lies on before it gets its name.
    let (manifest, ledger) = backup::check(&part).map_err(|error| Failure::Usage(not_whole(error, &part)))?;
    drop(ledger);
    publish(&part, out).map_err(Failure::Usage)?;
    let answer = described(out, &manifest).map_err(Failure::Usage)?;
    Printer::new(args.output).print(&answer, |answer| text("the backup was taken and checked", answer))?;
    print_note(DATA_KEY_NOTE);
    if let Some(committed) = beyond {
        print_note(&format!(
            "the files say that entries up to {} were committed; those after it, up to {}, were taken too, since a majority may \
             have had them: look at the newest tasks after the restore",
            committed.map_or(0, |index| index.0),
            manifest.applied_index
        ));
    }
    Ok(Verdict::Done)
}

/// Reads the backup from a coordinator into `part`.
fn download(args: &TakeArgs, part: &Path) -> Result<(), Failure> {
    let token = match &args.token_file {
        None => None,
        Some(path) => {
            let read = fs::read_to_string(path);
            let read = read.with_context(|| format!("cannot read the token file {}", path.display()));
            Some(read.map_err(Failure::Usage)?.trim().to_owned())
        }
    };
    let client = Client::new(&args.server).map_err(Failure::Usage)?;
    let path = format!("/api/v1/cluster/backup?keys={}", !args.without_keys);
    let mut body = client.download(&path, token.as_deref(), args.time_limit)?;
    let failed = || format!("cannot write {}", part.display());
    let mut file = backup::create(part).map_err(|error| Failure::Usage(error.into()))?;
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Call(client.lost(&error))),
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        file.write_all(bytes).with_context(failed).map_err(Failure::Usage)?;
    }
    file.sync_all().with_context(failed).map_err(Failure::Usage)
}

/// Makes the backup from stopped files; gives the newest entry that they note as committed, if there are newer ones.
fn from_stopped(
    args: &TakeArgs,
    directory: &Path,
    out: &Path,
    part: &Path,
) -> anyhow::Result<Option<Option<LogIndex>>> {
    let keys_dir = match (&args.keys_dir, args.without_keys) {
        (_, true) => None,
        (Some(keys), false) => Some(keys.clone()),
        (None, false) => {
            let keys = directory.parent().unwrap_or(Path::new("")).join("keys");
            if !keys.is_dir() {
                bail!(
                    "there are no keys in {}: name --keys-dir, or leave them out --without-keys",
                    keys.display()
                );
            }
            Some(keys)
        }
    };
    let work = beside(out, "work");
    if work.exists() {
        // Ours, of a try that was interrupted: nobody else calls a folder so.
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    let node = StoppedNode { raft_dir: directory.to_owned(), keys_dir };
    let taken = backup::take_from_stopped(&node, part, &work);
    let removed = fs::remove_dir_all(&work);
    let (manifest, committed) = taken?;
    removed.with_context(|| format!("cannot remove {}", work.display()))?;
    Ok((committed.is_none_or(|index| index.0 < manifest.applied_index)).then_some(committed))
}

pub(super) fn restore(args: &RestoreArgs) -> Result<Verdict, Failure> {
    let overrides = [
        ("coordinator.id", "--id", args.id.as_deref()),
        ("storage.data_dir", "--data-dir", args.data_dir.as_deref()),
    ];
    let loaded = load(&args.load.request(Role::Coordinator, &overrides));
    let config = loaded.map_err(|errors| Failure::Usage(anyhow!("{errors}")))?.config;
    let (raft, storage) = (&config.raft, &config.storage);
    let request = RestoreRequest {
        raft_dir: raft.data_dir.clone(),
        keys_dir: storage.keys_dir.clone(),
        key_file: storage.key_file.clone().unwrap_or_else(|| storage.data_dir.join("data.key")),
        founder: Founder {
            node: NodeId(1),
            name: raft.node_id.as_str().to_owned(),
            address: raft.advertise_address.to_string(),
        },
    };
    let restored = backup::restore(&args.file, &request).map_err(|error| Failure::Usage(error.into()))?;
    let answer = restored_answer(&args.file, &request, &restored).map_err(Failure::Usage)?;
    Printer::new(args.output).print(&answer, restored_text)?;
    print_note(&format!(
        "start this coordinator alone first; the others get empty folders, their own raft.advertise_address, and raft.join: [{}] \
         instead of raft.peers and raft.bootstrap. No process of the old cluster may go on: stop them all",
        request.founder.address
    ));
    for key in &restored.missing {
        print_note(&format!(
            "the key {} of {} is not in the backup: copy it to {} on this coordinator, or no task of that circuit is proved",
            key.digest,
            key.circuit,
            request.keys_dir.display()
        ));
    }
    Ok(Verdict::Done)
}

fn described(file: &Path, manifest: &Manifest) -> anyhow::Result<Value> {
    let bytes = fs::metadata(file).with_context(|| format!("cannot examine {}", file.display()))?.len();
    let keys: Vec<Value> = manifest
        .keys
        .iter()
        .map(|key| json!({"circuit": key.circuit, "digest": key.digest, "included": key.included}))
        .collect();
    Ok(json!({
        "file": file.display().to_string(),
        "bytes": bytes,
        "format": manifest.format,
        "zkpnet": manifest.zkpnet,
        "cluster": manifest.cluster,
        "applied_index": manifest.applied_index,
        "applied_term": manifest.applied_term,
        "state_hash": manifest.state_hash,
        "data_key_print": manifest.data_key_print,
        "records": manifest.records,
        "bodies": manifest.bodies,
        "keys": keys,
    }))
}

const FIELDS: [&str; 8] =
    ["file", "bytes", "zkpnet", "cluster", "applied_index", "state_hash", "data_key_print", "records"];

fn text(what: &str, answer: &Value) -> String {
    let mut rows: Vec<Vec<String>> = FIELDS.iter().map(|name| row(answer, name)).collect();
    let keys = answer.get("keys").and_then(Value::as_array).cloned().unwrap_or_default();
    for key in &keys {
        let is_included = key.get("included") == Some(&Value::Bool(true));
        let included = if is_included { "included" } else { "NOT included" };
        rows.push(vec![format!("key of {}", printable(&member(key, "circuit"))), included.to_owned()]);
    }
    format!("{what}\n\n{}", table(&["WHAT", "VALUE"], &rows))
}

fn row(answer: &Value, name: &str) -> Vec<String> {
    vec![name.replace('_', " "), printable(&member(answer, name))]
}

fn restored_answer(file: &Path, request: &RestoreRequest, restored: &Restored) -> anyhow::Result<Value> {
    let mut answer = json!({
        "backup": described(file, &restored.manifest)?,
        "cluster": restored.cluster,
        "member": request.founder.name,
        "address": request.founder.address,
        "raft_data_dir": request.raft_dir.display().to_string(),
        "state_hash": restored.manifest.state_hash,
    });
    let count =
        |(status, count): (&crate::ledger::TaskStatus, &u64)| (status.as_str().to_owned(), json!(count));
    answer["tasks"] = Value::Object(restored.tasks.iter().map(count).collect());
    Ok(answer)
}

fn restored_text(answer: &Value) -> String {
    let names = ["cluster", "member", "address", "raft_data_dir", "state_hash"];
    let mut rows: Vec<Vec<String>> = names.iter().map(|name| row(answer, name)).collect();
    let tasks = answer.get("tasks").and_then(Value::as_object).into_iter().flatten();
    rows.extend(tasks.map(|(status, count)| vec![format!("tasks {status}"), count.to_string()]));
    let table = table(&["WHAT", "VALUE"], &rows);
    format!("restored as the first member of a new cluster; its state is the backup's\n\n{table}")
}

/// A file beside another one, with a further ending.
fn beside(out: &Path, ending: &str) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    out.with_file_name(name)
}

/// Gives a whole backup its name; never that of a file that came meanwhile.
fn publish(part: &Path, out: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot name {} {}", part.display(), out.display());
    match fs::hard_link(part, out) {
        Ok(()) => fs::remove_file(part).with_context(failed)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(error).with_context(failed);
        }
        // Not every file system has links.
        Err(_) => fs::rename(part, out).with_context(failed)?,
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)?;
    }
    Ok(())
}

fn not_whole(error: BackupError, part: &Path) -> anyhow::Error {
    anyhow::Error::from(error).context(format!(
        "the backup is not whole and got no name; what there is of it lies in {}",
        part.display()
    ))
}
