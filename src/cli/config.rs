//! `zkpnet config check`: reads a configuration as a node would, and says what it comes to.

use super::node_args::{LoadArgs, Override};
use super::output::{print_error, print_line, print_note};
use super::{Failure, Verdict};
use crate::config::{Role, load, render_effective};

/// Arguments of `zkpnet config`.
#[derive(Debug, clap::Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigCommand {
    /// Print the effective configuration with secrets redacted, or all of its errors
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// The role to check for: demo, dev, coordinator, worker or gateway
    #[arg(long, default_value = "dev")]
    role: Role,
    #[command(flatten)]
    load: LoadArgs,
}

pub(super) fn run(args: &ConfigArgs) -> Result<Verdict, Failure> {
    let ConfigCommand::Check(args) = &args.command;
    let no_overrides: [Override<'_>; 0] = [];
    match load(&args.load.request(args.role, &no_overrides)) {
        Ok(loaded) => {
            loaded.notices.iter().for_each(|notice| print_note(&notice.to_string()));
            print_line(&render_effective(&loaded))?;
            Ok(Verdict::Done)
        }
        Err(errors) => {
            // All but the last here, and the last by the caller, which also knows the exit code.
            let (last, others) =
                errors.errors().split_last().map_or((None, &[][..]), |(last, rest)| (Some(last), rest));
            others.iter().for_each(|error| print_error(&error.to_string()));
            let last = last.map_or_else(|| errors.to_string(), ToString::to_string);
            Err(Failure::Usage(anyhow::Error::msg(last)))
        }
    }
}
