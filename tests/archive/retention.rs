//! What the rules keep.

use crate::support::{Database, ended, items};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zkpnet::archive::{
    ArchiveCounts, ArchiveError, ArchiveSettings, ArchiveStore, RetentionRule, RetentionRules,
};
use zkpnet::ledger::{Task, TaskStatus, Term, UnixMillis};

/// The time of the test: no clock is ahead of another, unless a test says so.
static NOW: LazyLock<UnixMillis> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMillis(since.as_millis() as u64)
});

/// As a leader does it, whose clock is right.
async fn enforce(store: &ArchiveStore, rules: &RetentionRules) -> u64 {
    store.enforce_retention(rules, *NOW, ArchiveStore::RETENTION_ROWS_MAX).await.unwrap()
}

/// Tasks 1 to `count` of that status; the larger the number, the later it ended: task n ended `count - n` seconds ago.
fn tasks(first: u64, count: u64, status: TaskStatus) -> Vec<Task> {
    (0..count).map(|i| ended(first + i, status, NOW.0 - (count - 1 - i) * 1_000)).collect()
}

fn aged(seconds: u64) -> RetentionRule {
    RetentionRule { age: Some(Duration::from_secs(seconds)), count: None }
}

fn counted(count: u64) -> RetentionRule {
    RetentionRule { age: None, count: Some(count) }
}

#[tokio::test]
async fn each_status_has_its_own_rule_and_the_latest_are_kept() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut all = tasks(1, 10, TaskStatus::Completed);
    all.extend(tasks(101, 10, TaskStatus::Failed));
    all.extend(tasks(201, 10, TaskStatus::Cancelled));
    store.write_batch(&claim, 0, &items(0, &all)).await.unwrap();
    let rules =
        RetentionRules { completed: RetentionRule::default(), failed: aged(4), cancelled: counted(3) };
    // Of the failed, those that ended 5 to 9 seconds ago; of the cancelled, seven.
    assert_eq!(enforce(&store, &rules).await, 5 + 7);
    assert_eq!(enforce(&store, &rules).await, 0);
    let counts = ArchiveCounts { completed: 10, failed: 5, cancelled: 3 };
    assert_eq!(store.counts().await.unwrap(), counts);
    let kept = database
        .sql("SELECT string_agg(sequence::text, ',' ORDER BY sequence) FROM tasks WHERE sequence > 100");
    assert_eq!(kept, "106,107,108,109,110,208,209,210");
    assert_eq!(database.sql("SELECT count(*) FROM attempts"), "18", "attempts go with their tasks");
}

#[tokio::test]
async fn both_limits_of_a_rule_hold() {
    let (_database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 0, &items(0, &tasks(1, 20, TaskStatus::Completed))).await.unwrap();
    let both = RetentionRule { age: Some(Duration::from_secs(14)), count: Some(6) };
    let rules = RetentionRules { completed: both, ..RetentionRules::default() };
    assert_eq!(enforce(&store, &rules).await, 14);
    assert_eq!(store.counts().await.unwrap().completed, 6);
}

#[tokio::test]
async fn one_call_removes_a_thousand_at_most_and_the_next_goes_on() {
    let (_database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 0, &items(0, &tasks(1, 2_300, TaskStatus::Completed))).await.unwrap();
    let rules = RetentionRules { completed: counted(0), ..RetentionRules::default() };
    for expected in [1_000, 1_000, 300, 0] {
        assert_eq!(enforce(&store, &rules).await, expected);
    }
}

#[tokio::test]
async fn a_clock_that_is_ahead_removes_nothing_before_its_time() {
    let (_database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let year = Duration::from_secs(365 * 86_400);
    store.write_batch(&claim, 0, &items(0, &tasks(1, 5, TaskStatus::Completed))).await.unwrap();
    let old = ended(6, TaskStatus::Completed, NOW.0 - 2 * year.as_millis() as u64);
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 5, &items(5, &[old])).await.unwrap();
    let rules = RetentionRules { completed: aged(year.as_secs()), ..RetentionRules::default() };
    for ahead in [NOW.0 + year.as_millis() as u64, u64::MAX] {
        let removed = store.enforce_retention(&rules, UnixMillis(ahead), 1_000).await.unwrap();
        assert_eq!(removed, u64::from(ahead != u64::MAX), "what is old by the server's clock goes, once");
    }
    let behind = UnixMillis(NOW.0 - year.as_millis() as u64);
    let rules = RetentionRules { completed: aged(60), ..RetentionRules::default() };
    assert_eq!(
        store.enforce_retention(&rules, behind, 1_000).await.unwrap(),
        0,
        "nor does a server's that is ahead"
    );
    assert_eq!(store.counts().await.unwrap().completed, 5);
}

#[tokio::test]
async fn a_call_removes_no_more_than_it_may_and_says_when_that_was_too_much() {
    let (database, _) = Database::migrated().await;
    let settings = ArchiveSettings { statement_timeout: Duration::from_millis(400), ..database.settings() };
    let store = ArchiveStore::open(settings).unwrap();
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 0, &items(0, &tasks(1, 40, TaskStatus::Failed))).await.unwrap();
    database.sql(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN PERFORM pg_sleep(0.03); RETURN OLD; END $$; \
         CREATE TRIGGER slow BEFORE DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION slow()",
    );
    let rules = RetentionRules { failed: counted(10), ..RetentionRules::default() };
    let all = store.enforce_retention(&rules, *NOW, 1_000).await;
    assert!(matches!(all, Err(ArchiveError::TooSlow { .. })), "{all:?}");
    assert_eq!(store.counts().await.unwrap().failed, 40, "all or nothing");
    assert_eq!(store.enforce_retention(&rules, *NOW, 5).await.unwrap(), 5);
    assert_eq!(store.counts().await.unwrap().failed, 35);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn coordinators_that_enforce_at_once_remove_no_more_than_one_would() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 0, &items(0, &tasks(1, 1_500, TaskStatus::Failed))).await.unwrap();
    let rules = RetentionRules { failed: counted(1_000), ..RetentionRules::default() };
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let store = database.store();
            tokio::spawn(async move { enforce(&store, &rules).await })
        })
        .collect();
    let mut removed = 0;
    for call in calls {
        removed += call.await.unwrap();
    }
    assert_eq!((removed, store.counts().await.unwrap().failed), (500, 1_000));
}

#[tokio::test]
async fn without_rules_everything_is_kept() {
    let (_database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 0, &items(0, &tasks(1, 5, TaskStatus::Completed))).await.unwrap();
    assert_eq!(enforce(&store, &RetentionRules::default()).await, 0);
    assert_eq!(store.counts().await.unwrap().completed, 5);
}
