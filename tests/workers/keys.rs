//! Proving keys: fetched by digest, believed only when they match it, and kept in memory up to a limit.

use crate::provers::shared_keys;
use crate::remote::{Guards, Remote, open_one, reach};
use crate::support::{LONG_LEASE, Rig, Worker, poll_until};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use zkpnet::actors::prover_pool::{Groth16Prover, ProofMaker, Prove};
use zkpnet::ledger::{CircuitId, Digest, TaskStatus};
use zkpnet::proof::{Bytes32, CircuitInput, KeyStore, MerkleWitness, ProvingKey, Stop, catalog};

fn copy_keys(to: &Path) {
    for entry in std::fs::read_dir(shared_keys()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn key_file(folder: &Path) -> std::path::PathBuf {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "params")).unwrap()
}

#[actix_rt::test]
async fn a_worker_without_the_key_fetches_it_and_keeps_it() {
    let (folder, own_keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, shared_keys(), Guards::default()).await;
    let coordinator = reach(&port.addr(), Guards::default());
    let store = KeyStore::open(own_keys.path()).unwrap();
    let prover = Groth16Prover::new(store.clone()).with_source(Arc::new(coordinator.clone()));
    let remote = Remote::start("worker-1", coordinator, Arc::new(prover)).await;
    let task = rig.submit(1).await;
    assert_eq!(rig.ended(task).await.task.status(), TaskStatus::Completed);
    assert_eq!(store.list().unwrap(), KeyStore::open(shared_keys()).unwrap().list().unwrap());
    assert_eq!(remote.pool.held_keys(), BTreeSet::from([CircuitId::new("merkle-poseidon-4").unwrap()]));
    remote.end().await;
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}

#[actix_rt::test]
async fn a_damaged_key_is_not_used_and_costs_the_task_no_attempt() {
    let (folder, own_keys, bad_keys) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    copy_keys(bad_keys.path());
    let damaged = key_file(bad_keys.path());
    let mut bytes = std::fs::read(&damaged).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&damaged, bytes).unwrap();

    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let port = open_one(&rig, bad_keys.path(), Guards::default()).await;
    let coordinator = reach(&port.addr(), Guards::default());
    let store = KeyStore::open(own_keys.path()).unwrap();
    let prover = Groth16Prover::new(store.clone()).with_source(Arc::new(coordinator.clone()));
    let remote = Remote::start("worker-1", coordinator, Arc::new(prover)).await;
    let task = rig.submit(1).await;
    poll_until("it is given back", async || (rig.counters().leases_returned > 0).then_some(())).await;
    let view = rig.view(task).await;
    assert!(view.task.is_open());
    assert_eq!(view.task.attempts_used, 0);
    assert_eq!(store.list().unwrap(), [], "a damaged key was stored");
    assert_eq!(remote.pool.held_keys(), BTreeSet::new());
    port.stop(Duration::ZERO).await;
    rig.stop().await;
}

#[test]
fn the_least_recently_used_keys_leave_the_memory_when_it_is_full() {
    let folder = tempfile::tempdir().unwrap();
    copy_keys(folder.path());
    let store = KeyStore::open(folder.path()).unwrap();
    let small = store.list().unwrap().remove(0);
    let spec = catalog::all().iter().find(|spec| spec.name != small.circuit).unwrap();
    let large = store.store(&ProvingKey::generate(spec, &mut rand_core::OsRng).unwrap()).unwrap();
    let leaves = [Bytes32::new([1; 32]), Bytes32::new([2; 32])];
    let input = CircuitInput::MerklePoseidon(MerkleWitness::open(&leaves, 0).unwrap());
    let request = |manifest: &zkpnet::proof::KeyManifest| Prove {
        circuit: CircuitId::new(&manifest.circuit).unwrap(),
        proving_key: Digest(*manifest.proving_key.as_bytes()),
        input: input.clone(),
        stop: Stop::new(),
    };
    let held =
        |names: &[&str]| names.iter().map(|name| CircuitId::new(name).unwrap()).collect::<BTreeSet<_>>();
    // Ready for proofs, a key takes more than its bytes; what it takes depends on the circuit alone.
    let memory = |manifest: &zkpnet::proof::KeyManifest| {
        let key = store.load(&manifest.proving_key).unwrap();
        key.prover().unwrap();
        key.memory_bytes()
    };
    let both = memory(&small) + memory(&large);

    let roomy = Groth16Prover::new(store.clone()).with_memory_limit(both);
    let tight = Groth16Prover::new(store).with_memory_limit(both - 1);
    for prover in [&roomy, &tight] {
        prover.make(&request(&small)).unwrap();
        prover.make(&request(&large)).unwrap();
    }
    assert_eq!(roomy.held_keys(), held(&[&small.circuit, &large.circuit]));
    assert_eq!(tight.held_keys(), held(&[&large.circuit]));
    tight.make(&request(&small)).unwrap();
    assert_eq!(tight.held_keys(), held(&[&small.circuit]));
}
