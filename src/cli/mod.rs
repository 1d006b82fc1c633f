//! The command line: what `zkpnet` takes, and the client commands that speak to a running service.
//!
//! Owns the arguments of every subcommand and the exit codes. Refuses to start nodes: `dev` and `demo` are only read here,
//! into a checked configuration, and run by `main` through `node`. Client commands know the service by its HTTP API alone.
//!
//! Exit codes: 0 done; 1 the answer is no (a proof that is not valid, a task that failed, a request that was refused, a node
//! that is not well); 2 wrong usage, files or configuration; 3 no answer (not reachable, too busy, outcome unknown, or not
//! ended within `--wait`).

mod backup;
mod bench;
mod circuit;
mod client;
mod cluster;
mod config;
mod coordinator_args;
mod gateway_args;
mod healthcheck;
mod node_args;
mod output;
mod proof;
mod raft;
mod task;
mod tls;

pub use coordinator_args::CoordinatorArgs;
pub use gateway_args::GatewayArgs;
pub use node_args::{DemoArgs, DemoLoaded, DevArgs, TemporaryFolder, WorkerArgs};

use client::{CallError, Client};
use output::{Format, Printer};
use std::process::ExitCode;

/// Names the service for the client commands.
const SERVER_VARIABLE: &str = "ZKPNET_SERVER";

/// The whole command line.
#[derive(Debug, clap::Parser)]
#[command(
    name = "zkpnet",
    version,
    about = "Makes zero-knowledge proofs: Groth16 on BLS12-381, made durable through Raft",
    after_help = "Exit codes: 0 done, 1 the answer is no, 2 wrong usage, files or configuration, 3 no answer (yet)",
    propagate_version = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `zkpnet` can do.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run the whole service in this process, for development
    Dev(DevArgs),
    /// Run the whole service, prove one example task, check the proof, and end
    Demo(DemoArgs),
    /// Run a coordinator: a member of the cluster, with the scheduler and the port for workers
    Coordinator(CoordinatorArgs),
    /// Run the public door of a cluster: finds the leader, survives its loss
    Gateway(GatewayArgs),
    /// Run a worker: prove what the cluster's leader hands out
    Worker(WorkerArgs),
    /// A command that does not start a node.
    #[command(flatten)]
    Client(ClientCommand),
}

/// The commands that do not start a node.
#[derive(Debug, clap::Subcommand)]
pub enum ClientCommand {
    /// Submit tasks, look at them, withdraw them
    Task(task::TaskArgs),
    /// Check proofs without the service
    Proof(proof::ProofArgs),
    /// Look at the files of a node that does not run
    Raft(raft::RaftArgs),
    /// Look at what can be proved
    Circuit(circuit::CircuitArgs),
    /// Measure a running service
    Bench(bench::BenchArgs),
    /// Look at the members of a cluster, and change them
    Cluster(cluster::ClusterArgs),
    /// Check a configuration
    Config(config::ConfigArgs),
    /// Ask a node whether it lives; for containers
    Healthcheck(healthcheck::HealthcheckArgs),
    /// Make certificates, a token, or a data key for a cluster
    Tls(tls::TlsArgs),
}

/// Where the service is, and how to print.
#[derive(Clone, Debug, clap::Args)]
struct ServiceArgs {
    /// The service's address
    #[arg(long, env = SERVER_VARIABLE, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// What a command came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Done,
    No,
    NoAnswer,
}

/// Why a command was not carried out.
#[derive(Debug)]
enum Failure {
    /// Wrong usage, files or configuration.
    Usage(anyhow::Error),
    /// The service was asked.
    Call(CallError),
    /// Standard output is gone or full.
    Output(std::io::Error),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}

/// Runs a command that does not start a node.
#[must_use]
pub fn run(command: ClientCommand) -> ExitCode {
    let result = match command {
        ClientCommand::Task(args) => task::run(args),
        ClientCommand::Proof(args) => proof::run(&args),
        ClientCommand::Raft(args) => raft::run(&args),
        ClientCommand::Circuit(args) => circuit::run(args),
        ClientCommand::Bench(args) => bench::run(&args),
        ClientCommand::Cluster(args) => cluster::run(args),
        ClientCommand::Config(args) => config::run(&args),
        ClientCommand::Healthcheck(args) => healthcheck::run(&args),
        ClientCommand::Tls(args) => tls::run(&args),
    };
    ExitCode::from(match result {
        Ok(Verdict::Done) => 0,
        Ok(Verdict::No) => 1,
        Ok(Verdict::NoAnswer) => 3,
        // Who reads our output has had enough (`| head`): nothing went wrong.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => 0,
        Err(failure) => report(&failure),
    })
}

/// Reports a configuration that cannot be used.
pub fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    output::print_error(&error.to_string());
    ExitCode::from(2)
}

/// Reports a node that could not be started or could not go on.
pub fn fail(error: &anyhow::Error) -> ExitCode {
    output::print_error(&in_words(error));
    ExitCode::from(1)
}

/// An error and its causes, each said once: many of our own errors have their cause in their text.
fn in_words(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| {
        if text.is_empty() {
            cause
        } else if text.contains(&cause) {
            text
        } else {
            format!("{text}: {cause}")
        }
    })
}

fn report(failure: &Failure) -> u8 {
    let (text, code) = match failure {
        Failure::Usage(error) => (in_words(error), 2),
        Failure::Call(error) => (error.to_string(), if error.is_no() { 1 } else { 3 }),
        Failure::Output(error) => (format!("cannot write the output: {error}"), 2),
    };
    output::print_error(&text);
    code
}

impl ServiceArgs {
    fn client(&self) -> Result<Client, Failure> {
        Client::new(&self.server).map_err(Failure::Usage)
    }

    fn printer(&self) -> Printer {
        Printer::new(self.output)
    }
}

/// Reads a duration such as `500ms`, `30s` or `1m`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    crate::http::parse_duration(text).map_err(str::to_owned)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
