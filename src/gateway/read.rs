//! Reads: put to the coordinators in turn, and to another one when one fails.
//!
//! Any coordinator answers a linearizable read, so that a read has no home. A read that waits for a task's end is put in
//! slices, each with what is left of its time: a coordinator that dies, hangs or ends costs a slice and not the wait.

use super::coordinators::Coordinators;
use super::forward::Patience;
use super::members::Coordinator;
use super::upstream::{Outgoing, Reply};
use super::verdict::{Verdict, verdict};
use crate::http::{Problem, ProblemCode, requested_wait};
use crate::telemetry::table;
use hyper::StatusCode;
use hyper::http::uri::PathAndQuery;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// One coordinator's time for a read, beyond the time that it is asked to wait. A linearizable read takes two messages
/// between coordinators.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(3);
/// The longest wait that one coordinator is asked for at a time.
const SLICE_MAX: Duration = Duration::from_secs(10);

/// Who answers within this time has not waited.
const WAITED_MIN: Duration = Duration::from_millis(500);

/// What a round over all coordinators came to.
enum Round {
    Answered(Answered),
    /// Nobody could; what one of them said of it, if it is worth telling.
    Failed(Option<Reply>),
}

struct Answered {
    reply: Reply,
    by: Arc<Coordinator>,
    /// Whether the coordinator waited, if not for as long as it was asked to.
    has_waited: bool,
}

/// What is asked in a round.
struct Question<'a> {
    outgoing: &'a Outgoing,
    /// Until when to wait for the task's end.
    waits_until: Option<Instant>,
    /// When there must be an answer.
    deadline: Instant,
}

/// Fulfils a read.
pub(super) async fn read(
    coordinators: &Arc<Coordinators>,
    outgoing: &Outgoing,
    mut patience: Patience,
    limit: Duration,
) -> Result<Reply, Problem> {
    let question = Question { outgoing, waits_until: None, deadline: Instant::now() + limit };
    loop {
        match round(coordinators, &question).await? {
            Round::Answered(Answered { reply, .. }) | Round::Failed(Some(reply)) => return Ok(reply),
            Round::Failed(None) => {}
        }
        if Instant::now() >= question.deadline || !patience.another().await {
            return Err(nobody());
        }
        table::GATEWAY_REPETITIONS.counter(&["read"]).increment(1);
    }
}

/// Fulfils a read that waits for a task's end for at most `wait`.
pub(super) async fn read_waiting(
    coordinators: &Arc<Coordinators>,
    outgoing: &Outgoing,
    patience: &Patience,
    wait: Duration,
    limit: Duration,
) -> Result<Reply, Problem> {
    let ends = Instant::now() + wait;
    let question = Question { outgoing, waits_until: Some(ends), deadline: ends + limit };
    let (mut trouble, mut latest) = (patience.clone(), None);
    loop {
        match round(coordinators, &question).await? {
            Round::Failed(Some(reply)) => return Ok(reply),
            Round::Failed(None) => {}
            Round::Answered(Answered { reply, by, has_waited }) => {
                if !is_open_task(&reply) || Instant::now() >= ends {
                    return Ok(reply);
                }
                if has_waited {
                    // A slice is over, or a coordinator ends or grants shorter waits; the wait is not over.
                    trouble = patience.clone();
                    continue;
                }
                // One that is ending waits for nothing.
                by.does_badly();
                latest = Some(reply);
            }
        }
        if Instant::now() >= question.deadline || !trouble.another().await {
            return latest.ok_or_else(nobody);
        }
        table::GATEWAY_REPETITIONS.counter(&["wait"]).increment(1);
    }
}

fn nobody() -> Problem {
    Problem::new(
        ProblemCode::NoLeader,
        "no coordinator could answer: the cluster has no leader that can be reached",
    )
}

async fn round(coordinators: &Arc<Coordinators>, question: &Question<'_>) -> Result<Round, Problem> {
    let mut worth_telling = None;
    for by in coordinators.in_turn() {
        let began = Instant::now();
        let rest = question.deadline.saturating_duration_since(began);
        if rest.is_zero() {
            break;
        }
        let slice = question.waits_until.map(|ends| ends.saturating_duration_since(began).min(SLICE_MAX));
        let mut outgoing = question.outgoing.clone();
        if let Some(slice) = slice {
            outgoing.target = with_wait(&outgoing.target, slice)?;
        }
        let slice = slice.unwrap_or_default();
        let Ok(reply) = coordinators.exchange(&by, &outgoing, rest.min(slice + ATTEMPT_LIMIT)).await else {
            continue;
        };
        match verdict(&reply) {
            Verdict::Final => {
                let has_waited = began.elapsed() >= slice.min(WAITED_MIN);
                return Ok(Round::Answered(Answered { reply, by, has_waited }));
            }
            // One that is busy does not do badly, and yet another one may have time.
            Verdict::Busy | Verdict::Defect => worth_telling = Some(reply),
            Verdict::Elsewhere | Verdict::Unknown => by.does_badly(),
        }
    }
    Ok(Round::Failed(worth_telling))
}

/// The wait that a request asks for and that is to be served in slices.
pub(super) fn waits(target: &PathAndQuery) -> Option<Duration> {
    let wait = requested_wait(target.query()?).filter(|wait| !wait.is_zero())?;
    // A request that says it twice is refused, and that is for the coordinator to say.
    let times = target.query()?.split('&').filter(|pair| pair.starts_with("wait=")).count();
    (times == 1).then_some(wait)
}

/// The same target with another wait; without one when it is over.
fn with_wait(target: &PathAndQuery, wait: Duration) -> Result<PathAndQuery, Problem> {
    let pairs = target.query().unwrap_or_default().split('&').filter(|pair| !pair.starts_with("wait="));
    let mut query: Vec<String> = pairs.filter(|pair| !pair.is_empty()).map(str::to_owned).collect();
    query.push(format!("wait={}ms", wait.as_millis()));
    let text = format!("{}?{}", target.path(), query.join("&"));
    text.parse().map_err(|_| Problem::new(ProblemCode::BadRequest, "the query cannot be passed on"))
}

#[derive(Deserialize)]
struct TaskStatus<'a> {
    #[serde(borrow)]
    status: Option<&'a str>,
}

/// Whether it is a task that has not ended.
fn is_open_task(reply: &Reply) -> bool {
    let status = |reply: &Reply| {
        let task = serde_json::from_slice::<TaskStatus<'_>>(&reply.body).ok()?;
        Some(matches!(task.status?, "pending" | "assigned" | "in_progress"))
    };
    reply.status == StatusCode::OK && status(reply).unwrap_or(false)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn target(text: &'static str) -> PathAndQuery {
        PathAndQuery::from_static(text)
    }

    #[test]
    fn a_wait_is_replaced_and_the_rest_of_the_query_is_kept() {
        let with = |text, ms| with_wait(&target(text), Duration::from_millis(ms)).unwrap().to_string();
        assert_eq!(with("/a?wait=30s", 10), "/a?wait=10ms");
        assert_eq!(with("/a?x=1&wait=30s&y=%20", 0), "/a?x=1&y=%20&wait=0ms");
    }

    #[test]
    fn a_wait_that_is_wrong_or_twice_is_left_to_the_coordinator() {
        assert_eq!(waits(&target("/a?wait=30s")), Some(Duration::from_secs(30)));
        for other in ["/a", "/a?wait=0ms", "/a?wait=soon", "/a?wait=1s&wait=2s"] {
            assert_eq!(waits(&target(other)), None, "{other}");
        }
    }
}
