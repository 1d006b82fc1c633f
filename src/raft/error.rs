//! The errors of this module's boundaries: the files, starting, proposing, reading.

use super::types::{NodeId, StorageError};
use crate::codec::CodecError;
use crate::ledger::RestoreError;
use openraft::{ErrorSubject, ErrorVerb, StorageIOError};
use std::path::PathBuf;

/// What to do about a file that cannot be believed; part of the messages below.
const REMEDY: &str = "stop this node, move its data directory away and let it rejoin under a new node id, or restore the \
                      directory from a backup taken while the node was stopped";

/// Something is wrong with this node's files.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has the file open.
    #[error("another zkpnet process uses {}: stop it, or give this one another data directory", file.display())]
    InUse {
        /// The file.
        file: PathBuf,
    },
    /// The file was not closed in order, and cannot be read without being mended first.
    #[error(
        "{} was not closed in order, as after a crash: start the node, which mends it, and stop it again; or inspect a copy \
         that a node was started on",
        file.display()
    )]
    NotClosed {
        /// The file.
        file: PathBuf,
    },
    /// The file is no database of ours, or is damaged as a whole.
    #[error("{} cannot be opened: {detail}; {REMEDY}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What redb says.
        detail: String,
    },
    /// The files belong to another node.
    #[error("{} belongs to node {found}, not to node {expected}: check the node id and the data directory", file.display())]
    OtherNode {
        /// The file.
        file: PathBuf,
        /// The node that runs.
        expected: NodeId,
        /// The node that wrote it.
        found: NodeId,
    },
    /// A record is damaged.
    #[error("record {key} of table {table} in {} is damaged: {source}; {REMEDY}", file.display())]
    Record {
        /// The file.
        file: PathBuf,
        /// The table.
        table: &'static str,
        /// The key, as text.
        key: String,
        /// What is wrong with it.
        source: CodecError,
    },
    /// The records are readable and do not fit together.
    #[error("{} contradicts itself: {detail}; {REMEDY}", file.display())]
    Inconsistent {
        /// The file.
        file: PathBuf,
        /// How.
        detail: String,
    },
    /// The ledger's records do not make a ledger.
    #[error("the ledger in {} cannot be restored: {source}; {REMEDY}", file.display())]
    Restore {
        /// The file.
        file: PathBuf,
        /// Why.
        source: RestoreError,
    },
    /// A folder that is to become a node's holds something already.
    #[error("{} is not empty: a restore wants an empty folder; move what is there away, or name another one", directory.display())]
    NotEmpty {
        /// The folder.
        directory: PathBuf,
    },
    /// A restore was interrupted.
    #[error("a restore into {} has begun and has not ended: run `zkpnet cluster restore` again, or empty the folder", directory.display())]
    Unfinished {
        /// The folder.
        directory: PathBuf,
    },
    /// A database operation failed; often a full or failing disk.
    #[error("{doing} {} failed: {source}; check the disk's space and health, then restart this node", file.display())]
    Database {
        /// The file.
        file: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What redb says.
        source: Box<redb::Error>,
    },
    /// A file operation failed.
    #[error("{doing} {} failed: {source}; check the disk's space and health, then restart this node", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// A snapshot is no snapshot of ours, or a damaged one.
    #[error("snapshot {} is refused: {detail}", file.display())]
    Snapshot {
        /// The file.
        file: PathBuf,
        /// Why.
        detail: String,
    },
    /// A value cannot be encoded.
    #[error(transparent)]
    Encode(#[from] CodecError),
    /// The store is closed, or its writer thread has ended.
    #[error("the store in {} is closed", file.display())]
    Closed {
        /// The file.
        file: PathBuf,
    },
    /// An earlier write failed: nothing more is applied, so that this node cannot diverge from the others.
    #[error("an earlier write to {} failed; restart this node", file.display())]
    Failed {
        /// The file.
        file: PathBuf,
    },
}

