//! What is replicated, in openraft's terms: the type configuration, the names of nodes and clusters, and the entry.

use crate::ledger::{Command, Rejection, Reply};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

openraft::declare_raft_types!(
    /// openraft, set up for zkpnet's ledger. Snapshots are files, so that a large ledger is never held in memory twice.
    pub TypeConfig:
        D = Batch,
        R = Applied,
        NodeId = NodeId,
        Node = Member,
        SnapshotData = tokio::fs::File,
);

pub(crate) type Entry = openraft::Entry<TypeConfig>;
pub(crate) type LogId = openraft::LogId<NodeId>;
pub(crate) type StoredMembership = openraft::StoredMembership<NodeId, Member>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<NodeId, Member>;
pub(crate) type StorageError = openraft::StorageError<NodeId>;
pub(crate) type Raft = openraft::Raft<TypeConfig>;

/// A member's number in the cluster. It is given once and never to another disk: a wiped member returns under a new one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId(pub u64);

impl From<u64> for NodeId {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Draws one from the operating system's randomness.
            ///
            /// # Errors
            /// When the operating system has none to give.
            pub(crate) fn random() -> Result<Self, rand_core::Error> {
                use rand_core::RngCore as _;
                let mut bytes = [0; 16];
                rand_core::OsRng.try_fill_bytes(&mut bytes)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }
    };
}

random_id!(
    /// A cluster, named at random when it is founded, so that members of two clusters cannot be taken for each other's.
    ClusterId
);
random_id!(
    /// A node's storage, named at random when its files are made, so that a wiped disk does not pass for the old one.
    StoreId
);

/// A member as the cluster's configuration records it. It is replicated and stored: its encoding is a file format.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The name that people use.
    pub name: String,
    /// Where its Raft port is reached.
    pub address: String,
    /// The cluster it was admitted to; set by [`initialize`](super::RaftService::initialize).
    pub cluster: Option<ClusterId>,
    /// The storage that it was admitted with, where that is known.
    pub store: Option<StoreId>,
}

impl Member {
    /// A member that has not been admitted yet.
    #[must_use]
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self { name: name.into(), address: address.into(), cluster: None, store: None }
    }
}

/// One entry of the log: as many commands as were waiting when it was made, because an entry costs the leader an fsync.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Batch {
    /// The commands, in the order in which they are applied. Shared: the log's cache, the replication streams and the
    /// state machine all hold the entry.
    pub commands: Arc<Vec<Command>>,
    /// Whether this node has begun to append it; see [`AppendMark`].
    #[serde(skip)]
    pub(crate) mark: AppendMark,
}

impl Batch {
    /// A batch of these commands.
    #[must_use]
    pub fn new(commands: Vec<Command>) -> Self {
        Self { commands: Arc::new(commands), mark: AppendMark::default() }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("commands", &self.commands.len()).finish_non_exhaustive()
    }
}

/// Tells a batch that was refused before it reached the log from one that reached it and may yet be committed.
///
/// openraft answers both with `ForwardToLeader`: a proposal made to a follower, and one that a leader had appended when
/// another leader overwrote it. The second may survive on a third node and be committed by a later leader, so its proposer
/// must not be told that it was refused. The log store sets the mark before it writes.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppendMark(Arc<AtomicBool>);

impl AppendMark {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What applying an entry gave: an answer for each command of its batch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The answers; none for an entry without commands.
    pub replies: Vec<Result<Reply, Rejection>>,
}
