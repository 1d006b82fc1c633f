//! The key keeper: sees to it that every circuit that is wanted has a key, and that this node holds the file of every key
//! that is registered. While this node leads it makes missing keys, one at a time on a thread of its own, stores them, has
//! a majority of the coordinators hold them, and proposes their registration; the first registration of a circuit wins. Where proofs
//! are made in the same process, a key is made within their limits ([`Workshop`]).

use super::cpu_pool::{CpuPool, JobError};
use super::events::{Committed, Completeness, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::key_spread::{KeySpread, SpreadError};
use super::raft_node::{RaftNodeHandle, leading_term};
use crate::ledger::{Circuit, CircuitId, Command, Digest, Event, Ledger};
use crate::proof::groth16::{KeygenProgress, KeygenStatus};
use crate::proof::{CircuitSpec, KeyError, KeyManifest, KeyStore, ProvingKey, catalog};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use rand_core::OsRng;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// After a key could not be made or registered, the next try waits this long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often the log says how far the making of a key is.
const PROGRESS_PAUSE: Duration = Duration::from_secs(2);
/// After a registered key was nowhere to be had.
const MISSING_PAUSE: Duration = Duration::from_secs(5);

/// Who lends threads and memory to the making of a key, where they are not all its own.
pub trait Workshop: Send + Sync + 'static {
    /// Does the work once, on the threads of a rayon pool that is made for it, and waits for it. Blocks.
    fn run(&self, work: &mut (dyn FnMut() + Send));
}

/// Where keys are made.
#[derive(Clone)]
pub struct KeyMaker {
    /// Where it is waited for: one thread is enough.
    pool: CpuPool,
    workshop: Option<Arc<dyn Workshop>>,
}

impl From<CpuPool> for KeyMaker {
    /// Keys are made on all threads of the process's own rayon pool.
    fn from(pool: CpuPool) -> Self {
        Self { pool, workshop: None }
    }
}

impl KeyMaker {
    /// Has keys made there.
    #[must_use]
    pub fn within(self, workshop: Arc<dyn Workshop>) -> Self {
        Self { workshop: Some(workshop), ..self }
    }
}

/// The actor.
pub struct KeyKeeper {
    parts: Parts,
    is_leading: bool,
    is_busy: bool,
    is_woken: bool,
    /// Circuits whose key could not be provided in this pass: they do not keep the others waiting.
    set_aside: BTreeSet<CircuitId>,
    /// Registered keys that were seen in this node's folder.
    here: BTreeSet<Digest>,
    /// Registered keys that could not be had, so that it is told once and not at every try.
    missing: BTreeSet<Digest>,
    /// Those of them that were tried in this pass: they do not keep the others waiting.
    passed_over: BTreeSet<Digest>,
    /// The next pass, after one that could not provide everything.
    timer: Option<SpawnHandle>,
}

/// What the keeper works with.
#[derive(Clone)]
struct Parts {
    raft: RaftNodeHandle,
    store: KeyStore,
    maker: KeyMaker,
    spread: KeySpread,
    preload: Vec<CircuitId>,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Wake;

impl KeyKeeper {
    /// Starts the actor. The circuits of `preload` get their keys without being asked for.
    pub async fn launch(
        guardian: &GuardianHandle,
        raft: RaftNodeHandle,
        store: KeyStore,
        maker: impl Into<KeyMaker>,
        spread: KeySpread,
        preload: Vec<CircuitId>,
    ) {
        let parts = Parts { raft: raft.clone(), store, maker: maker.into(), spread, preload };
        let factory = move || Self {
            parts: parts.clone(),
            is_leading: false,
            is_busy: false,
            is_woken: false,
            set_aside: BTreeSet::new(),
            here: BTreeSet::new(),
            missing: BTreeSet::new(),
            passed_over: BTreeSet::new(),
            timer: None,
        };
        let address = guardian.supervise(factory).await;
        if let Err(error) = raft.subscribe(Subscriber::new(&address, concerns_keys)) {
            tracing::error!(%error, "the key keeper will not hear of wanted circuits");
        }
    }

