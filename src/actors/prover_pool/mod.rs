//! The prover pool: threads that make proofs. It knows neither tasks nor leases; the worker's session gives it circuit,
//! key and witness, and gets a proof or the reason why there is none.

mod groth16;
mod loaded_keys;
mod meters;
mod shares;

pub use groth16::{Groth16Prover, KeySource};
pub use shares::Limits;

use super::ask::{Address, Ask, AskError};
use super::cpu_pool::{CpuPool, JobError};
use super::guardian::{GuardianHandle, Supervised, Thread};
use crate::ledger::{CircuitId, Digest, FailureCause, FailureKind};
use crate::proof::{CheckedProof, CircuitInput, ProofBytes, Stop};
use crate::telemetry::table;
use actix::{Actor, Context, Handler, Message};
use metrics::Gauge;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A proof waits this long at most, queue included: far beyond what the deepest circuit takes.
const PROVE_LIMIT: Duration = Duration::from_secs(3600);

/// Asks for a proof.
#[derive(Debug, Message)]
#[rtype(result = "Result<Proven, NoProof>")]
pub struct Prove {
    /// The circuit.
    pub circuit: CircuitId,
    /// The digest of the proving key.
    pub proving_key: Digest,
    /// The witness.
    pub input: CircuitInput,
    /// Says when the proof is not wanted any more.
    pub stop: Stop,
}

/// A proof.
#[derive(Clone, Debug)]
pub struct Proven {
    /// It.
    pub proof: Made,
    /// How long it took.
    pub took: Duration,
}

/// A proof as its maker gives it out.
#[derive(Clone, Debug)]
pub enum Made {
    /// Found to hold, by this process.
    Checked(CheckedProof),
    /// Nobody has looked at it.
    Unchecked(ProofBytes),
}

impl Made {
    /// The proof's compressed encoding.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Checked(proof) => proof.proof().as_bytes(),
            Self::Unchecked(proof) => proof.as_bytes(),
        }
    }

    /// What was found of it, if somebody has looked.
    #[must_use]
    pub fn checked(self) -> Option<CheckedProof> {
        match self {
            Self::Checked(proof) => Some(proof),
            Self::Unchecked(_) => None,
        }
    }
}

/// There is no proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoProof {
    /// The attempt failed.
    Failed(FailureCause),
    /// It was not begun, for a reason of this worker's that says nothing of the task: no room, no key.
    NotTried(String),
    /// It was not wanted any more.
    Stopped,
}

/// What makes proofs. The real one is [`Groth16Prover`]; tests put theirs in its place.
pub trait ProofMaker: Send + Sync + 'static {
    /// Makes a proof; blocks.
    ///
    /// # Errors
    /// Why there is none. The cause must not hold anything of the input.
    fn make(&self, request: &Prove) -> Result<Made, FailureCause>;

    /// The circuits whose key is in memory.
    fn held_keys(&self) -> BTreeSet<CircuitId>;
}

/// A cloneable handle of the prover pool.
#[derive(Clone)]
pub struct ProverPoolHandle {
    address: Address<ProverPool>,
    slots: usize,
    maker: Arc<dyn ProofMaker>,
}

impl ProverPoolHandle {
    /// Makes a proof.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn prove(&self, request: Prove) -> Result<Proven, NoProof> {
        self.address.ask(request, PROVE_LIMIT).await.unwrap_or_else(|error| {
            Err(match error {
                AskError::Full(_) | AskError::Stopped(_) => NoProof::NotTried(error.to_string()),
                AskError::NoReply(_) => {
                    NoProof::Failed(FailureCause::new(FailureKind::ProverError, &error.to_string()))
                }
            })
        })
    }

    /// How many proofs are made at a time.
    #[must_use]
    pub const fn slots(&self) -> usize {
        self.slots
    }

    /// The circuits whose key is in memory.
    #[must_use]
    pub fn held_keys(&self) -> BTreeSet<CircuitId> {
        self.maker.held_keys()
    }
}

/// The actor.
pub struct ProverPool {
    pool: CpuPool,
    maker: Arc<dyn ProofMaker>,
    running: Gauge,
}

impl ProverPool {
    /// Starts the actor over a pool of threads, one for each proof made at a time.
    pub async fn launch(
        guardian: &GuardianHandle,
        pool: CpuPool,
        maker: Arc<dyn ProofMaker>,
    ) -> ProverPoolHandle {
        let slots = pool.threads();
        let factory_maker = Arc::clone(&maker);
        let running = table::PROVER_RUNNING.gauge(&[]);
        let factory =
            move || Self { pool: pool.clone(), maker: Arc::clone(&factory_maker), running: running.clone() };
        ProverPoolHandle { address: guardian.supervise(factory).await, slots, maker }
    }
}

impl Supervised for ProverPool {
    const NAME: &'static str = "prover pool";
    const MAILBOX_CAPACITY: usize = 256;
    const THREAD: Thread = Thread::Shared;
}

impl Actor for ProverPool {
    type Context = Context<Self>;
}

impl Handler<Ask<Prove>> for ProverPool {
    type Result = ();

    fn handle(&mut self, ask: Ask<Prove>, _: &mut Self::Context) {
        let (pool, maker, running) = (self.pool.clone(), Arc::clone(&self.maker), self.running.clone());
        actix_rt::spawn(async move {
            let Ask { message, reply } = ask;
            let stop = message.stop.clone();
            let circuit = meters::circuit_label(&message.circuit);
            let job = move || -> Result<Proven, FailureCause> {
                let began = Instant::now();
                let _running = meters::Running::enter(&running);
                let proof = maker.make(&message)?;
                Ok(Proven { proof, took: began.elapsed() })
            };
            let result = match pool.run(job).await {
                Ok(Ok(proven)) => Ok(proven),
                Ok(Err(_)) if stop.is_stopped() => Err(NoProof::Stopped),
                // A worker without the key is the operator's concern: the task waits for one that has it.
                Ok(Err(cause)) if cause.kind == FailureKind::KeyUnavailable => {
                    Err(NoProof::NotTried(cause.message().to_owned()))
                }
                Ok(Err(cause)) => Err(NoProof::Failed(cause)),
                Err(error @ JobError::Panicked(_)) => {
                    Err(NoProof::Failed(FailureCause::new(FailureKind::ProverPanicked, &error.to_string())))
                }
                Err(error) => Err(NoProof::NotTried(error.to_string())),
            };
            meters::record_outcome(circuit, result.as_ref().map(|proven| proven.took));
            reply.send(result);
        });
    }
}
