//! One lease in a worker's hands, from the order to the acknowledgement.

use super::coordinator::{CallError, Coordinator};
use super::held::{Held, LeaseName};
use super::spool::UnreportedProof;
use super::{RETRY_PAUSE_MAX, RETRY_PAUSE_MIN};
use crate::actors::prover_pool::{NoProof, Prove, ProverPoolHandle};
use crate::actors::worker_registry::{Assignment, News, Report};
use crate::ledger::WorkerId;
use crate::planted::{Defect, is_planted};
use crate::proof::Stop;
use crate::telemetry::trace::{self, Span, SpanKind, TraceContext};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{Notify, OwnedSemaphorePermit};

pub(super) struct Errand {
    pub(super) worker: WorkerId,
    pub(super) lease: LeaseName,
    pub(super) coordinator: Arc<dyn Coordinator>,
    pub(super) held: Held,
}

impl Errand {
    /// Lets go of a lease that nobody wants to hear of any more.
    pub(super) fn drop_unreported(self) {
        self.held.remove(self.lease);
    }

    pub(super) async fn give_back(self) {
        self.report(News::GivenBack, None).await;
        self.held.remove(self.lease);
    }

    /// Reports a proof that was made in an earlier life.
    pub(super) async fn deliver(self, proof: UnreportedProof) {
        self.report(News::Proven { proof: proof.proof, proving: proof.proving, checked: None }, None).await;
        self.held.remove(self.lease);
    }

    pub(super) async fn run(
        self,
        pool: ProverPoolHandle,
        assignment: Assignment,
        slot: OwnedSemaphorePermit,
        revoked: Arc<Notify>,
    ) {
        let (task, attempt) = self.lease;
        let parent = assignment.trace.unwrap_or_else(|| trace::of_task(task.0.as_u128()));
        let mut span = Span::begin("prove", SpanKind::Consumer, &parent);
        span.tell_text("zkpnet.task_id", task);
        span.tell_text("zkpnet.circuit", &assignment.circuit);
        span.tell("zkpnet.attempt", || trace::Attribute::Count(u64::from(attempt.0)));
        let trace = Some(span.context());
        let started = Report { worker: self.worker.clone(), task, attempt, news: News::Started, trace };
        let coordinator = Arc::clone(&self.coordinator);
        // Proving does not wait for the quorum that notes its beginning.
        let notes_start = actix_rt::spawn(async move {
            let _ = coordinator.report(started).await;
        });
        let Assignment { circuit, proving_key, input, .. } = assignment;
        let stop = Stop::new();
        let mut proving = pin!(pool.prove(Prove { circuit, proving_key, input, stop: stop.clone() }));
        let proven = tokio::select! {
            biased;
            proven = &mut proving => proven,
            () = revoked.notified() => {
                stop.stop();
                proving.await
            }
        };
        drop(slot);
        // A proof that was finished all the same is offered: the ledger takes it if the task is open.
        let news = match proven {
            Ok(proven) => {
                let proof = proven.proof.bytes().to_vec();
                self.held.finish(self.lease, &proof, proven.took);
                let (ms, trace_id) = (proven.took.as_secs_f64() * 1e3, span.context().trace());
                tracing::info!(%task, attempt = attempt.0, %trace_id, ms, "made a proof");
                let checked = proven.proof.checked().map(Arc::new);
                News::Proven { proof, proving: proven.took, checked }
            }
            Err(NoProof::Failed(cause)) => {
                span.fail();
                News::Failed(cause)
            }
            Err(NoProof::Stopped) => {
                span.fail();
                tracing::info!(%task, attempt = attempt.0, "stopped proving: the task is over");
                let _ = notes_start.await;
                return self.drop_unreported();
            }
            Err(NoProof::NotTried(reason)) => {
                span.fail();
                tracing::error!(%task, reason, "the worker cannot prove this now and gives it back");
                News::GivenBack
            }
        };
        // Proving is over; what follows is telling of it.
        drop(span);
        let _ = notes_start.await;
        self.report(news, trace).await;
        self.held.remove(self.lease);
    }

    /// Says it until it is acknowledged or refused.
    async fn report(&self, news: News, trace: Option<TraceContext>) {
        let (task, attempt) = self.lease;
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let report = Report { worker: self.worker.clone(), task, attempt, news: news.clone(), trace };
            match self.coordinator.report(report).await {
                Ok(()) => return,
                Err(refused @ (CallError::Refused(_) | CallError::UnknownWorker)) => {
                    tracing::debug!(%task, attempt = attempt.0, %refused, "a report was refused");
                    return;
                }
                Err(_) if is_planted(Defect::LostResult) => return,
                Err(error) => tracing::debug!(%task, attempt = attempt.0, %error, "reports again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }
}
