//! Writes: put to the leader, repeated until their outcome is known, and counted once.
//!
//! Every write that comes here may be repeated: a submission carries an idempotency key, by which the ledger answers a
//! repetition with the first answer, and to withdraw a task twice is to withdraw it. So whatever breaks, the same request
//! is put to whoever leads then, until an answer is the last word or the patience is at its end. If nobody can say by then
//! whether it was done, the client is told just that.

use super::coordinators::Coordinators;
use super::forward::Patience;
use super::members::Coordinator;
use super::upstream::{ExchangeError, Outgoing, Reply};
use super::verdict::{Verdict, verdict};
use crate::http::{Problem, ProblemCode};
use crate::telemetry::table;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// An answer that is later than this makes the gateway ask whether somebody else leads by now.
const LATE: Duration = Duration::from_secs(1);

/// What came of one attempt.
enum Attempt {
    /// The last word.
    Answered(Reply),
    /// Nothing was stored.
    NotDone,
    /// Nothing was stored for want of room; the answer says so.
    Refused(Reply),
    /// Something may have been stored; the answer, if there is one, says so.
    MayBeDone(Option<Reply>),
}

/// Fulfils a write that may be repeated.
pub(super) async fn write(
    coordinators: &Arc<Coordinators>,
    outgoing: Outgoing,
    mut patience: Patience,
    limit: Duration,
) -> Result<Reply, Problem> {
    let deadline = Instant::now() + limit;
    let mut may_be_done = None;
    loop {
        if let Some(leader) = coordinators.leader().await {
            match attempt(coordinators, &leader, &outgoing, deadline).await {
                Attempt::Answered(reply) => return Ok(reply),
                // An earlier attempt may still be on its way: then "nothing was stored" is not known to be true.
                Attempt::Refused(reply) if may_be_done.is_none() => return Ok(reply),
                Attempt::Refused(_) => {}
                Attempt::NotDone => coordinators.not_the_leader(&leader),
                Attempt::MayBeDone(reply) => {
                    coordinators.not_the_leader(&leader);
                    may_be_done = Some(reply);
                }
            }
        }
        if Instant::now() >= deadline || !patience.another().await {
            return given_up(may_be_done);
        }
        table::GATEWAY_REPETITIONS.counter(&["write"]).increment(1);
    }
}

fn given_up(may_be_done: Option<Option<Reply>>) -> Result<Reply, Problem> {
    match may_be_done {
        None => Err(Problem::new(
            ProblemCode::NoLeader,
            "the cluster has no leader that can be reached; nothing was stored",
        )),
        Some(Some(reply)) => Ok(reply),
        Some(None) => Err(Problem::new(
            ProblemCode::OutcomeUnknown,
            "the cluster was lost while it worked on the request, which may have been fulfilled",
        )),
    }
}

async fn attempt(
    coordinators: &Arc<Coordinators>,
    leader: &Arc<Coordinator>,
    outgoing: &Outgoing,
    deadline: Instant,
) -> Attempt {
    let limit = deadline.saturating_duration_since(Instant::now());
    let result = tokio::select! {
        result = coordinators.exchange(leader, outgoing, limit) => result,
        () = deposed(coordinators, leader) => Err(ExchangeError::Unknown("another leads by now".to_owned())),
    };
    match result {
        Ok(reply) => match verdict(&reply) {
            Verdict::Final | Verdict::Defect => Attempt::Answered(reply),
            Verdict::Elsewhere => Attempt::NotDone,
            Verdict::Busy => Attempt::Refused(reply),
            Verdict::Unknown => Attempt::MayBeDone(Some(reply)),
        },
        Err(ExchangeError::NotSent(_)) => Attempt::NotDone,
        Err(ExchangeError::Unknown(_) | ExchangeError::Malformed(_)) => Attempt::MayBeDone(None),
    }
}

/// Comes back when an answer is late and another coordinator leads: one that hangs never says that it does not.
async fn deposed(coordinators: &Arc<Coordinators>, leader: &Arc<Coordinator>) {
    loop {
        tokio::time::sleep(LATE).await;
        let view = coordinators.refreshed(Instant::now() - LATE / 2).await;
        if view.leader.is_some_and(|other| !Arc::ptr_eq(&other, leader)) {
            return;
        }
    }
}
