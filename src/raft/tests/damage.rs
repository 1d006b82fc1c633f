//! Files that are damaged, torn or not ours: an error that says which file and what to do, never a panic.

use super::support::{
    LIMITS, NODE, SNAPSHOT_BYTES_MAX, append, apply, entries, log_id, open_log, open_machine,
};
use crate::ledger::BodyKey;
use crate::raft::error::{StartError, StoreError};
use crate::raft::events;
use crate::raft::files::DatabaseFile;
use crate::raft::ledger_store::{BODIES, META as LEDGER_META, RECORDS};
use crate::raft::log_store::{LOG, LogStore, META as LOG_META};
use crate::raft::state_machine::StateMachine;
use openraft::RaftSnapshotBuilder as _;
use openraft::Vote;
use openraft::storage::{RaftLogStorage as _, RaftStateMachine as _};
use redb::{Database, Key, ReadableTable as _, TableDefinition};
use std::path::Path;

/// A node's files with something in each table.
async fn filled() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    append(&mut log, entries(0..=9, 100)).await;
    log.save_vote(&Vote::new(1, NODE)).await.unwrap();
    let (mut machine, _events) = open_machine(directory.path());
    apply(&mut machine, entries(0..=9, 100)).await;
    machine.flush().unwrap();
    directory
}

fn open_both(directory: &Path) -> Result<(LogStore, StateMachine), StartError> {
    let log = LogStore::open(&directory.join("raft.redb"), NODE, LIMITS)?;
    let (sink, _) = events::channel(16);
    Ok((log, StateMachine::open(directory, SNAPSHOT_BYTES_MAX, sink)?))
}

/// Flips the lowest bit of the last byte of every value in a table.
fn flip<K: Key + 'static>(file: &Path, table: TableDefinition<'_, K, &'static [u8]>) -> usize {
    let database = Database::open(file).unwrap();
    let write = database.begin_write().unwrap();
    let mut flipped = Vec::new();
    {
        let mut table = write.open_table(table).unwrap();
        for item in table.iter().unwrap() {
            let (key, value) = item.unwrap();
            let mut value = value.value().to_vec();
            *value.last_mut().unwrap() ^= 1;
            flipped.push((K::as_bytes(&key.value()).as_ref().to_vec(), value));
        }
        for (key, value) in &flipped {
            table.insert(K::from_bytes(key), value.as_slice()).unwrap();
        }
    }
    write.commit().unwrap();
    flipped.len()
}

#[tokio::test]
async fn a_flipped_bit_in_a_record_is_an_error_that_names_file_and_table() {
    type Flip = fn(&Path) -> usize;
    let cases: [(&str, &str, Flip); 4] = [
        ("raft.redb", "log", |file| flip(file, LOG)),
        ("raft.redb", "meta", |file| flip(file, LOG_META)),
        ("ledger.redb", "records", |file| flip(file, RECORDS)),
        ("ledger.redb", "meta", |file| flip(file, LEDGER_META)),
    ];
    for (file, table, flip) in cases {
        let directory = filled().await;
        assert!(flip(&directory.path().join(file)) > 0);
        let text = match open_both(directory.path()) {
            Ok(_) => panic!("{file} opened with a damaged table {table}"),
            Err(error) => error.to_string(),
        };
        assert!(text.contains(file) && text.contains(&format!("table {table}")), "{text}");
        assert!(text.contains("checksum mismatch") && text.contains("restore"), "{text}");
    }
}

#[tokio::test]
async fn a_damaged_body_is_an_error_when_it_is_read_and_when_a_snapshot_would_copy_it() {
    let directory = filled().await;
    flip(&directory.path().join("ledger.redb"), BODIES);
    let (_, machine) = open_both(directory.path()).unwrap();
    let read = machine.reader().body(BodyKey::Input(super::support::task_id(5)));
    let text = read.unwrap_err().to_string();
    assert!(text.contains("table bodies") && text.contains("checksum mismatch"), "{text}");
    let built = machine.clone().build_snapshot().await;
    assert!(built.unwrap_err().to_string().contains("table bodies"));
}

