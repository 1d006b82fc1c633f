//! The JSON API: a thin translation between HTTP and the front desk's messages.
//!
//! Owns the forms of requests and answers, their limits, their errors (one form, RFC 9457), and what is measured and logged
//! of them. Refuses to decide anything about tasks: what the front desk says is what the client is told. Bodies may hold
//! secrets, so nothing here writes one to a log or an error.
//!
//! In reading order: `server` (the socket), `routes` (the paths), `observe` (what happens around every request), `problem`
//! and `refusals` (errors), `body`, `json`, `fields`, `query` (reading requests strictly), then the handlers: `tasks`,
//! `proofs`, `circuits`, `health`, `metrics`, `openapi`, `root`.

mod backup;
mod body;
mod circuits;
mod cluster;
mod cursor;
mod fields;
mod health;
mod json;
mod meters;
mod metrics;
mod observe;
mod openapi;
mod problem;
mod proofs;
mod query;
mod refusals;
mod request_id;
mod root;
mod routes;
mod server;
mod state;
mod tasks;
mod time_text;
mod trace_parent;
mod workers;

pub use openapi::openapi_json;
pub use problem::{ProblemBody, ProblemCode};
pub use server::{HttpError, HttpOptions, RunningServer, start};
pub use state::{AdminGate, AppState, Phase, Readiness};
// What another server of the same API needs: the gateway.
pub(crate) use body::receive;
pub(crate) use metrics::metrics_page;
pub(crate) use problem::Problem;
pub(crate) use request_id::RequestId;
pub(crate) use root::root;
pub(crate) use routes::{get, post, unknown_path};
pub(crate) use server::{limits, serve};
pub(crate) use state::Limits;
pub(crate) use tasks::read::requested_wait;
pub(crate) use time_text::parse_duration;
pub(crate) use trace_parent::{TRACEPARENT, span_of};
