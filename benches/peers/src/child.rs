//! One prover in a process of its own: ready with its key, it makes a proof for each line that it is sent.
//!
//! Owns both ends of the pipe. Processes of their own keep the provers' thread pools, allocators and peaks of memory
//! apart; staying alive, they are measured warm; being told when, they take turns.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::circuits::Workload;
use crate::keys::Keys;
use crate::provers::ProverName;
use crate::usage::{self, Usage};

/// The order for a proof.
const PROVE: &str = "prove";

/// Arguments of `peers serve`, which `peers measure` runs.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    #[arg(long)]
    prover: ProverName,
    #[arg(long)]
    circuit: Workload,
    #[arg(long)]
    threads: usize,
    #[arg(long)]
    keys: std::path::PathBuf,
}

/// What a child says once it is ready.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// What loading the key and preparing took.
    pub prepared: Usage,
    /// What is resident before the first proof: key, tables, witness.
    pub resident_kib: Option<u64>,
}

/// The child's side: serves until its input ends.
///
/// # Errors
/// The prover cannot be prepared, or made a proof that is not one: then the child ends, and with it the run.
pub fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    usage::confine(args.threads)?;
    let keys = Keys::at(args.keys.clone());
    let (mut prover, prepared) = usage::measured(|| args.prover.prepare(args.circuit, &keys))?;
    answer(&Ready { prepared, resident_kib: usage::resident_kib() })?;
    for order in std::io::stdin().lock().lines() {
        let order = order?;
        ensure!(order == PROVE, "an unknown order: {order:?}");
        let ((), used) = usage::measured(|| prover.prove())?;
        prover.check()?;
        answer(&used)?;
    }
    Ok(())
}

fn answer(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// The parent's side.
pub struct Running {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Running {
    /// Starts a prover's process and waits until it is ready.
    ///
    /// # Errors
    /// It does not start, or ends before it is ready.
    pub fn start(
        prover: ProverName,
        circuit: Workload,
        threads: usize,
        keys: &std::path::Path,
    ) -> anyhow::Result<(Self, Ready)> {
        let mut process = Command::new(std::env::current_exe()?)
            .args(["serve", "--prover", &prover.name(), "--circuit", &circuit.name()])
            .args(["--threads", &threads.to_string(), "--keys"])
            .arg(keys)
            // rayon: bellman, arkworks, zkpnet, parts of bellperson. ec-gpu-gen: the rest of bellperson.
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env("EC_GPU_NUM_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("the child has no output")?);
        let mut running = Self { process, orders, answers };
        let ready = running.read().with_context(|| format!("{} did not get ready", prover.name()))?;
        Ok((running, ready))
    }

    /// Has it make one proof.
    ///
    /// # Errors
    /// It ended.
    pub fn prove(&mut self) -> anyhow::Result<Usage> {
        writeln!(self.orders.as_mut().context("the child takes no orders")?, "{PROVE}")?;
        self.read()
    }

    fn read<T: DeserializeOwned>(&mut self) -> anyhow::Result<T> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the prover's process ended; its error is above");
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The end of its orders ends it; there is nobody left to tell when it went wrong.
        self.orders = None;
        let _ = self.process.wait();
    }
}
