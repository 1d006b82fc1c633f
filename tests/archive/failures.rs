//! What goes wrong, and what each of it is called: to be tried again, or to be mended by somebody.

use crate::postgres::{PASSWORD, Postgres, PostgresOptions, Stop};
use crate::support::{Database, completed, items};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use zkpnet::archive::{ArchiveError, ArchiveSettings, ArchiveStore, RetentionRule, RetentionRules};
use zkpnet::ledger::{TaskFilter, TenantId, Term, UnixMillis};

fn is_unavailable<T: std::fmt::Debug>(result: &Result<T, ArchiveError>) -> bool {
    result.as_ref().is_err_and(ArchiveError::is_unavailable)
}

/// The error, which says neither the password nor anything of a row.
fn refusal<T: std::fmt::Debug>(result: Result<T, ArchiveError>) -> String {
    let Err(error @ ArchiveError::Rejected { .. }) = result else { panic!("{result:?}") };
    let said = format!("{error} {error:?}");
    assert!(!said.contains(PASSWORD) && !said.contains("p4ss"), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_unavailable_and_the_same_store_goes_on_when_it_is_back() {
    let mut server = Postgres::start_new();
    server.create_database("archive");
    let store = ArchiveStore::open(server.settings("archive")).unwrap();
    store.migrate().await.unwrap();
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let claim = store.write_batch(&claim, 0, &items(0, &[completed(1)])).await.unwrap();
    for how in [Stop::Fast, Stop::Immediate, Stop::Kill] {
        server.stop(how);
        let task = store.task(TenantId::DEFAULT, completed(1).id).await;
        assert!(is_unavailable(&task), "{how:?}: {task:?}");
        let batch = store.write_batch(&claim, 1, &items(1, &[completed(2)])).await;
        assert!(is_unavailable(&batch), "{how:?}: {batch:?}");
        assert!(is_unavailable(&store.list(TenantId::DEFAULT, &TaskFilter::default(), None, 1).await));
        assert!(is_unavailable(&store.counts().await));
        assert!(is_unavailable(&store.migrate().await));
        assert!(is_unavailable(&store.claim("cluster", Term(1), "coordinator-1").await));
        assert!(is_unavailable(&store.record_coordinators("cluster", &[]).await));
        server.start();
        assert!(store.task(TenantId::DEFAULT, completed(1).id).await.unwrap().is_some(), "{how:?}");
    }
    store.write_batch(&claim, 1, &items(1, &[completed(2)])).await.unwrap();
}

#[tokio::test]
async fn a_store_is_opened_though_nobody_is_there() {
    let database = Database::new();
    let mut settings = database.settings();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap();
    settings.port = unused.local_addr().unwrap().port();
    drop(unused);
    let store = ArchiveStore::open(settings).unwrap();
    assert!(is_unavailable(&store.counts().await));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let database = Database::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = database.settings();
    settings.port = silent.local_addr().unwrap().port();
    settings.connect_timeout = Duration::from_millis(300);
    settings.statement_timeout = Duration::from_millis(300);
    let store = ArchiveStore::open(settings).unwrap();
    assert!(is_unavailable(&store.counts().await));
    assert!(is_unavailable(&store.migrate().await));
}

#[tokio::test]
async fn wrong_credentials_and_a_missing_database_are_refused() {
    let database = Database::new();
    let mut settings = database.settings();
    settings.password = Some("not-the-p4ss".to_owned());
    let said = refusal(ArchiveStore::open(settings).unwrap().counts().await);
    assert!(said.contains("28P01") && said.contains("password authentication failed"), "{said}");
    let mut settings = database.settings();
    settings.password = None;
    refusal(ArchiveStore::open(settings).unwrap().migrate().await);
    let mut settings = database.settings();
    settings.database = "no_such_database".to_owned();
    assert!(refusal(ArchiveStore::open(settings).unwrap().counts().await).contains("3D000"));
}

#[tokio::test]
async fn settings_and_stores_do_not_show_the_password() {
    let database = Database::new();
    let said = format!("{:?} {:?}", database.settings(), database.store());
    assert!(!said.contains("p4ss") && said.contains("redacted"), "{said}");
}

#[tokio::test]
async fn a_database_without_the_schema_or_without_rights_is_refused() {
    let database = Database::new();
    assert!(refusal(database.store().counts().await).contains("42P01"));
    database.store().migrate().await.unwrap();
    let role = format!("reader_{}", database.name);
    database.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'r'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ));
    let mut settings = database.settings();
    (settings.user, settings.password) = (role, Some("r".to_owned()));
    let store = ArchiveStore::open(settings).unwrap();
    store.counts().await.unwrap();
    store.migrate().await.expect("the schema is there already");
    assert!(refusal(store.claim("cluster", Term(1), "coordinator-1").await).contains("42501"));
}

