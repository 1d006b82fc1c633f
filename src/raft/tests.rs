//! The stores, below openraft: what is on disk after a reopening, a crash, damage, or a failing disk. Whole nodes are
//! tested from outside, in `tests/raft`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod at_once;
mod damage;
mod disk;
mod ledger_reopen;
mod log_reopen;
mod suite;
mod support;
