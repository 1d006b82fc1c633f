//! Provers for tests: the real one, and one that follows a script.

use crate::stall::poll_once;
use crate::support::poll_until;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use tempfile::TempDir;
use zkpnet::actors::cpu_pool::CpuPool;
use zkpnet::actors::prover_pool::{Groth16Prover, Made, ProofMaker, Prove};
use zkpnet::ledger::{CircuitId, Digest, FailureCause};
use zkpnet::proof::{Bytes32, KeyStore, ProvingKey, catalog};

pub(crate) type Prover = Arc<dyn ProofMaker>;

/// A folder with the key of the smallest circuit, made once for all tests.
pub(crate) fn shared_keys() -> &'static Path {
    static KEYS: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = KEYS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::open(folder.path()).unwrap();
        let key =
            ProvingKey::generate(catalog::find("merkle-poseidon-4").unwrap(), &mut rand_core::OsRng).unwrap();
        store.store(&key).unwrap();
        let path = folder.path().to_owned();
        (folder, path)
    });
    path
}

/// The real prover with the shared keys. A statement that it proved before gets the same proof again: it stays true.
pub(crate) fn real_prover() -> Prover {
    static PROVER: OnceLock<Arc<Remembering>> = OnceLock::new();
    let made = || {
        let real = Groth16Prover::new(KeyStore::open(shared_keys()).unwrap());
        Arc::new(Remembering { real, proofs: Mutex::default() })
    };
    PROVER.get_or_init(made).clone()
}

struct Remembering {
    real: Groth16Prover,
    proofs: Mutex<BTreeMap<(Digest, Vec<Bytes32>), Made>>,
}

impl ProofMaker for Remembering {
    fn make(&self, request: &Prove) -> Result<Made, FailureCause> {
        // A proof is good for the key that it was made with only, and some tests bring keys of their own.
        let statement = (request.proving_key, request.input.public_inputs().unwrap());
        if let Some(proof) = self.proofs.lock().unwrap().get(&statement) {
            return Ok(proof.clone());
        }
        let proof = self.real.make(request)?;
        self.proofs.lock().unwrap().insert(statement, proof.clone());
        Ok(proof)
    }

    fn held_keys(&self) -> BTreeSet<CircuitId> {
        self.real.held_keys()
    }
}

/// A prover that does what a function says, given the number of the call (from 0) and the real prover.
pub(crate) struct Scripted<F> {
    pub(crate) calls: AtomicU32,
    pub(crate) real: Prover,
    pub(crate) script: F,
}

impl<F> Scripted<F>
where
    F: Fn(u32, &Prove, &dyn ProofMaker) -> Result<Made, FailureCause> + Send + Sync + 'static,
{
    pub(crate) fn prover(script: F) -> Prover {
        Arc::new(Self { calls: 0.into(), real: real_prover(), script })
    }
}

impl<F> ProofMaker for Scripted<F>
where
    F: Fn(u32, &Prove, &dyn ProofMaker) -> Result<Made, FailureCause> + Send + Sync + 'static,
{
    fn make(&self, request: &Prove) -> Result<Made, FailureCause> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        (self.script)(call, request, &*self.real)
    }

    fn held_keys(&self) -> BTreeSet<CircuitId> {
        self.real.held_keys()
    }
}

/// The real prover as if it were of another process: what it found of its proofs does not come along.
pub(crate) fn prover_elsewhere() -> Prover {
    Scripted::prover(|_, request, real| {
        let made = real.make(request)?;
        Ok(made.checked().map(|proof| Made::Unchecked(*proof.proof())).unwrap())
    })
}

/// A door that threads wait at. It opens when it is told to, or when the test lets go of it.
pub(crate) struct Gate(Arc<Door>);

#[derive(Default)]
struct Door {
    is_open: Mutex<bool>,
    moved: Condvar,
    waiting: AtomicU32,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::default())
    }

    /// What waits at it; blocks.
    pub(crate) fn pass(&self) -> impl Fn() + Send + Sync + 'static {
        let door = Arc::clone(&self.0);
        move || {
            door.waiting.fetch_add(1, Ordering::SeqCst);
            let is_open = door.is_open.lock().unwrap();
            drop(door.moved.wait_while(is_open, |is_open| !*is_open).unwrap());
        }
    }

    /// Has the one thread of a pool wait at the gate.
    pub(crate) async fn hold(&self, pool: &CpuPool) {
        assert!(poll_once(&mut Box::pin(pool.run(self.pass()))).is_pending());
        poll_until("the thread waits", async || (self.0.waiting.load(Ordering::SeqCst) > 0).then_some(()))
            .await;
    }

    /// Has the one thread of a pool wait at the gate, and fills the queue before it.
    pub(crate) async fn fill(&self, pool: &CpuPool) {
        self.hold(pool).await;
        while poll_once(&mut Box::pin(pool.run(self.pass()))).is_pending() {}
    }

    /// A prover that waits at the gate before every proof.
    pub(crate) fn prover(&self) -> Prover {
        let pass = self.pass();
        Scripted::prover(move |_, request, real| {
            pass();
            real.make(request)
        })
    }

    pub(crate) fn open(&self) {
        *self.0.is_open.lock().unwrap() = true;
        self.0.moved.notify_all();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}
