//! The cluster as processes: coordinators, workers and a gateway, each in a network of its own, and one failure a file.
//!
//! Every scenario ends with the same checks (`support/checks.rs`): what was acknowledged is there, each task ended once, its
//! proof verifies, the coordinators hold the same state, and what the clients saw could have been seen of one machine
//! (`history/`). With `ZKPNET_SCENARIO_ARCHIVE=1` every cluster has a PostgreSQL, which must then hold the same. Needs root, `ip`, `iptables` and `gcc`; scenarios run one at a time, since their clocks are the machine's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/postgres.rs"]
mod postgres;

mod history;
mod support;

mod all_killed;
mod anything;
mod database_cut_off;
mod database_failed_over;
mod database_full;
mod database_killed;
mod database_leaders;
mod database_stopped;
mod disk_full;
mod disk_low;
mod disk_wiped;
mod follower_cut_off;
mod follower_killed;
mod gateway_killed;
mod key_repeated;
mod leader_cut_off;
mod leader_killed;
mod majority_killed;
mod member_replaced;
mod result_kept;
mod rolling_restart;
mod slow_fsync;
mod walkthrough;
mod worker_frozen;
mod worker_killed;
