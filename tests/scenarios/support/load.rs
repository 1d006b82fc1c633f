//! Clients that submit, look and withdraw while something breaks, and write down what they were told.

use super::client::Client;
use super::poll_until;
use crate::history::{Call, Recorder, Reply};
use rand_core::{RngCore as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A client does not wait longer for one answer. What it does not get by then may still happen.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two tries of one submission.
const AGAIN: Duration = Duration::from_millis(20);

/// A look is at one of the latest tasks, so that one is looked at often while things happen to it.
const RECENT: usize = 12;

/// A submission that somebody has begun.
#[derive(Clone, Debug)]
pub(crate) struct Submission {
    /// What makes its leaves unlike all others'.
    pub(crate) number: u64,
    /// The task, once that was told.
    pub(crate) task: Option<String>,
}

/// All that the clients of one cluster did.
#[derive(Clone)]
pub(crate) struct Book {
    pub(crate) recorder: Recorder,
    submissions: Arc<Mutex<BTreeMap<String, Submission>>>,
    recent: Arc<Mutex<Vec<(String, u64, String)>>>,
    acknowledged: Arc<Mutex<Vec<(Instant, Instant)>>>,
    numbers: Arc<AtomicU64>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self {
            recorder: Recorder::new(),
            submissions: Arc::default(),
            recent: Arc::default(),
            acknowledged: Arc::default(),
            numbers: Arc::new(AtomicU64::new(1)),
        }
    }

    pub(crate) fn new_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::SeqCst)
    }

    /// Notes that a submission was acknowledged.
    pub(crate) fn taken(&self, key: &str, number: u64, task: &str) {
        let submission = Submission { number, task: Some(task.to_owned()) };
        self.submissions.lock().unwrap().insert(key.to_owned(), submission);
    }

    /// Every submission that was begun, by its key.
    pub(crate) fn submissions(&self) -> BTreeMap<String, Submission> {
        self.submissions.lock().unwrap().clone()
    }

    /// The submissions whose withdrawal was acknowledged.
    pub(crate) fn withdrawn(&self) -> BTreeSet<String> {
        let operations = self.recorder.operations();
        let withdrawn = operations.into_iter().filter(|operation| operation.reply == Reply::Withdrawn);
        withdrawn.map(|operation| operation.object).collect()
    }

    /// How long after `moment` the first submission that was sent after it was acknowledged.
    pub(crate) fn acknowledged_after(&self, moment: Instant) -> Option<Duration> {
        let acknowledged = self.acknowledged.lock().unwrap();
        let later = acknowledged.iter().filter(|(sent, _)| *sent > moment);
        later.map(|(_, answered)| *answered - moment).min()
    }

    /// Acknowledged submissions so far.
    pub(crate) fn acknowledgements(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Tries a submission once. Its number is kept, so that it can be repeated.
    pub(crate) fn try_submit(&self, client: &str, server: &Client, key: &str, number: u64) -> Option<String> {
        let invoked = Instant::now();
        let reply = server.submit(key, number);
        self.recorder.note(client, key, Call::Submit, reply.clone(), invoked);
        let Reply::Taken(task) = reply else { return None };
        self.taken(key, number, &task);
        self.acknowledged.lock().unwrap().push((invoked, Instant::now()));
        self.recent.lock().unwrap().push((key.to_owned(), number, task.clone()));
        Some(task)
    }

    /// Repeats every submission that was not acknowledged until it is, as its client would.
    pub(crate) fn settle(&self, servers: &[Client]) {
        for (key, submission) in
            self.submissions().into_iter().filter(|(_, submission)| submission.task.is_none())
        {
            let mut turn = servers.iter().cycle();
            poll_until(&format!("{key} to be acknowledged"), || {
                self.try_submit("settling", turn.next().unwrap(), &key, submission.number)
            });
        }
    }

    fn some_recent(&self, draw: u64) -> Option<(String, u64, String)> {
        let recent = self.recent.lock().unwrap();
        let latest = &recent[recent.len().saturating_sub(RECENT)..];
        (!latest.is_empty()).then(|| latest[draw as usize % latest.len()].clone())
    }
}

/// Clients at work.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts so many clients, each of which uses all of the servers in turn and pauses so long between its tasks. One task in
    /// `proved` is let be; the others are withdrawn, since two cores prove a few tasks a second and take hundreds.
    pub(crate) fn start(
        book: &Book,
        addresses: &[String],
        clients: usize,
        pause: Duration,
        proved: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = (1..=clients).map(|number| {
            let mut worker = Worker {
                name: format!("client-{number}"),
                book: book.clone(),
                servers: addresses.iter().map(|address| Client::new(address, PATIENCE)).collect(),
                server: number,
                stop: Arc::clone(&stop),
                rng: rand_chacha::ChaCha8Rng::seed_from_u64(number as u64),
            };
            std::thread::spawn(move || worker.work(pause, proved))
        });
        Self { clients: clients.collect(), stop }
    }

    /// Ends the clients; what they had begun is in the book.
    pub(crate) fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // A client that panicked was told something that makes no sense.
        self.clients.drain(..).for_each(|client| client.join().unwrap());
    }
}

/// A scenario that fails takes its clients with it: the next one's hosts have the same addresses.
impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.drain(..).for_each(|client| drop(client.join()));
    }
}

struct Worker {
    name: String,
    book: Book,
    servers: Vec<Client>,
    server: usize,
    stop: Arc<AtomicBool>,
    rng: rand_chacha::ChaCha8Rng,
}

impl Worker {
    fn work(&mut self, pause: Duration, proved: u64) {
        while !self.stop.load(Ordering::SeqCst) {
            let number = self.book.new_number();
            let key = format!("request-{number}");
            self.book.submissions.lock().unwrap().insert(key.clone(), Submission { number, task: None });
            let Some(task) = self.submit(&key, number) else { return };
            self.look();
            if !number.is_multiple_of(proved) {
                self.cancel(&key, &task);
            }
            self.look();
            if number.is_multiple_of(3) {
                self.repeat();
            }
            std::thread::sleep(pause);
        }
    }

    /// Tries until it is acknowledged or the load ends.
    fn submit(&mut self, key: &str, number: u64) -> Option<String> {
        while !self.stop.load(Ordering::SeqCst) {
            let server = self.servers[self.server % self.servers.len()].clone();
            if let Some(task) = self.book.try_submit(&self.name, &server, key, number) {
                return Some(task);
            }
            self.server += 1;
            std::thread::sleep(AGAIN);
        }
        None
    }

    fn look(&mut self) {
        let Some((key, _, task)) = self.book.some_recent(self.rng.next_u64()) else { return };
        let server = &self.servers[self.rng.next_u64() as usize % self.servers.len()];
        let invoked = Instant::now();
        let (reply, _) = server.look(&task, "");
        self.book.recorder.note(&self.name, &key, Call::Look, reply, invoked);
    }

    /// Sends a submission again that was acknowledged lately, perhaps to somebody else: it must be the same task.
    fn repeat(&mut self) {
        let Some((key, number, _)) = self.book.some_recent(self.rng.next_u64()) else { return };
        let server = &self.servers[self.rng.next_u64() as usize % self.servers.len()];
        let invoked = Instant::now();
        let reply = server.submit(&key, number);
        self.book.recorder.note(&self.name, &key, Call::Submit, reply, invoked);
    }

    fn cancel(&mut self, key: &str, task: &str) {
        let invoked = Instant::now();
        let reply = self.servers[self.server % self.servers.len()].cancel(task);
        self.book.recorder.note(&self.name, key, Call::Cancel, reply, invoked);
    }
}
