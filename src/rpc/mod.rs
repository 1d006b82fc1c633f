//! Workers over gRPC: the coordinator's port for them, and the worker's way to whichever coordinator leads.
//!
//! The only module that names tonic and prost. It decides nothing: requests are turned into the worker registry's messages
//! and back, and the ledger judges what they are worth. Every message is bounded, every call has a time limit, and a
//! connection that has gone quiet is noticed by HTTP/2 pings.
//!
//! Who may speak shows the cluster's token or a certificate with a fitting role, when the process is given either; TLS
//! configurations are read anew for every connection, so that certificates can be replaced while the process runs.

mod addresses;
mod client;
mod dial;
mod door;
mod keys;
mod otlp;
mod server;
mod wire;

pub use client::{ClientError, ClientOptions, RemoteCoordinator};
pub use otlp::{OtlpOptions, export as export_spans};
pub use server::{RunningRpc, ServeOptions, Topology, serve};

use std::time::Duration;

/// Metadata that names the leader's worker port.
const LEADER_KEY: &str = "zkpnet-leader";
/// The largest message of either side: a piece of a key is a quarter of it, everything else far smaller.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes of a key in one message.
const KEY_PIECE_BYTES: usize = 1 << 20;
/// An HTTP/2 ping is due after so much silence, on both sides.
const PING_EVERY: Duration = Duration::from_secs(1);
/// A connection whose ping is not answered within this time is dead.
const PING_LIMIT: Duration = Duration::from_secs(2);
/// A TCP connection or a TLS handshake takes at most this long.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
