//! One trace from the HTTP request to the proof: in the logs of all processes, and at a collector.

use crate::cluster::{Cluster, page, submit, until_proved};
use crate::support::poll_until;
use prost::Message;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENTS_SPAN: &str = "00f067aa0ba902b7";
/// What is to be proved: in no span.
const LEAF: &str = "0xfeedc0de";

/// Of OTLP's messages what is looked at; the numbers are those of opentelemetry-proto 1.
mod otlp {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Request {
        #[prost(message, repeated, tag = "1")]
        pub(super) resource_spans: Vec<ResourceSpans>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ResourceSpans {
        #[prost(message, optional, tag = "1")]
        pub(super) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(super) scope_spans: Vec<ScopeSpans>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ScopeSpans {
        #[prost(message, repeated, tag = "2")]
        pub(super) spans: Vec<Span>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Span {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) span_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) parent_span_id: Vec<u8>,
        #[prost(string, tag = "5")]
        pub(super) name: String,
        #[prost(fixed64, tag = "7")]
        pub(super) start: u64,
        #[prost(fixed64, tag = "8")]
        pub(super) end: u64,
        #[prost(message, repeated, tag = "9")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<Text>,
    }

    /// A value, when it is a text.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Text {
        #[prost(string, tag = "1")]
        pub(super) text: String,
    }
}

/// A span, and the service that it came from.
#[derive(Clone, Debug)]
struct Seen {
    service: String,
    span: otlp::Span,
}

impl Seen {
    fn id(&self) -> String {
        hex::encode(&self.span.span_id)
    }

    fn parent(&self) -> String {
        hex::encode(&self.span.parent_span_id)
    }
}

/// A collector that keeps what it is sent; or, once it is told, one that takes nothing.
struct Collector {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    refuses: Arc<AtomicBool>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let collector = Self {
            addr: listener.local_addr().unwrap(),
            seen: Arc::default(),
            bodies: Arc::default(),
            refuses: Arc::default(),
        };
        let (seen, bodies) = (Arc::clone(&collector.seen), Arc::clone(&collector.bodies));
        let refuses = Arc::clone(&collector.refuses);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, bodies, refuses) = (Arc::clone(&seen), Arc::clone(&bodies), Arc::clone(&refuses));
                std::thread::spawn(move || serve(stream, &seen, &bodies, &refuses));
            }
        });
        collector
    }

    /// The spans of a trace by name.
    fn of(&self, trace: &str) -> BTreeMap<String, Vec<Seen>> {
        let mut by_name: BTreeMap<String, Vec<Seen>> = BTreeMap::new();
        for seen in self.seen.lock().unwrap().iter() {
            if hex::encode(&seen.span.trace_id) == trace {
                by_name.entry(seen.span.name.clone()).or_default().push(seen.clone());
            }
        }
        by_name
    }
}

fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Seen>>, bodies: &Mutex<Vec<Vec<u8>>>, refuses: &AtomicBool) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line.to_ascii_lowercase());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    if refuses.load(Ordering::SeqCst) {
        let _ = write!(stream, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        return;
    }
    assert!(
        head.starts_with("post /v1/traces ") && head.contains("content-type: application/x-protobuf"),
        "{head}"
    );
    let request = otlp::Request::decode(body.as_slice()).unwrap();
    bodies.lock().unwrap().push(body);
    for of_resource in request.resource_spans {
        let attributes = of_resource.resource.unwrap().attributes;
        let service = attributes.iter().find(|pair| pair.key == "service.name").unwrap();
        let service = service.value.clone().unwrap().text;
        for span in of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(span.start > 0 && span.start <= span.end, "{span:?}");
            seen.lock().unwrap().push(Seen { service: service.clone(), span });
        }
    }
    let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

#[test]
fn a_trace_goes_from_the_request_to_the_proof_and_a_collector_that_is_away_stops_nothing() {
    let collector = Collector::start();
    let endpoint = ("ZKPNET_TRACING__OTLP_ENDPOINT", format!("http://{}", collector.addr));
    let format = ("ZKPNET_LOG__FORMAT", "json".to_owned());
    let mut cluster = Cluster::start("traces", 1, &[endpoint, format]);
    cluster.start_worker();
    let parent = format!("00-{TRACE}-{CLIENTS_SPAN}-01");
    let (status, task) = submit(&cluster.gateway, &[("traceparent", &parent)], LEAF);
    assert_eq!(status, 202);
    until_proved(&cluster.gateway, &task);

    let names = ["complete", "http request", "lease", "prove", "submit", "verify"];
    let spans = poll_until("the spans of the trace arrive", || {
        let spans = collector.of(TRACE);
        let is_whole = names.iter().all(|name| spans.contains_key(*name)) && spans["http request"].len() == 2;
        is_whole.then_some(spans)
    });
    assert_eq!(spans.keys().collect::<Vec<_>>(), names);
    let routes = |seen: &Seen| {
        seen.span
            .attributes
            .iter()
            .any(|pair| pair.value.as_ref().is_some_and(|value| value.text == "/readyz"))
    };
    assert!(!collector.seen.lock().unwrap().iter().any(routes), "a probe is a trace");
    let request = |service: &str| spans["http request"].iter().find(|seen| seen.service == service).unwrap();
    let (gateway, coordinator) = (request("zkpnet-gateway"), request("zkpnet-coordinator"));
    let [complete, lease, prove, submit_span, verify] =
        ["complete", "lease", "prove", "submit", "verify"].map(|name| &spans[name][0]);
    assert_eq!(prove.service, "zkpnet-worker");
    let chain = [
        (gateway.parent(), CLIENTS_SPAN.to_owned()),
        (coordinator.parent(), gateway.id()),
        (submit_span.parent(), coordinator.id()),
        (lease.parent(), submit_span.id()),
        (prove.parent(), lease.id()),
        (verify.parent(), prove.id()),
        (complete.parent(), prove.id()),
    ];
    for (parent, expected) in chain {
        assert_eq!(parent, expected, "{spans:?}");
    }
    for (process, line) in [
        ("gateway", "\"message\":\"request\""),
        ("coordinator-1", "\"message\":\"request\""),
        ("coordinator-1", "leased a task"),
        ("worker-1", "made a proof"),
        ("coordinator-1", "completed a task"),
    ] {
        let log = cluster.log(process);
        let told = log.lines().any(|told| told.contains(line) && told.contains(TRACE));
        assert!(told, "{process} says nothing of {line:?} in the trace:\n{log}");
    }
    let digits = LEAF.trim_start_matches("0x");
    for body in collector.bodies.lock().unwrap().iter() {
        let text = String::from_utf8_lossy(body);
        assert!(!text.contains(digits), "a span tells of an input");
    }

    collector.refuses.store(true, Ordering::SeqCst);
    let (_, task) = submit(&cluster.gateway, &[], "0xfeedc0df");
    until_proved(&cluster.gateway, &task);
    poll_until("spans that were not taken are counted", || {
        let page = page(&cluster.coordinators[0]);
        let line =
            page.lines().find(|line| line.starts_with("zkpnet_trace_spans_total{outcome=\"failed\"}"))?;
        line.rsplit_once(' ')?.1.parse::<f64>().ok().filter(|failed| *failed > 0.0)
    });
}
