//! The prover pool: what becomes of a prover that fails.

use crate::support::{
    Gate, LONG_LEASE, Options, Rig, Scripted, Worker, poll_until, quick_policy, shared_keys, submission,
};
use bellman::groth16::Parameters;
use std::path::Path;
use std::sync::Arc;
use zkpnet::actors::cpu_pool::CpuPool;
use zkpnet::actors::guardian::Guardian;
use zkpnet::actors::prover_pool::{Groth16Prover, NoProof, Prove, ProverPool};
use zkpnet::ledger::{
    AttemptEnd, CircuitId, Digest, FailureCause, FailureKind, FailureReason, Policy, Task, TaskState,
    TaskStatus,
};
use zkpnet::proof::{
    Bytes32, CircuitInput, Digest32, KeyManifest, KeyStore, MerkleWitness, ProveError, Stop,
};

fn causes(task: &Task) -> Vec<FailureKind> {
    let ends = task.attempts.iter().filter_map(|record| record.end.as_ref());
    ends.filter_map(|(_, end)| match end {
        AttemptEnd::Failed(cause) => Some(cause.kind),
        _ => None,
    })
    .collect()
}

#[actix_rt::test]
async fn a_panicking_prover_fails_one_attempt_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let prover = Scripted::prover(|call, request, real| {
        assert!(call != 1, "as planned: the prover");
        real.make(request)
    });
    let rig = Rig::single(folder.path(), Worker::Session(prover), LONG_LEASE).await;
    let mut tasks = Vec::new();
    for number in 1..=3 {
        tasks.push(rig.submit(number).await);
    }
    let mut failed = Vec::new();
    for task in tasks {
        let view = rig.ended(task).await;
        assert_eq!(view.task.status(), TaskStatus::Completed);
        assert_eq!(view.task.attempts_used as usize, causes(&view.task).len());
        failed.extend(causes(&view.task));
    }
    assert_eq!(failed, [FailureKind::ProverPanicked]);
    let counters = rig.counters();
    assert_eq!((counters.tasks_completed, counters.attempts_failed, counters.leases_lost), (3, 1, 0));
    rig.stop().await;
}

#[actix_rt::test]
async fn a_task_whose_every_attempt_fails_keeps_every_cause() {
    let folder = tempfile::tempdir().unwrap();
    let prover = Scripted::prover(|call, _, _| match call {
        1 => panic!("as planned: the prover"),
        call => Err(FailureCause::new(FailureKind::ProverError, &format!("call {call}"))),
    });
    let policy = Policy { max_attempts_default: 3, ..quick_policy() };
    let options = Options { policy, ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::Session(prover), options).await;
    rig.ledger_says("the limits hold", |ledger| (ledger.policy().max_attempts_default == 3).then_some(()))
        .await;
    let task = rig.submit(1).await;
    let view = rig.ended(task).await;
    assert!(matches!(view.task.state, TaskState::Failed { reason: FailureReason::AttemptsExhausted, .. }));
    let expected = [FailureKind::ProverError, FailureKind::ProverPanicked, FailureKind::ProverError];
    assert_eq!(causes(&view.task), expected);
    rig.stop().await;
}

fn prove_request() -> Prove {
    let leaves = [Bytes32::new([1; 32]), Bytes32::new([2; 32])];
    let input = CircuitInput::MerklePoseidon(MerkleWitness::open(&leaves, 0).unwrap());
    Prove {
        circuit: CircuitId::new("merkle-poseidon-4").unwrap(),
        proving_key: Digest([9; 32]),
        input,
        stop: Stop::new(),
    }
}

#[actix_rt::test]
async fn a_key_that_is_not_there_leaves_the_task_untried() {
    let folder = tempfile::tempdir().unwrap();
    let (guardian, _given_up) = Guardian::launch();
    let prover = Arc::new(Groth16Prover::new(KeyStore::open(folder.path()).unwrap()));
    let pool = ProverPool::launch(&guardian, CpuPool::start("prover", 1, 1).unwrap(), prover).await;
    let NoProof::NotTried(reason) = pool.prove(prove_request()).await.unwrap_err() else {
        panic!("it was tried without a key");
    };
    assert!(reason.contains(&Digest([9; 32]).to_string()), "{reason}");
    assert_eq!(pool.held_keys(), std::collections::BTreeSet::new());
    guardian.retire().await;
}

