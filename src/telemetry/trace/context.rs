//! Who a span belongs to: the identifiers of W3C Trace Context.

use std::fmt;
use uuid::Uuid;

/// A trace's id; never zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

impl TraceId {
    /// The sixteen bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span within its trace, as it is passed on to whoever works for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    /// The span; zero for a trace that has none yet.
    span: u64,
    is_sampled: bool,
}

/// Bytes of a `traceparent` of the version that we write.
const LENGTH: usize = 55;

impl TraceContext {
    /// A new trace without a span yet.
    #[must_use]
    pub fn new_trace() -> Self {
        // Six of its bits are fixed, none of them among the last 56, of which the recommendation wants that they are random.
        let trace = TraceId(Uuid::new_v4().as_u128());
        Self { trace, span: 0, is_sampled: super::export::is_new_trace_sampled(trace.0) }
    }

    /// The trace that a task's id names: where the trace of its submission is not known.
    #[must_use]
    pub fn named_by(id: u128) -> Self {
        Self { trace: TraceId(id.max(1)), span: 0, is_sampled: super::export::is_new_trace_sampled(id) }
    }

    /// Reads a `traceparent`; what is not of the form of the recommendation is none.
    #[must_use]
    pub fn parse(header: &[u8]) -> Option<Self> {
        let (own, rest) = header.split_at_checked(LENGTH)?;
        let mut fields = own.split(|byte| *byte == b'-');
        let (version, trace, span, flags) = (
            hex(fields.next()?, 2)?,
            hex(fields.next()?, 32)?,
            hex(fields.next()?, 16)?,
            hex(fields.next()?, 2)?,
        );
        // A later version may add fields, and begins with these; 255 is forbidden.
        let is_known = version == 0 && rest.is_empty();
        let is_later = (1..255).contains(&version) && rest.first().is_none_or(|byte| *byte == b'-');
        let is_whole = fields.next().is_none() && trace != 0 && span != 0;
        let context =
            Self { trace: TraceId(trace), span: u64::try_from(span).ok()?, is_sampled: flags & 1 == 1 };
        ((is_known || is_later) && is_whole).then_some(context)
    }

    /// The `traceparent` that passes this span on; none while there is no span.
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        let flags = u8::from(self.is_sampled);
        (self.span != 0).then(|| format!("00-{}-{:016x}-{flags:02x}", self.trace, self.span))
    }

    /// The trace.
    #[must_use]
    pub const fn trace(&self) -> TraceId {
        self.trace
    }

    /// The span's id; zero for none.
    #[must_use]
    pub const fn span(&self) -> u64 {
        self.span
    }

    /// Whether whoever began the trace wants its spans.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// The same, of which nobody wants the spans.
    #[must_use]
    pub const fn unsampled(self) -> Self {
        Self { is_sampled: false, ..self }
    }

    /// A new span of the same trace.
    pub(super) fn child(&self) -> Self {
        Self { span: Uuid::new_v4().as_u64_pair().1, ..*self }
    }
}

/// Exactly so many hexadecimal digits, in lower case as the recommendation wants them.
fn hex(text: &[u8], digits: usize) -> Option<u128> {
    let is_lower = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (text.len() == digits && is_lower)
        .then(|| u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_alike() {
        let context = TraceContext::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(context.trace().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((context.span(), context.is_sampled()), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(context.traceparent().unwrap(), GOOD);
        let unsampled = GOOD.replace("-01", "-00");
        assert!(!TraceContext::parse(unsampled.as_bytes()).unwrap().is_sampled());
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = format!("cc{}-what-comes", &GOOD[2..]);
        assert_eq!(TraceContext::parse(later.as_bytes()), TraceContext::parse(GOOD.as_bytes()));
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let zeros = "0".repeat(32);
        let wrong = [
            String::new(),
            "00".to_owned(),
            GOOD.to_uppercase(),
            GOOD.replace("00-4b", "ff-4b"),
            format!("{GOOD}-more"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros),
            GOOD.replace("00f067aa0ba902b7", &zeros[..16]),
            GOOD.replace('-', "_"),
            GOOD.replace("4bf9", "4bg9"),
            GOOD.replace("4bf92f", "-bf92f"),
            format!("cc{}what-comes", &GOOD[2..]),
        ];
        for wrong in wrong {
            assert_eq!(TraceContext::parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    #[test]
    fn new_traces_differ_and_have_no_span_to_pass_on() {
        let (one, other) = (TraceContext::new_trace(), TraceContext::new_trace());
        assert_ne!(one.trace(), other.trace());
        assert_eq!(one.traceparent(), None);
        let child = one.child();
        assert_eq!((child.trace(), child.is_sampled()), (one.trace(), one.is_sampled()));
        assert_ne!(child.span(), one.child().span());
    }
}
