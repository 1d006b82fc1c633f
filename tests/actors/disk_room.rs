//! A disk with too little room: no task is taken, and those that are there are finished.

use crate::support::{Options, Rig, Worker, poll_until, real_prover, submission, uncached};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use zkpnet::actors::disk_room::DiskRoom;
use zkpnet::actors::tasks::messages::{Cancel, TaskError};
use zkpnet::ledger::{TaskStatus, TenantId};

/// A disk whose free bytes the test says, with a floor of 1000.
fn disk(free: u64) -> (Arc<AtomicU64>, DiskRoom) {
    let free = Arc::new(AtomicU64::new(free));
    let seen = Arc::clone(&free);
    let probe = Box::new(move || Some(seen.load(Ordering::SeqCst)));
    (free, DiskRoom::watch(1_000, Duration::from_millis(5), probe).unwrap())
}

async fn is_short(rig: &Rig, free: u64) {
    poll_until("the health tells of it", async || {
        let shortage = rig.tasks.health().await.unwrap().shortage?;
        (shortage.free_bytes == free).then_some(())
    })
    .await;
}

#[actix_rt::test]
async fn below_the_floor_no_task_is_taken_and_those_that_are_there_end() {
    let folder = tempfile::tempdir().unwrap();
    let (free, room) = disk(5_000);
    let options = Options { room, ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    let (first, second) = (rig.submit(1).await, rig.submit(2).await);
    free.store(999, Ordering::SeqCst);
    is_short(&rig, 999).await;
    let refused = rig.tasks.submit(submission(3)).await.unwrap_err();
    assert!(matches!(refused, TaskError::StorageLow(_)), "{refused}");
    assert!(refused.to_string().contains("storage.free_bytes_min"), "{refused}");
    rig.tasks.cancel(Cancel { tenant: TenantId::DEFAULT, task: second }).await.unwrap();
    let session = rig.employ("worker-1", real_prover()).await;
    session.registered().await;
    assert_eq!(rig.ended(first).await.task.status(), TaskStatus::Completed);
    // A little above the floor is not enough: it would be below it again at once.
    free.store(1_100, Ordering::SeqCst);
    is_short(&rig, 1_100).await;
    assert!(rig.tasks.submit(submission(3)).await.is_err());
    free.store(1_200, Ordering::SeqCst);
    poll_until("tasks are taken again", async || rig.tasks.submit(uncached(3)).await.ok()).await;
    assert_eq!(rig.tasks.health().await.unwrap().shortage, None);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_node_that_does_not_lead_says_so_whatever_its_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (_free, room) = disk(0);
    let rig = Rig::lone(folder.path(), Worker::None, Options { room, ..Options::default() }).await;
    let refused = rig.tasks.submit(submission(1)).await.unwrap_err();
    assert!(matches!(refused, TaskError::NoLeader { .. }), "{refused}");
    assert!(rig.tasks.health().await.unwrap().shortage.is_some());
    rig.stop().await;
}
