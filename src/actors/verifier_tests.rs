//! The verifier's batches: who waits together is checked together, and answered apart.

#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::actors::guardian::Guardian;
use crate::proof::keys::tests::shared_key;
use crate::proof::{CircuitInput, MerkleWitness};
use futures_util::future::join_all;
use std::sync::mpsc;

fn request(proof: Vec<u8>, public_inputs: Vec<Bytes32>) -> CheckProof {
    let key_bytes = shared_key().verifying_key().as_bytes().to_vec();
    let key = Digest(*shared_key().verifying_key().digest().as_bytes());
    CheckProof { key, key_bytes, proof, public_inputs }
}

fn honest() -> CheckProof {
    let witness = MerkleWitness::open(&[Bytes32::new([7; 32])], 0).unwrap();
    let input = CircuitInput::MerklePoseidon(witness);
    let proof = shared_key().prove(&input).unwrap();
    request(proof.as_bytes().to_vec(), input.public_inputs().unwrap())
}

/// A verifier of one thread that is kept busy until the sender is dropped, and what waits before it.
async fn blocked() -> (VerifierHandle, Arc<Mutex<Waiting>>, mpsc::Sender<()>) {
    let pool = CpuPool::start("verifier", 1, 64).unwrap();
    let (release, held) = mpsc::channel::<()>();
    let holder = pool.clone();
    actix_rt::spawn(async move { holder.run(move || held.recv().is_err()).await });
    let waiting = Arc::<Mutex<Waiting>>::default();
    let (guardian, _) = Guardian::launch();
    let shared = Arc::clone(&waiting);
    let factory = move || Verifier {
        pool: pool.clone(),
        meters: Arc::new(Meters::new()),
        prepared: PreparedKeys::default(),
        waiting: Arc::clone(&shared),
    };
    (VerifierHandle(guardian.supervise(factory).await), waiting, release)
}

#[actix_rt::test]
async fn proofs_that_wait_together_are_checked_together_and_each_gets_its_own_answer() {
    let honest = honest();
    let (verifier, waiting, release) = blocked().await;
    let false_one = CheckProof { public_inputs: vec![Bytes32::ZERO], ..honest.clone() };
    let cut_short = CheckProof { proof: honest.proof[..191].to_vec(), ..honest.clone() };
    let no_points = CheckProof { proof: vec![0; 192], ..honest.clone() };
    let too_many = CheckProof { public_inputs: vec![Bytes32::ZERO; 2], ..honest.clone() };
    let requests = [
        honest.clone(),
        false_one.clone(),
        cut_short,
        honest.clone(),
        no_points,
        too_many,
        false_one,
        honest,
    ];
    let count = requests.len();
    let asked = actix_rt::spawn(join_all(requests.map(|request| {
        let verifier = verifier.clone();
        async move { verifier.check(request).await }
    })));
    while lock(&waiting).of_key.values().map(VecDeque::len).sum::<usize>() < count {
        tokio::task::yield_now().await;
    }
    drop(release);
    let answers = asked.await.unwrap();
    let verdicts: Vec<Option<bool>> =
        answers.iter().map(|answer| answer.as_ref().ok().map(|verdict| verdict.is_valid)).collect();
    assert_eq!(
        verdicts,
        [Some(true), Some(false), None, Some(true), None, None, Some(false), Some(true)],
        "{answers:?}"
    );
    let refused = |place: usize| match &answers[place] {
        Err(CheckError::Refused(refused)) => refused.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(2), "a proof has 192 bytes, got 191");
    assert_eq!(refused(4), "point a is not on the curve or not in the subgroup");
    assert_eq!(refused(5), "expected 1 public inputs, got 2");
    // One check of all gives each the same share.
    let shares: std::collections::BTreeSet<Duration> =
        answers.iter().flatten().map(|verdict| verdict.took).collect();
    assert_eq!(shares.len(), 1, "{answers:?}");
    assert!(lock(&waiting).of_key.is_empty());
}

fn reply() -> ReplyTo<Result<Verdict, CheckError>> {
    ReplyTo::to_nobody()
}

#[test]
fn a_thread_takes_its_share_of_one_key_the_oldest_first_and_never_too_many() {
    let of = |key: u8| CheckProof { key: Digest([key; 32]), ..request(Vec::new(), Vec::new()) };
    let mut waiting = Waiting::default();
    let numbers: Vec<u64> = (0..200).map(|_| waiting.push(of(1), reply())).collect();
    let other = waiting.push(of(2), reply());
    let taken: Vec<u64> = waiting.take(Digest([1; 32]), 4).iter().map(|pending| pending.number).collect();
    assert_eq!(taken, numbers[..50]);
    assert_eq!(waiting.take(Digest([1; 32]), 1).len(), BATCH_MAX);
    assert_eq!(waiting.take(Digest([1; 32]), 2).len(), 43);
    assert!(waiting.withdraw(Digest([1; 32]), numbers[0]).is_none(), "it was taken");
    assert_eq!(waiting.withdraw(Digest([1; 32]), numbers[199]).unwrap().number, numbers[199]);
    assert_eq!(waiting.take(Digest([1; 32]), 1).len(), 42);
    assert!(waiting.take(Digest([1; 32]), 1).is_empty());
    assert_eq!(waiting.withdraw(Digest([2; 32]), other).unwrap().number, other);
    assert!(waiting.of_key.is_empty());
}
