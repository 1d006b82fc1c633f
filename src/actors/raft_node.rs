//! The Raft node: the only door to the ledger. It takes proposals and questions, and broadcasts what was applied and who
//! leads.
//!
//! Raft itself lives on a thread of its own (`crate::raft`); this actor is the bridge. It never waits in a handler: a proposal
//! is handed over, and answered by Raft's thread; questions are answered from detached tasks. A client that hangs up
//! cannot cut a proposal in half.

mod messages;

pub use messages::{
    Answer, BodyError, Decided, GetBody, LedgerQuery, Propose, Query, QueryBody, QueryError, WithBody,
};

use super::ask::{Address, Ask, AskError, ReplyTo};
use super::clock::Clock;
use super::events::{Committed, Completeness, Leadership, LeadershipChanged, Subscriber};
use super::guardian::{GuardianHandle, Supervised};
use super::tasks::messages::{AsOf, Consistency};
use crate::ledger::{BodyKey, Command, Ledger, LogIndex, Term, UnixMillis};
use crate::raft::{AppliedNotice, EventStream, ProposeError, RaftService, RaftStatus, Role};
use crate::telemetry::table;
use actix::{Actor, AsyncContext, Context, Handler, Message};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// A proposal waits this long for its quorum; afterwards its outcome is unknown.
const PROPOSE_LIMIT: Duration = Duration::from_secs(10);
/// A question waits this long for its answer: longer than Raft itself tries to confirm who leads.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// After events were dropped because a mailbox was full, its owner is told to read the state this much later at most.
const GAP_TICK: Duration = Duration::from_millis(100);

#[derive(Message)]
#[rtype(result = "()")]
struct Subscribe(Subscriber);

#[derive(Message)]
#[rtype(result = "()")]
struct Applied(AppliedNotice);

#[derive(Message)]
#[rtype(result = "()")]
struct StatusChanged(LeadershipChanged);

/// A cloneable handle of the Raft node.
#[derive(Clone)]
pub struct RaftNodeHandle {
    address: Address<RaftNode>,
    clock: Clock,
    status: watch::Receiver<RaftStatus>,
    service: RaftService,
}

impl RaftNodeHandle {
    /// Proposes a command and waits for the ledger's decision.
    ///
    /// # Errors
    /// Those of [`ProposeError`]; an answer that does not come in time is an unknown outcome.
    pub async fn propose(&self, command: Command) -> Result<Decided, ProposeError> {
        self.address.ask(Propose(command), PROPOSE_LIMIT).await.unwrap_or_else(|error| match error {
            AskError::Full(_) => Err(ProposeError::Overloaded),
            AskError::Stopped(_) => Err(ProposeError::Stopped),
            AskError::NoReply(_) => {
                Err(ProposeError::OutcomeUnknown { reason: crate::raft::UnknownReason::TimedOut })
            }
        })
    }

    /// Proposes a command in somebody else's name: the ledger's decision goes to `reply` straight from Raft's thread. It comes
    /// within the time limits of Raft itself.
    pub fn propose_for(&self, command: Command, reply: ReplyTo<Result<Decided, ProposeError>>) {
        self.address.pass(Propose(command), reply, |error| {
            Err(match error {
                AskError::Full(_) => ProposeError::Overloaded,
                AskError::Stopped(_) | AskError::NoReply(_) => ProposeError::Stopped,
            })
        });
    }

    /// Asks the ledger.
    ///
    /// # Errors
    /// When the node cannot answer with that currency, or not now.
    pub async fn query<Q: LedgerQuery>(
        &self,
        question: Q,
        consistency: Consistency,
    ) -> Result<Answer<Q::Answer>, QueryError> {
        Ok(self.address.ask(Query { question, consistency }, READ_LIMIT).await??)
    }

    /// Asks this node's copy of the ledger.
    ///
    /// # Errors
    /// When the actor did not take the question or did not answer.
    pub async fn local<Q: LedgerQuery>(&self, question: Q) -> Result<Q::Answer, QueryError> {
        Ok(self.query(question, Consistency::Stale).await?.value)
    }

