//! `zkpnet bench`: load for a running service, and what it made of it, also beside the prover alone.
//!
//! Closed loops: each client waits for its answer before it asks again, as clients of this service do. What is measured is
//! what a client sees, errors included; nothing is left out for being slow.

mod connection;
mod figures;
mod servers;
mod service;
mod statements;
mod submit;
mod tasks;

use super::output::Format;
use super::{Failure, Verdict, duration};
use crate::proof::{CircuitSpec, catalog};
use anyhow::Context;
use std::time::Duration;

/// Clients at once at most.
const CONCURRENCY_MAX: u32 = 4096;

/// Arguments of `zkpnet bench`.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, clap::Subcommand)]
enum BenchCommand {
    /// Submit distinct tasks as fast as they are acknowledged
    Submit(SubmitArgs),
    /// Submit tasks and wait for their proofs
    Tasks(TasksArgs),
    /// Compare proofs a second through the service with those of the prover alone, in turns
    Service(ServiceArgs),
}

#[derive(Debug, clap::Args)]
struct LoadArgs {
    /// Addresses of the service, several for a cluster: whoever leads is found among them
    #[arg(long, env = super::SERVER_VARIABLE, default_value = "http://127.0.0.1:8080", value_name = "URL", value_delimiter = ',')]
    server: Vec<String>,
    /// Clients at once, each with a connection of its own
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CONCURRENCY_MAX)))]
    concurrency: u32,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct SubmitArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// For how long
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    duration: Duration,
}

#[derive(Debug, clap::Args)]
struct TasksArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// How many tasks
    #[arg(long, default_value_t = 100, value_name = "N")]
    count: u32,
    /// Prove full paths for this circuit, such as merkle-poseidon-20, instead of trees of two leaves
    #[arg(long, value_parser = circuit, value_name = "CIRCUIT")]
    circuit: Option<&'static CircuitSpec>,
}

#[derive(Debug, clap::Args)]
struct ServiceArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// What is proved
    #[arg(long, default_value = "merkle-poseidon-20", value_parser = circuit, value_name = "CIRCUIT")]
    circuit: &'static CircuitSpec,
    /// Rounds, each of a while of the prover alone and a while of the service
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N")]
    rounds: u32,
    /// How long each while is
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "TIME")]
    duration: Duration,
    /// Threads of the prover alone, as `prover.threads` is for the service; each makes proofs of its own
    #[arg(long, default_value_t = num_cpus::get(), value_name = "N")]
    threads: usize,
    /// MiB of tables that the prover alone may make of its key, as `prover.tables_memory_bytes_max` is for the service; 0 for none
    #[arg(long, default_value_t = 512, value_name = "MIB", value_parser = clap::value_parser!(u32).range(..=1 << 20))]
    tables: u32,
}

pub(super) fn run(args: &BenchArgs) -> Result<Verdict, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start tokio")
        .map_err(Failure::Usage)?;
    match &args.command {
        BenchCommand::Submit(args) => runtime.block_on(submit::run(args)),
        BenchCommand::Tasks(args) => runtime.block_on(tasks::run(args)),
        BenchCommand::Service(args) => runtime.block_on(service::run(args)),
    }
}

/// Reads the name of a circuit of the catalogue.
fn circuit(name: &str) -> Result<&'static CircuitSpec, String> {
    catalog::find(name).ok_or_else(|| {
        let names: Vec<&str> = catalog::all().iter().map(|circuit| circuit.name).collect();
        format!("there is no such circuit; known are {}", names.join(", "))
    })
}
