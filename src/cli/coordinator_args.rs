//! The arguments of `zkpnet coordinator`, and how they become a configuration.

use super::node_args::LoadArgs;
use crate::config::{ConfigErrors, Loaded, Role, load};

/// Arguments of `zkpnet coordinator`.
#[derive(Debug, clap::Args)]
pub struct CoordinatorArgs {
    #[command(flatten)]
    load: LoadArgs,
    /// This coordinator's name, as `coordinator_id` and as a member of the cluster
    #[arg(long, value_name = "NAME")]
    id: Option<String>,
    /// Port to serve HTTP on
    #[arg(long, value_name = "PORT")]
    http_port: Option<String>,
    /// Folder for everything that is kept
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// console or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl CoordinatorArgs {
    /// The checked configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        let overrides = [
            ("coordinator.id", "--id", self.id.as_deref()),
            ("http.port", "--http-port", self.http_port.as_deref()),
            ("storage.data_dir", "--data-dir", self.data_dir.as_deref()),
            ("log.level", "--log-level", self.log_level.as_deref()),
            ("log.format", "--log-format", self.log_format.as_deref()),
        ];
        load(&self.load.request(Role::Coordinator, &overrides))
    }
}
