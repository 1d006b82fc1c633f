//! What operators watch a cluster by: the metrics of running processes, the alerts and the dashboard that rest on them, and
//! the load balancers that ask who is ready. Needs the Debian packages prometheus, haproxy, nginx-light and
//! postgresql.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod alerts;
mod backend;
mod balance;
mod cluster;
mod exposition;
mod files;
mod live;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/mod.rs"]
mod support;
mod traces;
