//! How long questions to a large archive take, through the store that a coordinator uses, on a PostgreSQL made for the purpose
//! with its own default settings: `cargo bench --bench archive`, with the number of tasks as argument (1,000,000 if none).
//!
//! Fails when the 99th percentile of a question is at or above the bar. Prints the database's size, and for each question the
//! indexes that the server says it used. Needs Debian's package `postgresql`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../tests/support/postgres.rs"]
mod postgres;

use postgres::{Postgres, PostgresOptions};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use uuid::Uuid;
use zkpnet::archive::{ArchiveItem, ArchivePlace, ArchiveStore, ItemContent};
use zkpnet::ledger::{CircuitId, TaskFilter, TaskId, TaskStatus, TenantId, Term, UnixMillis};

const TASKS: u64 = 1_000_000;
const BAR: Duration = Duration::from_millis(50);
/// Tasks on a page: the API's largest.
const PAGE: usize = 100;
const TIMES: usize = 400;
const CLIENTS: usize = 4;

/// A question, made anew for each time it is asked.
#[derive(Clone)]
enum Question {
    Get(Vec<TaskId>),
    List { filter: TaskFilter, places: Vec<Option<ArchivePlace>> },
}

impl Question {
    async fn ask(&self, store: &ArchiveStore, turn: usize) -> usize {
        match self {
            Self::Get(ids) => {
                let found = store.task(TenantId::DEFAULT, ids[turn % ids.len()]).await.unwrap();
                usize::from(found.is_some())
            }
            Self::List { filter, places } => {
                let before = places[turn % places.len()];
                store.list(TenantId::DEFAULT, filter, before, PAGE).await.unwrap().len()
            }
        }
    }
}

fn questions(server: &Postgres, tasks: u64) -> Vec<(&'static str, Question)> {
    let ids = "SELECT id FROM tasks TABLESAMPLE BERNOULLI (0.5) REPEATABLE (1) WHERE tenant = 0";
    let ids = server.sql("archive", ids);
    let ids: Vec<TaskId> = ids.lines().map(|line| TaskId(line.parse::<Uuid>().unwrap())).collect();
    // The first page, and pages all over the archive.
    let anywhere: Vec<_> = (0..997)
        .map(|i| i * 7_919 % tasks)
        .map(|i| match i <= tasks / 5 {
            true => Some(ArchivePlace { epoch: 1, sequence: i }),
            false => Some(ArchivePlace { epoch: 2, sequence: i - tasks / 5 }),
        })
        .collect();
    let circuit = |name: &str| Some(CircuitId::new(name).unwrap());
    let newest = 1_750_000_000_000 + tasks * 250;
    let minutes_ago = |minutes: u64| Some(UnixMillis(newest - minutes * 60_000));
    let all = TaskFilter::default();
    let failed = TaskFilter { status: Some(TaskStatus::Failed), ..all.clone() };
    let rare = TaskFilter { circuit: circuit("rare-circuit"), ..all.clone() };
    let both = TaskFilter {
        status: Some(TaskStatus::Cancelled),
        circuit: circuit("merkle-poseidon-4"),
        since: None,
    };
    let recent = TaskFilter { since: minutes_ago(1), ..all.clone() };
    let list = |filter: &TaskFilter, places: &[Option<ArchivePlace>]| Question::List {
        filter: filter.clone(),
        places: places.to_vec(),
    };
    let first = [None];
    vec![
        ("get by id", Question::Get(ids)),
        ("list, first page", list(&all, &first)),
        ("list, any page", list(&all, &anywhere)),
        ("status, any page", list(&failed, &anywhere)),
        ("rare circuit, any page", list(&rare, &anywhere)),
        ("circuit that never was", list(&TaskFilter { circuit: circuit("none"), ..all.clone() }, &first)),
        ("status and circuit, any page", list(&both, &anywhere)),
        ("since a minute ago", list(&recent, &first)),
        ("since a day ago, any page", list(&TaskFilter { since: minutes_ago(1_440), ..all }, &anywhere)),
        ("all filters", list(&TaskFilter { since: minutes_ago(600), ..both }, &anywhere)),
    ]
}

