//! The run: for each circuit and number of threads all provers take turns, round after round, and each proof becomes a
//! line of JSON.
//!
//! Turns make ratios robust: whatever else the machine does meets all of a round alike. What the ratios come to is
//! `report.py`'s; nothing is left out here, the first proof of each process, which warms it up, is round 0.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::ValueEnum;
use serde::Serialize;

use crate::child::{Ready, Running};
use crate::circuits::Workload;
use crate::keys::Keys;
use crate::provers::ProverName;
use crate::usage::Usage;

/// Arguments of `peers measure`.
#[derive(Debug, clap::Args)]
pub struct MeasureArgs {
    /// Circuits; all of them by default
    #[arg(long, value_delimiter = ',')]
    circuits: Vec<Workload>,
    /// Provers; all of them by default
    #[arg(long, value_delimiter = ',')]
    provers: Vec<ProverName>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Rounds after the one that warms up
    #[arg(long, default_value_t = 11)]
    rounds: u32,
    /// Where the lines go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/peers.jsonl"))]
    out: PathBuf,
    /// Folder of the key files
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/keys"))]
    keys: PathBuf,
}

/// A line of the output.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    /// The first: where and when.
    Run {
        unix_seconds: u64,
        processor: String,
        processors: usize,
        load: String,
        commit: String,
        /// Whether arkworks' assembly is in this build (`.cargo/config.toml`).
        arkworks_asm: bool,
    },
    Circuit {
        circuit: String,
        constraints: u64,
        public_inputs: u64,
        private_variables: u64,
    },
    Ready {
        circuit: String,
        threads: usize,
        prover: String,
        #[serde(flatten)]
        ready: Ready,
    },
    Proof {
        circuit: String,
        threads: usize,
        prover: String,
        round: u32,
        #[serde(flatten)]
        used: Usage,
    },
}

/// Measures.
///
/// # Errors
/// A prover failed or made a false proof, or the output cannot be written.
pub fn run(args: &MeasureArgs) -> anyhow::Result<()> {
    let circuits = all_if_none(&args.circuits);
    let provers = all_if_none(&args.provers);
    let keys = Keys::at(args.keys.clone());
    circuits.iter().try_for_each(|circuit| keys.make(*circuit))?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = File::create(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let mut out = Lines(BufWriter::new(file));
    out.write(&machine()?)?;
    for circuit in circuits {
        let shape = circuit.shape()?;
        out.write(&Line::Circuit {
            circuit: circuit.name(),
            constraints: shape.constraints,
            public_inputs: shape.public_inputs,
            private_variables: shape.private_variables,
        })?;
        for threads in &args.threads {
            eprintln!("{} on {threads} threads", circuit.name());
            take_turns(circuit, *threads, &provers, args, &mut out)?;
        }
    }
    eprintln!("written to {}", args.out.display());
    Ok(())
}

fn take_turns(
    circuit: Workload,
    threads: usize,
    provers: &[ProverName],
    args: &MeasureArgs,
    out: &mut Lines,
) -> anyhow::Result<()> {
    let mut running = Vec::with_capacity(provers.len());
    for prover in provers {
        let (child, ready) = Running::start(*prover, circuit, threads, &args.keys)?;
        out.write(&Line::Ready { circuit: circuit.name(), threads, prover: prover.name(), ready })?;
        running.push((prover.name(), child));
    }
    for round in 0..=args.rounds {
        for (prover, child) in &mut running {
            let used = child.prove().with_context(|| format!("{prover} failed"))?;
            out.write(&Line::Proof {
                circuit: circuit.name(),
                threads,
                prover: prover.clone(),
                round,
                used,
            })?;
        }
    }
    Ok(())
}

fn all_if_none<T: ValueEnum>(named: &[T]) -> Vec<T> {
    if named.is_empty() { T::value_variants().to_vec() } else { named.to_vec() }
}

struct Lines(BufWriter<File>);

impl Lines {
    /// Written at once, so that a run that is broken off leaves what it has.
    fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        writeln!(self.0)?;
        Ok(self.0.flush()?)
    }
}

fn machine() -> anyhow::Result<Line> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let git = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
        .output();
    Ok(Line::Run {
        unix_seconds: SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
        processor: model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned()),
        processors: std::thread::available_parallelism()?.get(),
        load: load.trim().to_owned(),
        commit: git.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default(),
        arkworks_asm: cfg!(all(target_feature = "bmi2", target_feature = "adx")),
    })
}
