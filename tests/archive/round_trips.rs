//! What is written comes back.

use crate::generated::{circuit, task, text, worker};
use crate::support::{Database, completed, items, proof_of};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use zkpnet::archive::{ArchiveItem, ArchivePlace, ArchivedTask, ItemContent};
use zkpnet::ledger::{Digest, Task, TaskFilter, TenantId, Term};

fn as_archived(task: &Task) -> Task {
    Task { fingerprint: Digest([0; 32]), idempotency_keys: Vec::new(), ..task.clone() }
}

#[test]
fn every_task_comes_back_as_it_was_but_for_fingerprint_and_keys() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_database, store) = runtime.block_on(Database::migrated());
    let mut claim = runtime.block_on(store.claim("cluster", Term(1), "coordinator-1")).unwrap();
    let mut runner = TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
    let cell = std::cell::RefCell::new(&mut claim);
    runner
        .run(&proptest::collection::vec(task(), 1..24), |generated| {
            let mut claim = cell.borrow_mut();
            let from = claim.position;
            let content = |(task, proof): &(Task, Option<Vec<u8>>)| ItemContent::Task {
                task: Box::new(task.clone()),
                proof: proof.clone(),
            };
            let items: Vec<ArchiveItem> = (from + 1..)
                .zip(&generated)
                .map(|(position, both)| ArchiveItem { position, content: content(both) })
                .collect();
            **claim = runtime.block_on(store.write_batch(&claim, from, &items)).unwrap();
            for (task, proof) in &generated {
                let place = ArchivePlace { epoch: claim.epoch, sequence: task.sequence };
                let expected = ArchivedTask { task: as_archived(task), proof: proof.clone(), place };
                let found = runtime.block_on(store.task(task.tenant, task.id)).unwrap();
                prop_assert_eq!(found, Some(expected));
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn lists_show_the_same_tasks_without_proofs() {
    let (_database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let tasks = [completed(1), completed(2)];
    store.write_batch(&claim, 0, &items(0, &tasks)).await.unwrap();
    let listed = store.list(TenantId::DEFAULT, &TaskFilter::default(), None, 10).await.unwrap();
    assert_eq!(listed.iter().map(|archived| &archived.task).collect::<Vec<_>>(), [&tasks[1], &tasks[0]]);
    assert!(listed.iter().all(|archived| archived.proof.is_none()));
    let one = store.task(TenantId::DEFAULT, tasks[0].id).await.unwrap().unwrap();
    assert_eq!(one.proof, proof_of(&tasks[0]));
}

#[tokio::test]
async fn another_tenant_finds_nothing() {
    let (_database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    store.write_batch(&claim, 0, &items(0, &[completed(1)])).await.unwrap();
    let (other, id) = (TenantId(4), completed(1).id);
    assert_eq!(store.task(other, id).await.unwrap(), None);
    assert_eq!(store.list(other, &TaskFilter::default(), None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn times_are_shown_to_people_to_the_millisecond() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut task = completed(1);
    task.created_at.0 = 1_760_000_000_123;
    store.write_batch(&claim, 0, &items(0, &[task])).await.unwrap();
    let shown = "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') FROM tasks";
    assert_eq!(database.sql(shown), "2025-10-09 08:53:20.123000");
}

proptest! {
    #![proptest_config(Config { cases: 12, failure_persistence: None, ..Config::default() })]
    #[test]
    fn workers_and_circuits_are_stored_as_they_were_last(
        workers in proptest::collection::vec(worker(), 0..12),
        circuits in proptest::collection::vec(circuit(), 0..12),
        again in text(),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (database, store) = runtime.block_on(Database::migrated());
        let claim = runtime.block_on(store.claim("cluster", Term(1), "coordinator-1")).unwrap();
        let mut contents: Vec<ItemContent> = workers.iter().cloned().map(ItemContent::Worker).collect();
        contents.extend(circuits.iter().cloned().map(ItemContent::Circuit));
        // The same worker once more in the same batch.
        contents.extend(workers.first().cloned().map(|mut worker| {
            worker.version = again.clone().into();
            ItemContent::Worker(worker)
        }));
        let items: Vec<ArchiveItem> =
            (1..).zip(contents.clone()).map(|(position, content)| ArchiveItem { position, content }).collect();
        runtime.block_on(store.write_batch(&claim, 0, &items)).unwrap();
        let (mut expected_workers, mut expected_circuits) = (BTreeMap::new(), BTreeMap::new());
        for item in &items {
            match &item.content {
                ItemContent::Worker(worker) => {
                    let circuits: Vec<&str> = worker.circuits.iter().map(|circuit| circuit.as_str()).collect();
                    let line = format!(
                        "{}|{}|{}|{}|{}|{}|{}|{}",
                        worker.id, worker.incarnation.0.cast_signed(), worker.session.cast_signed(), worker.capacity,
                        circuits.join(","), worker.registered_at.0.cast_signed(),
                        worker.lost_at.map_or(String::new(), |at| at.0.cast_signed().to_string()), item.position,
                    );
                    expected_workers.insert(worker.id.clone(), line);
                }
                ItemContent::Circuit(circuit) => {
                    let line = format!(
                        "{}|{}|{}|{}|{}|{}|{}",
                        circuit.id, circuit.constraint_digest, circuit.proving_key, circuit.verifying_key,
                        hex::encode(&circuit.verifying_key_bytes), circuit.public_inputs, item.position,
                    );
                    expected_circuits.insert(circuit.id.clone(), line);
                }
                _ => {}
            }
        }
        let stored = database.sql("SELECT id, incarnation, session, capacity, array_to_string(circuits, ','), registered_ms, \
            lost_ms, position FROM workers ORDER BY id COLLATE \"C\"");
        prop_assert_eq!(stored, expected_workers.into_values().collect::<Vec<_>>().join("\n"));
        let stored = database.sql("SELECT id, encode(constraint_digest, 'hex'), encode(proving_key, 'hex'), \
            encode(verifying_key, 'hex'), encode(verifying_key_bytes, 'hex'), public_inputs, position \
            FROM circuits ORDER BY id COLLATE \"C\"");
        prop_assert_eq!(stored, expected_circuits.into_values().collect::<Vec<_>>().join("\n"));
    }
}

#[tokio::test]
async fn nothing_secret_has_a_column() {
    let (database, _store) = Database::migrated().await;
    let columns = database.sql(
        "SELECT string_agg(table_name || '.' || column_name, ' ' ORDER BY 1) \
        FROM information_schema.columns WHERE table_schema = 'public'",
    );
    for secret in ["sealed", "fingerprint", "idempotency", "witness", "password"] {
        assert!(!columns.contains(secret), "{secret} in {columns}");
    }
}
