//! Exports spans to an OpenTelemetry collector: OTLP over HTTP, in protobuf (`POST /v1/traces`).
//!
//! The messages are the few of OTLP 1 that a span needs; their numbers are those of `opentelemetry/proto/trace/v1`. One thread
//! sends them, in batches: what the collector does not take is tried once more and then dropped and counted, and what
//! waits meanwhile is bounded before it gets here (`telemetry::trace`).

use crate::telemetry::table;
use crate::telemetry::trace::{Attribute, ExportQueue, FinishedSpan, SpanKind};
use prost::Message;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Spans in one request.
const BATCH_MAX: usize = 512;
/// A span is sent at most this much later than it ended.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// A request to the collector takes at most this long.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// Of what a collector answers, so many bytes are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// Who exports, and where to.
#[derive(Clone, Debug)]
pub struct OtlpOptions {
    /// The collector's address, such as `http://127.0.0.1:4318`; `/v1/traces` is appended.
    pub endpoint: String,
    /// The service's name, such as `zkpnet-worker`.
    pub service: String,
    /// The name of this instance of it.
    pub instance: String,
}

/// Starts the thread that exports what comes through `queue`, for as long as the process lives.
///
/// # Errors
/// The thread cannot be started.
pub fn export(options: OtlpOptions, queue: ExportQueue) -> std::io::Result<()> {
    std::thread::Builder::new().name("otlp".to_owned()).spawn(move || run(&options, &queue)).map(drop)
}

fn run(options: &OtlpOptions, ExportQueue(spans): &ExportQueue) {
    let config = ureq::Agent::config_builder().timeout_global(Some(SEND_LIMIT)).http_status_as_error(true);
    let agent: ureq::Agent = config.build().into();
    let url = format!("{}/v1/traces", options.endpoint.trim_end_matches('/'));
    let [exported, failed] = ["exported", "failed"].map(|outcome| table::TRACE_SPANS.counter(&[outcome]));
    let mut is_well = true;
    while let Ok(first) = spans.recv() {
        let mut batch = vec![first];
        let until = Instant::now() + BATCH_WAIT;
        while batch.len() < BATCH_MAX {
            match spans.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(span) => batch.push(span),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        let count = batch.len() as u64;
        let body = request(options, batch).encode_to_vec();
        let sent = send(&agent, &url, &body).or_else(|_| send(&agent, &url, &body));
        match &sent {
            Ok(()) => exported.increment(count),
            Err(_) => failed.increment(count),
        }
        // Told once until it changes: a collector that is away is away for every batch.
        match (is_well, sent) {
            (true, Err(error)) => tracing::warn!(%url, %error, "traces are not exported"),
            (false, Ok(())) => tracing::info!(%url, "traces are exported again"),
            (was_well, sent) => {
                debug_assert_eq!(was_well, sent.is_ok());
                continue;
            }
        }
        is_well = !is_well;
    }
}

fn send(agent: &ureq::Agent, url: &str, body: &[u8]) -> Result<(), ureq::Error> {
    let mut answer = agent.post(url).content_type("application/x-protobuf").send(body)?;
    // Read to its end, so that the connection can be used again; what it says of single spans helps nobody.
    let _ = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    Ok(())
}

fn request(options: &OtlpOptions, batch: Vec<FinishedSpan>) -> ExportTraceServiceRequest {
    let text = |key: &str, value: &str| KeyValue::of(key, AnyValue::text(value));
    let resource = Resource {
        attributes: vec![
            text("service.name", &options.service),
            text("service.instance.id", &options.instance),
            text("service.version", env!("CARGO_PKG_VERSION")),
        ],
    };
    let scope = InstrumentationScope { name: "zkpnet".to_owned() };
    let scope_spans = ScopeSpans { scope: Some(scope), spans: batch.into_iter().map(OtlpSpan::of).collect() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope_spans] };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<OtlpSpan>,
}

#[derive(Clone, PartialEq, Message)]
struct InstrumentationScope {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct OtlpSpan {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<SpanStatus>,
}

/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct SpanStatus {
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "any_value::Value", tags = "1, 3, 4")]
    value: Option<any_value::Value>,
}

mod any_value {
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(super) enum Value {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(int64, tag = "3")]
        Count(i64),
        #[prost(double, tag = "4")]
        Number(f64),
    }
}

impl KeyValue {
    fn of(key: &str, value: AnyValue) -> Self {
        Self { key: key.to_owned(), value: Some(value) }
    }
}

impl AnyValue {
    fn text(text: &str) -> Self {
        Self { value: Some(any_value::Value::Text(text.to_owned())) }
    }

    fn of(attribute: Attribute) -> Self {
        let value = match attribute {
            Attribute::Text(text) => any_value::Value::Text(text),
            Attribute::Count(count) => any_value::Value::Count(i64::try_from(count).unwrap_or(i64::MAX)),
            Attribute::Number(number) => any_value::Value::Number(number),
        };
        Self { value: Some(value) }
    }
}

impl OtlpSpan {
    fn of(span: FinishedSpan) -> Self {
        let began = span.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let id = |id: u64| if id == 0 { Vec::new() } else { id.to_be_bytes().to_vec() };
        let kind = match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        };
        let attributes = span.attributes.into_iter();
        Self {
            trace_id: span.context.trace().to_bytes().to_vec(),
            span_id: id(span.context.span()),
            parent_span_id: id(span.parent),
            name: span.name.to_owned(),
            kind,
            start_time_unix_nano: nanos(began),
            end_time_unix_nano: nanos(began + span.took),
            attributes: attributes.map(|(key, value)| KeyValue::of(key, AnyValue::of(value))).collect(),
            status: span.has_failed.then_some(SpanStatus { code: STATUS_ERROR }),
        }
    }
}