    fn run(&mut self, context: &mut Context<Self>) {
        if self.is_busy {
            self.is_woken = true;
            return;
        }
        self.is_busy = true;
        self.is_woken = false;
        let parts = self.parts.clone();
        let (is_leading, set_aside) = (self.is_leading, self.set_aside.clone());
        let seen = self.here.union(&self.passed_over).copied().collect();
        let work = async move {
            let provided =
                if is_leading { parts.provide_next(set_aside).await } else { Progress::NothingWanted };
            match provided {
                Progress::NothingWanted => parts.fetch_next(seen).await,
                other => other,
            }
        };
        let next = |progress: Progress, keeper: &mut Self, context: &mut Context<Self>| {
            keeper.is_busy = false;
            match progress {
                Progress::Provided => keeper.run(context),
                Progress::Here(digest) => {
                    keeper.here.insert(digest);
                    keeper.missing.remove(&digest);
                    keeper.run(context);
                }
                Progress::Missing(digest, error) => {
                    if keeper.missing.insert(digest) {
                        tracing::warn!(%error, "a registered key is not in this node's folder; tries again");
                    }
                    keeper.passed_over.insert(digest);
                    keeper.wake_later(MISSING_PAUSE, context);
                    keeper.run(context);
                }
                Progress::NothingWanted if keeper.is_woken => keeper.run(context),
                Progress::NothingWanted if keeper.set_aside.is_empty() => {}
                Progress::NothingWanted | Progress::NotNow => keeper.wake_later(RETRY_PAUSE, context),
                Progress::Failed(circuit) => {
                    keeper.set_aside.insert(circuit);
                    keeper.run(context);
                }
            }
        };
        context.spawn(actix::fut::wrap_future(work).map(next));
    }

    fn wake_later(&mut self, pause: Duration, context: &mut Context<Self>) {
        if self.timer.is_none() {
            self.timer = Some(context.notify_later(Wake, pause));
        }
    }
}

enum Progress {
    Provided,
    /// This registered key is in this node's folder.
    Here(Digest),
    /// This registered key is nowhere to be had, now.
    Missing(Digest, SpreadError),
    NothingWanted,
    /// This circuit's key could not be had.
    Failed(CircuitId),
    /// The ledger could not be asked or told, or other coordinators are out of reach.
    NotNow,
}

impl Parts {
    /// Makes, or finds, and registers the key of one circuit that has none.
    async fn provide_next(&self, set_aside: BTreeSet<CircuitId>) -> Progress {
        let preload = self.preload.clone();
        let question = move |ledger: &Ledger| {
            let missing = preload.iter().filter(|id| ledger.circuit(id).is_none());
            let wanted = missing.chain(ledger.wanted_circuits()).filter(|id| !set_aside.contains(*id));
            wanted.filter_map(|id| Some((id.clone(), catalog::find(id.as_str())?))).next()
        };
        let Ok(wanted) = self.raft.local(question).await else { return Progress::NotNow };
        let Some((id, spec)) = wanted else { return Progress::NothingWanted };
        let manifest = match self.find_or_make(spec).await {
            Ok(Ok(manifest)) => manifest,
            Ok(Err(error)) => {
                tracing::error!(circuit = spec.name, %error, "no key could be provided");
                return Progress::Failed(id);
            }
            Err(error) => {
                tracing::error!(circuit = spec.name, %error, "no key could be provided");
                return Progress::Failed(id);
            }
        };
        let Some(circuit) = registration(spec, &manifest) else {
            tracing::error!(circuit = spec.name, "the key's manifest cannot be registered");
            return Progress::Failed(id);
        };
        // Before it can be named in the ledger, so that the loss of this node's disk does not lose the circuit's key.
        if let Err(error) = self.spread.spread(&id, circuit.proving_key).await {
            tracing::warn!(circuit = spec.name, %error, "the key is not registered yet");
            return Progress::NotNow;
        }
        let command = Command::RegisterCircuit(Box::new(circuit));
        match self.raft.propose(command).await.map(|decided| decided.reply) {
            Ok(Ok(_)) => {
                tracing::info!(circuit = spec.name, key = %manifest.proving_key, "circuit registered");
                Progress::Provided
            }
            // Another key was first: it is the circuit's, and this one is of no use.
            Ok(Err(rejection)) => {
                tracing::warn!(circuit = spec.name, %rejection, "the circuit is registered with another key");
                Progress::Provided
            }
            Err(error) => {
                tracing::debug!(circuit = spec.name, %error, "the key could not be registered");
                Progress::NotNow
            }
        }
    }

    /// Finds the circuit's key or makes one, and says in the log how far that is.
    async fn find_or_make(
        &self,
        spec: &'static CircuitSpec,
    ) -> Result<Result<KeyManifest, KeyError>, JobError> {
        let progress = Arc::new(KeygenProgress::default());
        let (store, shown) = (self.store.clone(), Arc::clone(&progress));
        let KeyMaker { pool, workshop } = self.maker.clone();
        let make = move || find_or_make(&store, workshop.as_deref(), spec, &progress);
        let mut making = std::pin::pin!(pool.run(make));
        loop {
            match tokio::time::timeout(PROGRESS_PAUSE, making.as_mut()).await {
                Ok(made) => return made,
                Err(_) => {
                    let KeygenStatus { phase, done, total } = shown.status();
                    tracing::info!(circuit = spec.name, %phase, done, total, "is making a key");
                }
            }
        }
    }

