//! The verifier: nobody hears of a proof that it did not find true.

use crate::support::{Gate, LONG_LEASE, Rig, Worker, poll_until};
use crate::workers::{Hand, checked_proof_of, lease_of, proof_of};
use std::time::Duration;
use zkpnet::actors::cpu_pool::JobError;
use zkpnet::actors::tasks::messages::{TaskError, VerifyProof};
use zkpnet::actors::verifier::{CheckError, CheckProof};
use zkpnet::actors::worker_registry::{News, WorkerError};
use zkpnet::ledger::{AttemptEnd, FailureKind, TaskStatus};
use zkpnet::proof::Bytes32;

fn bytes_of(news: &News) -> Vec<u8> {
    match news {
        News::Proven { proof, .. } => proof.clone(),
        other => panic!("{other:?}"),
    }
}

#[actix_rt::test]
async fn a_proof_that_does_not_verify_is_never_shown_and_a_later_good_one_completes() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut hand = Hand::join(&rig, "hand", 1).await;
    let other = rig.submit(1).await;
    let assignment = hand.assignment().await;
    let of_another = proof_of(assignment);
    let lease = (other, zkpnet::ledger::Attempt(1));
    hand.report(lease, of_another.clone()).await.unwrap();

    let mut request = crate::support::submission(2);
    request.options.max_attempts = Some(16);
    let task = rig.tasks.submit(request).await.unwrap().task;
    let first = hand.assignment().await;
    let lease = lease_of(&first);
    let good = proof_of(first);
    let flipped = |bit: usize| {
        let mut bytes = bytes_of(&good);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let bad = [
        bytes_of(&of_another),
        flipped(7),
        flipped(48 * 8 - 1),
        flipped(191 * 8),
        vec![0; 192],
        vec![0xff; 192],
        Vec::new(),
        vec![7; 1_000],
        bytes_of(&good)[..191].to_vec(),
    ];
    let attempts = bad.len();
    let mut lease = lease;
    for (number, proof) in bad.into_iter().enumerate() {
        let news = News::Proven { proof, proving: Duration::ZERO, checked: None };
        hand.report(lease, news).await.unwrap_or_else(|error| panic!("bad proof {number}: {error}"));
        let view = rig.view(task).await;
        assert!(view.task.is_open() && view.proof.is_none(), "bad proof {number}");
        match &view.task.attempts[number].end {
            Some((_, AttemptEnd::Failed(cause))) => assert_eq!(cause.kind, FailureKind::InvalidProof),
            other => panic!("bad proof {number}: {other:?}"),
        }
        lease = lease_of(&hand.assignment().await);
    }
    hand.report(lease, good.clone()).await.unwrap();
    let view = rig.ended(task).await;
    assert_eq!(view.task.status(), TaskStatus::Completed);
    assert_eq!(view.task.attempts_used as usize, attempts);
    assert_eq!(view.proof, Some(bytes_of(&good)));
    rig.stop().await;
}

#[actix_rt::test]
async fn a_full_verifier_refuses_at_once_and_the_workers_result_counts_when_it_is_said_again() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut hand = Hand::join(&rig, "hand", 1).await;
    let task = rig.submit(1).await;
    let assignment = hand.assignment().await;
    let lease = lease_of(&assignment);
    let proof = proof_of(assignment);

    let gate = Gate::closed();
    gate.fill(&rig.verifier_pool).await;
    let circuit = rig.raft.with_ledger(|ledger| ledger.circuits().next().unwrap().clone());
    let check = CheckProof {
        key: circuit.verifying_key,
        key_bytes: circuit.verifying_key_bytes,
        proof: bytes_of(&proof),
        public_inputs: vec![Bytes32::default()],
    };
    let full = JobError::QueueFull("verifier");
    assert_eq!(rig.verifier.check(check.clone()).await, Err(CheckError::Job(full)));
    let request = VerifyProof {
        circuit: "merkle-poseidon-4".into(),
        proof: bytes_of(&proof),
        public_inputs: vec![Bytes32::default()],
    };
    assert!(matches!(rig.tasks.verify(request.clone()).await, Err(TaskError::Overloaded(_))));
    let refused = hand.report(lease, proof.clone()).await;
    assert!(matches!(refused, Err(WorkerError::TryAgain(_))), "{refused:?}");
    assert!(rig.view(task).await.task.lease().is_some(), "an overloaded verifier cost an attempt");

    gate.open();
    poll_until("the report is taken", async || hand.report(lease, proof.clone()).await.ok()).await;
    assert_eq!(rig.ended(task).await.task.attempts_used, 0);
    assert_eq!(rig.tasks.verify(request).await, Ok(false), "the proof of another statement");
    rig.stop().await;
}

