//! Whole nodes from outside: one, three in one process, and one in a process of its own that is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod formats;
mod inspection;
mod kill;
mod leadership;
mod members;
mod network;
mod network_support;
mod network_trust;
mod schedules;
mod single_node;
mod state_hash;
mod support;
