//! Coordinators that do what a test says: they answer, break, hang or talk nonsense. Raw sockets, since an HTTP library
//! would not let them.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// A request as it arrived; header names in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(named, _)| named == name).map(|(_, value)| value.as_str())
    }
}

/// What a coordinator does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// These bytes, and an end of the connection.
    Raw(Vec<u8>),
    /// An end of the connection without a word.
    Break,
    /// Nothing at all.
    Hang,
}

pub(crate) fn answer(status: u16, body: &Value) -> Deed {
    Deed::Answer(status, vec![("content-type", "application/json".to_owned())], body.to_string())
}

pub(crate) fn problem(status: u16, code: &str) -> Deed {
    answer(status, &json!({"status": status, "code": code, "success": false}))
}

/// The page of a cluster with these members; each is named as it names itself.
pub(crate) fn page(members: &[&Fake]) -> Deed {
    let member = |fake: &&Fake| json!({"name": fake.addr.to_string(), "http_address": fake.addr.to_string(), "kind": "voter"});
    answer(200, &json!({"success": true, "members": members.iter().map(member).collect::<Vec<_>>()}))
}

/// Submissions that were stored, by idempotency key: what a whole cluster shares.
#[derive(Clone, Default)]
pub(crate) struct Stored(Arc<Mutex<HashMap<String, String>>>);

impl Stored {
    /// Stores the submission, or finds it, and answers as a coordinator does.
    pub(crate) fn submit(&self, seen: &Seen) -> Deed {
        let key = seen.header("idempotency-key").expect("a submission without a key reached a coordinator");
        let mut stored = self.0.lock().unwrap();
        let next = format!("task-{}", stored.len());
        let task = stored.entry(key.to_owned()).or_insert(next).clone();
        answer(202, &json!({"success": true, "task_id": task, "status": "pending"}))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

type Script = Box<dyn Fn(&Seen) -> Deed + Send + Sync>;

struct Shared {
    script: Script,
    /// Whether it leads, and in which term.
    leads: Mutex<(bool, u64)>,
    /// What `/api/v1/cluster` does, and how often it did.
    page: Mutex<Deed>,
    pages: AtomicUsize,
    seen: Mutex<Vec<Seen>>,
    arrived: Condvar,
    is_down: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// A coordinator; it answers `/health` by its role, the members by a page, and everything else by its script.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Fake {
    pub(crate) fn start(leads: bool, script: impl Fn(&Seen) -> Deed + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            leads: Mutex::new((leads, 1)),
            page: Mutex::new(problem(503, "unavailable")),
            pages: AtomicUsize::new(0),
            seen: Mutex::default(),
            arrived: Condvar::new(),
            is_down: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let this = Self { addr, shared };
        let accepting = this.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.shared.is_down.load(Ordering::SeqCst) {
                    return;
                }
                accepting.shared.open.lock().unwrap().push(stream.try_clone().unwrap());
                let serving = accepting.clone();
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        this
    }

    /// An address where nobody listens.
    pub(crate) fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    pub(crate) fn set_leader(&self, leads: bool, term: u64) {
        *self.shared.leads.lock().unwrap() = (leads, term);
    }

    pub(crate) fn set_page(&self, page: Deed) {
        *self.shared.page.lock().unwrap() = page;
    }

    /// How often it was asked for the members.
    pub(crate) fn pages(&self) -> usize {
        self.shared.pages.load(Ordering::SeqCst)
    }

    /// Closes every connection, and listens no more.
    pub(crate) fn die(&self) {
        self.shared.is_down.store(true, Ordering::SeqCst);
        // The accepting thread wakes, sees that it is down, and drops the listener.
        let _ = TcpStream::connect(self.addr);
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// The requests so far, those for health and for the members left out.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Waits until so many requests have arrived.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Seen> {
        let seen = self.shared.seen.lock().unwrap();
        let (seen, timeout) = self
            .shared
            .arrived
            .wait_timeout_while(seen, crate::support::LIMIT, |seen| seen.len() < count)
            .unwrap();
        assert!(!timeout.timed_out(), "only {} requests came", seen.len());
        seen.clone()
    }

    fn serve(&self, stream: TcpStream) {
        let mut writer = stream.try_clone().unwrap();
        let mut reader = BufReader::new(stream);
        while let Some(seen) = read_request(&mut reader) {
            let deed = if seen.target == "/health" {
                self.health()
            } else if seen.target == "/api/v1/cluster" {
                self.shared.pages.fetch_add(1, Ordering::SeqCst);
                self.shared.page.lock().unwrap().clone()
            } else {
                let deed = (self.shared.script)(&seen);
                self.shared.seen.lock().unwrap().push(seen);
                self.shared.arrived.notify_all();
                deed
            };
            match deed {
                Deed::Answer(status, headers, body) => {
                    let mut text = format!("HTTP/1.1 {status} Status\r\ncontent-length: {}\r\n", body.len());
                    for (name, value) in headers {
                        text.push_str(&format!("{name}: {value}\r\n"));
                    }
                    if writer.write_all(format!("{text}\r\n{body}").as_bytes()).is_err() {
                        return;
                    }
                }
                Deed::Raw(bytes) => {
                    let _ = writer.write_all(&bytes);
                    break;
                }
                Deed::Break => break,
                Deed::Hang => {
                    // Until the other side has had enough.
                    let _ = reader.read(&mut [0]);
                    return;
                }
            }
        }
        let _ = writer.shutdown(std::net::Shutdown::Both);
    }

    fn health(&self) -> Deed {
        let (leads, term) = *self.shared.leads.lock().unwrap();
        answer(
            200,
            &json!({"status": "healthy", "coordinator_id": self.addr.to_string(), "raft": {
                "state": if leads { "Leader" } else { "Follower" }, "is_leader": leads,
                "leader_address": "somewhere:7000", "node_id": self.addr.to_string(), "term": term, "commit_index": 7, "applied_index": 7}}),
        )
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = || {
        let mut text = String::new();
        (reader.read_line(&mut text).ok()? > 0).then(|| text.trim_end().to_owned())
    };
    let first = line()?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { method, target, headers, body })
}
