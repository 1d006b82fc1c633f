//! How one part asks another: a typed message into a bounded mailbox, and an answer within a time limit.
//!
//! actix's own `Addr::send` waits for room in a full mailbox, so that a caller that gave up cannot tell whether its
//! message was ever taken. Here a full mailbox is an answer at once ([`AskError::Full`], surely not executed), and a lost
//! reply is told apart from it ([`AskError::NoReply`], outcome unknown).

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Context, Handler, Message};
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// A question could not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The mailbox is full; the message was not taken.
    #[error("{0} is overloaded")]
    Full(&'static str),
    /// The actor is down (its guardian may be rebuilding it); the message was not taken.
    #[error("{0} is not running")]
    Stopped(&'static str),
    /// The message was taken and its answer did not come: it may have been executed.
    #[error("{0} did not answer")]
    NoReply(&'static str),
}

/// A message with a way back. Handlers answer through [`Ask::reply`], now or from a detached task.
pub struct Ask<M: Message> {
    /// What is asked.
    pub message: M,
    /// Where the answer goes.
    pub reply: ReplyTo<M::Result>,
}

impl<M: Message> Message for Ask<M> {
    type Result = ();
}

/// Where an answer goes. Nobody may be listening any more: that is not the actor's concern.
pub struct ReplyTo<R>(Box<dyn FnOnce(R) + Send>);

impl<R: 'static> ReplyTo<R> {
    /// Calls `take` with the answer, on the thread that gives it: it should only pass it on. Dropped without an answer, it drops
    /// `take`.
    #[must_use]
    pub fn new(take: impl FnOnce(R) + Send + 'static) -> Self {
        Self(Box::new(take))
    }

    fn to(sender: oneshot::Sender<R>) -> Self
    where
        R: Send,
    {
        // The asker has given up when this fails; the work is done all the same.
        Self::new(move |answer| drop(sender.send(answer)))
    }

    /// A way back to a test that does not listen.
    #[cfg(test)]
    pub(super) fn to_nobody() -> Self {
        Self(Box::new(drop))
    }

    /// Answers.
    pub fn send(self, answer: R) {
        (self.0)(answer);
    }
}

/// The address of a supervised actor. It stays good when the guardian rebuilds the actor.
pub struct Address<A: Actor> {
    name: &'static str,
    current: watch::Receiver<Option<Addr<A>>>,
}

impl<A: Actor> Clone for Address<A> {
    fn clone(&self) -> Self {
        Self { name: self.name, current: self.current.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> Address<A> {
    pub(super) const fn new(name: &'static str, current: watch::Receiver<Option<Addr<A>>>) -> Self {
        Self { name, current }
    }

    /// Asks, and waits for the answer for at most `limit`.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask<M>(&self, message: M, limit: Duration) -> Result<M::Result, AskError>
    where
        M: Message + Send + 'static,
        M::Result: Send + 'static,
        A: Handler<Ask<M>>,
        A::Context: ToEnvelope<A, Ask<M>>,
    {
        let (sender, receiver) = oneshot::channel();
        self.tell(Ask { message, reply: ReplyTo::to(sender) })?;
        match tokio::time::timeout(limit, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(AskError::NoReply(self.name)),
        }
    }

    /// Asks in somebody else's name: the answer goes to `reply`, without a detour. A message that is not taken is answered by
    /// `refused`.
    pub fn pass<M>(&self, message: M, reply: ReplyTo<M::Result>, refused: impl FnOnce(AskError) -> M::Result)
    where
        M: Message + Send + 'static,
        M::Result: Send + 'static,
        A: Handler<Ask<M>>,
        A::Context: ToEnvelope<A, Ask<M>>,
    {
        use actix::prelude::SendError;
        let ask = Ask { message, reply };
        let (error, ask) = match self.current.borrow().as_ref() {
            None => (AskError::Stopped(self.name), ask),
            // See `tell`.
            Some(address) => match address.try_send(ask) {
                Ok(()) => return,
                Err(SendError::Full(ask)) => (AskError::Full(self.name), ask),
                Err(SendError::Closed(ask)) => (AskError::Stopped(self.name), ask),
            },
        };
        ask.reply.send(refused(error));
    }

    /// Puts a message into the mailbox and does not wait.
    ///
    /// # Errors
    /// [`AskError::Full`] or [`AskError::Stopped`].
    pub fn tell<M>(&self, message: M) -> Result<(), AskError>
    where
        M: Message<Result = ()> + Send + 'static,
        A: Handler<M>,
        A::Context: ToEnvelope<A, M>,
    {
        // Through the one shared sender: actix counts a mailbox's room per sender, and gives every clone of an address one
        // message of its own, so that a fresh clone would never find the mailbox full.
        let current = self.current.borrow();
        let address = current.as_ref().ok_or(AskError::Stopped(self.name))?;
        address.try_send(message).map_err(|error| match error {
            actix::prelude::SendError::Full(_) => AskError::Full(self.name),
            actix::prelude::SendError::Closed(_) => AskError::Stopped(self.name),
        })
    }
}
