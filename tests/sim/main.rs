//! Seeded simulations of the ledger: random histories of a small cluster, checked after every step against an
//! independent reference model, plus liveness and placement. Nothing here waits for a clock or touches a disk.
//!
//! # Replaying a failure
//!
//! A failing test prints its seed and the shortest history that proptest could find, with the commands that it led to:
//!
//! ```text
//! ZKPNET_SIM_SEED=<seed> cargo test --test sim <name of the test>
//! ```
//!
//! runs exactly the same histories again. proptest also writes the failing case to `tests/sim/regressions/<test>.txt`;
//! commit that file, it is tried first from then on.
//!
//! # Longer runs
//!
//! ```text
//! ZKPNET_SIM_CASES=100000 cargo test --test sim
//! ```
//!
//! sets the number of histories of each test. Without it the whole target takes some twenty seconds in the dev profile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archive;
mod checks;
mod cluster;
mod fixtures;
mod harness;
mod histories;
mod liveness;
mod model;
mod ops;
mod placement;
