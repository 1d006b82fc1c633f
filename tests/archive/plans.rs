//! Every question is answered by an index: the server's own account of what it did for the store's statements.

use crate::postgres::{Postgres, PostgresOptions};
use crate::support::{completed, items};
use zkpnet::archive::{ArchivePlace, ArchiveStore, RetentionRule, RetentionRules};
use zkpnet::ledger::{CircuitId, TaskFilter, TaskId, TaskStatus, TenantId, Term, UnixMillis};

const TASKS: u64 = 30_000;
/// The server makes a plan for any parameters after five executions; both plans are looked at.
const TIMES: usize = 8;

fn server_that_explains() -> Postgres {
    let settings = [
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_level", "warning"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Postgres::start_with(PostgresOptions { fsync: false, settings, ..Default::default() })
}

async fn seeded(server: &Postgres) -> ArchiveStore {
    server.create_database("archive");
    let store = ArchiveStore::open(server.settings("archive")).unwrap();
    store.migrate().await.unwrap();
    let seed = include_str!("../support/archive_seed.sql").replace("{count}", &TASKS.to_string());
    server.sql("archive", &seed);
    server.sql("archive", "VACUUM ANALYZE");
    // A new cluster, of which the statistics do not know.
    let claim = store.claim("third", Term(1), "coordinator-1").await.unwrap();
    let tasks: Vec<_> = (1..=2_000).map(completed).collect();
    store.write_batch(&claim, 0, &items(0, &tasks)).await.unwrap();
    store
}

fn filters() -> Vec<TaskFilter> {
    let statuses = [None, Some(TaskStatus::Completed), Some(TaskStatus::Cancelled)];
    let circuits = [None, Some("merkle-poseidon-4"), Some("rare-circuit"), Some("no-such-circuit")];
    // Of old, of the last few tasks, of the future.
    let newest = 1_750_000_000_000 + TASKS * 250;
    let times = [None, Some(0), Some(newest - 500), Some(newest + 1)];
    let mut filters = Vec::new();
    for status in statuses {
        for circuit in circuits {
            for since in times {
                let circuit = circuit.map(|name| CircuitId::new(name).unwrap());
                filters.push(TaskFilter { status, circuit, since: since.map(UnixMillis) });
            }
        }
    }
    filters
}

/// The plans that were logged since the marker.
fn plans_since(server: &Postgres, marker: &str) -> String {
    let log = server.log();
    log.rsplit_once(marker).unwrap().1.to_owned()
}

fn mark(server: &Postgres, marker: &str) {
    server.sql("postgres", &format!("DO $$ BEGIN RAISE WARNING '{marker}'; END $$"));
}

#[tokio::test]
async fn no_read_looks_at_rows_that_it_does_not_show() {
    let server = server_that_explains();
    let store = seeded(&server).await;
    let id = TaskId(server.sql("archive", "SELECT id FROM tasks WHERE tenant = 0 LIMIT 1").parse().unwrap());
    mark(&server, "reads begin");
    for filter in filters() {
        for before in [None, Some(ArchivePlace { epoch: 1, sequence: TASKS / 10 })] {
            for _ in 0..TIMES {
                store.list(TenantId::DEFAULT, &filter, before, 20).await.unwrap();
            }
        }
    }
    for _ in 0..TIMES {
        assert!(store.task(TenantId::DEFAULT, id).await.unwrap().is_some());
    }
    let plans = plans_since(&server, "reads begin");
    assert!(plans.matches("Query Text: SELECT").count() > 1_000, "{plans}");
    for index in
        ["tasks_pkey", "tasks_by_place", "tasks_by_status", "tasks_by_circuit", "tasks_by_status_and_circuit"]
    {
        assert!(plans.contains(&format!("using {index} on tasks")), "{index} serves nothing");
    }
    assert!(plans.contains("using tasks_by_creation on tasks"));
    for waste in ["Seq Scan", "Rows Removed by Filter", "Bitmap Heap Scan on tasks"] {
        let found = plans.find(waste).map(|at| &plans[at.saturating_sub(1500)..(at + 300).min(plans.len())]);
        assert!(found.is_none(), "{waste}:\n{}", found.unwrap());
    }
}

#[tokio::test]
async fn retention_finds_what_is_old_by_an_index() {
    let server = server_that_explains();
    let store = seeded(&server).await;
    let aged = RetentionRule { age: Some(std::time::Duration::from_secs(5)), count: None };
    let counted = RetentionRule { age: None, count: Some(10) };
    mark(&server, "retention begins");
    let now = UnixMillis(1_750_000_000_000 + 10_000);
    store
        .enforce_retention(&RetentionRules { completed: aged, ..Default::default() }, now, 1_000)
        .await
        .unwrap();
    store
        .enforce_retention(&RetentionRules { failed: counted, ..Default::default() }, now, 1_000)
        .await
        .unwrap();
    let plans = plans_since(&server, "retention begins");
    assert!(plans.matches("using tasks_by_finish on tasks").count() >= 2, "{plans}");
    assert!(!plans.contains("Seq Scan on tasks"), "{plans}");
    assert!(!plans.contains("Seq Scan on attempts"), "{plans}");
}
