//! What the Raft node broadcasts. Broadcasts save work and waiting; nothing depends on them for safety, and a subscriber
//! whose mailbox was full is told so with the next one and reads the state instead.

use super::ask::{Address, AskError};
use crate::ledger::{Event, LogIndex, Term};
use actix::{Actor, Context, Handler, Message};
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

/// Who wants to hear. The functions put the message into a mailbox and fail when it is full or gone; they go through an
/// [`Address`](super::ask::Address), so that a rebuilt actor goes on hearing.
pub struct Subscriber {
    /// Where leadership changes go.
    pub leadership: Box<dyn Fn(LeadershipChanged) -> Result<(), AskError> + Send>,
    /// Where applied events go.
    pub committed: Box<dyn Fn(Committed) -> Result<(), AskError> + Send>,
}

impl Subscriber {
    /// An actor that hears of both, and of entries only when one of their events is such as it wants: under load most are not,
    /// and each would wake its thread for nothing.
    #[must_use]
    pub fn new<A>(address: &Address<A>, wants: fn(&Event) -> bool) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<LeadershipChanged> + Handler<Committed>,
    {
        let (leadership, committed) = (address.clone(), address.clone());
        Self {
            leadership: Box::new(move |message| leadership.tell(message)),
            committed: Box::new(move |message| {
                let is_gap = message.completeness == Completeness::AfterGap;
                if is_gap || message.events.iter().any(wants) { committed.tell(message) } else { Ok(()) }
            }),
        }
    }
}
