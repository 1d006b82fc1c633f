//! `zkpnet bench submit`: how many submissions a second are acknowledged, which is to say durable.

use super::connection::Connection;
use super::figures::{Faults, Latencies};
use super::servers::Servers;
use super::statements::Leaves;
use super::{Failure, SubmitArgs, Verdict};
use crate::cli::output::Printer;
use hyper::Method;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request that takes longer counts as an error.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// After an error; a server that refuses is not asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(20);

/// What one client counted.
struct Counted {
    latencies: Latencies,
    faults: Faults,
}

pub(super) async fn run(args: &SubmitArgs) -> Result<Verdict, Failure> {
    let servers = Arc::new(Servers::new(&args.load.server).map_err(Failure::Usage)?);
    let leaves = Arc::new(Leaves::new());
    let began = Instant::now();
    let ends = began + args.duration;
    let clients: Vec<_> = (0..args.load.concurrency)
        .map(|_| tokio::spawn(client(Arc::clone(&servers), Arc::clone(&leaves), ends)))
        .collect();
    let mut all = Counted { latencies: Latencies::new(), faults: Faults::default() };
    for client in clients {
        let counted = client.await.map_err(|error| Failure::Usage(anyhow::anyhow!(error)))?;
        all.latencies.merge(&counted.latencies);
        all.faults.merge(&counted.faults);
    }
    let seconds = began.elapsed().as_secs_f64();
    let acknowledged = all.latencies.count();
    let per_second = acknowledged as f64 / seconds;
    let report = json!({
        "acknowledged": acknowledged, "seconds": seconds, "per_second": per_second,
        "concurrency": args.load.concurrency, "latency_ms": all.latencies.json(), "errors": all.faults.json(),
    });
    Printer::new(args.load.output).print(&report, |_| {
        format!(
            "acknowledged  {acknowledged} in {seconds:.1} s by {} clients: {per_second:.0}/s\nlatency       {}\nerrors        {}",
            args.load.concurrency,
            all.latencies.text(),
            all.faults.text()
        )
    })?;
    Ok(if acknowledged > 0 { Verdict::Done } else { Verdict::NoAnswer })
}

async fn client(servers: Arc<Servers>, leaves: Arc<Leaves>, ends: Instant) -> Counted {
    let mut connection = Connection::new();
    let mut counted = Counted { latencies: Latencies::new(), faults: Faults::default() };
    while Instant::now() < ends {
        let (place, authority) = servers.current();
        let began = Instant::now();
        let call =
            connection.call(authority, Method::POST, "/api/v1/tasks/merkle", leaves.body(), REQUEST_LIMIT);
        match call.await {
            Ok(_) => counted.latencies.record(began.elapsed()),
            Err(kind) => {
                counted.faults.record(&kind);
                if kind.is_of_the_server() {
                    servers.not_this_one(place);
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    counted
}
