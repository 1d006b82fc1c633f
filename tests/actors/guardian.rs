//! The guardian, and the mailboxes of what it guards.

use crate::stall::poll_once;
use crate::support::{LIMIT, poll_until};
use actix::{Actor, Context, Handler, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use zkpnet::actors::ask::{Address, Ask, AskError};
use zkpnet::actors::guardian::{Guardian, Supervised};

struct Glass {
    life: usize,
}

#[derive(Message)]
#[rtype(result = "usize")]
struct GetLife;

#[derive(Message)]
#[rtype(result = "()")]
struct Break;

impl Supervised for Glass {
    const NAME: &'static str = "glass";
    const MAILBOX_CAPACITY: usize = 8;
}

impl Actor for Glass {
    type Context = Context<Self>;
}

impl Handler<Ask<GetLife>> for Glass {
    type Result = ();

    fn handle(&mut self, ask: Ask<GetLife>, _: &mut Self::Context) {
        ask.reply.send(self.life);
    }
}

impl Handler<Ask<Break>> for Glass {
    type Result = ();

    fn handle(&mut self, _: Ask<Break>, _: &mut Self::Context) {
        panic!("as planned: glass");
    }
}

fn glass(lives: &Arc<AtomicUsize>) -> impl FnMut() -> Glass + Send + 'static {
    let lives = Arc::clone(lives);
    move || Glass { life: lives.fetch_add(1, Ordering::SeqCst) + 1 }
}

async fn life(address: &Address<Glass>) -> usize {
    poll_until("the actor answers", async || address.ask(GetLife, LIMIT).await.ok()).await
}

#[actix_rt::test]
async fn an_actor_that_panics_is_rebuilt_and_its_address_goes_on_working() {
    let (guardian, _given_up) = Guardian::launch();
    let address = guardian.supervise(glass(&Arc::default())).await;
    assert_eq!(life(&address).await, 1);
    let held_elsewhere = address.clone();
    let broken = address.ask(Break, LIMIT).await;
    assert!(matches!(broken, Err(AskError::NoReply("glass"))), "{broken:?}");
    assert_eq!(life(&address).await, 2);
    assert_eq!(life(&held_elsewhere).await, 2);
}

#[actix_rt::test]
async fn an_actor_that_keeps_panicking_is_given_up_and_reported_once() {
    let (guardian, mut given_up) = Guardian::launch();
    let lives = Arc::default();
    let address = guardian.supervise(glass(&lives)).await;
    let other = guardian.supervise(glass(&Arc::default())).await;
    let report = poll_until("it is given up", async || {
        let _ = address.ask(Break, LIMIT).await;
        given_up.try_recv().ok()
    })
    .await;
    assert_eq!((report.name, report.failures), ("glass", 6));
    assert_eq!(lives.load(Ordering::SeqCst), 6, "one life and five rebuilds");
    assert!(matches!(address.ask(GetLife, LIMIT).await, Err(AskError::Stopped("glass"))));
    assert!(given_up.try_recv().is_err(), "it was reported twice");
    assert_eq!(life(&other).await, 1, "another actor of the same guardian");
}

#[actix_rt::test]
async fn a_retired_guardian_rebuilds_nothing() {
    let (guardian, _given_up) = Guardian::launch();
    let lives = Arc::default();
    let address = guardian.supervise(glass(&lives)).await;
    life(&address).await;
    guardian.retire().await;
    let _ = address.ask(Break, LIMIT).await;
    poll_until("it is gone", async || {
        matches!(address.ask(GetLife, LIMIT).await, Err(AskError::Stopped(_))).then_some(())
    })
    .await;
    // The guardian's mailbox is in order: its answer to this comes after the news of the actor's end.
    guardian.retire().await;
    assert_eq!(lives.load(Ordering::SeqCst), 1);
}

#[actix_rt::test]
async fn a_full_mailbox_refuses_every_sender_and_takes_messages_when_it_has_room() {
    let (guardian, _given_up) = Guardian::launch();
    let address = guardian.supervise(glass(&Arc::default())).await;
    life(&address).await;
    let stalled = crate::stall::stall(|| address.ask(GetLife, LIMIT)).await;
    let mut taken = Vec::new();
    let mut refused = 0;
    for _ in 0..100 {
        // Each by a sender of its own, as requests are.
        let sender = address.clone();
        let mut asked = Box::pin(async move { sender.ask(GetLife, LIMIT).await });
        match poll_once(&mut asked) {
            Poll::Pending => taken.push(asked),
            Poll::Ready(answer) => {
                assert_eq!(answer, Err(AskError::Full("glass")));
                refused += 1;
            }
        }
    }
    assert!((7..=9).contains(&taken.len()), "{} taken, {refused} refused", taken.len());
    drop(stalled);
    for asked in taken {
        assert_eq!(asked.await, Ok(1));
    }
    assert_eq!(life(&address).await, 1);
}
