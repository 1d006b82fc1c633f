//! `zkpnet circuit`: list, verifying-key.

use super::client::percent_encode;
use super::output::{Format, member, print_line, printable, table};
use super::{Failure, ServiceArgs, Verdict};
use serde_json::Value;
use std::time::Duration;

/// Arguments of `zkpnet circuit`.
#[derive(Debug, clap::Args)]
pub struct CircuitArgs {
    #[command(subcommand)]
    command: CircuitCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CircuitCommand {
    /// List what can be proved
    List(ServiceArgs),
    /// Print a circuit's verifying key, for `proof verify`
    VerifyingKey(KeyArgs),
}

#[derive(Debug, clap::Args)]
struct KeyArgs {
    /// The circuit's name, or the digest of its verifying key
    circuit: String,
    #[command(flatten)]
    service: ServiceArgs,
}

pub(super) fn run(args: CircuitArgs) -> Result<Verdict, Failure> {
    match args.command {
        CircuitCommand::List(service) => list(&service),
        CircuitCommand::VerifyingKey(args) => verifying_key(&args),
    }
}

fn list(service: &ServiceArgs) -> Result<Verdict, Failure> {
    let answer = service.client()?.get("/api/v1/circuits", Duration::ZERO)?;
    service.printer().print(&answer, |answer| {
        let circuits = answer.get("circuits").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let rows: Vec<Vec<String>> = circuits
            .iter()
            .map(|circuit| {
                let mut row = ["circuit", "circuit_type", "depth", "key_origin", "verifying_key"]
                    .map(|name| printable(&member(circuit, name)));
                if row[3].is_empty() {
                    row[3] = "no key yet".to_owned();
                }
                row.to_vec()
            })
            .collect();
        table(&["CIRCUIT", "TYPE", "DEPTH", "KEY", "VERIFYING KEY"], &rows)
    })?;
    Ok(Verdict::Done)
}

fn verifying_key(args: &KeyArgs) -> Result<Verdict, Failure> {
    let path = format!("/api/v1/circuits/{}/verifying-key", percent_encode(&args.circuit));
    let answer = args.service.client()?.get(&path, Duration::ZERO)?;
    match args.service.output {
        // The hexadecimal key alone would be of no use to `proof verify`, which needs to know the circuit.
        Format::Text => print_line(&answer.to_string())?,
        Format::Json => print_line(&format!("{answer:#}"))?,
    }
    Ok(Verdict::Done)
}
