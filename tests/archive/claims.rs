//! Who may write: claims, fencing, epochs.

use crate::support::{Database, completed, items};
use std::sync::Arc;
use zkpnet::archive::{ArchiveError, ArchiveStore};
use zkpnet::ledger::Term;

#[tokio::test]
async fn a_later_claim_fences_the_earlier_one_out() {
    let (database, store) = Database::migrated().await;
    let old = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let new = store.claim("cluster", Term(2), "coordinator-2").await.unwrap();
    let deposed = store.write_batch(&old, 0, &items(0, &[completed(1)])).await;
    assert!(matches!(deposed, Err(ArchiveError::Fenced { .. })), "{deposed:?}");
    assert_eq!(database.sql("SELECT count(*) FROM tasks"), "0");
    let new = store.write_batch(&new, 0, &items(0, &[completed(1)])).await.unwrap();
    assert_eq!((new.position, new.epoch), (1, old.epoch));
}

#[tokio::test]
async fn the_leader_of_an_older_term_cannot_claim() {
    let (_database, store) = Database::migrated().await;
    let leader = store.claim("cluster", Term(7), "coordinator-2").await.unwrap();
    let deposed = store.claim("cluster", Term(6), "coordinator-1").await;
    let Err(ArchiveError::Fenced { cluster, detail }) = deposed else { panic!("{deposed:?}") };
    assert_eq!(cluster, "cluster");
    assert!(detail.contains("coordinator-2") && detail.contains("term 7"), "{detail}");
    store.write_batch(&leader, 0, &items(0, &[completed(1)])).await.unwrap();
}

#[tokio::test]
async fn claiming_again_in_the_same_term_goes_on_where_the_last_batch_ended() {
    let (_database, store) = Database::migrated().await;
    let first = store.claim("cluster", Term(3), "coordinator-1").await.unwrap();
    let written = store.write_batch(&first, 0, &items(0, &[completed(1), completed(2)])).await.unwrap();
    // As after a restart of the actor, or a batch whose outcome is unknown.
    let again = store.claim("cluster", Term(3), "coordinator-1").await.unwrap();
    assert_eq!(again.position, 2);
    let stale = store.write_batch(&written, 2, &items(2, &[completed(3)])).await;
    assert!(matches!(stale, Err(ArchiveError::Fenced { .. })), "{stale:?}");
    store.write_batch(&again, 2, &items(2, &[completed(3)])).await.unwrap();
}

#[tokio::test]
async fn another_cluster_begins_a_later_epoch_at_its_own_beginning() {
    let (database, store) = Database::migrated().await;
    let first = store.claim("first", Term(9), "coordinator-1").await.unwrap();
    store.write_batch(&first, 0, &items(0, &[completed(1), completed(2)])).await.unwrap();
    assert_eq!(store.cluster_epoch("second").await.unwrap(), None);
    // The term is that of a new cluster: it says nothing about the first.
    let second = store.claim("second", Term(1), "coordinator-1").await.unwrap();
    assert!(second.epoch > first.epoch);
    assert_eq!(second.position, 0);
    store.write_batch(&second, 0, &items(0, &[completed(100)])).await.unwrap();
    assert_eq!(store.cluster_epoch("first").await.unwrap(), Some(first.epoch));
    assert_eq!(store.cluster_epoch("second").await.unwrap(), Some(second.epoch));
    assert_eq!(
        database.sql("SELECT string_agg(position::text, ',' ORDER BY epoch) FROM archive_cursor"),
        "2,1"
    );
}

#[tokio::test]
async fn claims_use_up_no_epochs() {
    let (_database, store) = Database::migrated().await;
    let first = store.claim("first", Term(1), "coordinator-1").await.unwrap();
    for term in 2..20 {
        store.claim("first", Term(term), "coordinator-1").await.unwrap();
    }
    let second = store.claim("second", Term(1), "coordinator-1").await.unwrap();
    assert_eq!(second.epoch, first.epoch + 1);
}

/// Archives all positions up to `last`, claiming anew when it was fenced out; says how many batches it wrote.
async fn archive_all(store: ArchiveStore, name: &'static str, last: u64, term: Term) -> u64 {
    let mut written = 0;
    let mut claim = store.claim("cluster", term, name).await.unwrap();
    while claim.position < last {
        let (from, to) = (claim.position, (claim.position + 3).min(last));
        let tasks: Vec<_> = (from + 1..=to).map(completed).collect();
        match store.write_batch(&claim, from, &items(from, &tasks)).await {
            Ok(advanced) => {
                claim = advanced;
                written += 1;
            }
            Err(ArchiveError::Fenced { .. }) => claim = store.claim("cluster", term, name).await.unwrap(),
            Err(other) => panic!("{other}"),
        }
    }
    written
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn claimers_that_race_write_every_position_once() {
    let (database, store) = Database::migrated().await;
    // Each move of the cursor leaves a line: what was written twice, or skipped, shows in them.
    database.sql(
        "CREATE TABLE moves (id serial, before bigint, after bigint); \
         CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         INSERT INTO moves (before, after) VALUES (old.position, new.position); RETURN NULL; END $$; \
         CREATE TRIGGER noted AFTER UPDATE OF position ON archive_cursor FOR EACH ROW EXECUTE FUNCTION note()",
    );
    let last = 90;
    // Of the same term, so that neither gives up: as if each believed to lead.
    let mut racers = Vec::new();
    for name in ["coordinator-1", "coordinator-2", "coordinator-3"] {
        racers.push(tokio::spawn(archive_all(database.store(), name, last, Term(5))));
    }
    let mut batches = 0;
    for racer in racers {
        batches += racer.await.unwrap();
    }
    let expected: Vec<String> = (0..last).step_by(3).map(|from| format!("{from}|{}", from + 3)).collect();
    let moves = database.sql("SELECT before, after FROM moves ORDER BY id");
    assert_eq!(moves.lines().collect::<Vec<_>>(), expected);
    assert_eq!(batches, 30);
    assert_eq!(
        database.sql("SELECT count(*), count(DISTINCT position), max(position) FROM tasks"),
        "90|90|90"
    );
    assert_eq!(store.counts().await.unwrap().completed, last);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clusters_that_claim_for_the_first_time_at_once_get_one_epoch_each() {
    let (database, store) = Database::migrated().await;
    let store = Arc::new(store);
    let claims: Vec<_> = (0..16)
        .map(|i| {
            let store = Arc::clone(&store);
            let cluster = format!("cluster-{}", i % 2);
            tokio::spawn(async move { store.claim(&cluster, Term(1), "coordinator-1").await.unwrap() })
        })
        .collect();
    for claim in claims {
        claim.await.unwrap();
    }
    assert_eq!(database.sql("SELECT count(*), count(DISTINCT epoch) FROM archive_cursor"), "2|2");
}
