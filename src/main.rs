//! The zkpnet binary.
use std::process::ExitCode;
use zkpnet::config::{LoadRequest, Role, load};
fn main() -> anyhow::Result<ExitCode> {
    let demo = std::env::args().nth(1).as_deref() == Some("demo");
    let role = if demo { Role::Demo } else { Role::Dev };
    let loaded = load(&LoadRequest::from_process_env(role, None, vec![]))?;
    if demo { zkpnet::node::run_demo(loaded) } else { zkpnet::node::run_dev(loaded) }
}
