//! What is in the files of a node that does not run. Nothing is written or created: a missing folder is an error, and so
//! are files that a node has open, or that were not closed in order and would have to be mended before they can be read.
//!
//! Every record is checked on the way, so this also tells whether a node would start on these files.

use super::error::StoreError;
use super::files::{DatabaseFile, guarded};
use super::ledger_store;
use super::log_store::{self, LogContents};
use super::snapshot::{SnapshotReader, file_error};
use super::state_hash::StateHash;
use super::types::{ClusterId, LogId, NodeId, StoreId, StoredMembership};
use crate::ledger::{Digest, LogIndex, LogPosition, Record, TaskStatus, Term};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// redb's cache while a file is read once from its beginning to its end.
const CACHE_BYTES: usize = 16 << 20;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// The node's number; none before its first start.
    pub node: Option<NodeId>,
    /// The storage's name.
    pub store: Option<StoreId>,
    /// The cluster, once it has heard of it.
    pub cluster: Option<ClusterId>,
    /// Its term, and whom it follows or voted for in it.
    pub vote: Option<(Term, NodeId)>,
    /// The newest entry of the log.
    pub last_log: Option<LogPosition>,
    /// The newest entry that the log has dropped.
    pub purged: Option<LogPosition>,
    /// The newest entry that it had heard to be committed, as far as that was written.
    pub committed: Option<LogPosition>,
    /// The newest entry in the applied ledger.
    pub applied: Option<LogPosition>,
    /// The members as of that entry.
    pub members: Vec<InspectedMember>,
    /// Published snapshots, the newest last.
    pub snapshots: Vec<InspectedSnapshot>,
    /// Numbers of tasks.
    pub tasks: BTreeMap<TaskStatus, u64>,
    /// Numbers of circuits and workers.
    pub circuits: u64,
    /// See [`Self::circuits`].
    pub workers: u64,
    /// What the archive is still to be told.
    pub waiting_for_archive: u64,
    /// The applied ledger's hash.
    pub state_hash: Option<Digest>,
}

/// A member in the applied membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedMember {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Where its Raft port is reached.
    pub address: String,
    /// Whether it has a vote.
    pub standing: super::Standing,
    /// Its storage, when known.
    pub store: Option<StoreId>,
}

/// A published snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectedSnapshot {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// The newest entry in it, or what is wrong with it.
    pub content: Result<Option<LogPosition>, String>,
}

/// Reads the files in `directory`. Blocks, for as long as reading all of them takes.
///
/// # Errors
/// When the directory or its log is missing, or a file is in use, was not closed in order, or is damaged.
pub fn inspect(directory: &Path) -> Result<Inspection, StoreError> {
    let log = DatabaseFile::open_for_reading(&directory.join("raft.redb"), CACHE_BYTES)?;
    let mut found = of_log(&log_store::contents(&log)?);
    let ledger = directory.join("ledger.redb");
    // A storage that was given a name only has no ledger yet.
    if ledger.exists() {
        add_ledger(&mut found, &DatabaseFile::open_for_reading(&ledger, CACHE_BYTES)?)?;
    }
    let snapshots = directory.join("snapshots");
    if snapshots.exists() {
        found.snapshots = snapshots_in(&snapshots)?;
    }
    Ok(found)
}

fn of_log(log: &LogContents) -> Inspection {
    let vote = log.vote.as_ref();
    Inspection {
        node: log.node,
        store: log.store,
        cluster: log.cluster,
        vote: vote.and_then(|vote| Some((Term(vote.leader_id.term), vote.leader_id.voted_for()?))),
        last_log: log.last.map(position),
        purged: log.purged.map(position),
        committed: log.committed.map(position),
        ..Inspection::default()
    }
}

fn add_ledger(found: &mut Inspection, file: &DatabaseFile) -> Result<(), StoreError> {
    let (ledger, progress) = guarded(&file.path, || ledger_store::load(file))?;
    found.applied = progress.applied.map(position);
    found.members = members(&progress.membership);
    for record in ledger.records() {
        match record {
            Record::Task(task) => *found.tasks.entry(task.status()).or_default() += 1,
            Record::Circuit(_) => found.circuits += 1,
            Record::Worker(_) => found.workers += 1,
            Record::Outbox(_) => found.waiting_for_archive += 1,
            Record::Meta(_) | Record::Archive(_) => {}
        }
    }
    let index = found.applied.map(|applied| applied.index);
    found.state_hash = StateHash::of(&ledger, index)?.newest().map(|(_, digest)| digest);
    Ok(())
}

fn members(stored: &StoredMembership) -> Vec<InspectedMember> {
    let is_voter = |id: NodeId| stored.voter_ids().any(|voter| voter == id);
    let nodes = stored.nodes().map(|(&id, member)| InspectedMember {
        id,
        name: member.name.clone(),
        address: member.address.clone(),
        standing: if is_voter(id) { super::Standing::Voter } else { super::Standing::Learner },
        store: member.store,
    });
    nodes.collect()
}

fn snapshots_in(directory: &Path) -> Result<Vec<InspectedSnapshot>, StoreError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(file_error(directory, "reading"))? {
        let file = entry.map_err(file_error(directory, "reading"))?.path();
        if file.extension().is_none_or(|extension| extension != "zkpsnap") {
            continue;
        }
        let bytes = std::fs::metadata(&file).map_err(file_error(&file, "reading"))?.len();
        let read = SnapshotReader::open(&file).and_then(SnapshotReader::validate);
        let content = match read {
            Ok((meta, _)) => Ok(meta.last_log_id.map(position)),
            Err(error) => Err(error.to_string()),
        };
        found.push(InspectedSnapshot { file, bytes, content });
    }
    found.sort_by(|one, other| one.file.cmp(&other.file));
    Ok(found)
}

fn position(id: LogId) -> LogPosition {
    LogPosition { term: Term(id.leader_id.term), index: LogIndex(id.index) }
}
