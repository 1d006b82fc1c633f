//! The way from applying to the one who tells the actors what has happened. Applying never waits: a reader that falls too
//! far behind loses what it has not read and is told so by [`AppliedNotice::Gap`], upon which it reads the state instead.

use super::files::lock;
use crate::ledger::{Event, LogIndex, Term};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// What the commands of one entry brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedEvents {
    /// The entry.
    pub index: LogIndex,
    /// The term of the leader that appended it.
    pub term: Term,
    /// In the order in which it happened.
    pub events: Vec<Event>,
}

/// What [`EventStream::recv`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppliedNotice {
    /// An entry that had events was applied.
    Applied(AppliedEvents),
    /// Events are missing here: the reader was too slow, or a snapshot replaced the ledger. Read the state.
    Gap,
}

/// The receiving end; there is one.
#[derive(Debug)]
pub struct EventStream {
    shared: Arc<Shared>,
}

/// The sending end.
#[derive(Debug)]
pub(super) struct EventSink {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
    waiting_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<AppliedEvents>,
    has_gap: bool,
    is_closed: bool,
}

/// A channel that holds the events of at most `waiting_max` entries.
pub(super) fn channel(waiting_max: usize) -> (EventSink, EventStream) {
    let shared =
        Arc::new(Shared { state: Mutex::new(State::default()), changed: Notify::new(), waiting_max });
    (EventSink { shared: shared.clone() }, EventStream { shared })
}

impl EventStream {
    /// The next notice; `None` once Raft has stopped and everything has been read. Cancelling loses nothing.
    pub async fn recv(&mut self) -> Option<AppliedNotice> {
        loop {
            {
                let mut state = lock(&self.shared.state);
                if std::mem::take(&mut state.has_gap) {
                    return Some(AppliedNotice::Gap);
                }
                if let Some(events) = state.waiting.pop_front() {
                    return Some(AppliedNotice::Applied(events));
                }
                if state.is_closed {
                    return None;
                }
            }
            // There is one reader, and `notify_one` is remembered when nobody waits: no wake-up is lost in between.
            self.shared.changed.notified().await;
        }
    }
}

impl EventSink {
    pub(super) fn send(&self, events: AppliedEvents) {
        {
            let mut state = lock(&self.shared.state);
            if state.waiting.len() < self.shared.waiting_max {
                state.waiting.push_back(events);
            } else {
                // The reader will read the whole state: what is waiting would only repeat it.
                state.waiting.clear();
                state.has_gap = true;
            }
        }
        self.shared.changed.notify_one();
    }

    /// The state changed in a way that no events describe.
    pub(super) fn gap(&self) {
        {
            let mut state = lock(&self.shared.state);
            state.waiting.clear();
            state.has_gap = true;
        }
        self.shared.changed.notify_one();
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        lock(&self.shared.state).is_closed = true;
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::ledger::CircuitId;

    fn events(index: u64) -> AppliedEvents {
        let event = Event::CircuitRegistered(CircuitId::new("c").unwrap());
        AppliedEvents { index: LogIndex(index), term: Term(1), events: vec![event] }
    }

    #[tokio::test]
    async fn a_reader_that_keeps_up_gets_everything_in_order() {
        let (sink, mut stream) = channel(2);
        for index in 1..=10 {
            sink.send(events(index));
            assert_eq!(stream.recv().await, Some(AppliedNotice::Applied(events(index))));
        }
        drop(sink);
        assert_eq!(stream.recv().await, None);
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_gets_one_gap_and_then_what_follows_it() {
        let (sink, mut stream) = channel(2);
        for index in 1..=3 {
            sink.send(events(index));
        }
        sink.send(events(4));
        assert_eq!(stream.recv().await, Some(AppliedNotice::Gap));
        assert_eq!(stream.recv().await, Some(AppliedNotice::Applied(events(4))));
        sink.gap();
        drop(sink);
        assert_eq!(stream.recv().await, Some(AppliedNotice::Gap));
        assert_eq!(stream.recv().await, None);
    }
}
