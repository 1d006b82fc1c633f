//! The image and the compose files as a user runs them, on the Docker engine of this machine.
//!
//! Images are made first, by `docker/ci/images.sh` around the binary under test, since no registry need be in reach. Needs Docker,
//! docker-compose, curl, jq, and the ports that the documents name; what is missing is a failure that says so, nothing is skipped.
//! One test at a time: the ports and the containers' names are the machine's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod document;
mod image;
mod monitoring;
mod project;
mod quickstart;
mod shell;
mod single;
#[path = "../support/mod.rs"]
mod support;
mod upkeep;