#[tokio::test]
async fn a_refused_row_is_not_told() {
    let (database, store) = Database::migrated().await;
    database.sql("ALTER TABLE tasks ADD CONSTRAINT picky CHECK (summary <> 'the summary')");
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut task = completed(1);
    task.summary = Some("the summary".into());
    let said = refusal(store.write_batch(&claim, 0, &items(0, &[task])).await);
    assert!(said.contains("23514") && said.contains("picky") && !said.contains("the summary"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_unavailable_for_them_and_still_read() {
    let server = Postgres::start_with(PostgresOptions { fsync: false, ..Default::default() });
    server.create_database("archive");
    let store = ArchiveStore::open(server.settings("archive")).unwrap();
    store.migrate().await.unwrap();
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let claim = store.write_batch(&claim, 0, &items(0, &[completed(1)])).await.unwrap();
    server.set_read_only(true);
    let batch = store.write_batch(&claim, 1, &items(1, &[completed(2)])).await;
    assert!(is_unavailable(&batch), "{batch:?}");
    assert!(is_unavailable(&store.claim("cluster", Term(2), "coordinator-1").await));
    let rules =
        RetentionRules { completed: RetentionRule { age: None, count: Some(0) }, ..Default::default() };
    assert!(is_unavailable(&store.enforce_retention(&rules, UnixMillis(0), 1_000).await));
    store.migrate().await.expect("the schema is only looked at");
    assert!(store.task(TenantId::DEFAULT, completed(1).id).await.unwrap().is_some());
    server.set_read_only(false);
    store.write_batch(&claim, 1, &items(1, &[completed(2)])).await.unwrap();
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_given_up_and_may_be_tried_again() {
    let (database, store) = Database::migrated().await;
    let mut settings = database.settings();
    settings.statement_timeout = Duration::from_millis(200);
    let impatient = ArchiveStore::open(settings).unwrap();
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut holder = client(&database).await;
    let lock = holder.transaction().await.unwrap();
    lock.execute("SELECT 1 FROM archive_cursor FOR UPDATE", &[]).await.unwrap();
    let batch = impatient.write_batch(&claim, 0, &items(0, &[completed(1)])).await;
    assert!(matches!(batch, Err(ArchiveError::TooSlow { .. })), "{batch:?}");
    lock.rollback().await.unwrap();
    store.write_batch(&claim, 0, &items(0, &[completed(1)])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn questions_that_use_every_connection_for_them_keep_no_batch_waiting_and_close_none() {
    let database = Database::new();
    let settings = ArchiveSettings {
        connections_max: 3,
        connect_timeout: Duration::from_millis(600),
        ..database.settings()
    };
    let store = ArchiveStore::open(settings).unwrap();
    store.migrate().await.unwrap();
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let task = completed(1);
    database.sql(
        "ALTER VIEW task_stats RENAME TO stats_before; \
         CREATE VIEW task_stats AS SELECT 'completed' AS status, 1 AS tasks FROM pg_sleep(3)",
    );
    let slow = store.clone();
    let slow = tokio::spawn(async move { slow.counts().await });
    let of_store = "FROM pg_stat_activity WHERE application_name = 'zkpnet' AND datname = current_database()";
    while database.sql(&format!("SELECT count(*) {of_store} AND wait_event = 'PgSleep'")) == "0" {
        assert!(!slow.is_finished(), "the slow question was not slow");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let connections = || database.sql(&format!("SELECT string_agg(pid::text, ',' ORDER BY pid) {of_store}"));
    let before = connections();
    let busy = store.task(TenantId::DEFAULT, task.id).await;
    assert!(matches!(busy, Err(ArchiveError::Busy { .. })), "{busy:?}");
    store.write_batch(&claim, 0, &items(0, std::slice::from_ref(&task))).await.unwrap();
    assert!(!slow.is_finished(), "the batch waited for the question");
    slow.await.unwrap().unwrap();
    assert!(store.task(TenantId::DEFAULT, task.id).await.unwrap().is_some());
    assert_eq!(connections(), before, "a connection was closed, or made, without need");
}

#[tokio::test]
async fn a_leader_that_was_cut_off_within_a_batch_does_not_hold_the_cursor_for_ever() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    // What a leader's connection looks like to the server when the network is cut behind the first statement of a batch.
    let mut holder = client(&database).await;
    holder.batch_execute("SET idle_in_transaction_session_timeout = 300").await.unwrap();
    let cut_off = holder.transaction().await.unwrap();
    cut_off.execute("UPDATE archive_cursor SET position = position + 1", &[]).await.unwrap();
    let newer = store.claim("cluster", Term(2), "coordinator-2").await.unwrap();
    assert_eq!(newer.position, claim.position);
    // And this is what the store tells its connections.
    let mut settings = database.settings();
    settings.statement_timeout = Duration::from_millis(54_321);
    let telling = ArchiveStore::open(settings).unwrap();
    database.sql(
        "CREATE VIEW told AS SELECT current_setting('idle_in_transaction_session_timeout') AS idle, \
        current_setting('statement_timeout') AS statement",
    );
    database.sql("ALTER VIEW task_stats RENAME TO stats_before");
    database.sql(
        "CREATE VIEW task_stats AS SELECT 'completed' AS status, \
        CASE WHEN idle = '54321ms' AND statement = '54321ms' THEN 1 ELSE 0 END AS tasks FROM told",
    );
    assert_eq!(telling.counts().await.unwrap().completed, 1);
}

#[tokio::test]
async fn commits_are_on_the_disk_though_the_server_is_set_otherwise() {
    let database = Database::new();
    database.sql(&format!("ALTER DATABASE {} SET synchronous_commit = off", database.name));
    let store = database.store();
    store.migrate().await.unwrap();
    database.sql("ALTER VIEW task_stats RENAME TO stats_before");
    database.sql(
        "CREATE VIEW task_stats AS SELECT 'completed' AS status, \
        CASE current_setting('synchronous_commit') WHEN 'on' THEN 1 ELSE 0 END AS tasks",
    );
    assert_eq!(store.counts().await.unwrap().completed, 1);
}

/// A disk of that size, mounted on the folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path, mebibytes: u32) -> Self {
        let size = format!("size={mebibytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "zkpnet-archive"]).arg(folder).status();
        assert!(mounted.unwrap().success(), "cannot mount a disk for the test; it needs root");
        Self(folder.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_unavailable_and_archiving_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(folder.path(), 40);
    let server = Postgres::start_with(PostgresOptions { fsync: false, ..Default::default() });
    let place = folder.path().join("tablespace");
    std::fs::create_dir(&place).unwrap();
    server.give(&place, 0o700);
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    server.sql("postgres", &format!("CREATE TABLESPACE small LOCATION '{}'", place.display()));
    server.sql("postgres", "CREATE DATABASE archive TABLESPACE small");
    let store = ArchiveStore::open(server.settings("archive")).unwrap();
    store.migrate().await.unwrap();
    let filler = folder.path().join("filler");
    std::fs::write(&filler, vec![0; 16 << 20]).unwrap();
    let mut claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let batch = |from: u64| items(from, &(from + 1..=from + 500).map(completed).collect::<Vec<_>>());
    let failure = loop {
        match store.write_batch(&claim, claim.position, &batch(claim.position)).await {
            Ok(advanced) => claim = advanced,
            Err(failure) => break failure,
        }
        assert!(claim.position < 200_000, "the disk does not become full");
    };
    assert!(failure.is_unavailable() && failure.to_string().contains("53100"), "{failure}");
    std::fs::remove_file(&filler).unwrap();
    let again = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    assert_eq!(again.position, claim.position);
    let after = store.write_batch(&again, again.position, &batch(again.position)).await.unwrap();
    assert_eq!(server.sql("archive", "SELECT count(*) FROM tasks"), after.position.to_string());
    drop((server, disk));
}

/// A connection beside the store's.
pub(crate) async fn client(database: &Database) -> tokio_postgres::Client {
    let settings = database.settings();
    let mut config = tokio_postgres::Config::new();
    config
        .host(&settings.host)
        .port(settings.port)
        .user(&settings.user)
        .dbname(&settings.database)
        .password(PASSWORD);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
