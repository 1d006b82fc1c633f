//! The verifier: every proof that another process made passes through it before anyone hears that it exists. Pairings keep a core busy for
//! milliseconds, so they run on a bounded pool of threads.
//!
//! Proofs of one key that wait at the same time are checked together, which takes less than half as long for each. Nobody
//! waits for others to come: a thread that is free takes what is there. Each proof still has its own place in the pool's
//! queue, and its own answer, whatever is the matter with the others.

use super::ask::{Address, Ask, AskError, ReplyTo};
use super::cpu_pool::{CpuPool, JobError};
use super::guardian::{GuardianHandle, Supervised, Thread};
use crate::ledger::Digest;
use crate::proof::{Bytes32, ProofBytes, VerifyError, VerifyingKey};
use crate::telemetry::table;
use actix::{Actor, Context, Handler, Message};
use metrics::{Counter, Histogram};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A check waits this long, queue included.
const CHECK_LIMIT: Duration = Duration::from_secs(20);
/// Prepared keys kept; each is about a hundred kilobytes for a key of one or two inputs, and at most 260.
const PREPARED_KEYS_MAX: usize = 256;
/// Proofs checked together at most: beyond this a proof gains little, and the first waits for the last.
const BATCH_MAX: usize = 64;

/// Asks whether a proof is valid.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Verdict, CheckError>")]
pub struct CheckProof {
    /// The digest of the verifying key.
    pub key: Digest,
    /// The verifying key.
    pub key_bytes: Vec<u8>,
    /// The proof's compressed encoding.
    pub proof: Vec<u8>,
    /// The public inputs.
    pub public_inputs: Vec<Bytes32>,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the proof holds.
    pub is_valid: bool,
    /// How long the check took; of a batch, the proof's share.
    pub took: Duration,
}