/// Asks from several clients at once; the times, sorted, and the tasks shown.
async fn measure(store: &ArchiveStore, question: &Question, clients: usize) -> (Vec<Duration>, usize) {
    let clients: Vec<_> = (0..clients)
        .map(|client| {
            let (store, question) = (store.clone(), question.clone());
            tokio::spawn(async move {
                let mut times = Vec::with_capacity(TIMES);
                let mut shown = 0;
                for turn in 0..TIMES {
                    let begin = Instant::now();
                    shown += question.ask(&store, client * TIMES + turn).await;
                    times.push(begin.elapsed());
                }
                (times, shown)
            })
        })
        .collect();
    let (mut times, mut shown) = (Vec::new(), 0);
    for client in clients {
        let (of_client, shown_to_client) = client.await.unwrap();
        times.extend(of_client);
        shown += shown_to_client;
    }
    times.sort();
    (times, shown)
}

fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// The indexes, and everything that is no index, that the server used for the question.
async fn ways_of(server: &Postgres, question: &Question) -> String {
    let store = ArchiveStore::open(server.settings("archive")).unwrap();
    let before = server.log().len();
    for turn in 0..8 {
        question.ask(&store, turn).await;
    }
    let log = server.log();
    let ways = log[before..].lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("->").trim();
        let is_way = line.contains("Scan") && !line.starts_with("Index Cond");
        is_way.then(|| line.split("  (").next().unwrap().replace(" using ", " "))
    });
    ways.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("; ")
}

/// Batches of 256 tasks a second, at the end of the large archive.
async fn write(store: &ArchiveStore) -> f64 {
    let mut claim = store.claim("third", Term(1), "coordinator-1").await.unwrap();
    let sample = store.list(TenantId::DEFAULT, &TaskFilter::default(), None, 1).await.unwrap().remove(0).task;
    let begin = Instant::now();
    let batches = 40;
    for _ in 0..batches {
        let from = claim.position;
        let items: Vec<ArchiveItem> = (from + 1..=from + 256)
            .map(|position| {
                let mut task = Box::new(sample.clone());
                task.id = TaskId(Uuid::now_v7());
                task.sequence = position;
                ArchiveItem { position, content: ItemContent::Task { task, proof: Some(vec![1; 192]) } }
            })
            .collect();
        claim = store.write_batch(&claim, from, &items).await.unwrap();
    }
    f64::from(batches) / begin.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    let tasks: u64 = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(TASKS);
    let settings = [
        // PostgreSQL's own default, which the tests make smaller.
        ("shared_buffers", "128MB"),
        ("max_wal_size", "4GB"),
        ("auto_explain.log_level", "warning"),
        ("auto_explain.log_min_duration", "0"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = Postgres::start_with(PostgresOptions { settings, ..Default::default() });
    server.create_database("archive");
    let store = ArchiveStore::open(server.settings("archive")).unwrap();
    store.migrate().await.unwrap();
    let begin = Instant::now();
    server.sql(
        "archive",
        &include_str!("../tests/support/archive_seed.sql").replace("{count}", &tasks.to_string()),
    );
    server.sql("archive", "VACUUM ANALYZE");
    server.sql("archive", "CHECKPOINT");
    println!("{tasks} tasks made in {:.0} s", begin.elapsed().as_secs_f64());
    let size = |what: &str| server.sql("archive", &format!("SELECT pg_size_pretty({what})"));
    println!("database {}", size("pg_database_size('archive')"));
    for table in ["tasks", "attempts"] {
        let (rows, indexes) =
            (size(&format!("pg_table_size('{table}')")), size(&format!("pg_indexes_size('{table}')")));
        println!("  {table}: rows {rows}, indexes {indexes}");
    }
    let questions = questions(&server, tasks);
    let mut is_slow = false;
    println!(
        "{:30} {:>8} {:>9} {:>9} {:>9} {:>7}",
        "question", "clients", "p50 ms", "p99 ms", "max ms", "tasks"
    );
    for clients in [1, CLIENTS] {
        for (name, question) in &questions {
            let (times, shown) = measure(&store, question, clients).await;
            let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&times, percent));
            is_slow |= p99 >= BAR;
            let [p50_ms, p99_ms, max_ms] = [p50, p99, max].map(milliseconds);
            let shown = shown / times.len();
            println!("{name:30} {clients:>8} {p50_ms:>9.2} {p99_ms:>9.2} {max_ms:>9.2} {shown:>7}");
        }
    }
    println!("written: {:.1} batches of 256 tasks a second", write(&store).await);
    server.sql("archive", "ALTER DATABASE archive SET session_preload_libraries = 'auto_explain'");
    println!("what the server used, by auto_explain:");
    for (name, question) in &questions {
        println!("  {name}: {}", ways_of(&server, question).await);
    }
    assert!(!is_slow, "a 99th percentile is at or above {BAR:?}");
}
