//! The verifier: every proof passes through it before anyone hears that it exists. Pairings keep a core busy for
//! milliseconds, so they run on a bounded pool of threads.

use super::ask::{Address, Ask, AskError};
use super::cpu_pool::{CpuPool, JobError};
use super::guardian::{GuardianHandle, Supervised};
use crate::ledger::Digest;
use crate::proof::{Bytes32, ProofBytes, VerifyError, VerifyingKey};
use actix::{Actor, Context, Handler, Message};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A check waits this long, queue included.
const CHECK_LIMIT: Duration = Duration::from_secs(20);
/// Prepared keys kept; each is a few kilobytes.
const PREPARED_KEYS_MAX: usize = 256;

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
    /// How long the check took.
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

/// The actor.
pub struct Verifier {
    pool: CpuPool,
    prepared: PreparedKeys,
}

impl Verifier {
    /// Starts the actor over a pool of threads.
    pub async fn launch(guardian: &GuardianHandle, pool: CpuPool) -> VerifierHandle {
        let prepared = PreparedKeys::default();
        let factory = move || Self { pool: pool.clone(), prepared: Arc::clone(&prepared) };
        VerifierHandle(guardian.supervise(factory).await)
    }
}

impl Supervised for Verifier {
    const NAME: &'static str = "verifier";
    const MAILBOX_CAPACITY: usize = 1024;
}

impl Actor for Verifier {
    type Context = Context<Self>;
}

impl Handler<Ask<CheckProof>> for Verifier {
    type Result = ();

    fn handle(&mut self, ask: Ask<CheckProof>, _: &mut Self::Context) {
        let (pool, prepared) = (self.pool.clone(), Arc::clone(&self.prepared));
        actix_rt::spawn(async move {
            let Ask { message, reply } = ask;
            let checked = pool.run(move || check(&prepared, &message)).await;
            reply.send(checked.map_err(CheckError::from).and_then(|verdict| Ok(verdict?)));
        });
    }
}

fn check(prepared: &PreparedKeys, request: &CheckProof) -> Result<Verdict, VerifyRefused> {
    let began = Instant::now();
    let key = prepare(prepared, request)?;
    let proof = ProofBytes::try_from(request.proof.as_slice())?;
    let is_valid = key.verify(&proof, &request.public_inputs)?;
    Ok(Verdict { is_valid, took: began.elapsed() })
}

fn prepare(prepared: &PreparedKeys, request: &CheckProof) -> Result<Arc<VerifyingKey>, VerifyRefused> {
    let lock = || prepared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = lock().get(&request.key) {
        return Ok(Arc::clone(key));
    }
    let key = Arc::new(VerifyingKey::from_bytes(&request.key_bytes).map_err(VerifyError::from)?);
    let mut keys = lock();
    if keys.len() >= PREPARED_KEYS_MAX {
        keys.pop_first();
    }
    keys.insert(request.key, Arc::clone(&key));
    Ok(key)
}
