//! What the scenarios share: a network of namespaces, processes in it, a cluster of them, clients, and the checks at the end.

mod archived;
pub(crate) mod checks;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod database;
pub(crate) mod disk;
pub(crate) mod lab;
#[cfg(test)]
mod lab_tests;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod shim;

pub(crate) use cluster::{Cluster, Plan};
pub(crate) use load::Load;

use std::time::{Duration, Instant};

/// No wait of a scenario is longer unless it says so: when it is reached something is broken.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Polls until `probe` finds something, for [`LIMIT`] at most.
pub(crate) fn poll_until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll_for(LIMIT, what, probe)
}

/// Polls until `probe` finds something, for `limit` at most.
pub(crate) fn poll_for<T>(limit: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll_maybe(limit, probe).unwrap_or_else(|| panic!("waited in vain for {limit:?}: {what}"))
}

/// Polls until `probe` finds something, or not within `limit`.
pub(crate) fn poll_maybe<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = probe();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}

/// Watches for the whole of `span` that nothing is wrong.
pub(crate) fn hold_for(span: Duration, mut check: impl FnMut()) {
    let end = Instant::now() + span;
    while Instant::now() < end {
        check();
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// How often the scenarios that vary a moment do so: more with `ZKPNET_LONG=1`.
pub(crate) fn rounds(usual: usize, long: usize) -> usize {
    if std::env::var_os("ZKPNET_LONG").is_some_and(|value| value == "1") { long } else { usual }
}
