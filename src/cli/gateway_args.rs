//! The arguments of `zkpnet gateway`, and how they become a configuration.

use super::node_args::LoadArgs;
use crate::config::{ConfigErrors, Loaded, Role, load};

/// Arguments of `zkpnet gateway`.
#[derive(Debug, clap::Args)]
pub struct GatewayArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// Coordinators' HTTP addresses, separated by commas
    #[arg(long, value_name = "HOST:PORT,…")]
    coordinators: Option<String>,
    /// Host name or IP address to serve HTTP on
    #[arg(long, value_name = "HOST")]
    http_host: Option<String>,
    /// Port to serve HTTP on; 0 takes any free one
    #[arg(long, value_name = "PORT")]
    http_port: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// console or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl GatewayArgs {
    /// The checked configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        let overrides = [
            ("gateway.coordinators", "--coordinators", self.coordinators.as_deref()),
            ("http.host", "--http-host", self.http_host.as_deref()),
            ("http.port", "--http-port", self.http_port.as_deref()),
            ("log.level", "--log-level", self.log_level.as_deref()),
            ("log.format", "--log-format", self.log_format.as_deref()),
        ];
        load(&self.load.request(Role::Gateway, &overrides))
    }
}
