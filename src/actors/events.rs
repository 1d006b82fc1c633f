//! What the Raft node broadcasts. Broadcasts save work and waiting; nothing depends on them for safety, and a subscriber
//! whose mailbox was full is told so with the next one and reads the state instead.

use crate::ledger::{Event, LogIndex, Term};
use actix::{Message, Recipient};
use std::sync::Arc;

/// Leadership has changed, as this node sees it. It enables and disables the scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct LeadershipChanged {
    /// The term.
    pub term: Term,
    /// Whether this node leads it.
    pub role: Leadership,
}

/// Whether this node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It does, and has a quorum.
    Leading,
    /// It does not.
    Following,
}

/// Entries were applied.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Committed {
    /// The last entry that the events are of.
    pub index: LogIndex,
    /// What they brought about, in order.
    pub events: Arc<[Event]>,
    /// Whether events before these are missing.
    pub completeness: Completeness,
}

/// Whether a broadcast continues the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completeness {
    /// It does.
    Continuous,
    /// Some events were dropped on the way: read the state.
    AfterGap,
}

/// Who wants to hear.
pub struct Subscriber {
    /// Where leadership changes go.
    pub leadership: Recipient<LeadershipChanged>,
    /// Where applied events go.
    pub committed: Recipient<Committed>,
}
