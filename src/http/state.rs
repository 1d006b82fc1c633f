//! What the handlers share: the front desk, the readiness switch, the metrics, and the limits of a request.

use crate::actors::cluster_desk::ClusterDeskHandle;
use crate::actors::tasks::TasksHandle;
use crate::backup::BackupDesk;
use crate::telemetry::Source;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Everything that the handlers use. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The front desk.
    pub tasks: TasksHandle,
    /// The members.
    pub cluster: ClusterDeskHandle,
    /// Who may change the cluster.
    pub admin: AdminGate,
    /// Whether the node wants requests.
    pub readiness: Readiness,
    /// The process's recorder.
    pub metrics: PrometheusHandle,
    /// Who takes backups.
    pub backups: Option<BackupDesk>,
    /// What else knows figures for `/metrics`.
    pub sources: Arc<[Box<dyn Source>]>,
}

impl AppState {
    /// What the handlers are to use.
    #[must_use]
    pub fn new(
        tasks: TasksHandle,
        cluster: ClusterDeskHandle,
        admin: AdminGate,
        readiness: Readiness,
        metrics: PrometheusHandle,
    ) -> Self {
        Self { tasks, cluster, admin, readiness, metrics, backups: None, sources: Arc::default() }
    }

    /// The same, on a node that backups can be taken of.
    #[must_use]
    pub fn with_backups(mut self, desk: BackupDesk) -> Self {
        self.backups = Some(desk);
        self
    }

    /// The same, whose `/metrics` shows also what these know.
    #[must_use]
    pub fn with_sources(self, sources: Vec<Box<dyn Source>>) -> Self {
        Self { sources: sources.into(), ..self }
    }
}

/// Judges a token; the composition root knows the right one.
type TokenJudge = dyn Fn(&str) -> bool + Send + Sync;

/// Who may change the cluster. Clones are the same.
#[derive(Clone)]
pub struct AdminGate(Option<Arc<TokenJudge>>);

impl AdminGate {
    /// Whoever reaches the port.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Who brings a token that `judge` finds right.
    #[must_use]
    pub fn for_holders_of(judge: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(judge)))
    }

    pub(super) fn allows(&self, token: Option<&str>) -> bool {
        self.0.as_ref().is_none_or(|judge| token.is_some_and(|token| judge(token)))
    }
}

/// Where the node is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It is not ready yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It is about to end: it finishes what it has and takes nothing new.
    Draining,
}

/// A switch that the node turns and `/readyz` shows. It remembers what `/readyz` last said, so that the log is told of changes
/// only: whoever sends requests asks every second. Clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    phase: Arc<watch::Sender<Phase>>,
    was_ready: Arc<AtomicBool>,
}

impl Readiness {
    /// A switch of a node that is not ready yet.
    #[must_use]
    pub fn starting() -> Self {
        let phase = Arc::new(watch::Sender::new(Phase::Starting));
        // What is told first is that it is not ready, if it is not.
        Self { phase, was_ready: Arc::new(AtomicBool::new(true)) }
    }

    /// Tells the log what `/readyz` is about to answer, if that is another thing than the time before: `failures` are what is
    /// in the way, none when it is ready.
    pub(crate) fn tell(&self, failures: &[String]) {
        match (self.was_ready.swap(failures.is_empty(), Ordering::AcqRel), failures.is_empty()) {
            (true, false) => tracing::warn!(reason = failures.join("; "), "not ready for requests"),
            (false, true) => tracing::info!("ready for requests again"),
            (true, true) | (false, false) => {}
        }
    }

    /// The node takes requests, unless it drains already.
    pub fn set_ready(&self) {
        self.phase.send_if_modified(|phase| {
            let turns = *phase == Phase::Starting;
            if turns {
                *phase = Phase::Ready;
            }
            turns
        });
    }

    /// The node is about to end; it never becomes ready again.
    pub fn set_draining(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Where it stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Comes back when the node begins to drain.
    pub(super) async fn until_draining(&self) {
        // The sender lives as long as `self`, so that waiting cannot fail.
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Draining).await;
    }
}

/// The limits of a request.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(super) body_bytes_max: usize,
    pub(super) wait_max: Duration,
    pub(super) request_timeout: Duration,
    /// Given to the front desk beyond a request's time, since it ends its own questions in time and says more.
    pub(super) answer_grace: Duration,
    /// Room for the bodies of all requests at once beyond [`BODY_FREE_BYTES`] each, in units of [`BODY_UNIT_BYTES`].
    pub(super) body_room: Arc<Semaphore>,
}

/// See [`Limits::answer_grace`].
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// Bodies are counted in units of this many bytes, since a semaphore's permits are few.
pub(super) const BODY_UNIT_BYTES: usize = 1024;
/// Of each body so many bytes are free: a few slow clients with large bodies must not keep the usual small ones out. Bounded
/// by the number of connections.
pub(super) const BODY_FREE_BYTES: usize = 16 * 1024;
/// Room for bodies at once: a dozen of the default limit. A parsed body takes a small multiple of it.
const BODIES_BYTES_MAX: usize = 128 << 20;

impl Limits {
    pub(crate) fn new(body_bytes_max: usize, wait_max: Duration, request_timeout: Duration) -> Self {
        let room = BODIES_BYTES_MAX.max(body_bytes_max).div_ceil(BODY_UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        let body_room = Arc::new(Semaphore::new(room));
        Self { body_bytes_max, wait_max, request_timeout, answer_grace: ANSWER_GRACE, body_room }
    }

    /// The same, where an answer may take `more` beyond a request's time.
    pub(crate) fn with_patience(mut self, more: Duration) -> Self {
        self.answer_grace = self.answer_grace.saturating_add(more);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draining_node_never_becomes_ready_again() {
        let readiness = Readiness::starting();
        assert_eq!(readiness.phase(), Phase::Starting);
        readiness.set_ready();
        assert_eq!(readiness.phase(), Phase::Ready);
        readiness.clone().set_draining();
        readiness.set_ready();
        assert_eq!(readiness.phase(), Phase::Draining);
    }
}
