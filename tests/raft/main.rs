//! Whole nodes from outside: one, three in one process, and one in a process of its own that is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod formats;
mod kill;
mod leadership;
mod single_node;
mod support;
