//! Batches: what counts once, and what is refused.

use crate::support::{Database, completed, ended, items, proof_of};
use zkpnet::archive::{ArchiveError, ArchiveItem, Claim};
use zkpnet::ledger::{Task, TaskStatus, TenantId, Term};

fn ids_of(database: &Database) -> String {
    database.sql("SELECT string_agg(sequence::text, ',' ORDER BY sequence) FROM tasks")
}

fn position_of(database: &Database) -> u64 {
    database.sql("SELECT position FROM archive_cursor").parse().unwrap()
}

#[tokio::test]
async fn a_batch_that_is_repeated_changes_nothing() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let batch = items(0, &[completed(1), completed(2)]);
    let after = store.write_batch(&claim, 0, &batch).await.unwrap();
    assert_eq!(after.position, 2);
    let repeated = store.write_batch(&claim, 0, &batch).await;
    assert!(matches!(repeated, Err(ArchiveError::Fenced { .. })), "{repeated:?}");
    assert_eq!((ids_of(&database), position_of(&database)), ("1,2".to_owned(), 2));
}

#[tokio::test]
async fn a_batch_that_does_not_follow_the_claim_is_refused_unsent() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let ahead = store.write_batch(&claim, 1, &items(1, &[completed(2)])).await;
    assert!(matches!(ahead, Err(ArchiveError::Fenced { .. })), "{ahead:?}");
    let mut reordered = items(0, &[completed(1), completed(2)]);
    reordered.swap(0, 1);
    let doubled = vec![reordered[0].clone(), reordered[0].clone()];
    let late =
        items(0, &[completed(1)]).into_iter().map(|item| ArchiveItem { position: 0, ..item }).collect();
    for batch in [reordered, doubled, late] {
        let refused = store.write_batch(&claim, 0, &batch).await;
        assert!(matches!(refused, Err(ArchiveError::Rejected { .. })), "{refused:?}");
    }
    assert_eq!((ids_of(&database), position_of(&database)), (String::new(), 0));
}

#[tokio::test]
async fn an_open_task_is_refused() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut open = completed(1);
    open.state = zkpnet::ledger::TaskState::Pending { not_before: zkpnet::ledger::UnixMillis(1) };
    let refused = store.write_batch(&claim, 0, &items(0, &[open])).await;
    assert!(matches!(refused, Err(ArchiveError::Rejected { .. })), "{refused:?}");
    assert_eq!(position_of(&database), 0);
}

#[tokio::test]
async fn a_task_archived_again_is_one_row_in_its_latest_state() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut failed = ended(1, TaskStatus::Failed, 1_760_000_000_500);
    // It was failed by attempts 1 and 2; the ledger forgot the first of them before it was completed by attempt 3.
    let mut second = failed.attempts[0].clone();
    second.attempt.0 = 2;
    failed.attempts.push(second.clone());
    let mut done = completed(1);
    done.attempts[0].attempt.0 = 3;
    done.attempts.insert(0, second);
    let claim = store.write_batch(&claim, 0, &items(0, &[failed.clone()])).await.unwrap();
    let claim = store.write_batch(&claim, 1, &items(1, &[done.clone()])).await.unwrap();
    let found = store.task(TenantId::DEFAULT, done.id).await.unwrap().unwrap();
    assert_eq!((found.task, found.proof), (done.clone(), proof_of(&done)));
    // In one batch the later wins, too.
    store.write_batch(&claim, 2, &items(2, &[done, failed.clone()])).await.unwrap();
    assert_eq!(store.task(TenantId::DEFAULT, failed.id).await.unwrap().unwrap().task, failed);
    assert_eq!(database.sql("SELECT count(*), max(position) FROM tasks"), "1|4");
    assert_eq!(store.counts().await.unwrap().total(), 1);
}

#[tokio::test]
async fn a_position_may_be_missing_and_the_cursor_moves_past_it() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut batch = items(0, &[completed(1), completed(2)]);
    // What stood at the first has changed, and stands further on.
    batch.remove(0);
    let claim = store.write_batch(&claim, 0, &batch).await.unwrap();
    assert_eq!((ids_of(&database), claim.position), ("2".to_owned(), 2));
}

#[tokio::test]
async fn what_an_earlier_cluster_completed_stays_whatever_a_restored_one_makes_of_it() {
    let (database, store) = Database::migrated().await;
    let old = store.claim("old", Term(1), "coordinator-1").await.unwrap();
    let (done, failed) = (completed(1), ended(2, TaskStatus::Failed, 1_760_000_000_500));
    store.write_batch(&old, 0, &items(0, &[done.clone(), failed])).await.unwrap();
    // Restored from a backup of before, on the same database: the first fails this time, the second is completed.
    let new = store.claim("new", Term(1), "coordinator-1").await.unwrap();
    let otherwise = ended(1, TaskStatus::Failed, 1_760_000_000_900);
    let claim = store.write_batch(&new, 0, &items(0, &[otherwise, completed(2)])).await.unwrap();
    assert_eq!(claim.position, 2);
    let kept = store.task(TenantId::DEFAULT, done.id).await.unwrap().unwrap();
    assert_eq!((kept.task, kept.proof, kept.place.epoch), (done.clone(), proof_of(&done), old.epoch));
    let second = store.task(TenantId::DEFAULT, completed(2).id).await.unwrap().unwrap();
    assert_eq!((second.task.status(), second.place.epoch), (TaskStatus::Completed, new.epoch));
    let attempts = format!("SELECT count(*) FROM attempts WHERE task_id = '{}'", done.id);
    assert_eq!(database.sql(&attempts), done.attempts.len().to_string());
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all() {
    let (database, store) = Database::migrated().await;
    database.sql("ALTER TABLE attempts ADD CONSTRAINT no_seven CHECK (attempt <> 7)");
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut bad = completed(2);
    bad.attempts[0].attempt.0 = 7;
    let refused = store.write_batch(&claim, 0, &items(0, &[completed(1), bad])).await;
    assert!(matches!(refused, Err(ArchiveError::Rejected { .. })), "{refused:?}");
    assert_eq!((ids_of(&database), position_of(&database)), (String::new(), 0));
    // The claim is as good as before.
    store.write_batch(&claim, 0, &items(0, &[completed(1)])).await.unwrap();
}

#[tokio::test]
async fn a_batch_is_a_handful_of_statements_however_large_it_is() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut claim: Claim = store.write_batch(&claim, 0, &items(0, &[completed(1)])).await.unwrap();
    for size in [1_u64, 2_000] {
        // Statements are counted by the server's own log.
        database.sql(&format!("ALTER DATABASE {} SET log_statement = 'all'", database.name));
        let fresh = database.store();
        let marker = format!("begin of {size}");
        database.server.sql("postgres", &format!("DO $$ BEGIN RAISE WARNING '{marker}'; END $$"));
        let tasks: Vec<Task> = (claim.position + 1..=claim.position + size).map(completed).collect();
        claim = fresh.write_batch(&claim, claim.position, &items(claim.position, &tasks)).await.unwrap();
        let log = database.server.log();
        let written = log.rsplit_once(&marker).unwrap().1;
        let ours = ["execute s", "statement: START", "statement: COMMIT"];
        let statements = written.lines().filter(|line| ours.iter().any(|what| line.contains(what))).count();
        assert!((5..=8).contains(&statements), "{statements} statements for {size} tasks:\n{written}");
    }
    assert_eq!(database.sql("SELECT count(*) FROM tasks"), "2002");
}
