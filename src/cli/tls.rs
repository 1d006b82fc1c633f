//! `zkpnet tls`: certificates, a token and a data key for a cluster that has none yet.
//!
//! Writes files and nothing else; refuses to overwrite any without `--force`, since another process may live by them.

use super::output::{print_line, print_note, table};
use super::{Failure, Verdict};
use crate::tls::{CertRole, DevelopmentCertificates, random_secret, write_private};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Arguments of `zkpnet tls`.
#[derive(Debug, clap::Args)]
pub struct TlsArgs {
    #[command(subcommand)]
    command: TlsCommand,
}

#[derive(Debug, clap::Subcommand)]
enum TlsCommand {
    /// Make an authority and one certificate for each role, for development
    Init(InitArgs),
    /// Make a token for `cluster.token_file`
    Token(SecretArgs),
    /// Make a data key for `storage.key_file`; all coordinators need the same one
    DataKey(SecretArgs),
}

#[derive(Debug, clap::Args)]
struct InitArgs {
    /// Directory to write to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Host name or IP address under which coordinators and gateways are reached; may be repeated
    #[arg(long = "host", value_name = "NAME", required = true)]
    hosts: Vec<String>,
    /// Replace files that exist
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct SecretArgs {
    /// File to write to, readable by its owner only
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

pub(super) fn run(args: &TlsArgs) -> Result<Verdict, Failure> {
    match &args.command {
        TlsCommand::Init(args) => init(args),
        TlsCommand::Token(args) => secret(args, "cluster.token_file of every process of the cluster"),
        TlsCommand::DataKey(args) => secret(args, "storage.key_file of every coordinator; keep a copy of it"),
    }
}

/// A file to be written, and who may read it.
struct Output {
    path: PathBuf,
    content: zeroize::Zeroizing<String>,
    readers: Readers,
    purpose: String,
}

#[derive(Clone, Copy)]
enum Readers {
    Owner,
    Everybody,
}

fn init(args: &InitArgs) -> Result<Verdict, Failure> {
    let outputs = certificates(args).map_err(Failure::Usage)?;
    refuse_overwriting(outputs.iter().map(|output| output.path.as_path()), args.force)?;
    for output in &outputs {
        write(output).map_err(Failure::Usage)?;
    }
    let rows: Vec<_> = outputs
        .iter()
        .map(|output| vec![output.path.display().to_string(), output.purpose.clone()])
        .collect();
    print_line(&table(&["FILE", "GOES TO"], &rows))?;
    print_note("ca-key.pem can issue certificates of every role: no process needs it, keep it elsewhere");
    Ok(Verdict::Done)
}

fn certificates(args: &InitArgs) -> anyhow::Result<Vec<Output>> {
    let made = DevelopmentCertificates::new()?;
    let mut outputs = Vec::new();
    let mut add = |name: String, content: &str, readers, purpose: String| {
        let content = zeroize::Zeroizing::new(content.to_owned());
        outputs.push(Output { path: args.out.join(name), content, readers, purpose });
    };
    let authority = made.authority();
    let everybody = "ca_file of every process".to_owned();
    add("ca.pem".to_owned(), &authority.certificate, Readers::Everybody, everybody);
    add("ca-key.pem".to_owned(), &authority.key, Readers::Owner, "no process".to_owned());
    for role in CertRole::ALL {
        let pair = made.issue(role, &args.hosts)?;
        let (cert, key) = settings(role);
        add(format!("{role}.pem"), &pair.certificate, Readers::Everybody, cert);
        add(format!("{role}-key.pem"), &pair.key, Readers::Owner, key);
    }
    Ok(outputs)
}

/// Which settings a role's certificate and key are for.
fn settings(role: CertRole) -> (String, String) {
    match role {
        CertRole::Coordinator => (
            "raft.cert_file of every coordinator".to_owned(),
            "raft.key_file of every coordinator".to_owned(),
        ),
        CertRole::Worker => {
            ("worker.cert_file of every worker".to_owned(), "worker.key_file of every worker".to_owned())
        }
        CertRole::Gateway => ("the gateway".to_owned(), "the gateway".to_owned()),
        CertRole::Admin => {
            ("whoever administers the cluster".to_owned(), "the same, and nobody else".to_owned())
        }
    }
}

fn secret(args: &SecretArgs, purpose: &str) -> Result<Verdict, Failure> {
    refuse_overwriting(std::iter::once(args.out.as_path()), args.force)?;
    let content = random_secret().context("cannot make a secret").map_err(Failure::Usage)?;
    let output = Output {
        path: args.out.clone(),
        content: format!("{}\n", *content).into(),
        readers: Readers::Owner,
        purpose: purpose.to_owned(),
    };
    write(&output).map_err(Failure::Usage)?;
    print_line(&format!("{} goes to {}", output.path.display(), output.purpose))?;
    Ok(Verdict::Done)
}

/// Before anything is written: half of a set would be of no use.
fn refuse_overwriting<'a>(paths: impl Iterator<Item = &'a Path>, force: bool) -> Result<(), Failure> {
    let existing: Vec<String> = paths
        .filter(|path| !force && path.symlink_metadata().is_ok())
        .map(|path| path.display().to_string())
        .collect();
    if existing.is_empty() {
        return Ok(());
    }
    let text = format!("{} exists already; --force replaces it", existing.join(", "));
    Err(Failure::Usage(anyhow::anyhow!(text)))
}

fn write(output: &Output) -> anyhow::Result<()> {
    let written = match output.readers {
        Readers::Owner => write_private(&output.path, output.content.as_bytes()),
        Readers::Everybody => {
            make_folder(&output.path).and_then(|()| std::fs::write(&output.path, output.content.as_bytes()))
        }
    };
    written.with_context(|| format!("cannot write {}", output.path.display()))
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::tls::{ClusterToken, TlsFiles, TlsMaterial};

    fn init_in(folder: &Path, force: bool) -> Result<Verdict, Failure> {
        run(&TlsArgs {
            command: TlsCommand::Init(InitArgs {
                out: folder.join("made"),
                hosts: vec!["coordinator-1".to_owned(), "127.0.0.1".to_owned()],
                force,
            }),
        })
    }

    fn mode(path: &Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777
    }

    #[test]
    fn what_is_made_can_be_used_and_keys_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(init_in(folder.path(), false), Ok(Verdict::Done)));
        let made = folder.path().join("made");
        for role in CertRole::ALL {
            let key = made.join(format!("{role}-key.pem"));
            assert_eq!(mode(&key), 0o600, "{role}");
            let files = TlsFiles { cert: made.join(format!("{role}.pem")), key, ca: made.join("ca.pem") };
            TlsMaterial::open(files).unwrap();
        }
        assert_eq!(mode(&made.join("ca-key.pem")), 0o600);
    }

    #[test]
    fn files_that_exist_are_kept_unless_told_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        init_in(folder.path(), false).unwrap();
        let certificate = folder.path().join("made/worker.pem");
        let first = std::fs::read(&certificate).unwrap();
        std::fs::remove_file(folder.path().join("made/ca.pem")).unwrap();
        assert!(matches!(init_in(folder.path(), false), Err(Failure::Usage(_))));
        assert!(!folder.path().join("made/ca.pem").exists(), "half a set was written");
        assert_eq!(std::fs::read(&certificate).unwrap(), first);
        init_in(folder.path(), true).unwrap();
        assert_ne!(std::fs::read(&certificate).unwrap(), first);
    }

    #[test]
    fn a_token_and_a_data_key_are_what_their_readers_expect() {
        let folder = tempfile::tempdir().unwrap();
        let (token, key) = (folder.path().join("token"), folder.path().join("data.key"));
        let args = |out: &Path, force| SecretArgs { out: out.to_owned(), force };
        run(&TlsArgs { command: TlsCommand::Token(args(&token, false)) }).unwrap();
        run(&TlsArgs { command: TlsCommand::DataKey(args(&key, false)) }).unwrap();
        assert!(ClusterToken::read(&token).is_ok());
        assert_eq!((mode(&token), mode(&key)), (0o600, 0o600));
        assert!(crate::sealing::DataKey::load_or_create(&key).is_ok());
        let before = std::fs::read(&key).unwrap();
        assert!(run(&TlsArgs { command: TlsCommand::DataKey(args(&key, false)) }).is_err());
        assert_eq!(std::fs::read(&key).unwrap(), before, "a data key was lost");
    }
}
