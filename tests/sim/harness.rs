//! Runs a property over seeded cases. The seed is drawn anew for every run unless `ZKPNET_SIM_SEED` gives it, so that
//! repeated runs search further, and it is printed, so that a run can be repeated.

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, RngSeed, TestCaseError, TestError, TestRunner};
use std::hash::{BuildHasher, RandomState};

/// Shrinking a long history takes time; the shortest one is worth it, but not endlessly.
const SHRINK_ITERATIONS_MAX: u32 = 30_000;

pub(crate) fn check<S: Strategy>(
    name: &str,
    cases: u32,
    strategy: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let seed = number_from("ZKPNET_SIM_SEED").unwrap_or_else(|| RandomState::new().hash_one(name));
    let cases =
        number_from("ZKPNET_SIM_CASES").map_or(cases, |cases| u32::try_from(cases).unwrap_or(u32::MAX));
    let regressions: &'static str = format!("tests/sim/regressions/{name}.txt").leak();
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        // A history that fails because of a planted defect is no regression.
        failure_persistence: match std::env::var_os("PLANTED_BUG") {
            None => Some(Box::new(FileFailurePersistence::Direct(regressions))),
            Some(_) => None,
        },
        max_shrink_iters: SHRINK_ITERATIONS_MAX,
        ..Config::default()
    };
    match TestRunner::new(config).run(strategy, property) {
        Ok(()) => {}
        Err(TestError::Fail(reason, shortest)) => panic!(
            "{reason}\n\nthe shortest history found:\n{shortest:#?}\n\n\
             replay: ZKPNET_SIM_SEED={seed} ZKPNET_SIM_CASES={cases} cargo test --test sim {name}"
        ),
        Err(TestError::Abort(reason)) => panic!("aborted with seed {seed}: {reason}"),
    }
}

fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, got {text:?}")))
}
