//! Writing a backup: the ledger's image, then the keys that its circuits name, then the manifest.

use super::container::{PartDigest, PartKind, PartWriter, write_head};
use super::error::{BackupError, io_error};
use super::manifest::{KeysIncluded, Manifest};
use crate::ledger::{CircuitId, Digest, LogIndex};
use crate::proof::{Digest32, KeyStore};
use crate::raft::{LedgerImage, salvage};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Bytes of a key that are in memory at once.
const KEY_PIECE_BYTES: usize = 4 << 20;
/// A data key's print is this many hexadecimal digits.
const PRINT_DIGITS: usize = 64;

/// What a backup is made of.
pub(super) struct Sources<'a> {
    pub(super) image: &'a LedgerImage,
    /// Where the keys' files are; none when they are left out.
    pub(super) keys: Option<&'a KeyStore>,
    pub(super) data_key_print: String,
}

/// Writes a whole backup to `out`, which errors call `path`. Blocks.
pub(super) fn write(out: &mut dyn Write, path: &Path, sources: Sources<'_>) -> Result<Manifest, BackupError> {
    let failed = || io_error("writing", path);
    write_head(out).map_err(failed())?;
    let mut part = PartWriter::begin(out, PartKind::Ledger).map_err(failed())?;
    let summary = sources.image.write_to(&mut part)?;
    let mut parts = vec![part.end().map_err(failed())?];
    if let Some(store) = sources.keys {
        for (circuit, digest) in &summary.circuits {
            parts.push(write_key(out, path, store, circuit, *digest)?);
        }
    }
    let keys = if sources.keys.is_some() { KeysIncluded::Yes } else { KeysIncluded::No };
    let cluster = sources.image.cluster().to_string();
    let manifest = Manifest::new(cluster, summary, sources.data_key_print, keys, parts);
    let mut part = PartWriter::begin(out, PartKind::Manifest).map_err(failed())?;
    serde_json::to_writer(&mut part, &manifest).map_err(|error| failed()(error.into()))?;
    part.end().map_err(failed())?;
    out.flush().map_err(failed())?;
    Ok(manifest)
}

fn write_key(
    out: &mut dyn Write,
    path: &Path,
    store: &KeyStore,
    circuit: &CircuitId,
    digest: Digest,
) -> Result<PartDigest, BackupError> {
    let failed = || io_error("writing", path);
    let mut part = PartWriter::begin(out, PartKind::Key).map_err(failed())?;
    let mut offset = 0;
    loop {
        let read = store.read_piece(&Digest32::new(digest.0), offset, KEY_PIECE_BYTES);
        let (piece, total) = read.map_err(|source| BackupError::Key { circuit: circuit.clone(), source })?;
        part.write_all(&piece).map_err(failed())?;
        offset += piece.len() as u64;
        // A file that shrinks meanwhile ends the loop too; who reads the backup finds the key damaged.
        if piece.is_empty() || offset >= total {
            return part.end().map_err(failed());
        }
    }
}

/// The files of a coordinator that does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedNode {
    /// Its `raft.data_dir`.
    pub raft_dir: PathBuf,
    /// Its `storage.keys_dir`; none when the keys are left out.
    pub keys_dir: Option<PathBuf>,
}

/// Takes a backup of a node that does not run, into `part`, by way of copies in `work`, a folder that must not exist; both are
/// left to the caller. Gives also the newest entry that the node had noted as committed. Blocks.
///
/// # Errors
/// A node uses the files, or they are damaged.
pub fn take_from_stopped(
    node: &StoppedNode,
    part: &Path,
    work: &Path,
) -> Result<(Manifest, Option<LogIndex>), BackupError> {
    let print = stored_print(&node.raft_dir.join("data-key.id"))?;
    fs::create_dir(work).map_err(io_error("creating", work))?;
    let salvaged = salvage(&node.raft_dir, work)?;
    let keys = node.keys_dir.as_ref().map(open_keys).transpose()?;
    let sources = Sources { image: &salvaged.image, keys: keys.as_ref(), data_key_print: print };
    let mut out = BufWriter::new(create(part)?);
    let manifest = write(&mut out, part, sources)?;
    let file = out.into_inner().map_err(|error| io_error("writing", part)(error.into_error()))?;
    file.sync_all().map_err(io_error("syncing", part))?;
    Ok((manifest, salvaged.committed))
}

fn open_keys(folder: &PathBuf) -> Result<KeyStore, BackupError> {
    // A store makes its folder; here a folder that is not there is a wrong path.
    fs::read_dir(folder).map_err(io_error("reading", folder))?;
    KeyStore::open(folder).map_err(|error| io_error("reading", folder)(io::Error::other(error)))
}

fn stored_print(path: &Path) -> Result<String, BackupError> {
    let text = fs::read_to_string(path).map_err(|_| BackupError::NoPrint { path: path.to_owned() })?;
    let print = text.trim();
    if print.len() == PRINT_DIGITS && print.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(print.to_owned());
    }
    Err(BackupError::NoPrint { path: path.to_owned() })
}

/// Makes a file that only its owner may read, since a backup holds everybody's tasks, or empties the one that an interrupted
/// backup left.
///
/// # Errors
/// The operating system refused.
pub fn create(path: &Path) -> Result<File, BackupError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(io_error("creating", path))
}
