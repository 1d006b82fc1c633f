//! Whose storage `raft.redb` is: the store's own name, drawn when the file is made; the node's number, which a joiner
//! learns only when it has been admitted under that name; and the cluster.

use super::{DATABASE_CACHE_BYTES, LOG, LogLimits, META, decode_meta, load, meta};
use crate::codec;
use crate::raft::error::{StartError, StoreError};
use crate::raft::files::{DatabaseFile, guarded};
use crate::raft::refound::refuse_unfinished;
use crate::raft::types::{ClusterId, LogId, NodeId, StoreId};
use openraft::Vote;
use redb::Durability;
use std::path::Path;

/// What a data directory says of itself, whether or not a node was ever started on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The storage's name.
    pub store: StoreId,
    /// The number of the node that it belongs to; none before its first start.
    pub node: Option<NodeId>,
    /// The cluster that it belongs to, once it has heard of it.
    pub cluster: Option<ClusterId>,
}

impl StoreIdentity {
    /// Reads the identity of the files in `directory`, and makes one if there is none: directory, `raft.redb`, and a name.
    /// Nothing is open afterwards. Blocks.
    ///
    /// # Errors
    /// When the files are in use or damaged, or cannot be made.
    pub fn prepare(directory: &Path) -> Result<Self, StartError> {
        std::fs::create_dir_all(directory).map_err(|source| StoreError::File {
            file: directory.to_owned(),
            doing: "creating",
            source,
        })?;
        refuse_unfinished(directory)?;
        let file = DatabaseFile::open(&directory.join("raft.redb"), DATABASE_CACHE_BYTES)?;
        claim(&file, None)
    }
}

/// Makes the tables and names the store, if the file is new; gives it to `node`, unless it belongs to another one.
pub(super) fn claim(file: &DatabaseFile, node: Option<NodeId>) -> Result<StoreIdentity, StartError> {
    let drawn = StoreId::random().map_err(|error| StartError::Randomness(error.to_string()))?;
    let claimed = guarded(&file.path, || {
        let transaction = file.begin_write(Durability::Immediate)?;
        let identity = {
            transaction.open_table(LOG).map_err(file.failed("opening"))?;
            let mut records = transaction.open_table(META).map_err(file.failed("opening"))?;
            let owner: Option<NodeId> = decode_meta(file, &records, meta::NODE)?;
            let named: Option<StoreId> = decode_meta(file, &records, meta::STORE)?;
            let cluster = decode_meta(file, &records, meta::CLUSTER)?;
            if owner.is_some() && named.is_none() {
                return Err(file.inconsistent("it names a node, and not its store"));
            }
            if let (Some(found), Some(expected)) = (owner, node)
                && found != expected
            {
                return Err(StoreError::OtherNode { file: file.path.clone(), expected, found });
            }
            if named.is_none() {
                let store = codec::encode(&drawn)?;
                records.insert(meta::STORE, store.as_slice()).map_err(file.failed("opening"))?;
            }
            if let (None, Some(node)) = (owner, node) {
                let node = codec::encode(&node)?;
                records.insert(meta::NODE, node.as_slice()).map_err(file.failed("opening"))?;
            }
            StoreIdentity { store: named.unwrap_or(drawn), node: owner.or(node), cluster }
        };
        transaction.commit().map_err(file.failed("opening"))?;
        Ok(identity)
    })?;
    Ok(claimed)
}

/// What a log file holds, for those who look at a node that does not run.
#[derive(Debug)]
pub(in crate::raft) struct LogContents {
    pub(in crate::raft) store: Option<StoreId>,
    pub(in crate::raft) node: Option<NodeId>,
    pub(in crate::raft) cluster: Option<ClusterId>,
    pub(in crate::raft) vote: Option<Vote<NodeId>>,
    pub(in crate::raft) last: Option<LogId>,
    pub(in crate::raft) purged: Option<LogId>,
    pub(in crate::raft) committed: Option<LogId>,
}

/// Reads and checks all of the file, every entry, and changes nothing. Blocks.
pub(in crate::raft) fn contents(file: &DatabaseFile) -> Result<LogContents, StoreError> {
    guarded(&file.path, || {
        let limits = LogLimits { cache_bytes_max: 0, message_bytes_max: 0 };
        let keep = load(file, limits)?;
        let transaction = file.begin_read()?;
        let records = transaction.open_table(META).map_err(file.failed("reading"))?;
        Ok(LogContents {
            store: decode_meta(file, &records, meta::STORE)?,
            node: decode_meta(file, &records, meta::NODE)?,
            cluster: keep.cluster,
            vote: keep.vote,
            last: keep.tail.last().or(keep.purged),
            purged: keep.purged,
            committed: keep.committed,
        })
    })
}
