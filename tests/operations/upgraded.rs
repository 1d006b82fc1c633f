//! One coordinator after the other is stopped and started while tasks are submitted, as for an upgrade, in a cluster that was begun by
//! version 0.1.0: its folder (`tests/fixtures/formats-0.1.0/`) is the first member's, from whom the others got theirs.

use crate::lab::{Entrance, Lab, Place, Process, field, inspected, proved};
use crate::old_files::{expected, fixture, tar};
use crate::support::{Client, LIMIT, poll_until};
use serde_json::json;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// No client waits longer for an acknowledgement, whatever is stopped. What is measured is printed.
const LONGEST: Duration = Duration::from_secs(10);

/// Of the fixture's member, in its files.
const RAFT_PORT: u16 = 7000;

/// An acknowledged submission: its number, its task, and from when to when it was asked for.
struct Taken {
    number: u64,
    task: String,
    asked: Instant,
    answered: Instant,
}

/// Five levels, since the key of the fixture's own circuit is not in it.
fn submit(client: &Client, number: u64) -> Option<String> {
    let mut leaves: Vec<String> = (0..32).map(|leaf| format!("0x{leaf:x}")).collect();
    leaves[7] = format!("0x{:x}", number + 1_000);
    let body = json!({"leaves": leaves, "leaf_index": 7, "max_attempts": 5});
    let key = format!("upgrade-{number}");
    let answer = client.post("/api/v1/tasks/merkle", &[("Idempotency-Key", &key)], &body).ok()?;
    [200, 202].contains(&answer.status).then(|| answer.body["task_id"].as_str().unwrap().to_owned())
}