    /// Asks the ledger, and reads the body that the answer names, all within the time of one question.
    ///
    /// # Errors
    /// As of [`Self::query`]; those of the body are in the answer.
    pub async fn query_body<A: Send + 'static>(
        &self,
        question: impl LedgerQuery<Answer = (A, Option<BodyKey>)>,
        consistency: Consistency,
    ) -> Result<Answer<WithBody<A>>, QueryError> {
        Ok(self.address.ask(QueryBody { question, consistency }, READ_LIMIT).await??)
    }

    /// Reads a body.
    ///
    /// # Errors
    /// When the store fails, or the actor does not answer.
    pub async fn body(&self, key: BodyKey) -> Result<Option<Vec<u8>>, BodyError> {
        Ok(self.address.ask(GetBody(key), READ_LIMIT).await??)
    }

    /// Raft's own state, as it was last published.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        self.status.borrow().clone()
    }

    /// How many of the other members did not answer this node's probes lately.
    #[must_use]
    pub fn members_missing(&self) -> u64 {
        let reports = self.service.peer_reports();
        let is_missing = |id| reports.get(&id).is_none_or(|(_, age)| *age > RaftService::REPORT_AGE_MAX);
        let own = self.service.node();
        let others = self.service.members().into_iter().map(|member| member.id).filter(|id| *id != own);
        others.filter(|id| is_missing(*id)).count() as u64
    }

    /// Whether this node leads, or has heard of a leader lately. A follower that is left alone stands for no election and goes on
    /// knowing the last leader by name.
    #[must_use]
    pub fn has_leader(&self) -> bool {
        let status = self.status.borrow();
        let heard = || self.service.leader_heard_ago().is_some_and(|age| age <= RaftService::REPORT_AGE_MAX);
        status.role == Role::Leader || status.leader.is_some() && heard()
    }

    /// The term and whether this node leads it.
    #[must_use]
    pub fn leadership(&self) -> LeadershipChanged {
        leadership(&self.status.borrow())
    }

    /// The leader's clock, for stamping commands.
    #[must_use]
    pub fn now(&self) -> UnixMillis {
        self.clock.now()
    }
}

/// The subscribers outlive the actor: one that is rebuilt goes on broadcasting to them.
type Subscribers = Arc<std::sync::Mutex<Vec<Subscription>>>;

struct Subscription {
    subscriber: Subscriber,
    has_gap: bool,
}

/// The actor.
pub struct RaftNode {
    clock: Clock,
    service: RaftService,
    events: Arc<Mutex<EventStream>>,
    subscribers: Subscribers,
}

impl RaftNode {
    /// Starts the actor in front of a running Raft.
    pub async fn launch(
        guardian: &GuardianHandle,
        service: RaftService,
        events: EventStream,
        clock: Clock,
    ) -> RaftNodeHandle {
        let status = service.watch_status();
        let events = Arc::new(Mutex::new(events));
        let subscribers = Subscribers::default();
        let (own_clock, own_service) = (clock.clone(), service.clone());
        let factory = move || Self {
            clock: own_clock.clone(),
            service: service.clone(),
            events: Arc::clone(&events),
            subscribers: Arc::clone(&subscribers),
        };
        RaftNodeHandle { address: guardian.supervise(factory).await, clock, status, service: own_service }
    }

    fn broadcast(&self, index: LogIndex, events: &Arc<[crate::ledger::Event]>, is_after_gap: bool) {
        let mut subscribers = self.subscribers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for subscription in subscribers.iter_mut() {
            let is_gap = is_after_gap || subscription.has_gap;
            if events.is_empty() && !is_gap {
                continue;
            }
            let completeness = if is_gap { Completeness::AfterGap } else { Completeness::Continuous };
            let message = Committed { index, events: Arc::clone(events), completeness };
            subscription.has_gap = (subscription.subscriber.committed)(message).is_err();
        }
    }
}

impl RaftNodeHandle {
    /// Adds a subscriber: it is told the present leadership first.
    ///
    /// # Errors
    /// When the actor does not take it.
    pub fn subscribe(&self, subscriber: Subscriber) -> Result<(), AskError> {
        self.address.tell(Subscribe(subscriber))
    }
}

fn leadership(status: &RaftStatus) -> LeadershipChanged {
    let role = if status.role == Role::Leader { Leadership::Leading } else { Leadership::Following };
    LeadershipChanged { term: status.term, role }
}

impl Supervised for RaftNode {
    const NAME: &'static str = "raft node";
    const MAILBOX_CAPACITY: usize = 4096;
}

impl Actor for RaftNode {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // What stood in the mailbox of a failed predecessor is lost: whoever listens is told to read the state.
        let mut subscribers = self.subscribers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        subscribers.iter_mut().for_each(|subscription| subscription.has_gap = true);
        drop(subscribers);
        let address = context.address();
        let events = Arc::clone(&self.events);
        context.spawn(actix::fut::wrap_future(async move {
            let mut events = events.lock().await;
            while let Some(item) = events.recv().await {
                // Waiting for room in the mailbox holds back this stream only; it is bounded, and tells of a gap.
                if address.send(Applied(item)).await.is_err() {
                    return;
                }
            }
        }));
        let address = context.address();
        let mut status = self.service.watch_status();
        context.spawn(actix::fut::wrap_future(async move {
            let mut told = None;
            loop {
                let current = leadership(&status.borrow_and_update());
                if told.as_ref() != Some(&current) {
                    told = Some(current.clone());
                    if address.send(StatusChanged(current)).await.is_err() {
                        return;
                    }
                }
                if status.changed().await.is_err() {
                    return;
                }
            }
        }));
        context.run_interval(GAP_TICK, |node, _| {
            let (applied, now) = node.service.with_ledger(|ledger| (ledger.applied(), ledger.now()));
            node.clock.observe(now);
            node.broadcast(applied, &Arc::from([]), false);
        });
    }
}

