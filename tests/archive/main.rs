//! The archive against a real PostgreSQL: what is written comes back, each position once, whatever breaks.
//!
//! Needs Debian's package `postgresql`. Most tests have a database of their own on one server that they share; those that stop
//! or damage a server have one of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/postgres.rs"]
mod postgres;

mod batches;
mod claims;
mod coordinators;
mod failures;
mod generated;
mod kills;
mod lists;
mod migrations;
mod plans;
mod retention;
mod round_trips;
mod standby;
mod support;
mod tls;
mod views;
