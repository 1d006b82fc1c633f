//! What hinders the archivist though PostgreSQL is there: a role that may not delete, a ledger that refuses, a proof that is gone.
//! It is told, and holds up no more than it must.

use crate::archivist::{DATABASE, archive, archived_all, cancel, server};
use crate::postgres::Stop;
use crate::support::{Options, Rig, Worker, poll_until, quick_policy, real_prover, uncached};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use std::path::Path;
use std::time::Duration;
use zkpnet::actors::archivist::ArchiveParts;
use zkpnet::actors::tasks::messages::ArchiveView;
use zkpnet::archive::{ArchiveSettings, ArchiveStore, RetentionRule, RetentionRules};
use zkpnet::ledger::{Policy, TaskId};

async fn view(rig: &Rig) -> ArchiveView {
    rig.tasks.health().await.unwrap().archive
}

/// What `error` finds wrong with the archive, when it finds it.
async fn told(rig: &Rig, what: &str, error: impl Fn(ArchiveView) -> Option<String>) -> String {
    poll_until(what, async || error(view(rig).await)).await
}

#[actix_rt::test]
async fn a_role_that_may_not_delete_archives_at_full_pace_and_the_health_tells() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    ArchiveStore::open(server.settings(DATABASE)).unwrap().migrate().await.unwrap();
    server.sql(
        DATABASE,
        "CREATE ROLE writer LOGIN PASSWORD 'w'; GRANT ALL ON ALL TABLES IN SCHEMA public TO writer; \
         REVOKE DELETE ON tasks FROM writer",
    );
    let settings = ArchiveSettings {
        user: "writer".to_owned(),
        password: Some("w".to_owned()),
        connect_timeout: Duration::from_secs(2),
        ..server.settings(DATABASE)
    };
    let rule = RetentionRule { age: Some(Duration::from_millis(1)), count: None };
    let parts = ArchiveParts {
        store: ArchiveStore::open(settings).unwrap(),
        retention: RetentionRules { cancelled: rule, ..RetentionRules::default() },
        ..archive(&server, 1_000)
    };
    let policy = Policy { retention_count: 1_000, ..quick_policy() };
    let options = Options { policy, archive: Some(parts), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    let error = told(&rig, "the health tells of the upkeep", |archive| archive.upkeep_error).await;
    assert!(error.contains("42501") && error.contains("remove old tasks"), "{error}");
    // Sixty rounds of one task each, with a pause behind each, would take minutes.
    for _ in 0..60 {
        let task = rig.tasks.submit(uncached(1)).await.unwrap().task;
        cancel(&rig, task).await.unwrap();
    }
    archived_all(&rig).await;
    let archive = view(&rig).await;
    assert_eq!((archive.is_up, archive.error.as_deref()), (true, None), "archiving itself goes on");
    assert!(archive.upkeep_error.is_some(), "and the upkeep does not");
    assert_eq!(server.sql(DATABASE, "SELECT count(*) FROM tasks"), "60");
    server.sql(DATABASE, "GRANT DELETE ON tasks TO writer");
    poll_until("old tasks are removed", async || {
        (server.sql(DATABASE, "SELECT count(*) FROM tasks") == "0").then_some(())
    })
    .await;
    poll_until("the health is well again", async || view(&rig).await.upkeep_error.is_none().then_some(()))
        .await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_ledger_that_refuses_the_archivist_is_told() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    // No ledger takes such a policy.
    let options = Options { archive: Some(archive(&server, 0)), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    assert!(!view(&rig).await.is_up, "nobody has spoken to it yet");
    let error = told(&rig, "the health tells of the ledger", |archive| {
        archive.error.filter(|error| error.contains("ledger"))
    })
    .await;
    assert!(error.contains("backlog_max is zero"), "{error}");
    rig.stop().await;
}

const BODIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("bodies");

/// Takes every body out of a stopped node's store; the frames by their keys.
fn take_bodies(store: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let store = Database::open(store).unwrap();
    let found: Vec<(Vec<u8>, Vec<u8>)> = {
        let view = store.begin_read().unwrap();
        let table = view.open_table(BODIES).unwrap();
        table
            .iter()
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|(key, body)| (key.value().to_vec(), body.value().to_vec()))
            .collect()
    };
    let change = store.begin_write().unwrap();
    {
        let mut table = change.open_table(BODIES).unwrap();
        for (key, _) in &found {
            table.remove(key.as_slice()).unwrap();
        }
    }
    change.commit().unwrap();
    found
}

fn put_bodies(store: &Path, bodies: &[(Vec<u8>, Vec<u8>)]) {
    let store = Database::open(store).unwrap();
    let change = store.begin_write().unwrap();
    {
        let mut table = change.open_table(BODIES).unwrap();
        for (key, body) in bodies {
            table.insert(key.as_slice(), body.as_slice()).unwrap();
        }
    }
    change.commit().unwrap();
}

#[actix_rt::test]
async fn a_proof_that_the_store_lacks_is_told_with_its_task_until_it_is_there() {
    let (mut server, folder) = (server(), tempfile::tempdir().unwrap());
    server.stop(Stop::Fast);
    let options = || Options { archive: Some(archive(&server, 1_000)), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::Session(real_prover()), options()).await;
    let task: TaskId = rig.submit(1).await;
    rig.ended(task).await;
    rig.stop().await;
    let store = folder.path().join("raft-1").join("ledger.redb");
    let bodies = take_bodies(&store);
    assert_eq!(bodies.len(), 1, "the proof");
    let options = options();
    server.start();
    let rig = Rig::lone(folder.path(), Worker::None, options).await;
    let name = task.to_string();
    let error = told(&rig, "the health names the task", |archive| {
        archive.error.filter(|error| error.contains(&name))
    })
    .await;
    assert!(error.contains("does not have it"), "{error}");
    assert!(view(&rig).await.is_up, "the archive is not what is wrong");
    rig.stop().await;
    put_bodies(&store, &bodies);
    let rig = Rig::lone(
        folder.path(),
        Worker::None,
        Options { archive: Some(archive(&server, 1_000)), ..Options::default() },
    )
    .await;
    archived_all(&rig).await;
    assert_eq!(server.sql(DATABASE, "SELECT count(*) FROM tasks"), "1");
    assert_eq!(view(&rig).await.error, None);
    rig.stop().await;
}
