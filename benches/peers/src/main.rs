//! zkpnet's prover beside every other CPU prover of Groth16 on BLS12-381. `README.md` says how to run it.

#[cfg(test)]
mod against_arkworks;
mod child;
mod circuits;
mod keys;
mod measure;
mod provers;
mod recording;
#[cfg(test)]
mod tests;
mod usage;

use clap::Parser;

/// Compares CPU provers of Groth16 on BLS12-381.
#[derive(Debug, clap::Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run all provers in turns and write what each proof took
    Measure(measure::MeasureArgs),
    /// One prover's process
    #[command(hide = true)]
    Serve(child::ServeArgs),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Measure(args) => measure::run(&args),
        Command::Serve(args) => child::serve(&args),
    }
}
