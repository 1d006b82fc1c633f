//! The archivist over a real PostgreSQL: what the ledger forgets is in the archive, and is answered from there as it was.

use crate::postgres::{Postgres, Stop};
use crate::support::{
    LONG_LEASE, Options, Rig, Scripted, Worker, poll_until, quick_policy, submission, uncached,
};
use std::time::Duration;
use zkpnet::actors::archivist::ArchiveParts;
use zkpnet::actors::tasks::messages::{
    Cancel, Consistency, GetTask, ListPlace, ListTasks, TaskError, TaskView,
};
use zkpnet::archive::{ArchiveSettings, ArchiveStore, RetentionRules};
use zkpnet::ledger::{
    ArchivePolicy, FailureCause, FailureKind, IdempotencyKey, Ledger, Policy, Task, TaskFilter, TaskId,
    TaskStatus, TenantId,
};

pub(crate) const DATABASE: &str = "zkp_network";

pub(crate) fn server() -> Postgres {
    let server = Postgres::start_new();
    server.create_database(DATABASE);
    server
}

pub(crate) fn archive(server: &Postgres, backlog_max: u64) -> ArchiveParts {
    let settings = ArchiveSettings { connect_timeout: Duration::from_secs(2), ..server.settings(DATABASE) };
    ArchiveParts {
        store: ArchiveStore::open(settings).unwrap(),
        policy: ArchivePolicy { backlog_max },
        retention: RetentionRules::default(),
    }
}

/// A node that forgets a finished task as soon as it may. Every third proof fails for good.
async fn rig(folder: &std::path::Path, archive: Option<ArchiveParts>) -> Rig {
    let prover = Scripted::prover(|call, request, real| {
        if call % 3 == 2 {
            return Err(FailureCause::new(FailureKind::WitnessUnsatisfied, "of the test"));
        }
        real.make(request)
    });
    let policy = Policy { retention_count: 0, ..quick_policy() };
    let options = Options { lease: LONG_LEASE, policy, archive, ..Options::default() };
    Rig::single_with(folder, Worker::Session(prover), options).await
}

/// Waits until the outbox is empty, for the first time or again.
pub(crate) async fn archived_all(rig: &Rig) {
    rig.ledger_says("everything is archived", |ledger| {
        let archive = ledger.archive();
        (archive.archived > 0 && archive.lag == 0).then_some(())
    })
    .await;
}

async fn forgotten(rig: &Rig, task: TaskId) {
    rig.ledger_says("the ledger has forgotten the task", |ledger| ledger.task(task).is_none().then_some(()))
        .await;
}

async fn list(
    rig: &Rig,
    filter: &TaskFilter,
    before: Option<ListPlace>,
    limit: u16,
) -> (Vec<Task>, Option<ListPlace>) {
    let (tenant, consistency) = (TenantId::DEFAULT, Consistency::Linearizable);
    let request = ListTasks { tenant, filter: filter.clone(), before, limit, consistency };
    let page = rig.tasks.list(request).await.unwrap();
    (page.tasks, page.next_before)
}

async fn get(rig: &Rig, task: TaskId) -> Result<TaskView, TaskError> {
    let (tenant, consistency) = (TenantId::DEFAULT, Consistency::Linearizable);
    rig.tasks.get(GetTask { tenant, task, consistency }).await
}

pub(crate) async fn cancel(rig: &Rig, task: TaskId) -> Result<(), TaskError> {
    rig.tasks.cancel(Cancel { tenant: TenantId::DEFAULT, task }).await.map(drop)
}

/// A task as the archive knows it: without what only the ledger needs.
fn archived(task: &Task) -> Task {
    Task { fingerprint: zkpnet::ledger::Digest([0; 32]), idempotency_keys: Vec::new(), ..task.clone() }
}

#[actix_rt::test]
async fn a_task_that_the_ledger_forgot_is_answered_from_the_archive_as_it_ended() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let rig = rig(folder.path(), Some(archive(&server, 100))).await;
    let mut request = submission(1);
    request.idempotency_key = Some(IdempotencyKey::new("a-key-of-the-client").unwrap());
    let task = rig.tasks.submit(request).await.unwrap().task;
    let ended = rig.ended(task).await;
    forgotten(&rig, task).await;
    let later = get(&rig, task).await.unwrap();
    assert_eq!((archived(&later.task), &later.proof), (archived(&ended.task), &ended.proof));
    assert_eq!(later.task.status(), TaskStatus::Completed);
    let refused = cancel(&rig, task).await.unwrap_err();
    assert_eq!(refused, TaskError::Finished { task, status: TaskStatus::Completed });
    let unknown = TaskId(uuid::Uuid::now_v7());
    assert_eq!(get(&rig, unknown).await.unwrap_err(), TaskError::UnknownTask(unknown));
    assert_eq!(cancel(&rig, unknown).await.unwrap_err(), TaskError::UnknownTask(unknown));
    let rows = server.sql(DATABASE, "SELECT * FROM tasks; SELECT * FROM attempts");
    assert!(!rows.contains("a-key-of-the-client"), "keys are not the archive's: {rows}");
    rig.stop().await;
}

