//! `zkpnet bench tasks`: what the service adds to the making of a proof.

use super::connection::{Connection, Kind};
use super::figures::{Faults, Latencies};
use super::servers::Servers;
use super::statements::{Leaves, Paths, Statements};
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
/// After an error; a service that refuses is not asked in a tight loop.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// Who is asked for what; common to all clients.
pub(super) struct Load {
    pub(super) servers: Servers,
    pub(super) statements: Statements,
}

struct Shared {
    load: Load,
    left: AtomicU32,
}

/// What one client counted.
struct Counted {
    /// From the submission to the completed task in hand.
    whole: Latencies,
    /// The same without the time that the proof itself took.
    overhead: Latencies,
    /// The time that the proofs themselves took, all together, and the whole time of their tasks.
    proving: Duration,
    in_service: Duration,
    faults: Faults,
}

impl Counted {
    fn new() -> Self {
        Self {
            whole: Latencies::new(),
            overhead: Latencies::new(),
            proving: Duration::ZERO,
            in_service: Duration::ZERO,
            faults: Faults::default(),
        }
    }

    fn record(&mut self, whole: Duration, proving: Duration) {
        self.whole.record(whole);
        self.overhead.record(whole.saturating_sub(proving));
        self.proving += proving;
        self.in_service += whole;
    }

    fn merge(&mut self, other: &Self) {
        self.whole.merge(&other.whole);
        self.overhead.merge(&other.overhead);
        self.proving += other.proving;
        self.in_service += other.in_service;
        self.faults.merge(&other.faults);
    }

    /// Which part of the tasks' time the proofs took; none of no time.
    fn proving_share(&self) -> Option<f64> {
        (!self.in_service.is_zero()).then(|| self.proving.as_secs_f64() / self.in_service.as_secs_f64())
    }
}

pub(super) async fn run(args: &TasksArgs) -> Result<Verdict, Failure> {
    let servers = Servers::new(&args.load.server).map_err(Failure::Usage)?;
    let statements = match args.circuit {
        Some(circuit) => Statements::Paths(Paths::of(circuit).map_err(Failure::Usage)?),
        None => Statements::Leaves(Leaves::new()),
    };
    let load = Load { servers, statements };
    let shared = Arc::new(Shared { load, left: AtomicU32::new(args.count) });
    let began = Instant::now();
    let clients: Vec<_> =
        (0..args.load.concurrency).map(|_| tokio::spawn(client(Arc::clone(&shared)))).collect();
    let mut all = Counted::new();
    for client in clients {
        all.merge(&client.await.map_err(|error| Failure::Usage(anyhow::anyhow!(error)))?);
    }
    let seconds = began.elapsed().as_secs_f64();
    let completed = all.whole.count();
    let per_second = completed as f64 / seconds;
    let report = json!({
        "completed": completed, "seconds": seconds, "per_second": per_second,
        "concurrency": args.load.concurrency, "whole_ms": all.whole.json(),
        "without_proving_ms": all.overhead.json(), "proving_share": all.proving_share(), "errors": all.faults.json(),
    });
    Printer::new(args.load.output).print(&report, |_| {
        format!(
            "completed        {completed} in {seconds:.1} s by {} clients: {per_second:.2}/s\nwhole            {}\nwithout proving  {}\nproving          {:.1} % of the whole\nerrors           {}",
            args.load.concurrency,
            all.whole.text(),
            all.overhead.text(),
            all.proving_share().unwrap_or(f64::NAN) * 100.0,
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
        match one_task(&shared.load, &mut connection, began).await {
            Ok(proving) => counted.record(began.elapsed(), proving),
            Err(kind) => {
                counted.faults.record(&kind);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    counted
}

/// Submits a task, waits for its proof, and gives the time that the proof took.
pub(super) async fn one_task(
    load: &Load,
    connection: &mut Connection,
    began: Instant,
) -> Result<Duration, Kind> {
    let (place, authority) = load.servers.current();
    let submitted = connection
        .call(authority, Method::POST, "/api/v1/tasks/merkle", load.statements.body(), SUBMIT_LIMIT)
        .await
        .inspect_err(|kind| {
            if kind.is_of_the_server() {
                load.servers.not_this_one(place);
            }
        })?;
    let submitted = parse(&submitted.body)?;
    let id = submitted.get("task_id").and_then(Value::as_str).ok_or_else(strange)?;
    let target = format!("/api/v1/tasks/{id}?{}", WAIT.0);
    while began.elapsed() < PROOF_LIMIT {
        let (_, authority) = load.servers.current();
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