#[actix_rt::test]
async fn a_full_prover_queue_says_so_and_loses_nothing_that_it_took() {
    let (guardian, _given_up) = Guardian::launch();
    let gate = Gate::closed();
    let pass = gate.pass();
    let prover = Scripted::prover(move |_, _, _| {
        pass();
        Err(FailureCause::new(FailureKind::ProverError, "taken"))
    });
    let pool = ProverPool::launch(&guardian, CpuPool::start("prover", 1, 1).unwrap(), prover).await;
    let asked: Vec<_> = (0..5)
        .map(|_| {
            let pool = pool.clone();
            actix_rt::spawn(async move { pool.prove(prove_request()).await })
        })
        .collect();
    // One is being made and one waits at most: three are answered while the gate is closed.
    poll_until("what finds no room is answered", async || {
        (asked.iter().filter(|asked| asked.is_finished()).count() >= 3).then_some(())
    })
    .await;
    gate.open();
    let answers = futures_util::future::join_all(asked).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().unwrap_err()).collect();
    let is_taken = |answer: &&NoProof| matches!(answer, NoProof::Failed(cause) if cause.message() == "taken");
    let is_refused =
        |answer: &&NoProof| matches!(answer, NoProof::NotTried(why) if why.contains("queue is full"));
    let taken = answers.iter().filter(is_taken).count();
    let refused = answers.iter().filter(is_refused).count();
    assert!(taken >= 1 && taken + refused == 5, "{answers:?}");
    guardian.retire().await;
}

#[actix_rt::test]
async fn a_worker_that_says_the_witness_is_wrong_fails_the_task_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let prover =
        Scripted::prover(|_, _, _| Err(FailureCause::new(FailureKind::WitnessUnsatisfied, "as planned")));
    let rig = Rig::single(folder.path(), Worker::Session(prover), LONG_LEASE).await;
    let task = rig.tasks.submit(submission(1)).await.unwrap().task;
    let view = rig.ended(task).await;
    assert!(matches!(view.task.state, TaskState::Failed { reason: FailureReason::Permanent(_), .. }));
    assert_eq!(view.task.attempts.len(), 1);
    rig.stop().await;
}

/// Puts a key into the folder in which one point is another's. Its file is what its name says, so that only a proof can tell.
fn store_altered_key(folder: &Path) -> KeyStore {
    let whole = KeyStore::open(shared_keys()).unwrap();
    let manifest = whole.list().unwrap().remove(0);
    let mut bytes = Vec::new();
    whole.load(&manifest.proving_key).unwrap().write(&mut bytes).unwrap();
    let mut parameters = Parameters::<blstrs::Bls12>::read(&bytes[..], false).unwrap();
    let other = parameters.h[1];
    Arc::make_mut(&mut parameters.h)[0] = other;
    bytes.clear();
    parameters.write(&mut bytes).unwrap();
    let manifest = KeyManifest { proving_key: Digest32::of(&bytes), ..manifest };
    let text = serde_json::to_vec(&manifest).unwrap();
    let length = u32::try_from(text.len()).unwrap().to_le_bytes();
    let altered = KeyStore::open(folder).unwrap();
    altered.import_bundle(&manifest.proving_key, &[&length, &text[..], &bytes].concat()).unwrap();
    altered
}

#[actix_rt::test]
async fn a_proof_that_came_out_false_is_never_reported() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let prover = Groth16Prover::new(store_altered_key(keys.path()));
    let policy = Policy { max_attempts_default: 2, ..quick_policy() };
    let options = Options { policy, keys: keys.path(), ..Options::default() };
    let rig = Rig::single_with(folder.path(), Worker::Session(Arc::new(prover)), options).await;
    rig.ledger_says("the limits hold", |ledger| (ledger.policy().max_attempts_default == 2).then_some(()))
        .await;
    let task = rig.submit(1).await;
    let view = rig.ended(task).await;
    assert_eq!(view.proof, None, "a false proof got through");
    assert!(matches!(view.task.state, TaskState::Failed { reason: FailureReason::AttemptsExhausted, .. }));
    assert_eq!(causes(&view.task), [FailureKind::InvalidProof; 2]);
    // Not the coordinator found it, which would say so otherwise: nothing was handed in.
    for record in &view.task.attempts {
        let Some((_, AttemptEnd::Failed(cause))) = &record.end else { panic!("{record:?}") };
        assert_eq!(cause.message(), ProveError::WrongProof.to_string());
    }
    rig.stop().await;
}
