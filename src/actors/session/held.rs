//! The leases that a worker has in hand: those being proved, those that wait for their turn, and those whose proof is
//! finished and not yet acknowledged.
//!
//! It outlives the session's actor, so that a rebuilt one speaks of them in its heartbeats, and the connection, so that a
//! finished proof is there for whichever coordinator leads next.

use super::spool::UnreportedProof;
use crate::ledger::{Attempt, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The name of a lease.
pub(super) type LeaseName = (TaskId, Attempt);

struct Entry {
    /// Notified when the lease is revoked.
    revoked: Arc<Notify>,
    /// The proof, once it is made.
    finished: Option<(Vec<u8>, Duration)>,
}

/// See the file's head.
#[derive(Clone)]
pub(super) struct Held {
    leases: Arc<Mutex<BTreeMap<LeaseName, Entry>>>,
    count: Arc<watch::Sender<usize>>,
}

impl Held {
    pub(super) fn new() -> Self {
        Self { leases: Arc::default(), count: Arc::new(watch::Sender::new(0)) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LeaseName, Entry>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn leases(&self) -> BTreeSet<LeaseName> {
        self.lock().keys().copied().collect()
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Takes a lease in hand, unless it is already; what it gives is notified when the lease is revoked.
    pub(super) fn add(&self, lease: LeaseName) -> Option<Arc<Notify>> {
        let mut leases = self.lock();
        if leases.contains_key(&lease) {
            return None;
        }
        let revoked = Arc::new(Notify::new());
        leases.insert(lease, Entry { revoked: Arc::clone(&revoked), finished: None });
        self.count.send_replace(leases.len());
        Some(revoked)
    }

    /// The lease's proof is made.
    pub(super) fn finish(&self, lease: LeaseName, proof: &[u8], proving: Duration) {
        if let Some(entry) = self.lock().get_mut(&lease) {
            entry.finished = Some((proof.to_vec(), proving));
        }
    }

    pub(super) fn remove(&self, lease: LeaseName) {
        let mut leases = self.lock();
        leases.remove(&lease);
        self.count.send_replace(leases.len());
    }

    pub(super) fn revoke(&self, lease: LeaseName) {
        if let Some(entry) = self.lock().get(&lease) {
            entry.revoked.notify_one();
        }
    }

    /// The leases without a proof.
    pub(super) fn unfinished(&self) -> Vec<LeaseName> {
        self.lock().iter().filter(|(_, entry)| entry.finished.is_none()).map(|(lease, _)| *lease).collect()
    }

    /// The proofs that nobody has acknowledged.
    pub(super) fn unreported(&self) -> Vec<UnreportedProof> {
        let leases = self.lock();
        let finished = leases.iter().filter_map(|((task, attempt), entry)| {
            let (proof, proving) = entry.finished.clone()?;
            Some(UnreportedProof { task: *task, attempt: *attempt, proof, proving })
        });
        finished.collect()
    }

    /// Comes back when nothing is in hand.
    pub(super) async fn emptied(&self) {
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}
