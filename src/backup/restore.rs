//! Making a backup into the first member of a new cluster. The file is checked as a whole before anything is written, the
//! data key before that; the ledger that comes out is compared with the manifest's state hash before a node may start on it.

use super::check::{check, open};
use super::container::PartKind;
use super::error::{BackupError, io_error};
use super::manifest::{KeyEntry, Manifest};
use crate::ledger::{Digest, Ledger, TaskStatus};
use crate::proof::{BUNDLE_BYTES_MAX, KeyStore};
use crate::raft::{Founder, Refounding};
use crate::sealing::DataKey;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

/// Where a backup goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The new member's `raft.data_dir`: empty, or not there.
    pub raft_dir: PathBuf,
    /// Its `storage.keys_dir`, which may hold keys already.
    pub keys_dir: PathBuf,
    /// Its data key: the one that the backup's inputs are sealed with.
    pub key_file: PathBuf,
    /// The new member.
    pub founder: Founder,
}

/// What a restore came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup said of itself.
    pub manifest: Manifest,
    /// The new cluster.
    pub cluster: String,
    /// Numbers of tasks.
    pub tasks: BTreeMap<TaskStatus, u64>,
    /// Keys that are neither in the backup nor in the folder of keys: tasks of their circuits wait until they are.
    pub missing: Vec<KeyEntry>,
}

/// Restores a backup. Blocks for as long as reading it twice, and writing it twice, takes.
///
/// # Errors
/// The file is no whole backup, the data key is another one, or the folder holds something. What was begun before an error is
/// removed by the next try.
pub fn restore(path: &Path, request: &RestoreRequest) -> Result<Restored, BackupError> {
    let (manifest, ledger) = check(path)?;
    check_data_key(&request.key_file, &manifest)?;
    let state_hash = digest(&manifest.state_hash)
        .ok_or_else(|| BackupError::damaged(path, "its manifest has no state hash"))?;
    let begun = Refounding::begin(&request.raft_dir)?;
    let store = KeyStore::open(&request.keys_dir)
        .map_err(|error| io_error("opening", &request.keys_dir)(io::Error::other(error)))?;
    let mut container = open(path)?;
    let mut cluster = None;
    let mut keys = manifest.keys.iter().filter(|key| key.included);
    for _ in &manifest.parts {
        let mut part = container.next_part()?;
        match part.kind() {
            PartKind::Ledger => {
                let made = begun.write(&mut part, state_hash, &request.founder);
                cluster = Some(made.map_err(|error| part.failure_or(error))?);
            }
            PartKind::Key => {
                if let Some(key) = keys.next() {
                    let mut bundle = Vec::new();
                    let read = (&mut part).take(BUNDLE_BYTES_MAX).read_to_end(&mut bundle);
                    read.map_err(|error| part.failure_or(io_error("reading", path)(error)))?;
                    let stored = store.import_bundle(&key.digest, &bundle);
                    stored.map_err(|source| BackupError::Key { circuit: key.circuit.clone(), source })?;
                }
            }
            PartKind::Manifest => break,
        }
        part.end()?;
    }
    let cluster = cluster.ok_or_else(|| BackupError::damaged(path, "it has no ledger"))?;
    bind_data_key(&request.raft_dir.join("data-key.id"), &manifest.data_key_print)?;
    begun.finish()?;
    let is_missing = |key: &&KeyEntry| store.manifest(&key.digest).is_err();
    let missing = manifest.keys.iter().filter(is_missing).cloned().collect();
    Ok(Restored { cluster: cluster.to_string(), tasks: tasks_of(&ledger), missing, manifest })
}

/// The data key is there, and the right one. Nothing is made: a new key would open nothing.
fn check_data_key(path: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let expected = manifest.data_key_print.clone();
    let Some(key) = DataKey::load(path)? else {
        return Err(BackupError::NoDataKey { path: path.to_owned(), expected });
    };
    let found = key.print();
    if found == expected {
        return Ok(());
    }
    Err(BackupError::OtherDataKey { path: path.to_owned(), found, expected })
}

/// The storage remembers its data key, as one that was begun with it does.
fn bind_data_key(path: &Path, print: &str) -> Result<(), BackupError> {
    let mut file = File::create(path).map_err(io_error("writing", path))?;
    file.write_all(print.as_bytes()).map_err(io_error("writing", path))?;
    file.sync_all().map_err(io_error("syncing", path))
}

fn digest(text: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(Digest(bytes))
}

fn tasks_of(ledger: &Ledger) -> BTreeMap<TaskStatus, u64> {
    let mut tasks = BTreeMap::new();
    for record in ledger.records() {
        if let crate::ledger::Record::Task(task) = record {
            *tasks.entry(task.status()).or_default() += 1;
        }
    }
    tasks
}