impl StoreError {
    /// As openraft wants it: fatal to the node.
    pub(crate) fn into_raft(self, subject: ErrorSubject<NodeId>, verb: ErrorVerb) -> StorageError {
        StorageIOError::new(subject, verb, &self).into()
    }

    pub(crate) fn reading_logs(self) -> StorageError {
        self.into_raft(ErrorSubject::Logs, ErrorVerb::Read)
    }

    pub(crate) fn writing_logs(self) -> StorageError {
        self.into_raft(ErrorSubject::Logs, ErrorVerb::Write)
    }

    pub(crate) fn writing_ledger(self) -> StorageError {
        self.into_raft(ErrorSubject::StateMachine, ErrorVerb::Write)
    }

    pub(crate) fn in_snapshot(self, verb: ErrorVerb) -> StorageError {
        self.into_raft(ErrorSubject::Snapshot(None), verb)
    }
}

/// The Raft service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting makes no sense.
    #[error("raft configuration: {0}")]
    Config(String),
    /// The files cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread or runtime could not be made.
    #[error("raft thread: {0}")]
    Thread(#[source] std::io::Error),
    /// The operating system has no randomness.
    #[error("no randomness to name the store with: {0}")]
    Randomness(String),
    /// openraft refused the state that it found.
    #[error("raft: {0}")]
    Raft(String),
}

/// The leader, as far as this node knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderInfo {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where its Raft port is reached.
    pub address: String,
}

/// A command was not committed, or it is not known whether it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Refused for sure: this node does not lead.
    #[error("this node is not the leader")]
    NotLeader {
        /// Who is, if known.
        leader: Option<LeaderInfo>,
    },
    /// Refused for sure: too much is waiting already.
    #[error("too many proposals are waiting")]
    Overloaded,
    /// Refused for sure: the command alone is larger than an entry may be.
    #[error("the command has {bytes} bytes, an entry holds {bytes_max}")]
    TooLarge {
        /// Its encoded size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// Refused for sure: Raft has stopped on this node.
    #[error("raft has stopped on this node")]
    Stopped,
    /// The command is in the log or on its way there: it may have been committed, or be committed later.
    #[error("the outcome is unknown: {reason}")]
    OutcomeUnknown {
        /// Why nothing more is known.
        reason: UnknownReason,
    },
}

impl ProposeError {
    /// Whether the command certainly has no effect, now or later.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        !matches!(self, Self::OutcomeUnknown { .. })
    }
}

/// Why the outcome of a proposal is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownReason {
    /// It was not committed within the time limit.
    #[error("no majority confirmed it in time")]
    TimedOut,
    /// Another leader took over while it was in the log.
    #[error("this node was deposed after it had appended it")]
    Deposed,
    /// Raft stopped while it was in the log.
    #[error("raft stopped on this node after it had appended it")]
    Stopped,
}

/// A current read is not possible here and now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// This node does not lead.
    #[error("this node is not the leader")]
    NotLeader {
        /// Who is, if known.
        leader: Option<LeaderInfo>,
    },
    /// No majority confirmed in time that this node leads, or the ledger did not catch up in time.
    #[error("no majority confirmed in time that this node is the leader")]
    Unconfirmed,
    /// Raft has stopped on this node.
    #[error("raft has stopped on this node")]
    Stopped,
}

/// A request to the running Raft failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// Raft has stopped on this node.
    #[error("raft has stopped on this node")]
    Stopped,
    /// Refused for sure: this node does not lead; ask the one that does.
    #[error("this node is not the leader")]
    NotLeader {
        /// Who is, if known.
        leader: Option<LeaderInfo>,
    },
    /// The request makes no sense in the state that the cluster is in.
    #[error("{0}")]
    Refused(String),
    /// It had no effect and may be tried again: something else is under way, or somebody is not in reach.
    #[error("{0}")]
    Unavailable(String),
    /// It may have had its effect, or have it later.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(String),
    /// This node's files failed.
    #[error("{0}")]
    Store(String),
}
