//! A server fails over to its stand-by, which had to store every commit: the archive goes on there, under the same address.

use crate::postgres::{Postgres, PostgresOptions, Stop};
use crate::support::{BATCH, completed, items, write_on};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use zkpnet::archive::{ArchiveSettings, ArchiveStore};
use zkpnet::ledger::{TenantId, Term};

/// An address that can be moved: new connections to it go to the server of `target`'s port.
struct Address {
    port: u16,
    target: Arc<AtomicU16>,
}

impl Address {
    async fn of(server: &Postgres) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Arc::new(AtomicU16::new(server.port()));
        let to = Arc::clone(&target);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let to = to.load(Ordering::SeqCst);
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)).await {
                        // Ends with either side; both see it.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, target }
    }

    fn move_to(&self, server: &Postgres) {
        self.target.store(server.port(), Ordering::SeqCst);
    }

    fn settings(&self, server: &Postgres) -> ArchiveSettings {
        ArchiveSettings { port: self.port, ..server.settings("archive") }
    }
}

/// A server whose commits wait for the stand-by that comes with it.
fn pair() -> (Postgres, Postgres) {
    let primary = Postgres::start_new();
    primary.create_database("archive");
    let standby = primary.start_standby(PostgresOptions::default());
    primary.wait_for_standby();
    (primary, standby)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stand_by_that_was_promoted_has_whole_batches_and_every_one_that_was_answered() {
    let (mut primary, mut standby) = pair();
    let address = Address::of(&primary).await;
    let store = ArchiveStore::open(address.settings(&primary)).unwrap();
    store.migrate().await.unwrap();
    let seed = 20_261_123;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for round in 0..2 {
        let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
        let begin = claim.position;
        let (sender, mut answers) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write_on(store.clone(), claim, sender));
        let mut last = answers.recv().await.unwrap();
        // Anywhere within the batches that follow.
        tokio::time::sleep(Duration::from_micros(u64::from(random.next_u32() % 60_000))).await;
        primary.stop(Stop::Kill);
        standby.promote();
        address.move_to(&standby);
        writer.await.unwrap();
        while let Some(position) = answers.recv().await {
            last = position;
        }
        let now = store.claim("cluster", Term(1), "coordinator-1").await.unwrap().position;
        println!("round {round}: from {begin}, answered {last}, archived {now}");
        assert!(now == last || now == last + BATCH, "answered {last}, archived {now}");
        let rows = "SELECT count(*), count(DISTINCT position), coalesce(max(position), 0) FROM tasks";
        assert_eq!(standby.sql("archive", rows), format!("{now}|{now}|{now}"));
        assert_eq!(standby.sql("archive", "SELECT count(*) FROM attempts"), now.to_string());
        assert_eq!(store.counts().await.unwrap().completed, now);
        // The next round's stand-by is made of this one.
        primary = standby;
        standby = primary.start_standby(PostgresOptions::default());
        primary.wait_for_standby();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_the_stand_by_has_not_stored_is_not_answered_and_a_claim_finds_what_became_of_it() {
    let (primary, mut standby) = pair();
    let settings = ArchiveSettings {
        connect_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_millis(500),
        ..primary.settings("archive")
    };
    let store = ArchiveStore::open(settings).unwrap();
    ArchiveStore::open(primary.settings("archive")).unwrap().migrate().await.unwrap();
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let claim = store.write_batch(&claim, 0, &items(0, &[completed(1)])).await.unwrap();
    standby.stop(Stop::Fast);
    // The server itself could commit it; were that answered, a stand-by that is promoted now would lack it.
    let failure = store.write_batch(&claim, 1, &items(1, &[completed(2)])).await.unwrap_err();
    assert!(failure.is_unavailable(), "{failure}");
    let failure = store.claim("cluster", Term(1), "coordinator-1").await.unwrap_err();
    assert!(failure.is_unavailable(), "no claim tells of a position that may be lost: {failure}");
    assert!(store.task(TenantId::DEFAULT, completed(1).id).await.unwrap().is_some(), "it is still read");
    standby.start();
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    assert_eq!(claim.position, 2, "the commit that had waited was stored by both");
    store.write_batch(&claim, 2, &items(2, &[completed(3)])).await.unwrap();
    assert_eq!(primary.sql("archive", "SELECT count(*) FROM tasks"), "3");
}