    /// Sees to it that one more of the registered keys is in this node's folder, beside those that were `seen` to.
    async fn fetch_next(&self, seen: BTreeSet<Digest>) -> Progress {
        let question = move |ledger: &Ledger| {
            ledger.circuits().map(|circuit| circuit.proving_key).find(|digest| !seen.contains(digest))
        };
        let Ok(missing) = self.raft.local(question).await else { return Progress::NotNow };
        let Some(digest) = missing else { return Progress::NothingWanted };
        if self.spread.is_here(digest).await {
            return Progress::Here(digest);
        }
        match self.spread.fetch(digest).await {
            Ok(()) => Progress::Here(digest),
            Err(error) => Progress::Missing(digest, error),
        }
    }
}

fn find_or_make(
    store: &KeyStore,
    workshop: Option<&dyn Workshop>,
    spec: &'static CircuitSpec,
    progress: &KeygenProgress,
) -> Result<KeyManifest, KeyError> {
    if let Some(manifest) = store.find(spec)? {
        return Ok(manifest);
    }
    let began = std::time::Instant::now();
    tracing::info!(circuit = spec.name, "makes a key (label dev: made by one machine's randomness)");
    let mut made = None;
    let mut make = || made = Some(ProvingKey::generate_with(spec, &mut OsRng, progress));
    match workshop {
        Some(workshop) => workshop.run(&mut make),
        None => make(),
    }
    // A workshop that did not do it is no reason to have no key.
    let made = made.unwrap_or_else(|| ProvingKey::generate_with(spec, &mut OsRng, progress));
    let manifest = store.store(&made?)?;
    tracing::info!(circuit = spec.name, took_ms = super::clock::millis(began.elapsed()), "made a key");
    Ok(manifest)
}

fn registration(spec: &CircuitSpec, manifest: &KeyManifest) -> Option<Circuit> {
    Some(Circuit {
        id: CircuitId::new(spec.name).ok()?,
        constraint_digest: Digest(*manifest.constraint_digest.as_bytes()),
        proving_key: Digest(*manifest.proving_key.as_bytes()),
        verifying_key: Digest(*manifest.verifying_key.as_bytes()),
        verifying_key_bytes: manifest.read_verifying_key().ok()?.as_bytes().to_vec(),
        public_inputs: u32::try_from(spec.public_inputs.len()).ok()?,
        key_origin: manifest.origin.as_str().into(),
    })
}

impl Supervised for KeyKeeper {
    const NAME: &'static str = "key keeper";
    const MAILBOX_CAPACITY: usize = 256;
}

impl Actor for KeyKeeper {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.is_leading = leading_term(&self.parts.raft.leadership()).is_some();
        self.run(context);
    }
}

impl Handler<LeadershipChanged> for KeyKeeper {
    type Result = ();

    fn handle(&mut self, message: LeadershipChanged, context: &mut Self::Context) {
        self.is_leading = leading_term(&message).is_some();
        self.run(context);
    }
}

/// Whether a key may be wanted, or fetched.
const fn concerns_keys(event: &Event) -> bool {
    matches!(event, Event::TaskSubmitted { .. } | Event::CircuitRegistered(_))
}

impl Handler<Committed> for KeyKeeper {
    type Result = ();

    fn handle(&mut self, message: Committed, context: &mut Self::Context) {
        let is_gap = message.completeness == Completeness::AfterGap;
        if is_gap {
            self.is_leading = leading_term(&self.parts.raft.leadership()).is_some();
        }
        // A task may want a circuit that has no key; only a leader makes keys.
        let is_leading = self.is_leading;
        let is_ours = |event: &Event| match event {
            Event::TaskSubmitted { .. } => is_leading,
            Event::CircuitRegistered(_) => true,
            _ => false,
        };
        if is_gap || message.events.iter().any(is_ours) {
            self.run(context);
        }
    }
}

impl Handler<Wake> for KeyKeeper {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.timer = None;
        self.set_aside.clear();
        self.passed_over.clear();
        self.run(context);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Counting {
        asked: AtomicU32,
        does_it: bool,
    }

    impl Workshop for Counting {
        fn run(&self, work: &mut (dyn FnMut() + Send)) {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if self.does_it {
                work();
            }
        }
    }

    #[test]
    fn a_key_is_made_in_the_workshop_once_and_elsewhere_if_that_does_nothing() {
        let spec = catalog::find("merkle-poseidon-4").unwrap();
        for does_it in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let store = KeyStore::open(folder.path()).unwrap();
            let workshop = Counting { asked: AtomicU32::new(0), does_it };
            let provide = || find_or_make(&store, Some(&workshop), spec, &KeygenProgress::default());
            let made = provide().unwrap();
            assert_eq!(provide().unwrap(), made, "it is there");
            assert_eq!(workshop.asked.load(Ordering::Relaxed), 1);
        }
    }
}
