//! Whole nodes from outside: one, three in one process, and one in a process of its own that is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod enlisting;
mod formats;
mod inspection;
mod kill;
mod late_grants;
mod leadership;
mod members;
mod network;
mod network_support;
mod network_trust;
mod schedules;
mod single_node;
mod state_hash;
mod support;
