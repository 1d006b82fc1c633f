//! The schema: made once, whoever comes; refused when it is not ours.

use crate::failures::client;
use crate::support::{Database, completed, items};
use std::time::Duration;
use zkpnet::archive::{ArchiveError, ArchiveSettings, ArchiveStore};
use zkpnet::ledger::Term;

fn refusal(result: Result<(), ArchiveError>) -> String {
    let Err(ArchiveError::Rejected { detail, .. }) = result else { panic!("{result:?}") };
    detail
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn coordinators_that_start_together_make_the_schema_once() {
    for _ in 0..3 {
        let database = Database::new();
        let starts: Vec<_> = (0..3)
            .map(|_| {
                let store = database.store();
                tokio::spawn(async move { store.migrate().await })
            })
            .collect();
        for start in starts {
            start.await.unwrap().unwrap();
        }
        assert_eq!(database.sql("SELECT string_agg(version::text, ',') FROM refinery_schema_history"), "1");
    }
}

#[tokio::test]
async fn migrating_again_keeps_what_is_archived() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 0, &items(0, &[completed(1)])).await.unwrap();
    store.migrate().await.unwrap();
    database.store().migrate().await.unwrap();
    assert_eq!(database.sql("SELECT count(*) FROM tasks"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_somebody_migrating_waits_for_it() {
    let database = Database::new();
    let holder = client(&database).await;
    // The number is part of the agreement between releases: an older one may be migrating beside a newer.
    holder.execute("SELECT pg_advisory_lock(x'7a6b706e65746172'::bigint)", &[]).await.unwrap();
    let store = database.store();
    let waiting = tokio::spawn(async move { store.migrate().await });
    let waiters = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    while database.sql(waiters) == "0" {
        assert!(!waiting.is_finished(), "it did not wait");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(holder);
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_only_looks_at_the_schema_does_not_wait_as_long_as_a_migration_may() {
    let (database, _) = Database::migrated().await;
    let settings = ArchiveSettings { statement_timeout: Duration::from_millis(300), ..database.settings() };
    let store = ArchiveStore::open(settings).unwrap();
    let mut holder = client(&database).await;
    let lock = holder.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE refinery_schema_history").await.unwrap();
    let looked = tokio::time::timeout(Duration::from_secs(20), store.migrate()).await.expect("it waits");
    assert!(matches!(looked, Err(ArchiveError::TooSlow { .. })), "{looked:?}");
    lock.rollback().await.unwrap();
    store.migrate().await.unwrap();
}

#[tokio::test]
async fn the_schema_of_a_newer_release_is_refused() {
    let (database, store) = Database::migrated().await;
    database.sql(
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) \
        VALUES (99, 'of_the_future', '2030-01-01T00:00:00Z', '1')",
    );
    let said = refusal(store.migrate().await);
    assert!(said.contains("99") && said.contains("newer release"), "{said}");
}

#[tokio::test]
async fn a_migration_that_is_not_ours_is_refused() {
    let (database, store) = Database::migrated().await;
    database.sql("UPDATE refinery_schema_history SET checksum = '1'");
    assert!(refusal(store.migrate().await).contains("version 1"));
}

#[tokio::test]
async fn a_database_that_others_use_is_refused_and_left_alone() {
    let database = Database::new();
    database.sql("CREATE TABLE tasks (of_somebody_else text)");
    let said = refusal(database.store().migrate().await);
    assert!(said.contains("42P07"), "{said}");
    let tables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' \
                  AND table_name NOT IN ('tasks', 'refinery_schema_history')";
    assert_eq!(database.sql(tables), "0");
}

#[tokio::test]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let database = Database::new();
    let name = format!("{}_latin", database.name);
    let create =
        format!("CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    database.sql(&create);
    let store = ArchiveStore::open(database.server.settings(&name)).unwrap();
    assert!(refusal(store.migrate().await).contains("LATIN1"));
}

#[tokio::test]
async fn a_role_that_may_not_make_tables_is_refused() {
    let database = Database::new();
    let role = format!("guest_{}", database.name);
    database
        .sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'g'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"));
    let mut settings = database.settings();
    (settings.user, settings.password) = (role, Some("g".to_owned()));
    assert!(refusal(ArchiveStore::open(settings).unwrap().migrate().await).contains("42501"));
}
