//! What the rules keep.

use crate::support::{Database, ended, items};
use std::time::Duration;
use zkpnet::archive::{ArchiveCounts, RetentionRule, RetentionRules};
use zkpnet::ledger::{Task, TaskStatus, Term, UnixMillis};

const NOW: UnixMillis = UnixMillis(1_770_000_000_000);

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
    assert_eq!(store.enforce_retention(&rules, NOW).await.unwrap(), 5 + 7);
    assert_eq!(store.enforce_retention(&rules, NOW).await.unwrap(), 0);
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
    assert_eq!(store.enforce_retention(&rules, NOW).await.unwrap(), 14);
    assert_eq!(store.counts().await.unwrap().completed, 6);
}

#[tokio::test]
async fn one_call_removes_a_thousand_at_most_and_the_next_goes_on() {
    let (_database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 0, &items(0, &tasks(1, 2_300, TaskStatus::Completed))).await.unwrap();
    let rules = RetentionRules { completed: counted(0), ..RetentionRules::default() };
    for expected in [1_000, 1_000, 300, 0] {
        assert_eq!(store.enforce_retention(&rules, NOW).await.unwrap(), expected);
    }
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
            tokio::spawn(async move { store.enforce_retention(&rules, NOW).await.unwrap() })
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
    assert_eq!(store.enforce_retention(&RetentionRules::default(), UnixMillis(u64::MAX)).await.unwrap(), 0);
    assert_eq!(store.counts().await.unwrap().completed, 5);
}
