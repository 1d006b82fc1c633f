//! A server behind a load balancer that is as ready, and leads, as a test says. It answers every request with its name, but for writes
//! that a coordinator gets which does not lead.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct Backend {
    pub(crate) addr: SocketAddr,
    state: Arc<State>,
}

struct State {
    name: &'static str,
    /// Takes writes only while it leads.
    is_coordinator: bool,
    is_ready: AtomicBool,
    leads: AtomicBool,
    is_down: AtomicBool,
}

impl Backend {
    /// A gateway, which takes everything.
    pub(crate) fn start(name: &'static str) -> Self {
        Self::start_as(name, false)
    }

    /// A coordinator, which follows at first.
    pub(crate) fn start_coordinator(name: &'static str) -> Self {
        Self::start_as(name, true)
    }

    fn start_as(name: &'static str, is_coordinator: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (is_ready, leads, is_down) =
            (AtomicBool::new(true), AtomicBool::new(false), AtomicBool::new(false));
        let state = Arc::new(State { name, is_coordinator, is_ready, leads, is_down });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if shared.is_down.load(Ordering::SeqCst) {
                    // The listener ends with this thread: connections are refused from now on.
                    return;
                }
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Self { addr, state }
    }

    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.state.is_ready.store(is_ready, Ordering::SeqCst);
    }

    pub(crate) fn set_leading(&self, leads: bool) {
        self.state.leads.store(leads, Ordering::SeqCst);
    }

    /// Takes no connections any more.
    pub(crate) fn stop(&self) {
        self.state.is_down.store(true, Ordering::SeqCst);
        // Wakes the listener, which then goes; whoever finds it gone has seen the same.
        while TcpStream::connect(self.addr).is_ok() {
            std::thread::yield_now();
        }
    }
}

fn serve(mut stream: TcpStream, state: &State) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    // Whoever has the key can check a proof.
    let is_write = method == "POST" && target != "/api/v1/proofs/verify";
    let mut length = 0;
    loop {
        let mut header = String::new();
        match reader.read_line(&mut header) {
            Ok(read) if read > 0 && header.trim() != "" => {
                if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
            }
            _ => break,
        }
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let is_ready = state.is_ready.load(Ordering::SeqCst);
    let leads = state.leads.load(Ordering::SeqCst);
    let (status, text) = match target {
        _ if is_write && state.is_coordinator && !leads => {
            ("503 Service Unavailable", r#"{"code":"no_leader"}"#.to_owned())
        }
        "/readyz" if is_ready => ("200 OK", "ok\n".to_owned()),
        "/readyz" | "/unless-unready" if !is_ready => ("503 Service Unavailable", "draining\n".to_owned()),
        // As compact as a coordinator's.
        "/health" => {
            ("200 OK", format!(r#"{{"status":"healthy","raft":{{"state":"x","is_leader":{leads}}}}}"#))
        }
        _ => ("200 OK", state.name.to_owned()),
    };
    let length = text.len();
    let _ =
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}");
}
