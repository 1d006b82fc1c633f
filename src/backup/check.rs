//! Reading a backup to its end: every part's hash, the ledger with its state hash and its rules, every key, and that they are
//! the parts that the manifest names. It asks nobody and writes nothing.

use super::container::{ContainerReader, PartDigest, PartKind, PartReader};
use super::error::{BackupError, io_error};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::ledger::Ledger;
use crate::proof::{Digest32, KeyManifest, check_bundle};
use crate::raft::{ImageSummary, read_image};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

const BUFFER_BYTES: usize = 1 << 20;

/// Checks all of a file, and gives its manifest and the ledger in it. Blocks for as long as reading the file takes.
///
/// # Errors
/// It is no backup, of another format, cut short, or damaged.
pub fn check(path: &Path) -> Result<(Manifest, Ledger), BackupError> {
    let mut container = open(path)?;
    let mut parts = Vec::new();
    let mut ledger = None;
    let mut keys = Vec::new();
    let manifest = loop {
        let mut part = container.next_part()?;
        match part.kind() {
            PartKind::Ledger => {
                let read = read_image(&mut part, path);
                ledger = Some(read.map_err(|error| part.failure_or(error))?);
            }
            PartKind::Key => keys.push(read_key(&mut part, path)?),
            PartKind::Manifest => break read_manifest(part, path)?,
        }
        parts.push(part.end()?);
    };
    container.end()?;
    let Some((image, ledger)) = ledger else {
        return Err(BackupError::damaged(path, "it has no ledger"));
    };
    agree(path, &manifest, &parts, &image, &keys)?;
    Ok((manifest, ledger))
}

pub(super) fn open(path: &Path) -> Result<ContainerReader<BufReader<File>>, BackupError> {
    let file = File::open(path).map_err(io_error("opening", path))?;
    ContainerReader::open(BufReader::with_capacity(BUFFER_BYTES, file), path)
}

fn read_key<R: Read>(part: &mut PartReader<'_, R>, path: &Path) -> Result<KeyManifest, BackupError> {
    let read = check_bundle(&mut *part);
    read.map_err(|reason| part.failure_or(BackupError::damaged(path, format!("a key in it {reason}"))))
}

fn read_manifest<R: Read>(mut part: PartReader<'_, R>, path: &Path) -> Result<Manifest, BackupError> {
    let mut text = Vec::new();
    let read = (&mut part).take(MANIFEST_BYTES_MAX).read_to_end(&mut text);
    if let Err(error) = read {
        return Err(part.failure_or(io_error("reading", path)(error)));
    }
    part.end()?;
    let unreadable = |error: serde_json::Error| BackupError::damaged(path, format!("its manifest: {error}"));
    serde_json::from_slice(&text).map_err(unreadable)
}

/// Whether the manifest speaks of these parts.
fn agree(
    path: &Path,
    manifest: &Manifest,
    parts: &[PartDigest],
    image: &ImageSummary,
    keys: &[KeyManifest],
) -> Result<(), BackupError> {
    if manifest.parts != parts {
        return Err(BackupError::damaged(path, "its parts are not those that its manifest names"));
    }
    if manifest.state_hash != image.state_hash.to_string() {
        return Err(BackupError::other_state(path, image.state_hash, &manifest.state_hash));
    }
    let applied = (image.applied.index.0, image.applied.term.0);
    if (manifest.applied_index, manifest.applied_term) != applied
        || (manifest.records, manifest.bodies) != (image.records, image.bodies)
    {
        return Err(BackupError::damaged(path, "its ledger is not the one that its manifest describes"));
    }
    let named: Vec<Digest32> = manifest.keys.iter().map(|key| key.digest).collect();
    let wanted: Vec<Digest32> = image.circuits.iter().map(|(_, digest)| Digest32::new(digest.0)).collect();
    let there: Vec<Digest32> = keys.iter().map(|key| key.proving_key).collect();
    let included: Vec<Digest32> =
        manifest.keys.iter().filter(|key| key.included).map(|key| key.digest).collect();
    if named != wanted || included != there {
        return Err(BackupError::damaged(path, "its keys are not those that its ledger names"));
    }
    Ok(())
}
