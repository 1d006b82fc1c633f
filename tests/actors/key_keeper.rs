//! The key keeper: a wanted key is made once, and found again.

use crate::support::{Gate, LONG_LEASE, Options, Rig, Worker, poll_until};
use crate::workers::Hand;
use std::sync::Arc;
use zkpnet::actors::prover_pool::Groth16Prover;
use zkpnet::ledger::{Circuit, CircuitId, TaskStatus, WaitingFor};
use zkpnet::proof::KeyStore;

const CIRCUIT: &str = "merkle-poseidon-4";

fn registered(rig: &Rig) -> Option<Circuit> {
    rig.raft.with_ledger(|ledger| ledger.circuit(&CircuitId::new(CIRCUIT).unwrap()).cloned())
}

#[actix_rt::test]
async fn a_task_waits_for_its_circuits_key_which_is_made_once_and_found_after_a_restart() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = || Options { keys: keys.path(), preload: &[], ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::None, options()).await;
    let gate = Gate::closed();
    gate.hold(&rig.key_maker).await;
    let prover = Arc::new(Groth16Prover::new(KeyStore::open(keys.path()).unwrap()));
    let session = rig.employ("worker", prover.clone()).await;
    session.registered().await;
    let tasks = [rig.submit(1).await, rig.submit(2).await];
    for task in tasks {
        let waiting_for = rig.view(task).await.waiting_for;
        assert_eq!(waiting_for, Some(WaitingFor::CircuitKey(CircuitId::new(CIRCUIT).unwrap())));
    }
    assert_eq!(rig.counters().leases_granted, 0);
    gate.open();
    for task in tasks {
        assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    }
    let circuit = registered(&rig).unwrap();
    let stored = KeyStore::open(keys.path()).unwrap().list().unwrap();
    assert_eq!(
        stored.iter().map(|key| key.proving_key.as_bytes()).collect::<Vec<_>>(),
        [&circuit.proving_key.0]
    );
    assert_eq!(&*circuit.key_origin, "dev");
    rig.stop().await;

    // Once with the ledger that knows the key, and once with a new one that has to register the stored file.
    for ledger in [folder.path(), &folder.path().join("another")] {
        let options = Options { preload: &[CIRCUIT], ..options() };
        let rig = Rig::single_with(ledger, Worker::None, options).await;
        assert_eq!(poll_until("the key is registered", async || registered(&rig)).await, circuit);
        let _session = rig.employ("worker", prover.clone()).await;
        let task = rig.submit(3).await;
        assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
        rig.stop().await;
    }
    assert_eq!(KeyStore::open(keys.path()).unwrap().list().unwrap().len(), 1);
}

/// While the keeper's threads are taken it tries again; it asks for no more than it needs.
#[actix_rt::test]
async fn a_key_that_could_not_be_made_at_once_is_made_later() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::lone(folder.path(), Worker::None, Options::default()).await;
    let gate = Gate::closed();
    gate.fill(&rig.key_maker).await;
    rig.found().await;
    let _hand = Hand::join(&rig, "hand", 1).await;
    assert_eq!(registered(&rig), None);
    gate.open();
    poll_until("the key is registered", async || registered(&rig)).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_key_that_is_there_is_registered_without_being_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    poll_until("the key is registered", async || registered(&rig)).await;
    let circuits = rig.tasks.circuits().await.unwrap();
    let with_key: Vec<_> =
        circuits.iter().filter(|view| view.registered.is_some()).map(|view| view.id.as_str()).collect();
    assert_eq!(with_key, [CIRCUIT]);
    assert!(circuits.len() > 1);
    rig.stop().await;
}
