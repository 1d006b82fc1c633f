//! Finished proofs that no coordinator acknowledged before the process had to end, in one small file, for the next start.
//!
//! The file is written whole, under another name first, and only its owner may read it, though proofs are no secrets. What
//! is reported twice counts once, so that the file may be older than what became of its proofs.

use crate::codec;
use crate::ledger::{Attempt, TaskId, WorkerId};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file is at most this large: a thousand proofs are half a megabyte.
const BYTES_MAX: u64 = 4 << 20;

/// A proof that is made and not yet acknowledged.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreportedProof {
    /// Of which task.
    pub task: TaskId,
    /// Under which lease.
    pub attempt: Attempt,
    /// Its compressed encoding.
    pub proof: Vec<u8>,
    /// How long it took.
    pub proving: Duration,
}

impl std::fmt::Debug for UnreportedProof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnreportedProof({}, attempt {})", self.task, self.attempt)
    }
}

/// The file could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {reason}")]
pub struct SpoolError {
    operation: &'static str,
    path: PathBuf,
    reason: String,
}

/// Where unreported proofs lie while the process is down.
#[derive(Clone, Debug)]
pub struct Spool {
    path: PathBuf,
}

impl Spool {
    /// A worker's spool in its data folder, which others may share.
    #[must_use]
    pub fn of(data_dir: &Path, worker: &WorkerId) -> Self {
        Self { path: data_dir.join(format!("unreported-proofs-{worker}")) }
    }

    /// What was left. Blocks.
    ///
    /// # Errors
    /// The file is there and cannot be read, or is not one of ours.
    pub fn read(&self) -> Result<Vec<UnreportedProof>, SpoolError> {
        let bytes = match fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Ok(metadata) if metadata.len() > BYTES_MAX => {
                return Err(self.error("read", "it is larger than any that was written"));
            }
            _ => fs::read(&self.path).map_err(|error| self.error("read", error))?,
        };
        codec::decode(&bytes).map_err(|error| self.error("read", error))
    }

    /// Keeps these, and nothing else; without any the file is removed. Blocks.
    ///
    /// # Errors
    /// The file system refused.
    pub fn write(&self, proofs: &[UnreportedProof]) -> Result<(), SpoolError> {
        if proofs.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.error("remove", error)),
                _ => Ok(()),
            };
        }
        let bytes = codec::encode(&proofs.to_vec()).map_err(|error| self.error("write", error))?;
        self.replace(&bytes).map_err(|error| self.error("write", error))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let temporary = self.path.with_added_extension("tmp");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &self.path)
    }

    fn error(&self, operation: &'static str, reason: impl ToString) -> SpoolError {
        SpoolError { operation, path: self.path.clone(), reason: reason.to_string() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn proof(number: u128) -> UnreportedProof {
        let task = TaskId(uuid::Uuid::from_u128(number));
        let proving = Duration::from_millis(7);
        UnreportedProof { task, attempt: Attempt(3), proof: vec![1, 2, 3], proving }
    }

    #[test]
    fn what_is_written_is_read_and_an_empty_spool_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::of(folder.path(), &WorkerId::new("worker-1.a").unwrap());
        assert_eq!(spool.read().unwrap(), []);
        spool.write(&[proof(1), proof(2)]).unwrap();
        assert_eq!(spool.read().unwrap(), [proof(1), proof(2)]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&spool.path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        spool.write(&[]).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        spool.write(&[]).unwrap();
    }

    #[test]
    fn a_damaged_spool_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::of(folder.path(), &WorkerId::new("worker-1.a").unwrap());
        spool.write(&[proof(1)]).unwrap();
        let mut bytes = fs::read(&spool.path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&spool.path, bytes).unwrap();
        let error = spool.read().unwrap_err().to_string();
        assert!(error.contains("unreported-proofs") && error.contains("checksum"), "{error}");
    }
}
