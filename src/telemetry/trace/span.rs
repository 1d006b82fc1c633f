//! A piece of work within a trace: when it began, what is to be told of it, and, when it is dropped, when it ended.

use super::context::TraceContext;
use super::export;
use std::time::{Duration, Instant, SystemTime};

/// How a span stands to its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Within one process.
    Internal,
    /// A request that is served.
    Server,
    /// A request to somebody else.
    Client,
    /// Work that is handed out.
    Producer,
    /// Work that was handed out.
    Consumer,
}

/// What is told of a span: of a client's texts nothing but its request's id, which is checked, and nothing of an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// A name or an id.
    Text(String),
    /// A count.
    Count(u64),
    /// A time in seconds, or a share.
    Number(f64),
}

/// A span that has ended, as it is exported.
#[derive(Clone, Debug)]
pub struct FinishedSpan {
    /// What was done.
    pub name: &'static str,
    /// See [`SpanKind`].
    pub kind: SpanKind,
    /// Whose it is.
    pub context: TraceContext,
    /// The span that it worked for; zero for none.
    pub parent: u64,
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// What is told of it.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// Whether it failed.
    pub has_failed: bool,
}

/// A span that is under way. It is passed on by its [`Span::context`], and ends when it is dropped.
///
/// Without an exporter, or when the trace is not sampled, it is two numbers and records nothing.
#[derive(Debug)]
pub struct Span {
    context: TraceContext,
    recording: Option<Box<Recording>>,
}

#[derive(Debug)]
struct Recording {
    span: FinishedSpan,
    since: Instant,
}

impl Span {
    /// Begins a span that works for `parent`.
    #[must_use]
    pub fn begin(name: &'static str, kind: SpanKind, parent: &TraceContext) -> Self {
        let context = parent.child();
        let is_recorded = context.is_sampled() && export::is_exporting();
        let recording = is_recorded.then(|| {
            let (began, took) = (SystemTime::now(), Duration::ZERO);
            let (parent, attributes) = (parent.span(), Vec::new());
            let span =
                FinishedSpan { name, kind, context, parent, began, took, attributes, has_failed: false };
            Box::new(Recording { span, since: Instant::now() })
        });
        Self { context, recording }
    }

    /// What goes along with the work.
    #[must_use]
    pub const fn context(&self) -> TraceContext {
        self.context
    }

    /// Tells something of the span. `value` is asked for only if somebody will see it.
    pub fn tell(&mut self, name: &'static str, value: impl FnOnce() -> Attribute) {
        if let Some(recording) = &mut self.recording {
            recording.span.attributes.push((name, value()));
        }
    }

    /// Tells a name or an id.
    pub fn tell_text(&mut self, name: &'static str, value: impl ToString) {
        self.tell(name, || Attribute::Text(value.to_string()));
    }

    /// Notes that it failed.
    pub fn fail(&mut self) {
        if let Some(recording) = &mut self.recording {
            recording.span.has_failed = true;
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            let Recording { span, since } = *recording;
            export::export(FinishedSpan { took: since.elapsed(), ..span });
        }
    }
}