impl Handler<Subscribe> for RaftNode {
    type Result = ();

    fn handle(&mut self, message: Subscribe, _: &mut Self::Context) {
        let Subscribe(subscriber) = message;
        let has_gap = (subscriber.leadership)(leadership(&self.service.status())).is_err();
        let mut subscribers = self.subscribers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        subscribers.push(Subscription { subscriber, has_gap });
    }
}

impl Handler<StatusChanged> for RaftNode {
    type Result = ();

    fn handle(&mut self, message: StatusChanged, _: &mut Self::Context) {
        tracing::info!(term = message.0.term.0, role = ?message.0.role, "leadership changed");
        self.clock.observe(self.service.with_ledger(Ledger::now));
        let mut subscribers = self.subscribers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for subscription in subscribers.iter_mut() {
            if (subscription.subscriber.leadership)(message.0.clone()).is_err() {
                // It reads the present leadership when it is told of the gap.
                subscription.has_gap = true;
            }
        }
    }
}

impl Handler<Applied> for RaftNode {
    type Result = ();

    fn handle(&mut self, message: Applied, _: &mut Self::Context) {
        match message.0 {
            AppliedNotice::Applied(applied) => {
                self.broadcast(applied.index, &Arc::from(applied.events), false)
            }
            AppliedNotice::Gap => {
                self.broadcast(self.service.with_ledger(Ledger::applied), &Arc::from([]), true);
            }
        }
    }
}

impl Handler<Ask<Propose>> for RaftNode {
    type Result = ();

    fn handle(&mut self, ask: Ask<Propose>, _: &mut Self::Context) {
        let Ask { message: Propose(command), reply } = ask;
        self.service.propose_for(command, move |committed| {
            if let Ok(crate::raft::Committed { reply: Err(rejection), .. }) = &committed {
                // Seldom; the kinds are few.
                table::LEDGER_REJECTIONS.counter(&[rejection.kind()]).increment(1);
            }
            reply.send(committed.map(|done| Decided { index: done.index, reply: done.reply }));
        });
    }
}

impl<Q: LedgerQuery> Handler<Ask<Query<Q>>> for RaftNode {
    type Result = ();

    fn handle(&mut self, ask: Ask<Query<Q>>, _: &mut Self::Context) {
        let service = self.service.clone();
        let Query { question, consistency } = ask.message;
        if !needs_barrier(&service, consistency) {
            ask.reply.send(Ok(answer(&service, question)));
            return;
        }
        actix_rt::spawn(async move {
            let confirmed = service.read_barrier().await;
            ask.reply.send(confirmed.map(|_| answer(&service, question)));
        });
    }
}

impl<A: Send + 'static, Q: LedgerQuery<Answer = (A, Option<BodyKey>)>> Handler<Ask<QueryBody<Q>>>
    for RaftNode
{
    type Result = ();

    fn handle(&mut self, ask: Ask<QueryBody<Q>>, _: &mut Self::Context) {
        let service = self.service.clone();
        let QueryBody { question, consistency } = ask.message;
        actix_rt::spawn(async move {
            if needs_barrier(&service, consistency)
                && let Err(error) = service.read_barrier().await
            {
                return ask.reply.send(Err(error));
            }
            let Answer { value: (found, key), as_of } = answer(&service, question);
            let body = match key {
                Some(key) => service.body(key).await,
                None => Ok(None),
            };
            ask.reply.send(Ok(Answer { value: WithBody { found, body }, as_of }));
        });
    }
}

/// Whether an answer so current takes a word from the leader.
fn needs_barrier(service: &RaftService, consistency: Consistency) -> bool {
    match consistency {
        Consistency::Linearizable => true,
        Consistency::AtLeast(index) => service.with_ledger(Ledger::applied) < index,
        Consistency::Stale => false,
    }
}

fn answer<Q: LedgerQuery>(service: &RaftService, question: Q) -> Answer<Q::Answer> {
    // A leader's own copy has no age; what it lacks, a linearizable question would have waited for.
    let age = if service.status().role == Role::Leader { None } else { service.leader_heard_ago() };
    service.with_ledger(|ledger| {
        let as_of = AsOf { index: ledger.applied(), age };
        Answer { value: question.answer(ledger), as_of }
    })
}

impl Handler<Ask<GetBody>> for RaftNode {
    type Result = ();

    fn handle(&mut self, ask: Ask<GetBody>, _: &mut Self::Context) {
        let service = self.service.clone();
        actix_rt::spawn(async move {
            ask.reply.send(service.body(ask.message.0).await);
        });
    }
}

/// The proposer's term, for commands that the ledger fences by term.
#[must_use]
pub fn leading_term(leadership: &LeadershipChanged) -> Option<Term> {
    (leadership.role == Leadership::Leading).then_some(leadership.term)
}