#[actix_rt::test]
async fn while_postgresql_is_away_tasks_end_and_afterwards_they_are_archived() {
    let (mut server, folder) = (server(), tempfile::tempdir().unwrap());
    let rig = rig(folder.path(), Some(archive(&server, 100))).await;
    let first = rig.submit(1).await;
    rig.ended(first).await;
    forgotten(&rig, first).await;
    server.stop(Stop::Immediate);
    let second = rig.tasks.submit(uncached(2)).await.unwrap().task;
    let ended = rig.ended(second).await;
    poll_until("the health tells of it", async || rig.tasks.health().await.unwrap().archive.error.map(drop))
        .await;
    assert_eq!(get(&rig, second).await.unwrap().task, ended.task, "it waits in the ledger");
    let gone = get(&rig, first).await.unwrap_err();
    assert!(matches!(gone, TaskError::ArchiveUnavailable(_)), "neither known nor unknown: {gone}");
    assert!(!gone.to_string().contains("refused"), "what the server said is for operators: {gone}");
    // What is newer than anything forgotten is listed; then the list cannot go on.
    let (listed, next) = list(&rig, &TaskFilter::default(), None, 10).await;
    assert_eq!(listed.iter().map(|task| task.id).collect::<Vec<_>>(), [second]);
    let request = ListTasks {
        tenant: TenantId::DEFAULT,
        filter: TaskFilter::default(),
        before: next,
        limit: 10,
        consistency: Consistency::Linearizable,
    };
    let refused = rig.tasks.list(request).await.unwrap_err();
    assert!(matches!(refused, TaskError::ArchiveUnavailable(_)), "{refused}");
    let open = TaskFilter { status: Some(TaskStatus::Pending), ..TaskFilter::default() };
    assert_eq!(list(&rig, &open, None, 10).await, (Vec::new(), None), "no open task is in the archive");
    server.start();
    forgotten(&rig, second).await;
    assert_eq!(archived(&get(&rig, second).await.unwrap().task), archived(&ended.task));
    poll_until("the health is well again", async || {
        let archive = rig.tasks.health().await.unwrap().archive;
        (archive.error.is_none() && archive.lag == 0).then_some(())
    })
    .await;
    assert_eq!(server.sql(DATABASE, "SELECT count(*) FROM tasks"), "2");
    rig.stop().await;
}