/// A client that repeats each submission, by whichever coordinator takes it, until it is acknowledged.
struct Submitter {
    stop: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<Taken>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Submitter {
    fn start(clients: Vec<Client>) -> Self {
        let (stop, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, takes) = (Arc::clone(&stop), Arc::clone(&taken));
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            for number in 0.. {
                let asked = Instant::now();
                let task = loop {
                    if stopped.load(Ordering::SeqCst) || began.elapsed() > LIMIT {
                        return;
                    }
                    match clients.iter().find_map(|client| submit(client, number)) {
                        Some(task) => break task,
                        None => std::thread::sleep(Duration::from_millis(10)),
                    }
                };
                let answered = Instant::now();
                takes.lock().unwrap().push(Taken { number, task, asked, answered });
                // One worker is to keep up with it for the most part.
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        Self { stop, taken, thread }
    }

    fn count(&self) -> usize {
        self.taken.lock().unwrap().len()
    }

    /// Waits until more submissions are acknowledged.
    fn goes_on(&self) {
        let before = self.count();
        poll_until("more submissions", || (self.count() > before + 5).then_some(()));
    }

    fn stop(self) -> Vec<Taken> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
        std::mem::take(&mut self.taken.lock().unwrap())
    }
}

/// A cluster of three voters with one state, all of whom answer.
fn is_whole(lab: &Lab, places: &[Place]) {
    places.iter().for_each(|place| lab.ready(place));
    poll_until("three voters with one state", || {
        let status = lab.operate(&places[0], &["status", "--output", "json"]);
        if !status.status.success() {
            return None;
        }
        let members = field(&status, "members");
        let voters = members.as_array()?.iter().filter(|member| member["kind"] == "voter").count();
        (voters == 3 && field(&status, "state_hashes") == "agree").then_some(())
    });
}

/// The place that leads; all of them say so.
fn leading(places: &[Place]) -> usize {
    let leads = |place: &Place| place.client().get("/health").ok()?.body["raft"]["is_leader"].as_bool();
    poll_until("one leader", || {
        let leads: Vec<bool> = places.iter().map(leads).collect::<Option<_>>()?;
        (leads.iter().filter(|leads| **leads).count() == 1).then(|| leads.iter().position(|leads| *leads))?
    })
}

/// Starts the cluster: the first member on the old folder, the others with none.
fn begin(lab: &Lab, places: &[Place]) -> Vec<Option<Process>> {
    let first = &places[0];
    std::fs::create_dir_all(&first.data).unwrap();
    tar(&["xzf", fixture().join("coordinator.tar.gz").to_str().unwrap()], &first.data);
    std::fs::rename(first.data.join("data.key"), lab.path("data.key")).unwrap();
    assert_eq!(inspected(&first.raft_dir())["state_hash"], expected()["state_hash"], "it is the fixture's");
    let mut processes = vec![Some(lab.coordinator(first, &Entrance::Has))];
    lab.ready(first);
    // Nobody has the key that the open tasks of the fixture want: the worker would look for it again and again.
    let open = first.client().get("/api/v1/tasks?limit=100").unwrap().body;
    let tasks = open["tasks"].as_array().unwrap().iter();
    for task in tasks
        .filter(|task| ["pending", "assigned", "in_progress"].contains(&task["status"].as_str().unwrap()))
    {
        let path = format!("/api/v1/tasks/{}/cancel", task["task_id"].as_str().unwrap());
        assert_eq!(first.client().post(&path, &[], &json!({})).unwrap().status, 200, "{task}");
    }
    processes.extend(places[1..].iter().map(|place| Some(lab.coordinator(place, &Entrance::Joins(first)))));
    is_whole(lab, places);
    processes
}

#[test]
fn a_cluster_that_0_1_0_began_is_restarted_one_by_one_and_no_submission_is_lost() {
    let lab = Lab::new();
    let mut places: Vec<_> =
        (1..=3).map(|n| lab.place(&format!("coordinator-{n}"), &format!("data-{n}"))).collect();
    // The others find it where its files say that it is.
    places[0].raft = RAFT_PORT;
    poll_until("port 7000, which the fixture's member has, to be free", || {
        TcpListener::bind(("127.0.0.1", RAFT_PORT)).ok().map(drop)
    });
    let mut processes = begin(&lab, &places);
    let _worker = lab.worker(&places);
    let load = Submitter::start(places.iter().map(Place::client).collect());
    load.goes_on();
    // Followers first, the leader last.
    let leader = leading(&places);
    let mut order: Vec<usize> = (0..places.len()).filter(|place| *place != leader).collect();
    order.push(leader);
    for place in order {
        let process = processes[place].take().unwrap();
        let log = lab.path(&format!("{}-{}.log", places[place].name, places[place].http));
        process.stop();
        if place == leader {
            let said = std::fs::read_to_string(log).unwrap();
            assert!(said.contains("handed the leadership over"), "it said:\n{said}");
        }
        load.goes_on();
        processes[place] = Some(lab.coordinator(&places[place], &Entrance::Has));
        is_whole(&lab, &places);
        load.goes_on();
    }
    let taken = load.stop();
    let longest = taken.iter().map(|one| one.answered - one.asked).max().unwrap();
    println!(
        "{} submissions, the longest wait for an acknowledgement {} ms",
        taken.len(),
        longest.as_millis()
    );
    assert!(longest < LONGEST);
    for one in &taken {
        let again =
            poll_until("an answer", || places.iter().find_map(|place| submit(&place.client(), one.number)));
        assert_eq!(again, one.task, "request {} was taken twice", one.number);
        for place in &places {
            let answer = place.client().get(&format!("/api/v1/tasks/{}", one.task)).unwrap();
            assert_eq!(answer.status, 200, "request {} at {}: {answer:?}", one.number, place.name);
        }
    }
    for one in taken.iter().rev().take(10) {
        proved(&places[1].client(), &one.task);
    }
    // What 0.1.0 knew is known to each of them.
    let expected = expected();
    for place in &places {
        let client = place.client();
        let done = expected["completed"].as_str().unwrap();
        assert_eq!(proved(&client, done)["proof"], expected["proof"], "{}", place.name);
        for (task, status) in expected["ended"].as_object().unwrap() {
            let answer = client.get(&format!("/api/v1/tasks/{task}")).unwrap();
            assert_eq!(answer.body["status"], *status, "{}: {answer:?}", place.name);
        }
    }
}
