//! A disk that begins to fail: nothing is acknowledged from then on, and nothing is applied.

use super::support::{LIMITS, NODE, SNAPSHOT_BYTES_MAX, append, apply, entries, log_id};
use crate::raft::events;
use crate::raft::files::DatabaseFile;
use crate::raft::ledger_store::LedgerStore;
use crate::raft::log_store::LogStore;
use crate::raft::state_machine::StateMachine;
use openraft::Vote;
use openraft::storage::{RaftLogStorage as _, RaftLogStorageExt as _, RaftStateMachine as _};
use redb::backends::FileBackend;
use redb::{Database, StorageBackend};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file whose writes and fsyncs fail once it is told so.
#[derive(Debug)]
struct FailingDisk {
    file: FileBackend,
    fails: Arc<AtomicBool>,
}

impl FailingDisk {
    fn check(&self) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            Err(io::Error::other("no space left on device"))
        } else {
            Ok(())
        }
    }
}

impl StorageBackend for FailingDisk {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.file.write(offset, data)
    }
}

fn failing(path: &Path) -> (DatabaseFile, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let options = std::fs::File::options().read(true).write(true).create_new(true).open(path);
    let file = FileBackend::new(options.unwrap()).unwrap();
    let backend = FailingDisk { file, fails: fails.clone() };
    let database = Database::builder().create_with_backend(backend).unwrap();
    (DatabaseFile::new(database, path), fails)
}

#[tokio::test]
async fn no_append_or_vote_is_acknowledged_once_the_disk_has_failed() {
    let directory = tempfile::tempdir().unwrap();
    let (file, fails) = failing(&directory.path().join("raft.redb"));
    let mut log = LogStore::with_file(file, NODE, LIMITS).unwrap();
    append(&mut log, entries(0..=3, 100)).await;
    fails.store(true, Ordering::SeqCst);
    let error = log.blocking_append(entries(4..=4, 100)).await.unwrap_err().to_string();
    assert!(error.contains("raft.redb"), "{error}");
    assert!(log.save_vote(&Vote::new(9, NODE)).await.is_err());
    // The disk has room again, but what the file holds is unknown until it is opened anew.
    fails.store(false, Ordering::SeqCst);
    assert!(log.save_vote(&Vote::new(10, NODE)).await.is_err());
    assert_eq!(log.read_vote().await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_applied_after_a_failed_write() {
    let directory = tempfile::tempdir().unwrap();
    let (file, fails) = failing(&directory.path().join("ledger.redb"));
    let opened = LedgerStore::with_file(file).unwrap();
    let (sink, _events) = events::channel(16);
    let mut machine = StateMachine::with_store(opened, directory.path(), SNAPSHOT_BYTES_MAX, sink).unwrap();
    apply(&mut machine, entries(0..=3, 100)).await;
    fails.store(true, Ordering::SeqCst);
    // Commits that need no fsync may stay in redb's cache; enough of them reach the disk.
    let mut next = 4;
    let error = loop {
        let applied = machine.apply(entries(next..=next, 1 << 20)).await;
        match applied {
            Ok(_) => next += 1,
            Err(error) => break error.to_string(),
        }
        assert!(next < 200, "200 MiB were applied onto a disk that takes nothing");
    };
    assert!(error.contains("ledger.redb"), "{error}");
    fails.store(false, Ordering::SeqCst);
    let after = machine.apply(entries(next + 1..=next + 1, 10)).await;
    assert!(after.unwrap_err().to_string().contains("an earlier write"));
    assert_eq!(machine.applied(), Some(log_id(1, next)), "in memory it got as far as the entry that failed");
}
