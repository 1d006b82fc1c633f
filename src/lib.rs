//! zkpnet: a self-hosted, fault-tolerant service that makes zero-knowledge proofs.
//!
//! Modules in reading order. Imports run one way: `ledger`, `proof` ← `raft` ← `actors` ← `http`, `cli` ← `node` ← `main`.

pub mod actors;

pub mod codec;
pub mod config;
pub mod sealing;

pub mod ledger;

pub mod proof;
pub mod raft;
