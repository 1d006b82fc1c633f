//! The configuration of a process: typed, checked, and traceable to where each value came from.
//!
//! Four layers, each over the one before: built-in defaults (by role), a YAML file, environment variables, flags.
//! `load` is a pure function of its request, apart from reading the file that it names: no global state, and the
//! process's environment is read in `LoadRequest::from_process_env` alone. It refuses unknown keys and variables
//! instead of ignoring them, guesses no types, and reports everything that is wrong at once.
//!
//! Reading order: `sections` (the keys), `keys` (how a key is declared), `values` (how text becomes a value), then
//! the layers: `file`, `variables`, `derive`; `rules` for what concerns several keys.

mod derive;
mod errors;
mod file;
mod hints;
mod keys;
mod layers;
mod reference;
mod render;
mod roles;
mod rules;
mod secret;
mod sections;
mod values;
mod variables;
mod yaml;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

pub use errors::{ConfigError, ConfigErrors, Notice, Origin};
pub use reference::{commented_defaults, reference_markdown};
pub use render::render_effective;
pub use roles::{Role, UnknownRole};
pub use secret::{REDACTED, Secret};
pub use sections::{
    Config, CoordinatorConfig, DatabaseConfig, GatewayConfig, GrpcConfig, HttpConfig, LogConfig,
    ProverConfig, RaftConfig, ShutdownConfig, StorageConfig, TasksConfig, VerifierConfig, WorkerConfig,
};
pub use values::{Address, ByteSize, CircuitName, Host, HttpUrl, Id, LogFormat, LogLevel, Peer, SslMode};

use layers::{Layers, Written};

/// A value given by a flag of the command line.
#[derive(Clone)]
pub struct FlagOverride {
    /// The key, such as `http.port`.
    pub key: &'static str,
    /// The text that was given.
    pub value: String,
    /// The flag as the user writes it, such as `--http-port`.
    pub flag: &'static str,
}

// A value may be a secret, here and in the environment below.
impl fmt::Debug for FlagOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlagOverride")
            .field("key", &self.key)
            .field("flag", &self.flag)
            .finish_non_exhaustive()
    }
}

/// All that a configuration is made from.
#[derive(Clone)]
pub struct LoadRequest {
    /// What the process is started as.
    pub role: Role,
    /// The file to read; without one the variable `ZKPNET_CONFIG` may name it.
    pub file: Option<PathBuf>,
    /// Environment variables, ours among others.
    pub env: BTreeMap<OsString, OsString>,
    /// Values given on the command line.
    pub flags: Vec<FlagOverride>,
    /// The host's name, the default of ids and addresses outside `dev` and `demo`.
    pub hostname: Option<String>,
}

impl fmt::Debug for LoadRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadRequest")
            .field("role", &self.role)
            .field("file", &self.file)
            .field("flags", &self.flags)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

impl LoadRequest {
    /// A request for defaults alone.
    #[must_use]
    pub fn new(role: Role) -> Self {
        LoadRequest { role, file: None, env: BTreeMap::new(), flags: Vec::new(), hostname: None }
    }

    /// A request with this process's environment and this host's name.
    #[must_use]
    pub fn from_process_env(role: Role, file: Option<PathBuf>, flags: Vec<FlagOverride>) -> Self {
        let env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let hostname = process_hostname(&env);
        LoadRequest { role, file, env, flags, hostname }
    }
}

/// The kernel's name for this host, or what the shell calls it where there is no such file.
fn process_hostname(env: &BTreeMap<OsString, OsString>) -> Option<String> {
    let from_kernel = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let variable = |name: &str| env.get(&OsString::from(name))?.to_str().map(str::to_owned);
    from_kernel
        .or_else(|| variable("HOSTNAME"))
        .or_else(|| variable("COMPUTERNAME"))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty() && name != "(none)")
}

/// A checked configuration and its story.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The role it is for.
    pub role: Role,
    /// The values.
    pub config: Config,
    /// What is accepted and yet worth telling the operator.
    pub notices: Vec<Notice>,
    /// Where each value came from that is not a built-in default, by key.
    pub origins: BTreeMap<&'static str, Origin>,
    /// Each key's value in normal form, secrets redacted; for printing.
    effective: BTreeMap<&'static str, Option<String>>,
}

/// Loads and checks a configuration.
///
/// # Errors
///
/// Everything that is wrong, in one `ConfigErrors`: the file cannot be read or is malformed, keys or variables that
/// do not exist, values that their keys do not take, values that contradict each other.
pub fn load(request: &LoadRequest) -> Result<Loaded, ConfigErrors> {
    let mut layers = Layers::new(request.role);
    if let Some(path) = config_file(request, &mut layers) {
        file::lay(&path, &mut layers);
    }
    variables::lay(&request.env, &mut layers);
    lay_flags(&request.flags, &mut layers);
    finish(request.hostname.as_deref(), layers)
}

fn config_file(request: &LoadRequest, layers: &mut Layers) -> Option<PathBuf> {
    if request.file.is_some() {
        return request.file.clone();
    }
    let named = request.env.get(&OsString::from(variables::CONFIG_VARIABLE))?;
    if named.is_empty() {
        let origin = Origin::Variable(variables::CONFIG_VARIABLE.to_owned());
        let reason = "is empty; leave it out to read no file".to_owned();
        layers.errors.push(ConfigError::Invalid { key: "--config".to_owned(), origin, reason });
        return None;
    }
    Some(PathBuf::from(named))
}

fn lay_flags(flags: &[FlagOverride], layers: &mut Layers) {
    for FlagOverride { key, value, flag } in flags {
        let origin = Origin::Flag((*flag).to_owned());
        match sections::key(key) {
            Some(spec) => layers.set(spec, Written::text(value.as_str()), origin),
            None => {
                let nearest = hints::nearest(key, sections::keys().map(|spec| spec.path));
                layers.errors.push(ConfigError::UnknownKey { key: (*key).to_owned(), origin, nearest });
            }
        }
    }
}

/// Derives what is not set, fills the struct, and judges what needs several keys.
fn finish(hostname: Option<&str>, mut layers: Layers) -> Result<Loaded, ConfigErrors> {
    derive::lay(hostname, &mut layers);
    let config = Config::fill(&mut layers);
    if let Some(config) = &config {
        rules::check(config, &mut layers);
    }
    layers.note_keys_without_effect();
    match config {
        Some(config) if layers.errors.is_empty() => {
            let effective = sections::keys().map(|spec| (spec.path, layers.normal(spec))).collect();
            let origins = sections::keys()
                .map(|spec| (spec.path, layers.origin(spec.path)))
                .filter(|(_, origin)| *origin != Origin::Default)
                .collect();
            Ok(Loaded { role: layers.role, config, notices: layers.notices, origins, effective })
        }
        _ => Err(ConfigErrors(layers.errors)),
    }
}