#[actix_rt::test]
async fn a_proof_that_this_process_found_to_hold_needs_no_verifier() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::Session(crate::support::real_prover()), LONG_LEASE).await;
    let gate = Gate::closed();
    gate.fill(&rig.verifier_pool).await;
    let task = rig.submit(1).await;
    let view = rig.ended(task).await;
    assert_eq!(view.task.status(), TaskStatus::Completed);
    let proof = view.proof.unwrap();
    let public_inputs: Vec<Bytes32> =
        view.task.public_inputs.iter().map(|digest| Bytes32::new(digest.0)).collect();
    let request = VerifyProof { circuit: "merkle-poseidon-4".into(), proof, public_inputs };
    assert!(matches!(rig.tasks.verify(request.clone()).await, Err(TaskError::Overloaded(_))));
    gate.open();
    let verified = poll_until("the verifier has room", async || rig.tasks.verify(request.clone()).await.ok());
    assert!(verified.await, "and it holds");
    rig.stop().await;
}

#[actix_rt::test]
async fn what_was_found_of_other_bytes_or_another_statement_counts_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::None, LONG_LEASE).await;
    let mut hand = Hand::join(&rig, "hand", 1).await;
    let other = rig.submit(1).await;
    let of_another = checked_proof_of(hand.assignment().await);
    hand.report((other, zkpnet::ledger::Attempt(1)), of_another.clone()).await.unwrap();

    let mut request = crate::support::submission(2);
    request.options.max_attempts = Some(16);
    let task = rig.tasks.submit(request).await.unwrap().task;
    let first = hand.assignment().await;
    let mut lease = lease_of(&first);
    let good = checked_proof_of(first);
    let with_check_of = |news: &News, found: &News| match (news, found) {
        (News::Proven { proof, proving, .. }, News::Proven { checked, .. }) => {
            News::Proven { proof: proof.clone(), proving: *proving, checked: checked.clone() }
        }
        other => panic!("{other:?}"),
    };
    let bad =
        [of_another.clone(), with_check_of(&of_another, &good)].into_iter().enumerate().collect::<Vec<_>>();
    for (number, news) in bad {
        hand.report(lease, news).await.unwrap();
        let view = rig.view(task).await;
        match &view.task.attempts[number].end {
            Some((_, AttemptEnd::Failed(cause))) => assert_eq!(cause.kind, FailureKind::InvalidProof),
            other => panic!("bad proof {number}: {other:?}"),
        }
        lease = lease_of(&hand.assignment().await);
    }
    // A true proof with a check that says nothing of it is verified as one without.
    hand.report(lease, with_check_of(&good, &of_another)).await.unwrap();
    let view = rig.ended(task).await;
    assert_eq!((view.task.status(), view.task.attempts_used), (TaskStatus::Completed, 2));
    assert_eq!(view.proof, Some(bytes_of(&good)));
    rig.stop().await;
}

#[actix_rt::test]
async fn a_completed_tasks_proof_is_found_true_by_its_name_and_by_its_keys_digest() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::Session(crate::support::real_prover()), LONG_LEASE).await;
    let task = rig.submit(1).await;
    let view = rig.ended(task).await;
    let public_inputs: Vec<Bytes32> =
        view.task.public_inputs.iter().map(|digest| Bytes32::new(digest.0)).collect();
    let digest = rig.raft.with_ledger(|ledger| ledger.circuits().next().unwrap().verifying_key.to_string());
    for circuit in ["merkle-poseidon-4".to_owned(), digest] {
        let proof = view.proof.clone().unwrap();
        let request = VerifyProof { circuit, proof, public_inputs: public_inputs.clone() };
        assert_eq!(rig.tasks.verify(request.clone()).await, Ok(true));
        let too_many =
            VerifyProof { public_inputs: [&public_inputs[..], &public_inputs[..]].concat(), ..request };
        assert!(matches!(rig.tasks.verify(too_many).await, Err(TaskError::BadProof(_))));
    }
    let unknown =
        |circuit: &str| VerifyProof { circuit: circuit.into(), proof: vec![], public_inputs: vec![] };
    assert!(matches!(rig.tasks.verify(unknown("nonsense")).await, Err(TaskError::UnknownCircuit(_))));
    assert!(matches!(rig.tasks.verify(unknown("merkle-poseidon-8")).await, Err(TaskError::NoKeyYet(_))));
    rig.stop().await;
}
