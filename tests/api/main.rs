//! The HTTP API as a client meets it: a whole node, real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod answers;
mod bad_input;
mod cluster;
mod command_line;
mod description;
#[path = "../support/http.rs"]
mod http;
mod lists;
mod protocol;
mod repetition;
mod service;
mod verification;
