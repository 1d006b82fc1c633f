//! The gateway over real HTTP: before scripted coordinators that fail in every way, and before a real node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod bench;
mod door;
mod fake;
#[path = "../support/http.rs"]
mod http;
mod members;
mod protocol;
mod reads;
mod real;
#[path = "../support/mod.rs"]
mod support;
mod writes;
