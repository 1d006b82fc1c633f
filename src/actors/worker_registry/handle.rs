//! The registry's handle.

use super::WorkerRegistry;
use super::messages::{Dispatch, Drain, GetFleet, Heartbeat, Register, Registered, Report, WorkerError};
use crate::actors::ask::{Address, AskError};
use crate::ledger::{FleetMember, Placement};
use std::time::Duration;
use tokio::sync::watch;

/// A worker's request waits this long: a proposal's quorum and a check included.
const REQUEST_LIMIT: Duration = Duration::from_secs(40);

/// A cloneable handle of the worker registry.
#[derive(Clone)]
pub struct WorkerRegistryHandle {
    pub(super) address: Address<WorkerRegistry>,
    pub(super) fleet_changes: watch::Receiver<u64>,
    pub(super) suspect_count: watch::Receiver<u64>,
}

impl WorkerRegistryHandle {
    /// Introduces a worker.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn register(&self, request: Register) -> Result<Registered, WorkerError> {
        self.address.ask(request, REQUEST_LIMIT).await.unwrap_or_else(|error| Err(try_again(error)))
    }

    /// Takes a sign of life.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn heartbeat(&self, request: Heartbeat) -> Result<(), WorkerError> {
        self.address.ask(request, REQUEST_LIMIT).await.unwrap_or_else(|error| Err(try_again(error)))
    }

    /// Takes news of a lease.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn report(&self, request: Report) -> Result<(), WorkerError> {
        self.address.ask(request, REQUEST_LIMIT).await.unwrap_or_else(|error| Err(try_again(error)))
    }

    /// Stops giving work to a worker.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn drain(&self, request: Drain) -> Result<(), WorkerError> {
        self.address.ask(request, REQUEST_LIMIT).await.unwrap_or_else(|error| Err(try_again(error)))
    }

    /// The workers that are alive.
    ///
    /// # Errors
    /// When the actor does not take the question or does not answer.
    pub async fn fleet(&self) -> Result<Vec<FleetMember>, AskError> {
        self.address.ask(GetFleet, REQUEST_LIMIT).await
    }

    /// Changes whenever a worker has registered and can be given work.
    #[must_use]
    pub fn fleet_changes(&self) -> watch::Receiver<u64> {
        self.fleet_changes.clone()
    }

    /// How many workers have kept silent for more than half their lease; 0 on a node that does not lead, which hears none.
    #[must_use]
    pub fn suspect_count(&self) -> u64 {
        *self.suspect_count.borrow()
    }

    /// Sends a granted lease's task to its worker; one that cannot be sent returns to the queue.
    ///
    /// # Errors
    /// When the actor does not take it. The lease then ends by its time.
    pub fn dispatch(&self, placement: Placement) -> Result<(), AskError> {
        self.address.tell(Dispatch(placement))
    }
}

fn try_again(error: AskError) -> WorkerError {
    WorkerError::TryAgain(error.to_string())
}
