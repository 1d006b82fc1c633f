//! What a worker's session asks of the coordinator, whether that is an actor of the same process or a leader somewhere on
//! the network.
//!
//! Everything here may be asked again: its effect is had once. Who implements it tells three answers apart: a rule said no
//! for good, the worker is not known (any more), and "say it again".

use crate::actors::worker_registry::{
    Drain, Heartbeat, Register, Registered, Report, WorkerError, WorkerRegistryHandle,
};
use crate::ledger::Rejection;
use futures_util::future::BoxFuture;

/// The coordinator, as a session sees it.
pub trait Coordinator: Send + Sync + 'static {
    /// Introduces the worker. Orders come through the request's link from now on; when they can come no more, the link
    /// carries `Order::Reregister`.
    fn register(&self, request: Register) -> BoxFuture<'_, Result<Registered, CallError>>;
    /// Gives a sign of life.
    fn heartbeat(&self, heartbeat: Heartbeat) -> BoxFuture<'_, Result<(), CallError>>;
    /// Says what became of a lease.
    fn report(&self, report: Report) -> BoxFuture<'_, Result<(), CallError>>;
    /// Says that the worker takes nothing new.
    fn drain(&self, drain: Drain) -> BoxFuture<'_, Result<(), CallError>>;
}

/// What a worker said was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// *Refused*: saying it again does not help.
    #[error("{0}")]
    Refused(String),
    /// *Refused*: the coordinator does not know this life of the worker. It is to register again.
    #[error("the coordinator does not know this worker")]
    UnknownWorker,
    /// *Unavailable*, and for somebody to look at: another process works under this name.
    #[error("{0}")]
    NameInUse(String),
    /// *Unavailable* or *outcome unknown*: say it again.
    #[error("{0}")]
    Unavailable(String),
}

impl From<WorkerError> for CallError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Refused(Rejection::UnknownWorker(_)) => Self::UnknownWorker,
            WorkerError::Refused(rejection) => Self::Refused(rejection.to_string()),
            WorkerError::NameInUse(_) => Self::NameInUse(error.to_string()),
            WorkerError::TryAgain(_) | WorkerError::NotLeader { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl Coordinator for WorkerRegistryHandle {
    fn register(&self, request: Register) -> BoxFuture<'_, Result<Registered, CallError>> {
        Box::pin(async move { Ok(Self::register(self, request).await?) })
    }

    fn heartbeat(&self, heartbeat: Heartbeat) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move { Ok(Self::heartbeat(self, heartbeat).await?) })
    }

    fn report(&self, report: Report) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move { Ok(Self::report(self, report).await?) })
    }

    fn drain(&self, drain: Drain) -> BoxFuture<'_, Result<(), CallError>> {
        Box::pin(async move { Ok(Self::drain(self, drain).await?) })
    }
}
