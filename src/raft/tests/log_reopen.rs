//! What the log store has on disk after each kind of write. The upstream suite never opens a store again, so it would pass
//! if nothing were written at all.

use super::support::{LIMITS, NODE, append, crash_copy, entries, log_id, normal, open_log, submit};
use crate::codec;
use crate::raft::error::{StartError, StoreError};
use crate::raft::log_store::{LogLimits, LogStore};
use crate::raft::types::{ClusterId, Entry, NodeId};
use openraft::storage::RaftLogStorage as _;
use openraft::{RaftLogReader as _, Vote};

async fn all(log: &mut LogStore) -> Vec<Vec<u8>> {
    let found = log.try_get_log_entries(..).await.unwrap();
    encoded(&found)
}

/// Entries compare by their bytes: the encoding is what is stored.
fn encoded(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| codec::encode(entry).unwrap()).collect()
}

#[tokio::test]
async fn acknowledged_entries_and_votes_survive_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    append(&mut log, entries(0..=9, 100)).await;
    log.save_vote(&Vote::new(7, NODE)).await.unwrap();

    let crashed = crash_copy(directory.path());
    let mut log = open_log(crashed.path());
    assert_eq!(all(&mut log).await, encoded(&entries(0..=9, 100)));
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(7, NODE)));
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 9)));
    // `strings raft.redb | grep term` is how the cluster's documents look at it.
    let bytes = std::fs::read(directory.path().join("raft.redb")).unwrap();
    let words = b"term 7, voted for node ";
    assert!(bytes.windows(words.len()).any(|window| window == words), "the term is not there to be read");
}

#[tokio::test]
async fn a_truncated_end_does_not_come_back_and_what_replaces_it_does() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    append(&mut log, entries(0..=9, 100)).await;
    log.truncate(log_id(1, 5)).await.unwrap();

    let crashed = crash_copy(directory.path());
    let mut reopened = open_log(crashed.path());
    assert_eq!(all(&mut reopened).await, encoded(&entries(0..=4, 100)));
    assert_eq!(reopened.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 4)));

    append(&mut log, vec![normal(2, 5, vec![submit(500, 10)])]).await;
    drop(log);
    let mut log = open_log(directory.path());
    let mut expected = encoded(&entries(0..=4, 100));
    expected.extend(encoded(&[normal(2, 5, vec![submit(500, 10)])]));
    assert_eq!(all(&mut log).await, expected);
    log.truncate(log_id(1, 0)).await.unwrap();
    drop(log);
    let mut log = open_log(directory.path());
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, None);
}

#[tokio::test]
async fn a_purged_beginning_does_not_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    append(&mut log, entries(0..=9, 100)).await;
    log.purge(log_id(1, 6)).await.unwrap();

    let crashed = crash_copy(directory.path());
    let mut reopened = open_log(crashed.path());
    assert_eq!(all(&mut reopened).await, encoded(&entries(7..=9, 100)));
    assert_eq!(reopened.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(1, 6)));

    // Beyond the end, as after a snapshot that was received: the next entry follows what was purged.
    log.purge(log_id(3, 20)).await.unwrap();
    drop(log);
    let mut log = open_log(directory.path());
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(3, 20)), Some(log_id(3, 20))));
    append(&mut log, vec![normal(3, 21, vec![submit(21, 10)])]).await;
    drop(log);
    assert_eq!(all(&mut open_log(directory.path())).await, encoded(&[normal(3, 21, vec![submit(21, 10)])]));
}

#[tokio::test]
async fn the_committed_index_is_exact_after_a_clean_end_and_never_ahead_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    append(&mut log, entries(0..=3, 10)).await;
    log.save_committed(Some(log_id(1, 2))).await.unwrap();
    append(&mut log, entries(4..=4, 10)).await;
    log.save_committed(Some(log_id(1, 4))).await.unwrap();
    let crashed = crash_copy(directory.path());
    assert_eq!(open_log(crashed.path()).read_committed().await.unwrap(), Some(log_id(1, 2)));
    drop(log);
    assert_eq!(open_log(directory.path()).read_committed().await.unwrap(), Some(log_id(1, 4)));
}

#[tokio::test]
async fn entries_that_left_the_cache_are_read_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft.redb");
    let tight = LogLimits { cache_bytes_max: 1_000, message_bytes_max: 5_000 };
    let mut log = LogStore::open(&path, NODE, tight).unwrap();
    for index in 0..=40 {
        append(&mut log, entries(index..=index, 500)).await;
    }
    assert_eq!(all(&mut log).await, encoded(&entries(0..=40, 500)));
    let some = log.limited_get_log_entries(3, 41).await.unwrap();
    let bytes: usize = encoded(&some).iter().map(Vec::len).sum();
    assert_eq!(some.first().map(|entry| entry.log_id), Some(log_id(1, 3)));
    assert!(bytes <= 5_000 && bytes > 3_000, "{} entries of {bytes} bytes", some.len());
    log.truncate(log_id(1, 10)).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 9)));
    assert_eq!(all(&mut log).await, encoded(&entries(0..=9, 500)));
}

#[tokio::test]
async fn the_size_of_the_log_follows_every_change() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    let size = |indices| encoded(&entries(indices, 100)).iter().map(|frame| frame.len() as u64).sum::<u64>();
    append(&mut log, entries(0..=9, 100)).await;
    assert_eq!(log.progress().bytes_after(None), size(0..=9));
    assert_eq!(log.progress().bytes_after(Some(6)), size(7..=9));
    log.truncate(log_id(1, 8)).await.unwrap();
    assert_eq!(log.progress().bytes_after(Some(3)), size(4..=7));
    log.purge(log_id(1, 1)).await.unwrap();
    assert_eq!(log.progress().bytes_after(None), size(2..=7));
    assert_eq!(log.progress().purge_point(5, size(2..=5)), None);
    assert_eq!(log.progress().purge_point(5, size(4..=5)), Some(3));
    assert_eq!(log.progress().purge_point(5, 0), Some(5));
    drop(log);
    assert_eq!(open_log(directory.path()).progress().bytes_after(None), size(2..=7));
}

#[tokio::test]
async fn an_entry_that_would_leave_a_hole_is_refused() {
    use openraft::storage::RaftLogStorageExt as _;
    let directory = tempfile::tempdir().unwrap();
    let mut log = open_log(directory.path());
    append(&mut log, entries(0..=3, 10)).await;
    assert!(log.blocking_append(entries(5..=5, 10)).await.is_err());
    assert!(log.blocking_append(entries(3..=3, 10)).await.is_err());
}

#[tokio::test]
async fn a_store_keeps_its_names_and_refuses_another_node_and_another_cluster() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft.redb");
    let log = open_log(directory.path());
    let store = log.store_id();
    let cluster = ClusterId::random().unwrap();
    log.join_cluster(cluster).await.unwrap();
    drop(log);

    let log = open_log(directory.path());
    assert_eq!((log.store_id(), log.progress().cluster()), (store, Some(cluster)));
    let other = log.join_cluster(ClusterId::random().unwrap()).await;
    assert!(matches!(other, Err(StoreError::Inconsistent { .. })), "{other:?}");
    let twice = LogStore::open(&path, NODE, LIMITS);
    assert!(matches!(twice, Err(StartError::Store(StoreError::InUse { .. }))), "{twice:?}");
    assert!(twice.unwrap_err().to_string().starts_with("another zkpnet process uses "));
    drop(log);
    let stranger = LogStore::open(&path, NodeId(2), LIMITS);
    assert!(matches!(stranger, Err(StartError::Store(StoreError::OtherNode { .. }))), "{stranger:?}");
}
