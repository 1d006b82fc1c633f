//! Makes the files of the only member of a new cluster out of another one's ledger ([`super::image`]).
//!
//! What is made looks as after a snapshot that was received: the ledger up to its entry, a log that begins after it, and a
//! membership of one. The cluster's name and the storage's are drawn anew, so that members of the old cluster refuse the
//! new one's and the other way around. The term is higher than any in the ledger: what the old cluster's leaders decided
//! and had not written is refused when it is applied.
//!
//! Refused: a folder that holds anything. A file says that the work has begun and has not ended; no node starts beside it, so
//! that a second try may remove whatever is there.

use super::error::{StartError, StoreError};
use super::events;
use super::files::sync_directory;
use super::log_store::{LogLimits, LogStore};
use super::snapshot::{Item, SnapshotDirectory, SnapshotReader, SnapshotWriter, file_error};
use super::state_machine::StateMachine;
use super::types::{ClusterId, Member, NodeId, SnapshotMeta, StoredMembership};
use crate::ledger::Digest;
use openraft::storage::RaftLogStorage as _;
use openraft::{Membership, Vote};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Says that a restore has begun and has not ended.
const UNFINISHED: &str = "restore.unfinished";
/// What a freshly made file system holds.
const LOST_AND_FOUND: &str = "lost+found";
/// There is no limit to what an operator restores.
const SNAPSHOT_BYTES_MAX: u64 = u64::MAX - 1;
const NO_LIMITS: LogLimits = LogLimits { cache_bytes_max: 0, message_bytes_max: 0 };

/// The one member that the new cluster begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founder {
    /// Its number.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Where the others will reach its Raft port.
    pub address: String,
}

/// A folder that is being made into a member's.
#[derive(Debug)]
pub struct Refounding {
    directory: PathBuf,
}

impl Refounding {
    /// Takes an empty folder, or makes it; what an earlier try left behind is removed. Blocks.
    ///
    /// # Errors
    /// The folder holds something, or cannot be written to.
    pub fn begin(directory: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(directory).map_err(file_error(directory, "creating"))?;
        let marker = directory.join(UNFINISHED);
        let is_second_try = marker.exists();
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(file_error(directory, "reading"))? {
            let entry = entry.map_err(file_error(directory, "reading"))?;
            if entry.file_name() != LOST_AND_FOUND && entry.path() != marker {
                found.push(entry.path());
            }
        }
        if !found.is_empty() && !is_second_try {
            return Err(StoreError::NotEmpty { directory: directory.to_owned() });
        }
        for path in found {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(file_error(&path, "removing"))?;
        }
        let text = "zkpnet cluster restore has begun here and has not ended; run it again\n";
        fs::write(&marker, text).map_err(file_error(&marker, "writing"))?;
        sync_directory(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// Makes the files of `founder` from an image that was checked before, and gives the new cluster's name. Blocks.
    ///
    /// # Errors
    /// The image does not give the ledger of `state_hash`, or the disk fails.
    pub fn write(
        &self,
        image: impl Read,
        state_hash: Digest,
        founder: &Founder,
    ) -> Result<ClusterId, StartError> {
        // The log store speaks to its writer thread through channels; nothing else here waits.
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(StartError::Thread)?;
        let directory = &self.directory;
        let mut log = LogStore::open(&directory.join("raft.redb"), founder.node, NO_LIMITS)?;
        let cluster = ClusterId::random().map_err(|error| StartError::Randomness(error.to_string()))?;
        let member = Member {
            name: founder.name.clone(),
            address: founder.address.clone(),
            cluster: Some(cluster),
            store: Some(log.store_id()),
        };
        let meta = publish(directory, image, founder.node, member)?;
        let Some(last) = meta.last_log_id else {
            return Err(StoreError::Inconsistent {
                file: directory.clone(),
                detail: "the image ends at no entry".to_owned(),
            }
            .into());
        };
        // Nobody listens to what is applied.
        let (sink, _events) = events::channel(1);
        let machine = StateMachine::open(directory, SNAPSHOT_BYTES_MAX, sink)?;
        let made = machine.reader().state_hash().map(|(_, hash)| hash);
        if made != Some(state_hash) {
            let made = made.map_or_else(|| "none".to_owned(), |hash| hash.to_string());
            let detail = format!("its state hash is {made}, and {state_hash} was to come out");
            return Err(StoreError::Inconsistent { file: directory.join("ledger.redb"), detail }.into());
        }
        machine.flush()?;
        let vote = Vote::new(last.leader_id.term + 1, founder.node);
        runtime.block_on(async {
            log.join_cluster(cluster).await?;
            let stored = |error: openraft::StorageError<NodeId>| StartError::Raft(error.to_string());
            log.save_vote(&vote).await.map_err(stored)?;
            log.purge(last).await.map_err(stored)
        })?;
        Ok(cluster)
    }

    /// Ends it: from now on a node starts here. Blocks.
    ///
    /// # Errors
    /// The disk fails.
    pub fn finish(self) -> Result<(), StoreError> {
        sync_directory(&self.directory)?;
        let marker = self.directory.join(UNFINISHED);
        fs::remove_file(&marker).map_err(file_error(&marker, "removing"))?;
        sync_directory(&self.directory)
    }
}

/// Refuses a folder in which a restore has not ended.
pub(super) fn refuse_unfinished(directory: &Path) -> Result<(), StoreError> {
    if directory.join(UNFINISHED).exists() {
        return Err(StoreError::Unfinished { directory: directory.to_owned() });
    }
    Ok(())
}

/// Writes the image as a published snapshot of a cluster of one, which the state machine takes over when it is opened.
fn publish(
    directory: &Path,
    image: impl Read,
    node: NodeId,
    member: Member,
) -> Result<SnapshotMeta, StoreError> {
    let snapshots = SnapshotDirectory::open(&directory.join("snapshots"), SNAPSHOT_BYTES_MAX)?;
    let mut reader = SnapshotReader::new(image, directory)?;
    let last = reader.meta().last_log_id;
    let membership = Membership::new(vec![BTreeSet::from([node])], BTreeMap::from([(node, member)]));
    let index = last.map_or(0, |id| id.index);
    let meta = SnapshotMeta {
        last_log_id: last,
        last_membership: StoredMembership::new(last, membership),
        snapshot_id: format!("{index}-{}", uuid::Uuid::now_v7().simple()),
    };
    let part = snapshots.part();
    let mut writer = SnapshotWriter::create(&part, &meta)?;
    while let Some(item) = reader.next_item()? {
        match item {
            Item::Record { key, value } => writer.record(&key, &value)?,
            Item::Body { key, value } => writer.body(&key, &value)?,
        }
    }
    writer.finish()?;
    snapshots.publish(&part, &meta)?;
    Ok(meta)
}
