//! What can be learned of a node that does not run, from its files.

use crate::support::{Cluster, assert_input, register, submit};
use std::collections::BTreeMap;
use std::path::Path;
use zkpnet::ledger::TaskStatus;
use zkpnet::raft::{NodeId, Standing, StoreError, StoreIdentity, inspect};

/// Every file and what is in it.
fn content(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_stopped_node_tell_what_it_knew_and_stay_as_they_are() {
    let mut cluster = Cluster::start(3, |config| {
        config.snapshot_after_entries = 15;
        config.log_entries_kept = 3;
    })
    .await;
    cluster.commit(register()).await;
    for number in 0..40 {
        cluster.commit(submit(number, 100)).await;
    }
    cluster.assert_equal_ledgers().await;
    let id = cluster.others(cluster.leader().await)[0];
    let folder = cluster.folder(id).to_owned();
    let in_use = inspect(&folder).unwrap_err();
    assert!(matches!(in_use, StoreError::InUse { .. }), "{in_use}");
    let (before, report) = (cluster.node(id).status(), cluster.node(id).report());
    let (store, name) = (cluster.node(id).store_id(), cluster.node(id).cluster_id());
    cluster.stop_node(id).await;

    let files = content(&folder);
    let found = inspect(&folder).unwrap();
    assert_eq!(content(&folder), files, "looking changed a file");
    assert_eq!((found.node, found.store, found.cluster), (Some(id), Some(store), name));
    assert_eq!(found.vote.map(|(term, _)| term), Some(before.term));
    let index = |at: Option<zkpnet::ledger::LogPosition>| at.map(|at| at.index);
    assert_eq!(index(found.last_log), before.last_log);
    assert_eq!(index(found.applied), before.applied);
    assert_eq!(index(found.purged), before.purged);
    assert_eq!(found.tasks, BTreeMap::from([(TaskStatus::Pending, 40)]));
    assert_eq!((found.circuits, found.workers), (1, 0));
    assert_eq!(found.state_hash, report.state_hash.map(|(_, hash)| hash));
    assert_eq!(found.members.len(), 3);
    assert!(found.members.iter().all(|member| member.standing == Standing::Voter));
    let [snapshot] = &found.snapshots[..] else { panic!("{:?}", found.snapshots) };
    assert_eq!(snapshot.content.as_ref().map(|last| index(*last)), Ok(before.snapshot));
    // And the node starts on them as if nobody had looked.
    cluster.start_node(id).await;
    assert_input(cluster.node(id), 39, 100).await;
}

#[test]
fn a_folder_without_a_node_is_an_error_and_stays_empty() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(inspect(&folder.path().join("absent")), Err(StoreError::File { .. })));
    assert!(matches!(inspect(folder.path()), Err(StoreError::File { .. })));
    assert_eq!(content(folder.path()), BTreeMap::new());
    let identity = StoreIdentity::prepare(folder.path()).unwrap();
    let found = inspect(folder.path()).unwrap();
    assert_eq!((found.store, found.node, found.applied), (Some(identity.store), None::<NodeId>, None));
}
