//! The real prover: Groth16 with the keys of a folder, of which the recently used ones stay in memory.
//!
//! A key that the folder lacks is fetched from whoever has it ([`KeySource`]), checked, and stored. Blocking throughout: it
//! runs on the prover's own threads.

use super::loaded_keys::LoadedKeys;
use super::meters;
use super::shares::{Limits, NoShare, Shares};
use super::{Made, ProofMaker, Prove};
use crate::actors::key_keeper::Workshop;
use crate::ledger::{CircuitId, Digest, FailureCause, FailureKind};
use crate::proof::{
    CheckedProof, CircuitSpec, Digest32, KeyError, KeyStore, MemoryBound, ProveError, ProvingKey, Stop,
};
use rayon::ThreadPoolBuildError;
use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What making a key takes at most: the tables of both generators, 80 MB when they are largest, half as much again while they grow, and
/// the key.
const KEY_MAKING: MemoryBound = MemoryBound { whole: 192 << 20, each_thread: 1 << 20 };
/// How often a proof that waits for its key looks whether it is still wanted.
const STOP_CHECK: Duration = Duration::from_millis(50);

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
    loading: Loading,
    shares: Arc<Shares>,
}

impl Groth16Prover {
    /// A prover that takes its keys from `store`, and keeps all that it used in memory.
    #[must_use]
    pub fn new(store: KeyStore) -> Self {
        let memory = Arc::new(Mutex::new(LoadedKeys::new()));
        let limits = Limits { threads: num_cpus::get(), memory_bytes_max: u64::MAX };
        let shares = Arc::new(Shares::new(limits));
        Self { store, source: None, memory, loading: Loading::default(), shares }
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
        if let Err(error) = self.make_ready(&key, &Stop::new()) {
            tracing::warn!(
                circuit = circuit.name,
                error = into_cause(error).message(),
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
    fn key(&self, digest: Digest, stop: &Stop) -> Result<Arc<ProvingKey>, FailureCause> {
        let known = || self.memory().get(digest);
        if let Some(key) = known() {
            return Ok(key);
        }
        let _alone = self.loading.enter(digest, stop).ok_or(ProveError::Stopped).map_err(into_cause)?;
        if let Some(key) = known() {
            return Ok(key);
        }
        let key = self
            .find(&Digest32::new(digest.0))
            .map_err(|reason| FailureCause::new(FailureKind::KeyUnavailable, &reason))?;
        self.make_ready(&key, stop).map_err(into_cause)?;
        self.memory().put(digest, Arc::clone(&key));
        Ok(key)
    }

    /// Makes a key ready for proofs, which takes threads, and no memory but the key's own.
    fn make_ready(&self, key: &ProvingKey, stop: &Stop) -> Result<(), NotMade> {
        let share = self.shares.take(MemoryBound::default(), stop)?;
        share.run(|| key.prover().map(drop)).map_err(|error| NotMade::Proof(error.into()))
    }

    /// Makes tables for a key that is used often, beside the proofs: on one thread, taken when none waits for it, and lent to those that
    /// come to wait.
    fn make_tables_in_time(&self, digest: Digest, key: &Arc<ProvingKey>) {
        let Some(bytes_max) = self.memory().proved(digest) else { return };
        let set_aside = SetAside(Arc::clone(&self.memory));
        let (key, shares) = (Arc::clone(key), Arc::clone(&self.shares));
        let make = move || {
            let made = shares.take_idle().map_err(NotMade::from).and_then(|share| {
                let made = share.run(|pause| key.make_tables_in_pieces(bytes_max, pause));
                made.map_err(|error| NotMade::Proof(error.into()))
            });
            drop(set_aside);
            match made {
                Ok(()) => {
                    tracing::info!(key = %key.digest(), bytes = key.tables_bytes(), "a key that is used often has tables");
                }
                Err(error) => {
                    tracing::warn!(key = %key.digest(), error = into_cause(error).message(), "a key gets no tables");
                }
            }
        };
        // Proofs go on without tables if there is no thread to make them.
        if let Err(error) = std::thread::Builder::new().name("tables".to_owned()).spawn(make) {
            tracing::warn!(%error, "no thread to make tables");
        }
    }

    /// Waits for threads and memory, and proves.
    fn prove(&self, key: &ProvingKey, request: &Prove) -> Result<CheckedProof, NotMade> {
        // Ready since the key came into memory. Tables that are made while it waits are not used if they want more.
        let bound = key.prover().map_err(ProveError::from)?.proof_bound();
        let began = Instant::now();
        let share = self.shares.take(bound, &request.stop)?;
        let waited = began.elapsed();
        let prove = || key.prove_until(&request.input, &bound, &request.stop, &|| began.elapsed());
        let made = share.run(prove)?;
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The keys that are being loaded or fetched, each by one proof: others that want the same one wait, and those that want another do not.
/// There are never more of them than proofs at once.
#[derive(Default)]
struct Loading {
    digests: Mutex<BTreeSet<Digest>>,
    changed: Condvar,
}

/// A key is being loaded, until this is dropped.
struct Alone<'a> {
    loading: &'a Loading,
    digest: Digest,
}

impl Loading {
    /// Waits until nobody else loads this key; none if it is not wanted any more.
    fn enter(&self, digest: Digest, stop: &Stop) -> Option<Alone<'_>> {
        let mut digests = lock(&self.digests);
        while !stop.is_stopped() {
            if digests.insert(digest) {
                return Some(Alone { loading: self, digest });
            }
            let woken = self.changed.wait_timeout(digests, STOP_CHECK);
            digests = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        lock(&self.loading.digests).remove(&self.digest);
        self.loading.changed.notify_all();
    }
}

/// Room that is set aside for tables, until they are made or given up, if only by a panic.
struct SetAside(Arc<Mutex<LoadedKeys>>);

impl Drop for SetAside {
    fn drop(&mut self) {
        lock(&self.0).tables_are_made();
    }
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

impl From<NoShare> for NotMade {
    fn from(reason: NoShare) -> Self {
        match reason {
            NoShare::Stopped => NotMade::Proof(ProveError::Stopped),
            NoShare::Threads(error) => NotMade::Threads(error),
        }
    }
}

fn into_cause(reason: impl Into<NotMade>) -> FailureCause {
    match reason.into() {
        NotMade::Proof(error) => FailureCause::new(kind_of(&error), &error.to_string()),
        NotMade::Threads(error) => FailureCause::new(FailureKind::ProverError, &error.to_string()),
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
    fn make(&self, request: &Prove) -> Result<Made, FailureCause> {
        let key = self.key(request.proving_key, &request.stop)?;
        if key.circuit().name != request.circuit.as_str() {
            return Err(FailureCause::new(FailureKind::KeyUnavailable, "the key is for another circuit"));
        }
        let proof = self.prove(&key, request).map_err(into_cause)?;
        self.make_tables_in_time(request.proving_key, &key);
        Ok(Made::Checked(proof))
    }

    fn held_keys(&self) -> BTreeSet<CircuitId> {
        self.memory().circuits()
    }
}

impl Workshop for Groth16Prover {
    /// Makes a key as if it were a proof: after those that wait, and not on threads that are theirs.
    fn run(&self, work: &mut (dyn FnMut() + Send)) {
        match self.shares.take(KEY_MAKING, &Stop::new()) {
            Ok(share) => share.run(work),
            // Without threads of its own, on those of the process.
            Err(_) => work(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn a_key_is_made_on_the_threads_that_proofs_share() {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { threads: 3, memory_bytes_max: 1 };
        let prover = Groth16Prover::new(KeyStore::open(folder.path()).unwrap()).with_limits(limits);
        let proof = prover.shares.take(MemoryBound::default(), &Stop::new()).unwrap();
        std::thread::scope(|scope| {
            let (send, done) = mpsc::channel();
            let prover = &prover;
            scope.spawn(move || prover.run(&mut || send.send(rayon::current_num_threads()).unwrap()));
            prover.shares.until_waiting(1);
            assert!(done.try_recv().is_err(), "the threads are a proof's");
            drop(proof);
            let threads = done.recv().unwrap();
            assert!((1..=3).contains(&threads), "{threads} threads");
        });
    }

    #[test]
    fn a_key_that_is_being_loaded_keeps_nobody_from_another_one() {
        let loading = Loading::default();
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let first = loading.enter(one, &Stop::new()).unwrap();
        assert!(loading.enter(other, &Stop::new()).is_some());
        let stopped = Stop::new();
        stopped.stop();
        assert!(loading.enter(one, &stopped).is_none(), "it is being loaded");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| loading.enter(one, &Stop::new()).is_some());
            drop(first);
            assert!(waiting.join().unwrap());
        });
        assert!(lock(&loading.digests).is_empty());
    }
}
