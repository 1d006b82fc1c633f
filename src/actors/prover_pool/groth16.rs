//! The real prover: Groth16 with the keys of a folder, of which the recently used ones stay in memory.
//!
//! A key that the folder lacks is fetched from whoever has it ([`KeySource`]), checked, and stored. Blocking throughout: it
//! runs on the prover's own threads.

use super::loaded_keys::LoadedKeys;
use super::meters;
use super::shares::{Limits, Shares};
use super::{ProofMaker, Prove};
use crate::ledger::{CircuitId, Digest, FailureCause, FailureKind};
use crate::proof::{
    CircuitSpec, Digest32, KeyError, KeyStore, MemoryBound, ProofBytes, ProveError, ProvingKey,
};
use rayon::ThreadPoolBuildError;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Where keys come from that the folder does not have.
pub trait KeySource: Send + Sync + 'static {
    /// A key's bundle (`KeyStore::import_bundle`), as somebody sent it; nothing of it is believed. Blocks.
    ///
    /// # Errors
    /// Why nobody gave it.
    fn fetch(&self, digest: &Digest32) -> Result<Vec<u8>, String>;
}

/// Proves with Groth16 and the keys of a folder.
pub struct Groth16Prover {
    store: KeyStore,
    source: Option<Arc<dyn KeySource>>,
    memory: Arc<Mutex<LoadedKeys>>,
    /// One key is loaded or fetched at a time, so that two proofs do not fetch the same one.
    loading: Mutex<()>,
    shares: Arc<Shares>,
}

impl Groth16Prover {
    /// A prover that takes its keys from `store`, and keeps all that it used in memory.
    #[must_use]
    pub fn new(store: KeyStore) -> Self {
        let memory = Arc::new(Mutex::new(LoadedKeys::new()));
        let limits = Limits { threads: num_cpus::get(), memory_bytes_max: u64::MAX };
        let shares = Arc::new(Shares::new(limits));
        Self { store, source: None, memory, loading: Mutex::default(), shares }
    }

