//! A connection to one member, kept by one task: many requests under way at once, each with a number.
//!
//! There are two lanes to each member. Heartbeats, votes and entries take one; pieces of snapshots and of keys take the other,
//! so that on a slow network a leader's word does not wait behind a megabyte of file. A lane dials when there is something to
//! send, is silent for a moment after a vain attempt, and notices a connection that has died without a word by asking.

use super::Shared;
use super::dial;
use super::frame::{self, Failure, Stream, ToAcceptor, ToDialler, WireError};
use crate::raft::files::lock;
use crate::raft::transport::{PeerReply, PeerRequest};
use crate::raft::types::NodeId;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{BufReader, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Requests without a reply on one connection; more wait. The acceptor takes more than that.
const IN_FLIGHT_MAX: usize = 32;
/// Requests that wait for the connection; beyond that their senders wait.
pub(super) const QUEUE_MAX: usize = 32;
/// The pause after a vain attempt to connect; doubled up to the second. Short: a peer that comes back decides elections.
const PAUSES: (Duration, Duration) = (Duration::from_millis(25), Duration::from_millis(200));
/// How often the connection is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A connection without requests is closed after this, before the acceptor does.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LaneKind {
    Prompt,
    Bulk,
}

impl LaneKind {
    pub(super) const fn of(request: &PeerRequest) -> Self {
        match request {
            PeerRequest::InstallSnapshot(_) | PeerRequest::Key(_) => Self::Bulk,
            _ => Self::Prompt,
        }
    }

    /// After so long without a word from a peer that was asked for one, the connection is dead. A prompt lane carries some
    /// megabytes at most, a bulk lane may be slow.
    const fn silence_max(self) -> Duration {
        match self {
            Self::Prompt => Duration::from_secs(3),
            Self::Bulk => Duration::from_secs(30),
        }
    }
}

/// A request on its way into the lane.
pub(super) struct Outgoing {
    pub(super) id: u64,
    pub(super) address: String,
    pub(super) frame: Vec<u8>,
    pub(super) ticket: Arc<Ticket>,
    pub(super) reply: oneshot::Sender<Result<PeerReply, Failure>>,
}

/// Whether a request was sent or given up first: the one has perhaps had its effect, the other never.
#[derive(Debug, Default)]
pub(super) struct Ticket(AtomicU8);

