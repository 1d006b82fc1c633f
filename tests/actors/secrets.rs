//! Inputs are secrets: they are on no disk in the clear, in no print and in no cause.

use crate::support::{LONG_LEASE, Rig, Scripted, Worker, leaf, submission};
use crate::workers::Hand;
use std::path::Path;
use zkpnet::actors::prover_pool::Prove;
use zkpnet::actors::tasks::messages::Statement;
use zkpnet::actors::worker_registry::Order;
use zkpnet::ledger::{AttemptEnd, BodyKey, TaskStatus};
use zkpnet::proof::{Bytes32, CircuitInput, Stop};

/// Eight bytes of the secret as they are, reversed, and in hexadecimal.
fn forms(number: u64) -> Vec<Vec<u8>> {
    let secret = leaf(number);
    let plain = secret[16..].to_vec();
    let reversed = plain.iter().rev().copied().collect();
    let hex: String = plain.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![plain, reversed, hex.to_uppercase().into_bytes(), hex.into_bytes()]
}

fn holds(bytes: &[u8], number: u64) -> bool {
    forms(number).iter().any(|form| bytes.windows(form.len()).any(|window| window == form))
}

/// Every file below the folder, with its content.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

/// A number whose bytes do not occur by chance.
const SECRET: u64 = 0x5ec2_e7a1_b0c3_d9f4;

#[actix_rt::test]
async fn no_file_holds_an_input_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let task = rig.submit(SECRET).await;
    let body = rig.node.body(BodyKey::Input(task)).await.unwrap().expect("a sealed input");
    assert!(!holds(&body, SECRET), "the body holds the leaf");
    rig.raft.trigger_snapshot().await.unwrap();
    crate::support::poll_until("there is a snapshot", async || rig.raft.status().snapshot).await;
    rig.stop().await;
    let files = files(folder.path());
    for name in ["raft.redb", "ledger.redb"] {
        assert!(files.iter().any(|(path, _)| path.ends_with(name)), "{name} was not looked at");
    }
    let known = task.0.as_bytes();
    assert!(
        files.iter().any(|(_, bytes)| bytes.windows(16).any(|window| window == known)),
        "the wrong files"
    );
    for (path, bytes) in files {
        assert!(!holds(&bytes, SECRET), "{path} holds the leaf");
    }
}

#[actix_rt::test]
async fn a_print_of_what_carries_an_input_does_not_show_it() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut hand = Hand::join(&rig, "hand", 1).await;
    let secret = Bytes32::new(leaf(SECRET));
    let path = Statement::MerklePath { leaf: secret, leaf_index: 0, path: vec![secret], root: secret };
    let mut prints = vec![format!("{:?}", submission(SECRET).statement), format!("{path:?}")];
    let task = rig.submit(SECRET).await;
    let order = Order::Assign(hand.assignment().await);
    prints.push(format!("{order:?}"));
    let Order::Assign(assignment) = order else { unreachable!() };
    let CircuitInput::MerklePoseidon(witness) = &assignment.input;
    assert_eq!(witness.leaf, secret, "the worker gets the secret, or this test looks for nothing");
    prints.push(format!("{assignment:?} {witness:?}"));
    let (circuit, proving_key, input) = (assignment.circuit, assignment.proving_key, assignment.input);
    prints.push(format!("{:?}", Prove { circuit, proving_key, input, stop: Stop::new() }));
    prints.push(format!("{:?}", rig.view(task).await));
    for print in prints {
        assert!(!holds(print.as_bytes(), SECRET), "{print}");
        assert!(!print.contains("[254, 254"), "{print}");
    }
    rig.stop().await;
}

#[actix_rt::test]
async fn the_cause_kept_of_a_panicking_prover_does_not_hold_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let prover = Scripted::prover(|call, request, real| {
        let CircuitInput::MerklePoseidon(witness) = &request.input;
        assert!(call > 0, "as planned: a careless prover's message with {}", witness.leaf);
        real.make(request)
    });
    let rig = Rig::single(folder.path(), Worker::Session(prover), LONG_LEASE).await;
    let task = rig.submit(SECRET).await;
    let view = rig.ended(task).await;
    assert_eq!(view.task.status(), TaskStatus::Completed);
    match &view.task.attempts[0].end {
        Some((_, AttemptEnd::Failed(cause))) => {
            assert!(!holds(cause.message().as_bytes(), SECRET), "{cause:?}")
        }
        other => panic!("{other:?}"),
    }
    rig.stop().await;
    for (path, bytes) in files(folder.path()) {
        assert!(!holds(&bytes, SECRET), "{path} holds the leaf");
    }
}
