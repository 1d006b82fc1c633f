//! What the Raft node is asked, and what it answers.

use crate::actors::ask::AskError;
use crate::actors::tasks::messages::{AsOf, Consistency};
use crate::ledger::{BodyKey, Command, Ledger, LogIndex, Rejection, Reply};
use crate::raft::{ProposeError, ReadError, StoreError};
use actix::Message;

/// Asks for a change.
#[derive(Debug, Message)]
#[rtype(result = "Result<Decided, ProposeError>")]
pub struct Propose(pub Command);

/// A committed entry holds the command; the ledger has decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The entry.
    pub index: LogIndex,
    /// The decision.
    pub reply: Result<Reply, Rejection>,
}

/// A question to the ledger. It is answered under a read lock: keep it short.
pub trait LedgerQuery: Send + 'static {
    /// What it yields.
    type Answer: Send + 'static;
    /// Answers it.
    fn answer(self, ledger: &Ledger) -> Self::Answer;
}

impl<A: Send + 'static, F: FnOnce(&Ledger) -> A + Send + 'static> LedgerQuery for F {
    type Answer = A;

    fn answer(self, ledger: &Ledger) -> A {
        self(ledger)
    }
}

/// A question with the currency that its answer must have.
pub struct Query<Q> {
    /// The question.
    pub question: Q,
    /// How current the answer must be.
    pub consistency: Consistency,
}

impl<Q: LedgerQuery> Message for Query<Q> {
    type Result = Result<Answer<Q::Answer>, ReadError>;
}

/// An answer and how current it is.
#[derive(Clone, Debug)]
pub struct Answer<A> {
    /// The answer.
    pub value: A,
    /// How current it is.
    pub as_of: AsOf,
}

/// A question, and with it the body that its answer names: one way there and back for both.
pub struct QueryBody<Q> {
    /// The question.
    pub question: Q,
    /// How current the answer must be.
    pub consistency: Consistency,
}

impl<A: Send + 'static, Q: LedgerQuery<Answer = (A, Option<BodyKey>)>> Message for QueryBody<Q> {
    type Result = Result<Answer<WithBody<A>>, ReadError>;
}

/// What the ledger answered, and what became of the body that it named.
#[derive(Debug)]
pub struct WithBody<A> {
    /// The answer.
    pub found: A,
    /// The body; none if none was named, or if it is gone.
    pub body: Result<Option<Vec<u8>>, StoreError>,
}

/// Asks for a body.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Option<Vec<u8>>, StoreError>")]
pub struct GetBody(pub BodyKey);

/// What a question could not be asked or answered for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The actor did not take it or did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The node cannot answer with that currency.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The actor did not take the request or did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