const WAITING: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Ticket {
    fn moves_to(&self, state: u8) -> bool {
        self.0.compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Its caller waits no longer; `true` when it had not been sent, and now never will.
    pub(super) fn give_up(&self) -> bool {
        self.moves_to(GIVEN_UP)
    }
}

/// What the lane and the task that reads its replies share.
#[derive(Default)]
struct Pending(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    replies: HashMap<u64, oneshot::Sender<Result<PeerReply, Failure>>>,
    /// Since when something has been asked and nothing heard.
    silent_since: Option<Instant>,
}

impl Pending {
    fn asked(&self, id: u64, reply: oneshot::Sender<Result<PeerReply, Failure>>) {
        let mut waiting = lock(&self.0);
        waiting.replies.insert(id, reply);
        waiting.silent_since.get_or_insert_with(Instant::now);
    }

    fn heard(&self, message: ToDialler) {
        let mut waiting = lock(&self.0);
        if let ToDialler::Reply { id, reply } = message
            && let Some(sender) = waiting.replies.remove(&id)
        {
            // Whoever asked may have given up.
            let _ = sender.send(*reply);
        }
        waiting.silent_since = (!waiting.replies.is_empty()).then(Instant::now);
    }

    /// How long nothing has been heard of what was asked. Forgets those who have given up.
    fn silence(&self) -> Option<Duration> {
        let mut waiting = lock(&self.0);
        waiting.replies.retain(|_, reply| !reply.is_closed());
        waiting.silent_since.map(|since| since.elapsed())
    }

    fn has_room(&self) -> bool {
        lock(&self.0).replies.len() < IN_FLIGHT_MAX
    }

    fn fail_all(&self, reason: &str) {
        for (_, reply) in lock(&self.0).replies.drain() {
            let _ = reply.send(Err(Failure::Failed(reason.to_owned())));
        }
    }
}

/// The task.
pub(super) struct Lane {
    pub(super) shared: Arc<Shared>,
    pub(super) peer: NodeId,
    pub(super) kind: LaneKind,
    pub(super) queue: mpsc::Receiver<Outgoing>,
}

impl Lane {
    /// Runs until the transport is closed.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSES.0;
        let mut quiet: Option<(Instant, String)> = None;
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(outgoing) => Some(outgoing),
                None => self.queue.recv().await,
            };
            let Some(first) = first else { return };
            if let Some((until, reason)) = &quiet
                && Instant::now() < *until
            {
                refuse(first, reason);
                continue;
            }
            let dialled = match self.shared.this_node() {
                Some(this) => {
                    let dialled = dial::dial_member(&self.shared, self.peer, &first.address, this).await;
                    dialled.map_err(|error| error.to_string())
                }
                None => Err("this node has not started yet".to_owned()),
            };
            match dialled {
                Ok(stream) => {
                    (pause, quiet) = (PAUSES.0, None);
                    next = self.converse(stream, first).await;
                }
                Err(reason) => {
                    refuse(first, &reason);
                    while let Ok(waiting) = self.queue.try_recv() {
                        refuse(waiting, &reason);
                    }
                    quiet = Some((Instant::now() + pause, reason));
                    pause = (pause * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Sends requests until the connection ends; gives back one that wants to go to another address.
    async fn converse(&mut self, stream: Stream, first: Outgoing) -> Option<Outgoing> {
        let pending = Arc::new(Pending::default());
        let (reader, mut writer) = tokio::io::split(stream);
        let bytes_max = self.shared.options.frame_bytes_max;
        let mut replies =
            AbortOnDrop(tokio::spawn(read_replies(BufReader::new(reader), pending.clone(), bytes_max)));
        let address = first.address.clone();
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut used = Instant::now();
        let mut next = Some(first);
        let (moved, reason) = loop {
            if let Some(outgoing) = next.take() {
                if outgoing.address != address {
                    break (Some(outgoing), "the member has moved".to_owned());
                }
                used = Instant::now();
                if let Err(error) = self.send(&mut writer, &pending, outgoing).await {
                    break (None, error.to_string());
                }
            }
            tokio::select! {
                ended = &mut replies.0 => {
                    break (None, ended.map_or_else(|error| error.to_string(), |error| error.to_string()));
                }
                _ = look.tick() => {
                    let idle = used.elapsed();
                    if let ControlFlow::Break(reason) = self.look(&mut writer, &pending, idle).await {
                        break (None, reason);
                    }
                }
                received = self.queue.recv(), if pending.has_room() => match received {
                    Some(outgoing) => next = Some(outgoing),
                    None => break (None, "the transport is closed".to_owned()),
                },
            }
        };
        tracing::debug!(peer = %self.peer, kind = ?self.kind, %reason, "a connection to a member ended");
        pending.fail_all(&reason);
        moved
    }

    async fn send(
        &self,
        writer: &mut WriteHalf<Stream>,
        pending: &Pending,
        outgoing: Outgoing,
    ) -> Result<(), WireError> {
        // A request whose caller has gone is not sent: nobody would learn what it did.
        if outgoing.reply.is_closed() || !outgoing.ticket.moves_to(SENT) {
            return Ok(());
        }
        pending.asked(outgoing.id, outgoing.reply);
        self.write(writer, &outgoing.frame).await
    }

    async fn write(&self, writer: &mut WriteHalf<Stream>, frame: &[u8]) -> Result<(), WireError> {
        let written = timeout(self.kind.silence_max(), frame::write(writer, frame)).await;
        written.unwrap_or_else(|_| Err(WireError::Io(std::io::ErrorKind::TimedOut.into())))
    }

    async fn look(
        &self,
        writer: &mut WriteHalf<Stream>,
        pending: &Pending,
        idle: Duration,
    ) -> ControlFlow<String> {
        let silence_max = self.kind.silence_max();
        match pending.silence() {
            Some(silence) if silence > silence_max => {
                ControlFlow::Break(format!("nothing was heard for {silence_max:?}"))
            }
            Some(silence) if silence >= LOOK_EVERY => {
                let sent = match frame::encode(&ToAcceptor::Ping, self.shared.options.frame_bytes_max) {
                    Ok(ping) => self.write(writer, &ping).await,
                    Err(error) => Err(error),
                };
                sent.map_or_else(|error| ControlFlow::Break(error.to_string()), ControlFlow::Continue)
            }
            None if idle > IDLE_MAX => ControlFlow::Break("it was idle".to_owned()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn refuse(outgoing: Outgoing, reason: &str) {
    let _ = outgoing.reply.send(Err(Failure::Unreachable(reason.to_owned())));
}

async fn read_replies(
    mut reader: BufReader<ReadHalf<Stream>>,
    pending: Arc<Pending>,
    bytes_max: u32,
) -> WireError {
    loop {
        match frame::read(&mut reader, bytes_max).await {
            Ok(message) => pending.heard(message),
            Err(error) => return error,
        }
    }
}

/// A task that ends with its owner.
pub(super) struct AbortOnDrop<T>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_sent_or_given_up_and_never_both() {
        let ticket = Ticket::default();
        assert!(ticket.give_up());
        assert!(!ticket.moves_to(SENT));
        let ticket = Ticket::default();
        assert!(ticket.moves_to(SENT));
        assert!(!ticket.give_up());
    }

    #[tokio::test]
    async fn silence_counts_from_the_first_question_until_something_is_heard() {
        let pending = Pending::default();
        assert_eq!(pending.silence(), None);
        let (sender, receiver) = oneshot::channel();
        pending.asked(1, sender);
        // That the caller has given up does not mean that the peer lives.
        drop(receiver);
        assert!(pending.silence().is_some());
        assert!(lock(&pending.0).replies.is_empty(), "a place is kept for one who gave up");
        pending.heard(ToDialler::Pong);
        assert_eq!(pending.silence(), None);
    }
}
