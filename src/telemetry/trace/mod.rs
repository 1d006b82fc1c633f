//! Following a task from the request that submitted it to its proof, across processes.
//!
//! A request brings its trace with it (W3C Trace Context, `traceparent`), or gets one. It goes along to whoever works for it:
//! from gateway to coordinator in a header, to the worker with the order and back with the report over gRPC, so that the
//! logs of all of them carry one trace id. Between submission and lease it waits in the leader's memory ([`tasks`]); it is
//! not replicated, and a task whose trace is not known has the one that its id names (`docs/decisions/0009-traces.md`).
//!
//! Owned here: the ids, the spans, and the bounded queue before whatever exports them ([`export`]). Nothing here decides
//! anything, waits for anything, or holds anything of an input.

mod context;
mod export;
mod span;
mod tasks;

pub use context::{TraceContext, TraceId};
pub use export::{ExportQueue, export_to, is_exporting};
pub use span::{Attribute, FinishedSpan, Span, SpanKind};
pub use tasks::{forget_task, of_task, remember_task};
