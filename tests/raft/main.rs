//! Whole nodes from outside: one, three in one process, and one in a process of its own that is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod formats;
mod kill;
mod network;
mod network_support;
mod network_trust;
mod single_node;
mod support;
