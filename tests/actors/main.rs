//! Actor-level integration tests: real actors over a real Raft and real files, with fakes only at the edges (who proves,
//! what a worker says).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod front_desk;
mod support;
