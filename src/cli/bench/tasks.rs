//! `zkpnet bench tasks`: what the service adds to the making of a proof.

use super::connection::{Connection, Kind};
use super::figures::{Faults, Latencies};
use super::servers::Servers;
use super::submit::Leaves;
use super::{Failure, TasksArgs, Verdict};
use crate::cli::output::Printer;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A submission that takes longer counts as an error.
const SUBMIT_LIMIT: Duration = Duration::from_secs(30);
/// A proof that takes longer counts as an error.
const PROOF_LIMIT: Duration = Duration::from_secs(600);
/// What the service is asked to wait for at a time, and more than it takes to say so.
const WAIT: (&str, Duration) = ("wait=30s", Duration::from_secs(60));
const PAUSE: Duration = Duration::from_millis(20);

struct Shared {
    servers: Servers,
    leaves: Leaves,
    left: AtomicU32,
}

/// What one client counted.
struct Counted {
    /// From the submission to the completed task in hand.
    whole: Latencies,
    /// The same without the time that the proof itself took.
    overhead: Latencies,
    faults: Faults,
}

impl Counted {
    fn new() -> Self {
        Self { whole: Latencies::new(), overhead: Latencies::new(), faults: Faults::default() }
    }
}

pub(super) async fn run(args: &TasksArgs) -> Result<Verdict, Failure> {
    let servers = Servers::new(&args.load.server).map_err(Failure::Usage)?;
    let shared = Arc::new(Shared { servers, leaves: Leaves::new(), left: AtomicU32::new(args.count) });
    let began = Instant::now();
    let clients: Vec<_> =
        (0..args.load.concurrency).map(|_| tokio::spawn(client(Arc::clone(&shared)))).collect();
    let mut all = Counted::new();
    for client in clients {
        let counted = client.await.map_err(|error| Failure::Usage(anyhow::anyhow!(error)))?;
        all.whole.merge(&counted.whole);
        all.overhead.merge(&counted.overhead);
        all.faults.merge(&counted.faults);
    }
    let seconds = began.elapsed().as_secs_f64();
    let completed = all.whole.count();
    let per_second = completed as f64 / seconds;
    let report = json!({
        "completed": completed, "seconds": seconds, "per_second": per_second,
        "concurrency": args.load.concurrency, "whole_ms": all.whole.json(),
        "without_proving_ms": all.overhead.json(), "errors": all.faults.json(),
    });
    Printer::new(args.load.output).print(&report, |_| {
        format!(
            "completed        {completed} in {seconds:.1} s by {} clients: {per_second:.2}/s\nwhole            {}\nwithout proving  {}\nerrors           {}",
            args.load.concurrency,
            all.whole.text(),
            all.overhead.text(),
            all.faults.text()
        )
    })?;
    Ok(if completed == u64::from(args.count) { Verdict::Done } else { Verdict::NoAnswer })
}

async fn client(shared: Arc<Shared>) -> Counted {
    let mut connection = Connection::new();
    let mut counted = Counted::new();
    let take = |left: u32| left.checked_sub(1);
    while shared.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
        let began = Instant::now();
        match one_task(&shared, &mut connection, began).await {
            Ok(proving) => {
                let whole = began.elapsed();
                counted.whole.record(whole);
                counted.overhead.record(whole.saturating_sub(proving));
            }
            Err(kind) => {
                counted.faults.record(&kind);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    counted
}

/// Submits a task, waits for its proof, and gives the time that the proof took.
async fn one_task(shared: &Shared, connection: &mut Connection, began: Instant) -> Result<Duration, Kind> {
    let (place, authority) = shared.servers.current();
    let submitted = connection
        .call(authority, Method::POST, "/api/v1/tasks/merkle", shared.leaves.body(), SUBMIT_LIMIT)
        .await
        .inspect_err(|kind| {
            if kind.is_of_the_server() {
                shared.servers.not_this_one(place);
            }
        })?;
    let submitted = parse(&submitted.body)?;
    let id = submitted.get("task_id").and_then(Value::as_str).ok_or_else(strange)?;
    let target = format!("/api/v1/tasks/{id}?{}", WAIT.0);
    while began.elapsed() < PROOF_LIMIT {
        let (_, authority) = shared.servers.current();
        let task = connection.call(authority, Method::GET, &target, Bytes::new(), WAIT.1).await?;
        let task = parse(&task.body)?;
        match task.get("status").and_then(Value::as_str) {
            Some("completed") => {
                let proving = task.pointer("/timings_ms/proving").and_then(Value::as_u64);
                return proving.map(Duration::from_millis).ok_or_else(strange);
            }
            Some("pending" | "assigned" | "in_progress") => {}
            Some(other) => return Err(Kind(format!("task_{other}"))),
            None => return Err(strange()),
        }
    }
    Err(Kind("no_proof_in_time".to_owned()))
}

fn parse(body: &[u8]) -> Result<Value, Kind> {
    serde_json::from_slice(body).map_err(|_| strange())
}

fn strange() -> Kind {
    Kind("strange_answer".to_owned())
}
