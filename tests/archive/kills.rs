//! The server is killed while batches are written: cursor and rows agree afterwards, and what was answered is there.

use crate::postgres::{Postgres, Stop};
use crate::support::{BATCH, write_on};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use std::time::Duration;
use tokio::sync::mpsc;
use zkpnet::archive::ArchiveStore;
use zkpnet::ledger::Term;

fn rounds() -> u64 {
    std::env::var("ZKPNET_TEST_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_within_a_batch_keeps_whole_batches_and_every_one_that_it_answered() {
    let mut server = Postgres::start_new();
    server.create_database("archive");
    let store = ArchiveStore::open(server.settings("archive")).unwrap();
    store.migrate().await.unwrap();
    let seed = 20_261_122;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for round in 0..rounds() {
        let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
        let begin = claim.position;
        let (sender, mut answers) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write_on(store.clone(), claim, sender));
        let mut last = answers.recv().await.unwrap();
        // Anywhere within the batches that follow.
        tokio::time::sleep(Duration::from_micros(u64::from(random.next_u32() % 60_000))).await;
        server.stop(if round % 2 == 0 { Stop::Kill } else { Stop::Immediate });
        writer.await.unwrap();
        while let Some(position) = answers.recv().await {
            last = position;
        }
        server.start();
        let now = store.claim("cluster", Term(1), "coordinator-1").await.unwrap().position;
        println!("round {round}: from {begin}, answered {last}, archived {now}");
        assert!(now == last || now == last + BATCH, "answered {last}, archived {now}");
        let rows = server.sql(
            "archive",
            "SELECT count(*), count(DISTINCT position), coalesce(max(position), 0) FROM tasks",
        );
        assert_eq!(rows, format!("{now}|{now}|{now}"));
        let attempts = server.sql("archive", "SELECT count(*) FROM attempts");
        assert_eq!(attempts, now.to_string());
        assert_eq!(store.counts().await.unwrap().completed, now);
    }
}