#[actix_rt::test]
async fn an_archive_that_is_too_far_behind_stops_submissions_and_nothing_else() {
    let (mut server, folder) = (server(), tempfile::tempdir().unwrap());
    server.stop(Stop::Fast);
    // A circuit and a worker wait for it already.
    let rig = rig(folder.path(), Some(archive(&server, 4))).await;
    let mut taken = Vec::new();
    let refused = poll_until("a submission is refused", async || match rig.tasks.submit(uncached(1)).await {
        Ok(accepted) => {
            cancel(&rig, accepted.task).await.unwrap();
            taken.push(accepted.task);
            None
        }
        Err(error) => Some(error),
    })
    .await;
    assert!(matches!(refused, TaskError::ArchiveBehind(_)), "{refused}");
    assert!(taken.len() <= 4, "{} were taken", taken.len());
    for task in &taken {
        assert_eq!(get(&rig, *task).await.unwrap().task.status(), TaskStatus::Cancelled);
    }
    server.start();
    poll_until("submissions are taken again", async || rig.tasks.submit(uncached(2)).await.ok()).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_database_that_was_put_back_gets_again_what_the_ledger_still_has() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let policy = Policy { retention_count: 100, ..quick_policy() };
    let options = Options { policy, archive: Some(archive(&server, 100)), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    let task = rig.submit(1).await;
    cancel(&rig, task).await.unwrap();
    let count = || server.sql(DATABASE, "SELECT count(*) FROM tasks");
    archived_all(&rig).await;
    assert_eq!(count(), "1");
    server.sql(DATABASE, "DELETE FROM tasks; UPDATE archive_cursor SET position = 0");
    poll_until("it is archived again", async || (count() == "1").then_some(())).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn what_the_ledger_forgot_and_a_database_lost_is_unknown_and_everything_else_goes_on() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let policy = Policy { retention_count: 0, ..quick_policy() };
    let options = Options { policy, archive: Some(archive(&server, 100)), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    let end_one = async || {
        let task = rig.submit(1).await;
        cancel(&rig, task).await.unwrap();
        forgotten(&rig, task).await;
        task
    };
    let kept = end_one().await;
    let position = server.sql(DATABASE, "SELECT position FROM archive_cursor");
    let lost = end_one().await;
    // A stand-by takes over that had not been sent the last batch.
    server.sql(
        DATABASE,
        &format!(
            "BEGIN; DELETE FROM tasks WHERE id = '{}'; UPDATE archive_cursor SET position = {position}; COMMIT",
            lost.0
        ),
    );
    let later = end_one().await;
    archived_all(&rig).await;
    assert_eq!(get(&rig, lost).await.unwrap_err(), TaskError::UnknownTask(lost));
    for task in [kept, later] {
        assert_eq!(get(&rig, task).await.unwrap().task.status(), TaskStatus::Cancelled);
    }
    let (listed, next) = list(&rig, &TaskFilter::default(), None, 10).await;
    assert_eq!((listed.iter().map(|task| task.id).collect::<Vec<_>>(), next), (vec![later, kept], None));
    poll_until("the health is well again", async || {
        let archive = rig.tasks.health().await.unwrap().archive;
        (archive.error.is_none() && archive.lag == 0).then_some(())
    })
    .await;
    rig.stop().await;
}

#[actix_rt::test]
async fn with_another_database_in_the_place_of_the_first_lists_show_what_the_ledger_has() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let policy = Policy { retention_count: 100, ..quick_policy() };
    let options = Options { policy, archive: Some(archive(&server, 100)), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    let ended = rig.submit(1).await;
    cancel(&rig, ended).await.unwrap();
    archived_all(&rig).await;
    let waiting = rig.submit(2).await;
    assert_eq!(list(&rig, &TaskFilter::default(), None, 1).await.0[0].id, waiting);
    // The cluster's row is made anew, with another epoch.
    server.sql(DATABASE, "TRUNCATE tasks, attempts, workers, circuits, coordinators, archive_cursor CASCADE");
    poll_until("it is archived again", async || {
        (server.sql(DATABASE, "SELECT count(*) FROM tasks") == "1").then_some(())
    })
    .await;
    let mut listed = Vec::new();
    let mut before = None;
    loop {
        let (tasks, next) = list(&rig, &TaskFilter::default(), before, 1).await;
        listed.extend(tasks.iter().map(|task| task.id));
        before = next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(listed, [waiting, ended]);
    rig.stop().await;
}

#[actix_rt::test]
async fn a_server_that_is_too_slow_for_a_whole_batch_gets_smaller_ones() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let settings =
        ArchiveSettings { statement_timeout: Duration::from_millis(400), ..server.settings(DATABASE) };
    let parts = ArchiveParts { store: ArchiveStore::open(settings).unwrap(), ..archive(&server, 1_000) };
    let policy = Policy { retention_count: 1_000, ..quick_policy() };
    let options = Options { policy, archive: Some(parts), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    archived_all(&rig).await;
    server.sql(
        DATABASE,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$; \
         CREATE TRIGGER slow BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    // Until all of them wait.
    server.set_read_only(true);
    for _ in 0..60 {
        let task = rig.tasks.submit(uncached(1)).await.unwrap().task;
        cancel(&rig, task).await.unwrap();
    }
    server.set_read_only(false);
    // All sixty at once would take three times the limit.
    archived_all(&rig).await;
    assert_eq!(server.sql(DATABASE, "SELECT count(*) FROM tasks"), "60");
    rig.stop().await;
}

#[actix_rt::test]
async fn to_withdraw_a_withdrawn_task_is_as_harmless_in_the_archive_as_in_the_ledger() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let policy = Policy { retention_count: 0, ..quick_policy() };
    let options = Options { policy, archive: Some(archive(&server, 100)), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options).await;
    let task = rig.submit(1).await;
    cancel(&rig, task).await.unwrap();
    forgotten(&rig, task).await;
    cancel(&rig, task).await.unwrap();
    rig.stop().await;
}

#[actix_rt::test]
async fn what_had_finished_before_there_was_an_archive_is_archived_and_without_one_nothing_is_kept() {
    let (server, folder) = (server(), tempfile::tempdir().unwrap());
    let policy = Policy { retention_count: 1_000, ..quick_policy() };
    let options = |archive| Options { policy: policy.clone(), archive, ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options(None)).await;
    // More than one sweep takes.
    for _ in 0..300 {
        let task = rig.tasks.submit(uncached(1)).await.unwrap().task;
        cancel(&rig, task).await.unwrap();
    }
    assert_eq!(rig.raft.with_ledger(Ledger::archive).policy, None);
    rig.stop().await;
    let rig = Rig::lone(folder.path(), Worker::None, options(Some(archive(&server, 1_000)))).await;
    rig.ledger_says("all are archived", |ledger| {
        let archive = ledger.archive();
        (archive.archived >= 300 && archive.lag == 0).then_some(())
    })
    .await;
    assert_eq!(server.sql(DATABASE, "SELECT count(*), count(DISTINCT id) FROM tasks"), "300|300");
    rig.stop().await;
    let rig = Rig::lone(folder.path(), Worker::None, options(None)).await;
    rig.ledger_says("nothing is kept for it", |ledger| ledger.archive().policy.is_none().then_some(())).await;
    rig.stop().await;
}
