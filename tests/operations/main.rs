//! What operators live by, on real processes: backups taken under load, checked, damaged, restored into clusters of one and of
//! three; and the files of earlier versions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/mod.rs"]
mod support;

mod archived;
mod damage;
mod interrupted;
mod lab;
mod majority_lost;
mod old_files;
mod restored;
mod rules;
mod upgraded;
