//! Consensus: openraft on redb, and nothing else in zkpnet names either.
//!
//! Owned here: the log and its durability ([`RaftService::propose`] answers when a majority has fsynced the command), the
//! applied ledger and its snapshots, leadership, and the way between the members' Raft ([`PeerTransport`]). What a command
//! means is the ledger's business.
//!
//! In reading order: `types` and `config`; `log_store` (log, vote: `raft.redb`); `ledger_store`, `state_machine` and
//! `snapshot` (the applied state: `ledger.redb` and files); `transport` and `network`; `service`, which runs it all.

mod config;
mod error;
mod events;
mod files;
mod ledger_store;
mod log_store;
mod network;
mod service;
mod snapshot;
mod state_machine;
mod transport;
mod types;

pub use config::RaftConfig;
pub use error::{AdminError, LeaderInfo, ProposeError, ReadError, StartError, StoreError, UnknownReason};
pub use events::{AppliedEvents, AppliedNotice, EventStream};
pub use service::{Committed, RaftService, RaftStatus, Role};
pub use transport::{
    AdmitReply, AdmitRequest, InProcessNetwork, KeyReply, KeyRequest, KeyShelf, PeerEndpoint, PeerReply,
    PeerReport, PeerRequest, PeerTransport, Probe, TransportError,
};
pub use types::{Applied, Batch, ClusterId, Member, NodeId, StoreId, TypeConfig};

#[cfg(test)]
mod tests;
