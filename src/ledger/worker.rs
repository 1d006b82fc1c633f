//! A worker as the ledger knows it. Whether it is alive is the leader's to observe; only transitions are replicated.

use super::ids::{CircuitId, Incarnation, UnixMillis, WorkerId};
use serde::{Deserialize, Serialize};

/// Leases that a worker may hold at most.
pub const WORKER_CAPACITY_MAX: u32 = 1024;

/// What a worker may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkerState {
    /// It takes work.
    Active,
    /// It finishes what it holds and takes nothing new.
    Draining,
    /// It is gone; its leases have been returned to the queue.
    Lost,
}

/// A registered worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its configured name.
    pub id: WorkerId,
    /// Which life of it this is.
    pub incarnation: Incarnation,
    /// A random number that the process drew: it tells a repeated registration from another process of the same name.
    pub session: u64,
    /// How many tasks it proves at once.
    pub capacity: u32,
    /// The circuits that it can prove.
    pub circuits: Vec<CircuitId>,
    /// The version of its software.
    pub version: Box<str>,
    /// What it may be given.
    pub state: WorkerState,
    /// When it registered.
    pub registered_at: UnixMillis,
    /// When it was lost, if it is.
    pub lost_at: Option<UnixMillis>,
}
