//! Consensus: openraft on redb, and nothing else in zkpnet names either.
//!
//! Owned here: the log and its durability ([`RaftService::propose`] answers when a majority has fsynced the command), the
//! applied ledger and its snapshots, leadership, and the way between the members' Raft ([`PeerTransport`]). What a command
//! means is the ledger's business.
//!
//! In reading order: `types` and `config`; `log_store` (log, vote: `raft.redb`); `ledger_store`, `state_machine` and
//! `snapshot` (the applied state: `ledger.redb` and files), `state_hash` to compare it; `transport`, `network` and
//! `endpoint`; `service`, which runs it all; and what openraft leaves out: `guard` (who may stand for election, and who may
//! go on leading), `transfer`, `members`. Outside of a running cluster: `inspect`; `image`, the ledger as bytes to keep, `refound`,
//! a new cluster from it, and `salvage`, the same from the files of a node that does not run.

mod config;
mod endpoint;
mod enlist;
mod error;
mod events;
mod files;
mod guard;
mod image;
mod inspect;
mod ledger_store;
mod log_store;
mod members;
mod network;
mod refound;
mod salvage;
mod service;
mod snapshot;
mod state_hash;
mod state_machine;
mod transfer;
mod transport;
mod types;

pub use config::RaftConfig;
pub use enlist::EnlistError;
pub use error::{AdminError, LeaderInfo, ProposeError, ReadError, StartError, StoreError, UnknownReason};
pub use events::{AppliedEvents, AppliedNotice, EventStream};
pub use image::{ImageError, ImageSummary, LedgerImage, read_image};
pub use inspect::{InspectedMember, InspectedSnapshot, Inspection, inspect};
pub use log_store::StoreIdentity;
pub use members::{MemberStatus, Standing};
pub use refound::{Founder, Refounding};
pub use salvage::{SalvageError, Salvaged, salvage};
pub use service::{Committed, NodeAbout, RaftService, RaftStatus, Role};
pub use transport::{
    AddressError, AdmitReply, AdmitRequest, Aim, BindError, Enrolment, Identity, InProcessNetwork, KeyReply,
    KeyRequest, KeyShelf, MembershipView, PeerEndpoint, PeerReply, PeerReport, PeerRequest, PeerTransport,
    Probe, Refusal, Refused, TcpOptions, TcpTransport, TransportError,
};
pub use types::{Applied, Batch, ClusterId, Member, NodeId, StoreId, TypeConfig};

#[cfg(test)]
mod tests;
