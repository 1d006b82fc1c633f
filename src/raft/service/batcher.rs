//! Many proposals, few entries. The leader fsyncs once per entry and does not group what it is given, so what waits while
//! an entry is being written becomes the next entry.
//!
//! Owned here: the bounds on what waits, and the answer to every proposal, exactly one: committed, refused for sure, or
//! unknown. An answer that is dropped on the way (a shutdown) still says which of the last two it is.

use super::status::leader_info;
use crate::ledger::{Command, LogIndex, Rejection, Reply, Term};
use crate::raft::error::{ProposeError, UnknownReason};
use crate::raft::types::{AppendMark, Batch, Raft, TypeConfig};
use crate::telemetry::table;
use metrics::Histogram;
use openraft::error::ClientWriteError;
use openraft::raft::ClientWriteResponse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

/// How long a command for which nobody waits is kept for others to share its entry with. The next proof of a worker that has enough
/// to do begins when one has ended, and that one's result follows when it is verified, after some two milliseconds.
const PATIENCE: Duration = Duration::from_millis(5);

/// A command that a majority has stored and this node has applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The entry that carries it.
    pub index: LogIndex,
    /// The term of the leader that appended it.
    pub term: Term,
    /// What the ledger said.
    pub reply: Result<Reply, Rejection>,
}

type ProposalResult = Result<Committed, ProposeError>;
/// Takes the result of a proposal.
type Deliver = Box<dyn FnOnce(ProposalResult) + Send>;

/// A command on its way into an entry.
pub(super) struct Proposal {
    pub(super) command: Command,
    pub(super) bytes: u64,
    pub(super) answer: Answer,
}

/// Where the result of a proposal goes.
pub(super) struct Answer {
    deliver: Option<Deliver>,
    /// Whether the command was handed to openraft.
    is_sent: bool,
    queued_at: Instant,
    /// The room that the command takes among those that wait.
    _room: OwnedSemaphorePermit,
}

impl Proposal {
    /// Whether nobody waits for it: a proof that begins does not, nor does who asked for it. A worker reports a result after it, and no
    /// proof is made in so short a time.
    const fn is_patient(&self) -> bool {
        matches!(self.command, Command::StartAttempt { .. })
    }
}

impl Answer {
    pub(super) fn new(room: OwnedSemaphorePermit, deliver: Deliver) -> Self {
        Self { deliver: Some(deliver), is_sent: false, queued_at: Instant::now(), _room: room }
    }

    pub(super) fn give(mut self, result: ProposalResult) {
        if let Some(deliver) = self.deliver.take() {
            deliver(result);
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(deliver) = self.deliver.take() {
            let error = if self.is_sent {
                ProposeError::OutcomeUnknown { reason: UnknownReason::Stopped }
            } else {
                ProposeError::Stopped
            };
            deliver(Err(error));
        }
    }
}

/// The limits of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub(super) commands_max: usize,
    pub(super) bytes_max: u64,
    pub(super) in_flight_max: usize,
    pub(super) time_limit: Duration,
}

pub(super) struct Batcher {
    raft: Raft,
    queue: mpsc::Receiver<Proposal>,
    limits: BatchLimits,
    /// Of entries from their handing over to their being applied.
    commit_seconds: Histogram,
}

impl Batcher {
    pub(super) fn new(raft: Raft, queue: mpsc::Receiver<Proposal>, limits: BatchLimits) -> Self {
        Self { raft, queue, limits, commit_seconds: table::RAFT_COMMIT_DURATION.histogram(&[]) }
    }

    /// Runs until the queue is closed and empty.
    pub(super) async fn run(mut self) {
        let in_flight = Arc::new(Semaphore::new(self.limits.in_flight_max));
        let mut ahead = VecDeque::new();
        while let Ok(permit) = in_flight.clone().acquire_owned().await {
            if !gather(&mut self.queue, &mut ahead, self.limits.commands_max).await {
                return;
            }
            let (batch, answers) = self.collect(&mut ahead);
            if answers.is_empty() {
                continue;
            }
            let mark = batch.mark.clone();
            let handed_over_at = Instant::now();
            // In the order in which they were queued: this only hands the entry over.
            match self.raft.client_write_ff(batch).await {
                Ok(result) => {
                    let time_limit = self.limits.time_limit;
                    let commit_seconds = self.commit_seconds.clone();
                    tokio::spawn(async move {
                        let result = tokio::time::timeout(time_limit, result).await;
                        if matches!(result, Ok(Ok(Ok(_)))) {
                            commit_seconds.record(handed_over_at.elapsed());
                        }
                        answer_all(answers, result, &mark);
                        drop(permit);
                    });
                }
                Err(_) => answers.into_iter().for_each(|answer| answer.give(Err(ProposeError::Stopped))),
            }
        }
    }

    /// Takes what waits, as far as an entry holds it; what does not fit begins the next one.
    fn collect(&mut self, ahead: &mut VecDeque<Proposal>) -> (Batch, Vec<Answer>) {
        let (mut commands, mut answers, mut bytes) = (Vec::new(), Vec::new(), 0);
        while commands.len() < self.limits.commands_max {
            let Some(proposal) = ahead.pop_front().or_else(|| self.queue.try_recv().ok()) else { break };
            if !commands.is_empty() && bytes + proposal.bytes > self.limits.bytes_max {
                ahead.push_front(proposal);
                break;
            }
            let Proposal { command, bytes: command_bytes, mut answer } = proposal;
            if answer.queued_at.elapsed() > self.limits.time_limit {
                // No entry has been committed for as long as that: its proposer is better told than kept.
                answer.give(Err(ProposeError::Overloaded));
            } else {
                answer.is_sent = true;
                commands.push(command);
                answers.push(answer);
                bytes += command_bytes;
            }
        }
        (Batch::new(commands), answers)
    }
}