/// The proof or its inputs are no encoding of one; neither true nor false.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyRefused {
    /// It has not the form of a proof.
    #[error("{0}")]
    Format(#[from] crate::proof::groth16::ProofFormatError),
    /// A point or an input is not what it must be.
    #[error("{0}")]
    Encoding(#[from] VerifyError),
}

/// A check was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// There is nothing that could be checked.
    #[error(transparent)]
    Refused(#[from] VerifyRefused),
    /// Too much at once, or a defect.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The actor did not take it or did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// A cloneable handle of the verifier.
#[derive(Clone)]
pub struct VerifierHandle(Address<Verifier>);

impl VerifierHandle {
    /// Checks a proof.
    ///
    /// # Errors
    /// When there is nothing to check, or it cannot be checked now.
    pub async fn check(&self, request: CheckProof) -> Result<Verdict, CheckError> {
        self.0.ask(request, CHECK_LIMIT).await?
    }
}

type PreparedKeys = Arc<Mutex<BTreeMap<Digest, Arc<VerifyingKey>>>>;

/// A proof that waits for a thread, and whom to tell.
struct Pending {
    number: u64,
    request: CheckProof,
    reply: ReplyTo<Result<Verdict, CheckError>>,
}

/// The proofs that wait, by key, the oldest first. Each has a job in the pool's queue; whichever job runs first takes as
/// many as are its share, and a job that finds none left has nothing to do.
#[derive(Default)]
struct Waiting {
    last: u64,
    of_key: BTreeMap<Digest, VecDeque<Pending>>,
}

impl Waiting {
    /// Returns the number by which the proof can be withdrawn.
    fn push(&mut self, request: CheckProof, reply: ReplyTo<Result<Verdict, CheckError>>) -> u64 {
        self.last += 1;
        let number = self.last;
        self.of_key.entry(request.key).or_default().push_back(Pending { number, request, reply });
        number
    }

    /// Takes what one of `threads` threads should do now: its share, so that the others have something to do, too.
    fn take(&mut self, key: Digest, threads: usize) -> Vec<Pending> {
        let Some(of_key) = self.of_key.get_mut(&key) else { return Vec::new() };
        let share = of_key.len().div_ceil(threads.max(1)).min(BATCH_MAX);
        let taken = of_key.drain(..share).collect();
        if of_key.is_empty() {
            self.of_key.remove(&key);
        }
        taken
    }

    fn withdraw(&mut self, key: Digest, number: u64) -> Option<Pending> {
        let of_key = self.of_key.get_mut(&key)?;
        let place = of_key.iter().position(|pending| pending.number == number)?;
        let withdrawn = of_key.remove(place);
        if of_key.is_empty() {
            self.of_key.remove(&key);
        }
        withdrawn
    }
}

/// What is counted of checks.
struct Meters {
    valid: Counter,
    invalid: Counter,
    malformed: Counter,
    not_checked: Counter,
    seconds: Histogram,
}

impl Meters {
    fn new() -> Self {
        let counter = |verdict| table::VERIFIER_CHECKS.counter(&[verdict]);
        Self {
            valid: counter("valid"),
            invalid: counter("invalid"),
            malformed: counter("malformed"),
            not_checked: counter("not_checked"),
            seconds: table::VERIFIER_DURATION.histogram(&[]),
        }
    }

    fn count(&self, verdict: &Result<bool, VerifyRefused>, took: Duration) {
        self.seconds.record(took);
        let counter = match verdict {
            Ok(true) => &self.valid,
            Ok(false) => &self.invalid,
            Err(_) => &self.malformed,
        };
        counter.increment(1);
    }
}

/// The actor.
pub struct Verifier {
    pool: CpuPool,
    meters: Arc<Meters>,
    prepared: PreparedKeys,
    waiting: Arc<Mutex<Waiting>>,
}

impl Verifier {
    /// Starts the actor over a pool of threads.
    pub async fn launch(guardian: &GuardianHandle, pool: CpuPool) -> VerifierHandle {
        let prepared = PreparedKeys::default();
        let waiting = Arc::<Mutex<Waiting>>::default();
        let meters = Arc::new(Meters::new());
        let factory = move || Self {
            pool: pool.clone(),
            meters: Arc::clone(&meters),
            prepared: Arc::clone(&prepared),
            waiting: Arc::clone(&waiting),
        };
        VerifierHandle(guardian.supervise(factory).await)
    }
}

impl Supervised for Verifier {
    const NAME: &'static str = "verifier";
    const MAILBOX_CAPACITY: usize = 1024;
    const THREAD: Thread = Thread::Shared;
}

impl Actor for Verifier {
    type Context = Context<Self>;
}

impl Handler<Ask<CheckProof>> for Verifier {
    type Result = ();

    fn handle(&mut self, ask: Ask<CheckProof>, _: &mut Self::Context) {
        let (pool, prepared, waiting) =
            (self.pool.clone(), Arc::clone(&self.prepared), Arc::clone(&self.waiting));
        let meters = Arc::clone(&self.meters);
        let Ask { message, reply } = ask;
        let (key, threads) = (message.key, pool.threads());
        let number = lock(&waiting).push(message, reply);
        actix_rt::spawn(async move {
            let (queue, own_meters) = (Arc::clone(&waiting), Arc::clone(&meters));
            let check = move || {
                let batch = lock(&queue).take(key, threads);
                check(&prepared, batch, &own_meters);
            };
            if let Err(error) = pool.run(check).await {
                // Unless another job has taken it, nobody will look at this proof any more. One that was in hand when a
                // job panicked is gone, and its asker sees that no answer comes.
                if let Some(Pending { reply, .. }) = lock(&waiting).withdraw(key, number) {
                    meters.not_checked.increment(1);
                    reply.send(Err(error.into()));
                }
            }
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind the locks is whole between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks proofs of one key and answers each.
fn check(prepared: &PreparedKeys, batch: Vec<Pending>, meters: &Meters) {
    let began = Instant::now();
    let Some(first) = batch.first() else { return };
    let verdicts = match prepare(prepared, &first.request) {
        Ok(key) => check_with(&key, &batch),
        Err(refused) => batch.iter().map(|_| Err(refused.clone())).collect(),
    };
    let took = began.elapsed() / u32::try_from(batch.len()).unwrap_or(u32::MAX);
    for (pending, verdict) in batch.into_iter().zip(verdicts) {
        meters.count(&verdict, took);
        pending.reply.send(verdict.map(|is_valid| Verdict { is_valid, took }).map_err(CheckError::from));
    }
}

fn check_with(key: &VerifyingKey, batch: &[Pending]) -> Vec<Result<bool, VerifyRefused>> {
    let read = |pending: &Pending| {
        let proof = ProofBytes::try_from(pending.request.proof.as_slice())?;
        Ok((proof, pending.request.public_inputs.clone()))
    };
    let read: Vec<Result<_, VerifyRefused>> = batch.iter().map(read).collect();
    let proofs: Vec<_> = read.iter().flatten().cloned().collect();
    let mut checked = key.verify_batch(&proofs).into_iter();
    let verdict = |read: Result<_, VerifyRefused>| {
        read?;
        // There are as many as were read.
        Ok(checked.next().unwrap_or(Ok(false))?)
    };
    read.into_iter().map(verdict).collect()
}

fn prepare(prepared: &PreparedKeys, request: &CheckProof) -> Result<Arc<VerifyingKey>, VerifyRefused> {
    if let Some(key) = lock(prepared).get(&request.key) {
        return Ok(Arc::clone(key));
    }
    let key = Arc::new(VerifyingKey::from_bytes(&request.key_bytes).map_err(VerifyError::from)?);
    let mut keys = lock(prepared);
    if keys.len() >= PREPARED_KEYS_MAX {
        keys.pop_first();
    }
    keys.insert(request.key, Arc::clone(&key));
    Ok(key)
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
