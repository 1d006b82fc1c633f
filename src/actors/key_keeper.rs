//! The key keeper: sees to it that every circuit that is wanted has a key. While this node leads it makes missing keys,
//! one at a time on a thread of its own, stores them, and proposes their registration; the first registration of a
//! circuit wins.

use super::cpu_pool::CpuPool;
use super::events::{Committed, Completeness, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::raft_node::{RaftNodeHandle, leading_term};
use crate::ledger::{Circuit, CircuitId, Command, Digest, Event, Ledger};
use crate::proof::{CircuitSpec, KeyError, KeyManifest, KeyStore, ProvingKey, catalog};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, SpawnHandle};
use rand_core::OsRng;
use std::collections::BTreeSet;
use std::time::Duration;

/// After a key could not be made or registered, the next try waits this long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The actor.
pub struct KeyKeeper {
    raft: RaftNodeHandle,
    store: KeyStore,
    pool: CpuPool,
    preload: Vec<CircuitId>,
    is_leading: bool,
    is_busy: bool,
    is_woken: bool,
    /// Circuits whose key could not be provided in this pass: they do not keep the others waiting.
    set_aside: BTreeSet<CircuitId>,
    /// The next pass, after one that could not provide everything.
    timer: Option<SpawnHandle>,
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
        pool: CpuPool,
        preload: Vec<CircuitId>,
    ) {
        let factory_raft = raft.clone();
        let factory = move || Self {
            raft: factory_raft.clone(),
            store: store.clone(),
            pool: pool.clone(),
            preload: preload.clone(),
            is_leading: false,
            is_busy: false,
            is_woken: false,
            set_aside: BTreeSet::new(),
            timer: None,
        };
        let address = guardian.supervise(factory).await;
        if let Err(error) = raft.subscribe(Subscriber::new(&address)) {
            tracing::error!(%error, "the key keeper will not hear of wanted circuits");
        }
    }

    fn run(&mut self, context: &mut Context<Self>) {
        if !self.is_leading {
            return;
        }
        if self.is_busy {
            self.is_woken = true;
            return;
        }
        self.is_busy = true;
        self.is_woken = false;
        let (raft, store, pool) = (self.raft.clone(), self.store.clone(), self.pool.clone());
        let (preload, set_aside) = (self.preload.clone(), self.set_aside.clone());
        let work = async move { provide_next(&raft, store, &pool, preload, set_aside).await };
        let next = |progress: Progress, keeper: &mut Self, context: &mut Context<Self>| {
            keeper.is_busy = false;
            match progress {
                Progress::Provided => keeper.run(context),
                Progress::NothingWanted if keeper.is_woken => keeper.run(context),
                Progress::NothingWanted if keeper.set_aside.is_empty() => {}
                Progress::NothingWanted | Progress::NotNow => {
                    if keeper.timer.is_none() {
                        keeper.timer = Some(context.notify_later(Wake, RETRY_PAUSE));
                    }
                }
                Progress::Failed(circuit) => {
                    keeper.set_aside.insert(circuit);
                    keeper.run(context);
                }
            }
        };
        context.spawn(actix::fut::wrap_future(work).map(next));
    }
}

enum Progress {
    Provided,
    NothingWanted,
    /// This circuit's key could not be had.
    Failed(CircuitId),
    /// The ledger could not be asked or told.
    NotNow,
}

/// Makes, or finds, and registers the key of one circuit that has none.
async fn provide_next(
    raft: &RaftNodeHandle,
    store: KeyStore,
    pool: &CpuPool,
    preload: Vec<CircuitId>,
    set_aside: BTreeSet<CircuitId>,
) -> Progress {
    let question = move |ledger: &Ledger| {
        let missing = preload.iter().filter(|id| ledger.circuit(id).is_none());
        let wanted = missing.chain(ledger.wanted_circuits()).filter(|id| !set_aside.contains(*id));
        wanted.filter_map(|id| Some((id.clone(), catalog::find(id.as_str())?))).next()
    };
    let Ok(wanted) = raft.local(question).await else { return Progress::NotNow };
    let Some((id, spec)) = wanted else { return Progress::NothingWanted };
    let manifest = match pool.run(move || find_or_make(&store, spec)).await {
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
    match raft.propose(Command::RegisterCircuit(Box::new(circuit))).await.map(|decided| decided.reply) {
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

fn find_or_make(store: &KeyStore, spec: &'static CircuitSpec) -> Result<KeyManifest, KeyError> {
    if let Some(manifest) = store.find(spec)? {
        return Ok(manifest);
    }
    let began = std::time::Instant::now();
    tracing::info!(circuit = spec.name, "makes a key (label dev: made by one machine's randomness)");
    let manifest = store.store(&ProvingKey::generate(spec, &mut OsRng)?)?;
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
        self.is_leading = leading_term(&self.raft.leadership()).is_some();
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

impl Handler<Committed> for KeyKeeper {
    type Result = ();

    fn handle(&mut self, message: Committed, context: &mut Self::Context) {
        let is_gap = message.completeness == Completeness::AfterGap;
        if is_gap {
            self.is_leading = leading_term(&self.raft.leadership()).is_some();
        }
        if is_gap || message.events.iter().any(|event| matches!(event, Event::TaskSubmitted { .. })) {
            self.run(context);
        }
    }
}

impl Handler<Wake> for KeyKeeper {
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.timer = None;
        self.set_aside.clear();
        self.run(context);
    }
}