    /// Makes proofs within these limits, all together.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { shares: Arc::new(Shares::new(limits)), ..self }
    }

    /// Keeps at most so many bytes of keys in memory (but always the one in use).
    #[must_use]
    pub fn with_memory_limit(self, bytes_max: u64) -> Self {
        self.memory().bytes_max = bytes_max;
        self
    }

    /// Gives keys that are used often tables of at most so many bytes, all together; 0, as at first, for none.
    #[must_use]
    pub fn with_tables(self, bytes_max: u64) -> Self {
        self.memory().tables_bytes_max = bytes_max;
        self
    }

    /// Fetches from `source` what the folder does not have.
    #[must_use]
    pub fn with_source(self, source: Arc<dyn KeySource>) -> Self {
        Self { source: Some(source), ..self }
    }

    /// Brings a circuit's key from the folder into memory, if the folder has one. Blocks.
    ///
    /// # Errors
    /// The folder or the key is damaged.
    pub fn preload(&self, circuit: &CircuitSpec) -> Result<(), KeyError> {
        let Some(manifest) = self.store.find(circuit)? else { return Ok(()) };
        let key = self.store.load(&manifest.proving_key)?;
        // A key that cannot be made ready is told of by the proof that wants it.
        if let Err(error) = self.make_ready(&key) {
            tracing::warn!(
                circuit = circuit.name,
                error = error.into_cause().message(),
                "the key is not ready for proofs"
            );
        }
        self.memory().put(Digest(*manifest.proving_key.as_bytes()), key);
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, LoadedKeys> {
        lock(&self.memory)
    }

    /// The key of that digest: from memory, from the folder, or from the source.
    fn key(&self, digest: Digest) -> Result<Arc<ProvingKey>, FailureCause> {
        let known = self.memory().get(digest);
        if let Some(key) = known {
            return Ok(key);
        }
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.memory().get(digest);
        if let Some(key) = known {
            return Ok(key);
        }
        let key = self
            .find(&Digest32::new(digest.0))
            .map_err(|reason| FailureCause::new(FailureKind::KeyUnavailable, &reason))?;
        self.make_ready(&key).map_err(NotMade::into_cause)?;
        self.memory().put(digest, Arc::clone(&key));
        Ok(key)
    }

    /// Makes a key ready for proofs, which takes threads, and no memory but the key's own.
    fn make_ready(&self, key: &ProvingKey) -> Result<(), NotMade> {
        let share = self.shares.take(MemoryBound::default())?;
        share.run(|| key.prover().map(drop)).map_err(|error| NotMade::Proof(error.into()))
    }

    /// Makes tables for a key that is used often, beside the proofs: on one thread, taken when none waits for it.
    fn make_tables_in_time(&self, digest: Digest, key: &Arc<ProvingKey>) {
        let bytes_max = {
            let mut memory = self.memory();
            if !memory.is_time_for_tables(digest) {
                return;
            }
            memory.tables_bytes_max
        };
        let (key, memory, shares) = (Arc::clone(key), Arc::clone(&self.memory), Arc::clone(&self.shares));
        let make = move || {
            let made = shares.take_idle().map(|share| share.run(|| key.make_tables(bytes_max)));
            match made {
                Ok(Ok(())) => {
                    lock(&memory).has_tables();
                    tracing::info!(key = %key.digest(), bytes = key.tables_bytes(), "a key that is used often has tables");
                }
                Ok(Err(error)) => tracing::warn!(key = %key.digest(), %error, "a key gets no tables"),
                Err(error) => tracing::warn!(key = %key.digest(), %error, "a key gets no tables"),
            }
        };
        // Proofs go on without tables if there is no thread to make them.
        if let Err(error) = std::thread::Builder::new().name("tables".to_owned()).spawn(make) {
            tracing::warn!(%error, "no thread to make tables");
        }
    }

    /// Waits for threads and memory, and proves.
    fn prove(&self, key: &ProvingKey, request: &Prove) -> Result<ProofBytes, NotMade> {
        // Ready since the key came into memory.
        let bound = key.prover().map_err(ProveError::from)?.proof_bound();
        let began = Instant::now();
        let share = self.shares.take(bound)?;
        let waited = began.elapsed();
        let made = share.run(|| key.prove_until(&request.input, &request.stop, &|| began.elapsed()))?;
        meters::record_phases(key.circuit().name, waited, &made);
        Ok(made.proof)
    }

    fn find(&self, digest: &Digest32) -> Result<Arc<ProvingKey>, String> {
        let missing = match self.store.load(digest) {
            Ok(key) => return Ok(key),
            Err(error) => error,
        };
        let Some(source) = &self.source else { return Err(missing.to_string()) };
        if !matches!(missing, KeyError::NotFound { .. }) {
            tracing::warn!(error = %missing, "the stored key cannot be used and is fetched anew");
        }
        let bundle = source.fetch(digest)?;
        let key = self.store.import_bundle(digest, &bundle).map_err(|error| error.to_string())?;
        tracing::info!(circuit = key.circuit().name, key = %digest, "fetched a proving key");
        Ok(key)
    }
}

fn lock(memory: &Mutex<LoadedKeys>) -> MutexGuard<'_, LoadedKeys> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a proof was not made.
enum NotMade {
    Proof(ProveError),
    Threads(ThreadPoolBuildError),
}

impl From<ProveError> for NotMade {
    fn from(error: ProveError) -> Self {
        NotMade::Proof(error)
    }
}

impl From<ThreadPoolBuildError> for NotMade {
    fn from(error: ThreadPoolBuildError) -> Self {
        NotMade::Threads(error)
    }
}

impl NotMade {
    fn into_cause(self) -> FailureCause {
        match self {
            NotMade::Proof(error) => FailureCause::new(kind_of(&error), &error.to_string()),
            NotMade::Threads(error) => FailureCause::new(FailureKind::ProverError, &error.to_string()),
        }
    }
}

fn kind_of(error: &ProveError) -> FailureKind {
    match error {
        ProveError::Input(_) => FailureKind::InputUnreadable,
        ProveError::Unsatisfied { .. } => FailureKind::WitnessUnsatisfied,
        ProveError::WrongProof => FailureKind::InvalidProof,
        ProveError::Prepare(_) => FailureKind::KeyUnavailable,
        ProveError::Synthesis(_) | ProveError::OtherCircuit | ProveError::Stopped => FailureKind::ProverError,
    }
}

impl ProofMaker for Groth16Prover {
    fn make(&self, request: &Prove) -> Result<ProofBytes, FailureCause> {
        let key = self.key(request.proving_key)?;
        if key.circuit().name != request.circuit.as_str() {
            return Err(FailureCause::new(FailureKind::KeyUnavailable, "the key is for another circuit"));
        }
        let proof = self.prove(&key, request).map_err(NotMade::into_cause)?;
        self.make_tables_in_time(request.proving_key, &key);
        Ok(proof)
    }

    fn held_keys(&self) -> BTreeSet<CircuitId> {
        self.memory().circuits()
    }
}
