//! The zkpnet binary: one subcommand per role, and the client's commands. What they do lives in the library.

use clap::Parser;
use std::process::ExitCode;
use zkpnet::cli::{self, Cli, Command, CoordinatorArgs, DemoArgs, DevArgs, GatewayArgs, WorkerArgs};
use zkpnet::node;

/// A submission makes some hundred small allocations on one thread that another frees, which is what this one is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Dev(args) => dev(&args),
        Command::Demo(args) => demo(&args),
        Command::Coordinator(args) => coordinator(&args),
        Command::Gateway(args) => gateway(&args),
        Command::Worker(args) => worker(&args),
        Command::Client(command) => cli::run(command),
    }
}

fn dev(args: &DevArgs) -> ExitCode {
    match args.load() {
        Ok(loaded) => ended(node::run_dev(loaded)),
        Err(errors) => cli::refuse(&errors),
    }
}

fn coordinator(args: &CoordinatorArgs) -> ExitCode {
    match args.load() {
        Ok(loaded) => ended(node::run_coordinator(loaded)),
        Err(errors) => cli::refuse(&errors),
    }
}

fn gateway(args: &GatewayArgs) -> ExitCode {
    match args.load() {
        Ok(loaded) => ended(node::run_gateway(loaded)),
        Err(errors) => cli::refuse(&errors),
    }
}

fn worker(args: &WorkerArgs) -> ExitCode {
    match args.load() {
        Ok(loaded) => ended(node::run_worker(loaded)),
        Err(errors) => cli::refuse(&errors),
    }
}

fn demo(args: &DemoArgs) -> ExitCode {
    match args.load() {
        // The folder lives until the node has ended.
        Ok(cli::DemoLoaded { loaded, folder: _folder }) => ended(node::run_demo(loaded)),
        Err(error) => cli::refuse(&error),
    }
}

fn ended(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| cli::fail(&error))
}
