//! `zkpnet bench service`: what of the prover's rate is left when its proofs are asked for through the service.
//!
//! A while of the prover alone, in this process, and a while of the service with as much work as it takes, in turns: what
//! else the machine does meets both alike, and the medians of the rounds' ratios are what counts. A first round does not count: in
//! it the service makes the tables of a key that is used often; the prover alone has its tables from the start. It makes sense where
//! this command and the service's only worker run on the same processors, as with `zkpnet dev`. The prover alone makes
//! proofs that it verifies, as it gives out no others, and nothing else. What counts against the service: HTTP on both sides, the
//! log, hashing the submitted paths, and, where the worker is another process, that the coordinator verifies every proof once more.

use super::connection::{Connection, Kind};
use super::figures::{Faults, quartiles};
use super::servers::Servers;
use super::statements::{Paths, Statements};
use super::tasks::{Load, PAUSE, one_task};
use super::{Failure, ServiceArgs, Verdict};
use crate::cli::output::{Printer, print_note};
use crate::proof::{CircuitInput, ProvingKey};
use anyhow::Context;
use rand_core::OsRng;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of each while the first part is not counted: threads wake up, the first answers are awaited.
const WARMING_UP: f64 = 0.15;

/// When a while begins, from when on proofs count, and when it ends.
#[derive(Clone, Copy)]
struct While {
    counted_from: Instant,
    ends: Instant,
}

impl While {
    fn of(duration: Duration) -> Self {
        let now = Instant::now();
        Self { counted_from: now + duration.mul_f64(WARMING_UP), ends: now + duration }
    }

    fn counts(self, moment: Instant) -> bool {
        self.counted_from <= moment && moment < self.ends
    }

    /// How many a second that many proofs are.
    fn rate(self, proofs: u32) -> f64 {
        f64::from(proofs) / (self.ends - self.counted_from).as_secs_f64()
    }
}

pub(super) async fn run(args: &ServiceArgs) -> Result<Verdict, Failure> {
    let servers = Servers::new(&args.load.server).map_err(Failure::Usage)?;
    let paths = Paths::of(args.circuit).map_err(Failure::Usage)?;
    let inputs: Arc<[CircuitInput]> = paths.inputs().collect();
    let load = Arc::new(Load { servers, statements: Statements::Paths(paths) });
    print_note(&format!("making a key for {}", args.circuit.name));
    let circuit = args.circuit;
    let tables_bytes_max = u64::from(args.tables) << 20;
    let make = move || -> anyhow::Result<ProvingKey> {
        let key = ProvingKey::generate(circuit, &mut OsRng)?;
        if tables_bytes_max > 0 {
            key.make_tables(tables_bytes_max)?;
        }
        Ok(key)
    };
    let key = blocking(make).await?;
    let key = Arc::new(key.context("cannot make a key").map_err(Failure::Usage)?);

    // The service makes or loads its key for the first task that wants it, and the prover prepares for its first proof.
    if let Err(Kind(kind)) = one_task(&load, &mut Connection::new(), Instant::now()).await {
        print_note(&format!("the service made no proof: {kind}"));
        return Ok(Verdict::NoAnswer);
    }

    let (mut alone, mut served, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut faults = Faults::default();
    for round in 0..=args.rounds {
        let (key, inputs) = (Arc::clone(&key), Arc::clone(&inputs));
        let (threads, duration) = (args.threads, args.duration);
        let rate = blocking(move || prover_alone(&key, &inputs, threads, duration)).await?;
        let rate = rate.context("the prover failed").map_err(Failure::Usage)?;
        let through = through_the_service(&load, args.load.concurrency, args.duration, &mut faults).await?;
        let what = if round == 0 { "to warm up".to_owned() } else { format!("round {round}") };
        print_note(&format!("{what}: {rate:.2}/s alone, {through:.2}/s through the service"));
        if round == 0 {
            continue;
        }
        alone.push(rate);
        served.push(through);
        ratios.push(through / rate);
    }
    let [ratio, alone_rate, served_rate] = [&ratios, &alone, &served].map(|values| quartiles(values));
    let report = json!({
        "circuit": args.circuit.name, "rounds": args.rounds, "threads": args.threads,
        "tables_mib": args.tables, "concurrency": args.load.concurrency, "seconds": args.duration.as_secs_f64(),
        "prover_per_second": alone, "service_per_second": served, "ratio": ratios,
        "ratio_quartiles": ratio, "errors": faults.json(),
    });
    Printer::new(args.load.output).print(&report, |_| {
        let text = |[low, median, high]: [f64; 3]| format!("{median:.3} ({low:.3} to {high:.3})");
        format!(
            "prover alone   {}/s\nservice        {}/s by {} clients\nratio          {}\nerrors         {}",
            text(alone_rate),
            text(served_rate),
            args.load.concurrency,
            text(ratio),
            faults.text()
        )
    })?;
    Ok(if served.iter().all(|rate| *rate > 0.0) { Verdict::Done } else { Verdict::NoAnswer })
}

/// Runs what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Usage(anyhow::anyhow!(error)))
}

/// Proofs a second of so many threads that each make one after the other on their own, which is what keeps a processor busiest.
fn prover_alone(
    key: &ProvingKey,
    inputs: &[CircuitInput],
    threads: usize,
    duration: Duration,
) -> anyhow::Result<f64> {
    key.prover()?;
    let pools = (0..threads)
        .map(|_| rayon::ThreadPoolBuilder::new().num_threads(1).build())
        .collect::<Result<Vec<_>, _>>()?;
    let time = While::of(duration);
    let one_thread = |number: usize| -> anyhow::Result<u32> {
        let mut proofs = 0;
        for input in inputs.iter().cycle().skip(number) {
            if Instant::now() >= time.ends {
                break;
            }
            key.prove(input)?;
            proofs += u32::from(time.counts(Instant::now()));
        }
        Ok(proofs)
    };
    std::thread::scope(|scope| {
        let one_thread = &one_thread;
        let running: Vec<_> = pools
            .iter()
            .enumerate()
            .map(|(number, pool)| scope.spawn(move || pool.install(|| one_thread(number))))
            .collect();
        let mut proofs = 0;
        for thread in running {
            proofs += thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok(time.rate(proofs))
    })
}

/// Proofs a second that so many clients get, each asking for the next as soon as it has one.
async fn through_the_service(
    load: &Arc<Load>,
    clients: u32,
    duration: Duration,
    faults: &mut Faults,
) -> Result<f64, Failure> {
    let time = While::of(duration);
    let clients: Vec<_> = (0..clients).map(|_| tokio::spawn(client(Arc::clone(load), time))).collect();
    let mut proofs = 0;
    // What was begun within the while ends before the next one begins, though it does not count.
    for client in clients {
        let (got, failed) = client.await.map_err(|error| Failure::Usage(anyhow::anyhow!(error)))?;
        proofs += got;
        faults.merge(&failed);
    }
    Ok(time.rate(proofs))
}

async fn client(load: Arc<Load>, time: While) -> (u32, Faults) {
    let (mut connection, mut proofs, mut faults) = (Connection::new(), 0, Faults::default());
    while Instant::now() < time.ends {
        match one_task(&load, &mut connection, Instant::now()).await {
            Ok(_) => proofs += u32::from(time.counts(Instant::now())),
            Err(kind) => {
                faults.record(&kind);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    (proofs, faults)
}