/// Waits until something is `ahead` for the next entry, and, while that is only what nobody waits for, a moment for company.
/// `false` when the queue is closed and nothing is left.
async fn gather(
    queue: &mut mpsc::Receiver<Proposal>,
    ahead: &mut VecDeque<Proposal>,
    commands_max: usize,
) -> bool {
    if ahead.is_empty() {
        ahead.extend(queue.recv().await);
    }
    let Some(until) = ahead.front().map(|first| first.answer.queued_at + PATIENCE) else { return false };
    while ahead.len() < commands_max && ahead.back().is_some_and(Proposal::is_patient) {
        match timeout_at(until, queue.recv()).await {
            Ok(Some(proposal)) => ahead.push_back(proposal),
            Ok(None) | Err(_) => break,
        }
    }
    true
}

type WriteResult<E> =
    Result<Result<openraft::raft::ClientWriteResult<TypeConfig>, E>, tokio::time::error::Elapsed>;

fn answer_all<E>(answers: Vec<Answer>, result: WriteResult<E>, mark: &AppendMark) {
    let unknown = |reason| ProposeError::OutcomeUnknown { reason };
    let error = match result {
        Ok(Ok(Ok(response))) => return answer_committed(answers, response),
        Ok(Ok(Err(ClientWriteError::ForwardToLeader(_)))) if mark.is_set() => unknown(UnknownReason::Deposed),
        Ok(Ok(Err(ClientWriteError::ForwardToLeader(forward)))) => ProposeError::NotLeader {
            leader: forward.leader_id.map(|id| leader_info(id, forward.leader_node.as_ref())),
        },
        // Not an answer to a batch; nothing is certain then.
        Ok(Ok(Err(ClientWriteError::ChangeMembershipError(_)))) => unknown(UnknownReason::Deposed),
        // openraft has ended and dropped the request.
        Ok(Err(_)) if mark.is_set() => unknown(UnknownReason::Stopped),
        Ok(Err(_)) => ProposeError::Stopped,
        Err(_) => unknown(UnknownReason::TimedOut),
    };
    answers.into_iter().for_each(|answer| answer.give(Err(error.clone())));
}

fn answer_committed(answers: Vec<Answer>, response: ClientWriteResponse<TypeConfig>) {
    let index = LogIndex(response.log_id.index);
    let term = Term(response.log_id.leader_id.term);
    // One reply per command, in order; an answer without a reply would say of itself that its outcome is unknown.
    for (answer, reply) in answers.into_iter().zip(response.data.replies) {
        answer.give(Ok(Committed { index, term, reply }));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::{Attempt, TaskId, TenantId, UnixMillis, WorkerId};

    fn proposal(command: Command) -> Proposal {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Proposal { command, bytes: 1, answer: Answer::new(room, Box::new(drop)) }
    }

    fn start() -> Proposal {
        let worker = WorkerId::new("worker-1").unwrap();
        let (task, attempt, at) = (TaskId(uuid::Uuid::from_u128(1)), Attempt(1), UnixMillis(1));
        proposal(Command::StartAttempt { task, attempt, worker, at })
    }

    fn cancel() -> Proposal {
        let (task, at) = (TaskId(uuid::Uuid::from_u128(1)), UnixMillis(1));
        proposal(Command::CancelTask { tenant: TenantId::DEFAULT, task, at })
    }

    fn kinds(ahead: &VecDeque<Proposal>) -> Vec<bool> {
        ahead.iter().map(Proposal::is_patient).collect()
    }

    #[tokio::test]
    async fn what_somebody_waits_for_goes_at_once_and_takes_along_what_was_patient() {
        let (sender, mut queue) = mpsc::channel(8);
        let mut ahead = VecDeque::new();
        for proposal in [start(), start(), cancel(), start()] {
            sender.try_send(proposal).unwrap();
        }
        assert!(gather(&mut queue, &mut ahead, 8).await);
        assert_eq!(kinds(&ahead), [true, true, false]);
        assert!(gather(&mut queue, &mut ahead, 8).await);
        assert_eq!(kinds(&ahead), [true, true, false], "an entry that may go waits for nothing");
    }

    #[tokio::test]
    async fn what_is_patient_goes_alone_when_nobody_comes() {
        let (sender, mut queue) = mpsc::channel(8);
        let mut ahead = VecDeque::new();
        let queued = start();
        let due = queued.answer.queued_at + PATIENCE;
        sender.try_send(queued).unwrap();
        assert!(gather(&mut queue, &mut ahead, 8).await);
        assert_eq!(kinds(&ahead), [true]);
        assert!(Instant::now() >= due, "it did not wait for company");
    }

    #[tokio::test]
    async fn no_more_are_gathered_than_an_entry_takes_and_none_once_the_queue_is_closed() {
        let (sender, mut queue) = mpsc::channel(8);
        let mut ahead = VecDeque::new();
        (0..3).for_each(|_| sender.try_send(start()).unwrap());
        assert!(gather(&mut queue, &mut ahead, 2).await);
        assert_eq!(ahead.len(), 2);
        drop(sender);
        ahead.clear();
        assert!(gather(&mut queue, &mut ahead, 2).await);
        ahead.clear();
        assert!(!gather(&mut queue, &mut ahead, 2).await);
    }
}
