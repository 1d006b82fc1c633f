//! zkpnet: a self-hosted, fault-tolerant service that makes zero-knowledge proofs.
//!
//! Clients post proof tasks over HTTP; a Raft log makes them durable and a ledger decides what becomes of them; workers
//! prove them with Groth16 on BLS12-381; every proof is verified before anyone hears of it.
//!
//! Modules in reading order. Imports run one way (`tests/tidy.rs` holds it):
//! `ledger`, `proof`, `codec`, `tls` ← `sealing`, `raft`, `archive` ← `backup`, `actors` ← `http`, `rpc` ← `gateway` ← `cli` ← `node` ← `main`;
//! `config` stands beside; `telemetry` (what operators watch) and `planted` (empty unless a test asks for its defects) stand
//! below everything.

pub mod actors;
pub mod archive;
pub mod backup;
pub mod cli;
pub mod codec;
pub mod config;
pub mod gateway;
pub mod http;
pub mod ledger;
pub mod node;
pub mod planted;
pub mod proof;
pub mod raft;
pub mod rpc;
pub mod sealing;
pub mod telemetry;
pub mod tls;
