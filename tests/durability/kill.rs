//! kill -9 at any moment loses no acknowledged task, and completes each exactly once.

use crate::support::{Client, DevNode, poll_until, zkpnet};
use rand_core::{RngCore as _, SeedableRng as _};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ROUNDS: u64 = 3;
const SUBMISSIONS: u64 = 200;
const CLIENTS: u64 = 8;

/// Every request that was made, by its idempotency key, with the task's id if it was acknowledged.
type History = Arc<Mutex<BTreeMap<String, Option<String>>>>;

/// One request; the number makes its leaves unique.
fn submit(client: &Client, key: &str, number: u64) -> Option<String> {
    // Every third task may fail once only: to be there when the process is killed is not a failure.
    let max_attempts = if number.is_multiple_of(3) { 1 } else { 5 };
    let leaves = [format!("0x{number:x}"), "0xfe".to_owned()];
    let body = json!({"leaves": leaves, "leaf_index": 0, "max_attempts": max_attempts});
    let answer = client.post("/api/v1/tasks/merkle", &[("Idempotency-Key", key)], &body).ok()?;
    (answer.status == 202).then(|| answer.body["task_id"].as_str().unwrap().to_owned())
}

/// Submits from several clients at once until everything was sent or the node is gone.
fn submit_all(
    client: &Client,
    round: u64,
    acknowledged: &Arc<AtomicU64>,
    history: &History,
) -> Vec<std::thread::JoinHandle<()>> {
    let next = Arc::new(AtomicU64::new(0));
    (0..CLIENTS)
        .map(|_| {
            let (client, next, acknowledged, history) =
                (client.clone(), Arc::clone(&next), Arc::clone(acknowledged), Arc::clone(history));
            std::thread::spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= SUBMISSIONS {
                        return;
                    }
                    let number = round * SUBMISSIONS + number + 1;
                    let key = format!("request-{number}");
                    history.lock().unwrap().insert(key.clone(), None);
                    let Some(task) = submit(&client, &key, number) else { return };
                    history.lock().unwrap().insert(key, Some(task));
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect()
}

#[test]
fn kill_9_during_200_submissions_loses_no_acknowledged_task_and_completes_each_once() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("ZKPNET_TEST_SEED").unwrap_or_else(|| rand_core::OsRng.next_u64());
    let rounds = number("ZKPNET_TEST_ROUNDS").unwrap_or(ROUNDS);
    println!("replay the moments of killing with ZKPNET_TEST_SEED={seed}");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let history = History::default();
    for round in 0..rounds {
        // Killed once so many of the round's submissions were acknowledged.
        let enough = 1 + rng.next_u64() % (SUBMISSIONS - 20);
        let node = DevNode::start(folder.path(), &[]);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let clients = submit_all(&node.client, round, &acknowledged, &history);
        poll_until("enough acknowledged submissions", || {
            (acknowledged.load(Ordering::SeqCst) >= enough).then_some(())
        });
        node.kill();
        clients.into_iter().for_each(|client| client.join().unwrap());
        println!(
            "round {round}: killed after {} acknowledged submissions",
            acknowledged.load(Ordering::SeqCst)
        );
    }
    let node = DevNode::start(folder.path(), &[]);
    finish(&node.client, &history);
}

/// Sends every request again: one that was acknowledged must be answered with its task, one whose answer was lost gets one
/// now. Then all of them complete, and there is no task besides.
fn finish(client: &Client, history: &History) {
    let history = history.lock().unwrap().clone();
    let mut tasks = BTreeMap::new();
    for (key, acknowledged) in &history {
        let number = key.strip_prefix("request-").unwrap().parse().unwrap();
        let task = submit(client, key, number).unwrap_or_else(|| panic!("{key} was not taken again"));
        if let Some(acknowledged) = acknowledged {
            assert_eq!(*acknowledged, task, "{key} got another task after the restart");
        }
        assert!(tasks.insert(task, key).is_none(), "two requests share a task");
    }
    for task in tasks.keys() {
        let ended = poll_until("the task to end", || {
            let answer = client.get(&format!("/api/v1/tasks/{task}?wait=30s")).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
            let status = answer.body["status"].as_str().unwrap().to_owned();
            ["completed", "failed", "cancelled"].contains(&status.as_str()).then_some(answer.body)
        });
        assert_eq!(ended["status"], "completed", "{ended}");
        let body = json!({"circuit": ended["circuit"], "proof": ended["proof"], "public_inputs": ended["public_inputs"]});
        let verified = client.post("/api/v1/proofs/verify", &[], &body).unwrap();
        assert_eq!(verified.body["valid"], true, "{verified:?}");
    }
    let totals = client.get("/metrics").unwrap().body.as_str().unwrap().to_owned();
    let completed = metric(&totals, "zkpnet_tasks_total{outcome=\"completed\"}");
    assert_eq!(completed, tasks.len() as u64, "as many completions as tasks");
    println!(
        "{} tasks, {} of them acknowledged before a kill",
        tasks.len(),
        history.values().flatten().count()
    );
}

fn metric(text: &str, name: &str) -> u64 {
    let line = text
        .lines()
        .find(|line| line.starts_with(name))
        .unwrap_or_else(|| panic!("no metric {name} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

#[test]
fn a_killed_node_starts_again_while_its_files_were_being_made() {
    // The first start makes the data key, the stores and the proving key; it is killed at a moment that differs each time.
    let folder = tempfile::tempdir().unwrap();
    for pause_ms in [5, 20, 60, 150, 400, 900] {
        let mut child = zkpnet()
            .arg("dev")
            .env("ZKPNET_HTTP__PORT", "0")
            .env("ZKPNET_STORAGE__DATA_DIR", folder.path())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Not a wait for a condition: the moment is what is being varied.
        std::thread::sleep(Duration::from_millis(pause_ms));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let node = DevNode::start(folder.path(), &[]);
    let task = submit(&node.client, "after", 1).unwrap();
    let ended = node.client.get(&format!("/api/v1/tasks/{task}?wait=60s")).unwrap();
    assert_eq!(ended.body["status"], "completed", "{ended:?}");
}
