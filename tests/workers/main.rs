//! Workers over real sockets: real sessions and the real worker port, over a real Raft in this process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod door;
mod failover;
mod keys;
#[path = "../actors/provers.rs"]
#[allow(dead_code, unused_imports)]
mod provers;
mod proving;
mod remote;
#[path = "../actors/stall.rs"]
#[allow(dead_code, unused_imports)]
mod stall;
#[path = "../actors/support.rs"]
#[allow(dead_code, unused_imports)]
mod support;
#[path = "../actors/workers.rs"]
#[allow(dead_code, unused_imports)]
mod workers;
