//! `zkpnet demo`, the first thing that anybody runs.

use crate::support::zkpnet;

#[test]
fn the_demo_proves_its_task_checks_the_proof_and_ends_well() {
    let output = zkpnet().arg("demo").output().unwrap();
    let (told, logged) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}\n{logged}");
    // The root of the quick start's two leaves, as another implementation computes it (tests/fixtures/merkle).
    assert!(told.contains("0x5b771c5b9cbcd829df4beff1124104d2b6f05906cb798475c0662658ddc68d18"), "{told}");
    assert!(told.contains("Valid:") && told.contains("does not verify"), "{told}");
    assert_eq!(logged, "", "a newcomer is shown log lines");
}

#[test]
fn a_demo_that_cannot_start_says_why_and_fails() {
    let output = zkpnet().arg("demo").env("ZKPNET_PROVER__PRELOAD", "merkle-poseidon-5").output().unwrap();
    let logged = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(0));
    assert!(logged.contains("merkle-poseidon-5") && logged.contains("merkle-poseidon-8"), "{logged}");
}
