//! `zkpnet healthcheck`: one question to a node, one exit code. Container images have no `curl`.

use super::output::print_line;
use super::{Failure, Verdict};
use crate::cli::client::Client;
use std::time::Duration;

/// Arguments of `zkpnet healthcheck`.
#[derive(Debug, clap::Args)]
pub struct HealthcheckArgs {
    /// The node's address
    #[arg(long, env = super::SERVER_VARIABLE, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    server: String,
    /// Ask whether it takes requests (/readyz), not only whether it lives (/livez)
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(args: &HealthcheckArgs) -> Result<Verdict, Failure> {
    let client = Client::new(&args.server).map_err(Failure::Usage)?;
    let path = if args.ready { "/readyz" } else { "/livez" };
    match client.probe(path, Duration::from_secs(5)) {
        Ok(()) => {
            print_line("ok")?;
            Ok(Verdict::Done)
        }
        Err(error) => {
            super::output::print_error(&error.to_string());
            // Docker knows no other code for "not well".
            Ok(Verdict::No)
        }
    }
}
