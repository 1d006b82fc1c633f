//! The arguments of the commands that start a node, and how they become a configuration.

use super::SERVER_VARIABLE;
use crate::config::{ConfigErrors, FlagOverride, LoadRequest, Loaded, Role, load};
use std::ffi::OsString;
use std::path::PathBuf;

/// A configuration key, the flag that sets it, and the flag's value.
pub(super) type Override<'a> = (&'static str, &'static str, Option<&'a str>);

/// Where a configuration is read from.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    /// The configuration file (YAML); without it ZKPNET_CONFIG may name one
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl LoadArgs {
    /// The request that reads file, environment and the given overrides.
    pub(super) fn request(&self, role: Role, overrides: &[Override<'_>]) -> LoadRequest {
        let flags = overrides
            .iter()
            .filter_map(|(key, flag, value)| Some(FlagOverride { key, value: (*value)?.to_owned(), flag }))
            .collect();
        let mut request = LoadRequest::from_process_env(role, self.config.clone(), flags);
        // The client commands' variable is no key of a node, and is often exported in the shell that starts one.
        request.env.remove(&OsString::from(SERVER_VARIABLE));
        request
    }
}

/// Flags that `dev` and `demo` share. Their values are read where all configuration is, so that a wrong one is told in
/// the same words.
#[derive(Debug, clap::Args)]
struct NodeFlags {
    #[command(flatten)]
    load: LoadArgs,
    /// Host name or IP address to serve HTTP on
    #[arg(long, value_name = "HOST")]
    http_host: Option<String>,
    /// Port to serve HTTP on; 0 takes any free one
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

impl NodeFlags {
    fn load(&self, role: Role, data_dir: Option<&str>) -> Result<Loaded, ConfigErrors> {
        let overrides = [
            ("http.host", "--http-host", self.http_host.as_deref()),
            ("http.port", "--http-port", self.http_port.as_deref()),
            ("storage.data_dir", "--data-dir", data_dir),
            ("log.level", "--log-level", self.log_level.as_deref()),
            ("log.format", "--log-format", self.log_format.as_deref()),
        ];
        load(&self.load.request(role, &overrides))
    }
}

/// Arguments of `zkpnet dev`.
#[derive(Debug, clap::Args)]
pub struct DevArgs {
    #[command(flatten)]
    flags: NodeFlags,
}

impl DevArgs {
    /// The checked configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.flags.load(Role::Dev, self.flags.data_dir.as_deref())
    }
}

/// Arguments of `zkpnet demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    #[command(flatten)]
    flags: NodeFlags,
}

/// Arguments of `zkpnet worker`.
#[derive(Debug, clap::Args)]
pub struct WorkerArgs {
    #[command(flatten)]
    flags: NodeFlags,
}

impl WorkerArgs {
    /// The checked configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded, ConfigErrors> {
        self.flags.load(Role::Worker, self.flags.data_dir.as_deref())
    }
}

/// What `demo` runs with.
pub struct DemoLoaded {
    /// The checked configuration.
    pub loaded: Loaded,
    /// The temporary folder that holds the node's data, unless one was given; removed when this is dropped.
    pub folder: Option<TemporaryFolder>,
}

/// A folder that is removed when this is dropped.
#[derive(Debug)]
pub struct TemporaryFolder(PathBuf);

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed stays for the system's own cleaning.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl DemoArgs {
    /// The checked configuration. Without `--data-dir`, and when neither file nor environment names a folder, the data goes
    /// to a new temporary one.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, or the folder that cannot be made.
    pub fn load(&self) -> anyhow::Result<DemoLoaded> {
        let loaded = self.flags.load(Role::Demo, self.flags.data_dir.as_deref())?;
        if loaded.origins.contains_key("storage.data_dir") {
            return Ok(DemoLoaded { loaded, folder: None });
        }
        let path = std::env::temp_dir().join(format!("zkpnet-demo-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path).map_err(|error| {
            anyhow::anyhow!("cannot make the temporary folder {}: {error}", path.display())
        })?;
        let folder = TemporaryFolder(path.clone());
        let loaded = self.flags.load(Role::Demo, path.to_str())?;
        Ok(DemoLoaded { loaded, folder: Some(folder) })
    }
}
