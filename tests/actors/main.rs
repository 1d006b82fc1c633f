//! Actor-level integration tests: real actors over a real Raft and real files, with fakes only at the edges (who proves,
//! what a worker says).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/postgres.rs"]
mod postgres;

mod archivist;
mod archivist_hindered;
mod cluster;
mod disk_room;
mod front_desk;
mod guardian;
mod histories;
mod key_keeper;
mod overload;
mod prover_pool;
mod provers;
mod raft_node;
mod restart;
mod scheduler;
mod secrets;
mod session;
mod stall;
mod support;
mod verifier;
mod worker_registry;
mod workers;
