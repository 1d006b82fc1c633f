//! The guardian: rebuilds an actor that panicked, and ends the process when that does not help.
//!
//! tokio catches a panic at the boundary of the task that runs the actor: the actor is dropped and its mailbox closes,
//! while everybody else goes on. The guardian hears of it through a notice that the actor's life carries, makes a new one
//! from the factory (whose state comes from the ledger), and publishes its address to all who hold an [`Address`].

use super::ask::Address;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};
use actix_rt::{Arbiter, ArbiterHandle};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Rebuilds of one actor within [`RESTART_WINDOW`]; one more means that rebuilding does not help.
const RESTARTS_MAX: usize = 5;
/// See [`RESTARTS_MAX`].
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// An actor that a guardian can rebuild.
pub trait Supervised: Actor<Context = Context<Self>> + Sized {
    /// Its name in errors and logs.
    const NAME: &'static str;
    /// Messages that may wait in its mailbox.
    const MAILBOX_CAPACITY: usize;
    /// Where it runs.
    const THREAD: Thread = Thread::Own;
}

/// The thread that an actor runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thread {
    /// One of its own: whoever keeps it busy keeps nobody else waiting.
    Own,
    /// One with those that pass a proof from hand to hand. A message among them wakes no other thread, which would take a
    /// processor from the proofs; none of them ever works for long.
    Shared,
}

/// Rebuilding an actor did not help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} failed {failures} times within {} s and was given up", RESTART_WINDOW.as_secs())]
pub struct GivenUp {
    /// The actor's name.
    pub name: &'static str,
    /// How often it failed.
    pub failures: usize,
}

/// Supervises actors; itself small enough not to fail.
pub struct Guardian {
    wards: BTreeMap<u64, Ward>,
    next_ward: u64,
    given_up: mpsc::Sender<GivenUp>,
    is_stopping: bool,
}

struct Ward {
    name: &'static str,
    restart: Box<dyn FnMut(Notice) + Send>,
    failures: VecDeque<Instant>,
}

/// Dropped with the actor that it was made for: that is the news of its end.
struct Notice {
    ward: u64,
    guardian: Addr<Guardian>,
}

impl Drop for Notice {
    fn drop(&mut self) {
        // `do_send` passes over the mailbox's limit: there is at most one notice for each rebuild.
        self.guardian.do_send(Ended { ward: self.ward });
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Ended {
    ward: u64,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Guard {
    name: &'static str,
    restart: Box<dyn FnMut(Notice) + Send>,
}

/// Actors that end from now on are meant to.
#[derive(Message)]
#[rtype(result = "()")]
struct Retire;

/// A cloneable handle of the guardian.
#[derive(Clone)]
pub struct GuardianHandle {
    guardian: Addr<Guardian>,
    shared: ArbiterHandle,
}

impl Guardian {
    /// Starts a guardian on an arbiter of its own. The receiver yields when an actor had to be given up: the process must
    /// end then.
    #[must_use]
    pub fn launch() -> (GuardianHandle, mpsc::Receiver<GivenUp>) {
        let (sender, receiver) = mpsc::channel(1);
        let guardian = Self { wards: BTreeMap::new(), next_ward: 0, given_up: sender, is_stopping: false };
        let guardian = Self::start_in_arbiter(&Arbiter::new().handle(), |_| guardian);
        (GuardianHandle { guardian, shared: Arbiter::new().handle() }, receiver)
    }
}

impl GuardianHandle {
    /// No actor is rebuilt from now on: the process is about to end.
    pub async fn retire(&self) {
        // An error means that the guardian has stopped already, which is what is asked for.
        let _ = self.guardian.send(Retire).await;
    }

    /// Starts an actor from `factory` on its arbiter ([`Supervised::THREAD`]), and again whenever it fails.
    pub async fn supervise<A: Supervised + Send>(
        &self,
        mut factory: impl FnMut() -> A + Send + 'static,
    ) -> Address<A> {
        let (sender, receiver) = watch::channel(None);
        let arbiter = match A::THREAD {
            Thread::Own => Arbiter::new().handle(),
            Thread::Shared => self.shared.clone(),
        };
        let restart = move |notice: Notice| {
            let actor = factory();
            let address = A::start_in_arbiter(&arbiter, |context| {
                context.set_mailbox_capacity(A::MAILBOX_CAPACITY);
                // The context owns this future for as long as the actor lives, and drops it with the actor.
                context.spawn(actix::fut::wrap_future(async move {
                    let _notice = notice;
                    std::future::pending::<()>().await;
                }));
                actor
            });
            sender.send_replace(Some(address));
        };
        // An error means that the guardian has stopped: the address then stays empty, and asks say so.
        let _ = self.guardian.send(Guard { name: A::NAME, restart: Box::new(restart) }).await;
        Address::new(A::NAME, receiver)
    }
}

impl Actor for Guardian {
    type Context = Context<Self>;
}

impl Handler<Guard> for Guardian {
    type Result = ();

    fn handle(&mut self, message: Guard, context: &mut Self::Context) {
        self.next_ward += 1;
        let mut ward = Ward { name: message.name, restart: message.restart, failures: VecDeque::new() };
        (ward.restart)(Notice { ward: self.next_ward, guardian: context.address() });
        self.wards.insert(self.next_ward, ward);
    }
}

impl Handler<Ended> for Guardian {
    type Result = ();

    fn handle(&mut self, message: Ended, context: &mut Self::Context) {
        if self.is_stopping {
            return;
        }
        let Some(ward) = self.wards.get_mut(&message.ward) else { return };
        let now = Instant::now();
        ward.failures.push_back(now);
        while ward.failures.front().is_some_and(|failure| now.duration_since(*failure) > RESTART_WINDOW) {
            ward.failures.pop_front();
        }
        let failures = ward.failures.len();
        if failures > RESTARTS_MAX {
            tracing::error!(actor = ward.name, failures, "an actor keeps failing and is given up");
            let _ = self.given_up.try_send(GivenUp { name: ward.name, failures });
            self.wards.remove(&message.ward);
            return;
        }
        tracing::error!(actor = ward.name, failures, "an actor failed and is rebuilt");
        (ward.restart)(Notice { ward: message.ward, guardian: context.address() });
    }
}

impl Handler<Retire> for Guardian {
    type Result = ();

    fn handle(&mut self, _: Retire, _: &mut Self::Context) {
        self.is_stopping = true;
    }
}