#[tokio::test]
async fn a_foreign_file_and_a_torn_file_are_errors() {
    for name in ["raft.redb", "ledger.redb"] {
        let directory = filled().await;
        let file = directory.path().join(name);
        std::fs::write(&file, "this is not a database\n".repeat(1000)).unwrap();
        let text = open_both(directory.path()).expect_err("a foreign file opened").to_string();
        assert!(text.contains(name), "{text}");

        let directory = filled().await;
        let file = directory.path().join(name);
        let length = std::fs::metadata(&file).unwrap().len();
        std::fs::File::options().write(true).open(&file).unwrap().set_len(length / 3).unwrap();
        let text = open_both(directory.path()).expect_err("a torn file opened").to_string();
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn damage_anywhere_in_a_database_never_panics() {
    // Every 307th byte in use, one at a time; most hit redb's own structures.
    let directory = filled().await;
    for name in ["raft.redb", "ledger.redb"] {
        let file = directory.path().join(name);
        let good = std::fs::read(&file).unwrap();
        let used: Vec<usize> = (0..good.len()).filter(|&at| good[at] != 0).step_by(307).collect();
        assert!(used.len() > 10);
        for at in used {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            std::fs::write(&file, &bad).unwrap();
            // Whether it opens depends on what was hit; that this line is reached again is the test.
            drop(open_both(directory.path()));
        }
        std::fs::write(&file, &good).unwrap();
    }
    assert!(open_both(directory.path()).is_ok());
}

#[tokio::test]
async fn a_snapshot_with_a_flipped_bit_or_a_missing_end_is_refused_before_anything_changes() {
    let from = filled().await;
    let (_, mut leader) = open_both(from.path()).unwrap();
    let built = leader.build_snapshot().await.unwrap();
    drop(built.snapshot);
    let directory = from.path().join("snapshots");
    let file = std::fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    let good = std::fs::read(&file).unwrap();

    let to = tempfile::tempdir().unwrap();
    let (mut follower, _events) = open_machine(to.path());
    apply(&mut follower, entries(0..=2, 10)).await;
    let bad_file = to.path().join("bad");
    let flips = (0..good.len()).step_by(53).map(|at| {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bad
    });
    let cuts = (0..good.len()).step_by(211).map(|length| good[..length].to_vec());
    let longer = std::iter::once([good.as_slice(), b"x"].concat());
    for bad in flips.chain(cuts).chain(longer) {
        std::fs::write(&bad_file, &bad).unwrap();
        let received = Box::new(tokio::fs::File::open(&bad_file).await.unwrap());
        let installed = follower.install_snapshot(&built.meta, received).await;
        assert!(installed.is_err());
        assert_eq!(follower.applied(), Some(log_id(1, 2)));
    }
    std::fs::write(&bad_file, &good).unwrap();
    let received = Box::new(tokio::fs::File::open(&bad_file).await.unwrap());
    follower.install_snapshot(&built.meta, received).await.unwrap();
    assert_eq!(follower.applied(), Some(log_id(1, 9)));
}

#[tokio::test]
async fn a_damaged_snapshot_on_our_own_disk_is_set_aside() {
    let directory = filled().await;
    let (_, mut machine) = open_both(directory.path()).unwrap();
    machine.build_snapshot().await.unwrap();
    drop(machine);
    let snapshots = directory.path().join("snapshots");
    let file = std::fs::read_dir(&snapshots).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let (_, mut machine) = open_both(directory.path()).unwrap();
    assert_eq!(machine.applied(), Some(log_id(1, 9)), "the ledger's file does not depend on it");
    assert!(machine.get_current_snapshot().await.unwrap().is_none());
    assert!(!file.exists());
}

#[tokio::test]
async fn a_snapshot_above_the_limit_is_refused() {
    let from = filled().await;
    let (_, mut leader) = open_both(from.path()).unwrap();
    let built = leader.build_snapshot().await.unwrap();
    let to = tempfile::tempdir().unwrap();
    let (sink, _) = events::channel(16);
    let mut follower = StateMachine::open(to.path(), 1_000, sink).unwrap();
    let error = follower.install_snapshot(&built.meta, built.snapshot).await.unwrap_err();
    assert!(error.to_string().contains("more than 1000 bytes"), "{error}");
}

#[test]
fn what_a_killed_process_left_half_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (path, half_made) = (folder.path().join("raft.redb"), folder.path().join("raft.new"));
    std::fs::write(&half_made, vec![0; 4096]).unwrap();
    let first = DatabaseFile::open(&path, 1 << 20).unwrap();
    assert!(!half_made.exists());
    // Who comes second finds the file in use, and not a new one of its own.
    assert!(matches!(DatabaseFile::open(&path, 1 << 20), Err(StoreError::InUse { .. })));
    drop(first);
    DatabaseFile::open(&path, 1 << 20).unwrap();
}
