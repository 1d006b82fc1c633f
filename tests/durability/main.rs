//! What survives: real processes, real files, real signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod demo;
mod kill;
mod local_cluster;
mod shutdown;
