//! Lists against a model: a vector that is sorted and filtered.

use crate::support::{Database, ended, items};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use zkpnet::archive::{ArchivePlace, ArchiveStore};
use zkpnet::ledger::{CircuitId, Task, TaskFilter, TaskStatus, TenantId, Term, UnixMillis};

const STATUSES: [TaskStatus; 3] = [TaskStatus::Completed, TaskStatus::Failed, TaskStatus::Cancelled];
const CIRCUITS: [&str; 3] = ["merkle-poseidon-4", "range-64", "addition"];

/// Tenant, status and circuit by number, and the milliseconds since the task before it.
type Choice = (u64, usize, usize, u64);

/// What the archive holds, in the order of lists.
type Model = Vec<(ArchivePlace, Task)>;

fn clusters() -> impl Strategy<Value = Vec<Vec<Choice>>> {
    let choice = (0_u64..2, 0..STATUSES.len(), 0..CIRCUITS.len(), 0_u64..3);
    proptest::collection::vec(proptest::collection::vec(choice, 0..60), 1..4)
}

fn filter() -> impl Strategy<Value = TaskFilter> {
    let status = proptest::option::of(prop::sample::select(TaskStatus::ALL.to_vec()));
    let circuit = proptest::option::of(prop::sample::select([CIRCUITS.as_slice(), &["none"]].concat()));
    let since = prop_oneof![
        2 => Just(None),
        3 => (0_u64..120).prop_map(|offset| Some(UnixMillis(1_000 + offset))),
        1 => prop::sample::select(vec![Some(UnixMillis(0)), Some(UnixMillis(u64::MAX)), Some(UnixMillis(1 << 63))]),
    ];
    (status, circuit, since).prop_map(|(status, circuit, since)| TaskFilter {
        status,
        circuit: circuit.map(|name| CircuitId::new(name).unwrap()),
        since,
    })
}

/// Archives the clusters' tasks one cluster after the other, in an order of finishing that is not that of submission.
async fn archive(store: &ArchiveStore, clusters: &[Vec<Choice>]) -> Model {
    let mut model = Vec::new();
    let mut number = 0;
    for (cluster, choices) in clusters.iter().enumerate() {
        let claim = store.claim(&format!("cluster-{cluster}"), Term(1), "coordinator-1").await.unwrap();
        let mut tasks = Vec::new();
        let mut now = 1_000;
        for (sequence, (tenant, status, circuit, pause)) in (1_u64..).zip(choices) {
            number += 1;
            now += pause;
            let mut task = ended(number, STATUSES[*status], now + 50);
            task.tenant = TenantId(*tenant);
            task.sequence = sequence;
            task.circuit = CircuitId::new(CIRCUITS[*circuit]).unwrap();
            task.created_at = UnixMillis(now);
            model.push((ArchivePlace { epoch: claim.epoch, sequence }, task.clone()));
            tasks.push(task);
        }
        tasks.reverse();
        store.write_batch(&claim, 0, &items(0, &tasks)).await.unwrap();
    }
    model.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    model
}

fn expected(model: &Model, tenant: TenantId, filter: &TaskFilter, before: Option<ArchivePlace>) -> Model {
    let is_shown = |(place, task): &&(ArchivePlace, Task)| {
        task.tenant == tenant
            && before.is_none_or(|before| *place < before)
            && filter.status.is_none_or(|status| task.status() == status)
            && filter.circuit.as_ref().is_none_or(|circuit| task.circuit == *circuit)
            && filter.since.is_none_or(|since| task.created_at >= since)
    };
    model.iter().filter(is_shown).cloned().collect()
}

#[test]
fn every_list_and_every_page_of_it_is_that_of_a_model() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = |cases| Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config(6))
        .run(&clusters(), |clusters| {
            let (_database, store) = runtime.block_on(Database::migrated());
            let model = runtime.block_on(archive(&store, &clusters));
            let places = (0_i64..5, 0_u64..70).prop_map(|(epoch, sequence)| ArchivePlace { epoch, sequence });
            let question = (0_u64..3, filter(), proptest::option::of(places), 0_usize..25);
            TestRunner::new(config(60))
                .run(&question, |(tenant, filter, before, limit)| {
                    let tenant = TenantId(tenant);
                    let list = |before| runtime.block_on(store.list(tenant, &filter, before, limit)).unwrap();
                    let of_model = expected(&model, tenant, &filter, before);
                    // All pages, one after the other.
                    let mut shown: Model = Vec::new();
                    let mut next = before;
                    loop {
                        let page = list(next);
                        prop_assert!(page.len() <= limit);
                        shown.extend(page.iter().map(|archived| (archived.place, archived.task.clone())));
                        if limit == 0 || page.len() < limit {
                            break;
                        }
                        next = page.last().map(|archived| archived.place);
                    }
                    let of_model = if limit == 0 { Vec::new() } else { of_model };
                    prop_assert_eq!(shown, of_model);
                    Ok(())
                })
                .map_err(|error| TestCaseError::fail(error.to_string()))
        })
        .unwrap();
}

#[tokio::test]
async fn a_list_of_an_empty_archive_is_empty() {
    let (_database, store) = Database::migrated().await;
    assert_eq!(store.list(TenantId::DEFAULT, &TaskFilter::default(), None, 10).await.unwrap(), []);
}
