//! openraft's own test suite for stores.

use super::support::{NODE, SNAPSHOT_BYTES_MAX};
use crate::raft::events;
use crate::raft::log_store::{LogLimits, LogStore};
use crate::raft::state_machine::StateMachine;
use crate::raft::types::{StorageError, TypeConfig};
use openraft::testing::{StoreBuilder, Suite};
use tempfile::TempDir;

struct Builder {
    limits: LogLimits,
}

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let directory = tempfile::tempdir().unwrap();
        let log = LogStore::open(&directory.path().join("raft.redb"), NODE, self.limits).unwrap();
        let (sink, _) = events::channel(16);
        let machine = StateMachine::open(directory.path(), SNAPSHOT_BYTES_MAX, sink).unwrap();
        Ok((directory, log, machine))
    }
}

#[test]
fn the_stores_pass_the_suite_of_openraft() {
    Suite::test_all(Builder { limits: super::support::LIMITS }).unwrap();
}

#[test]
fn the_stores_pass_the_suite_of_openraft_when_every_entry_is_read_from_disk() {
    Suite::test_all(Builder { limits: LogLimits { cache_bytes_max: 0, message_bytes_max: 1 } }).unwrap();
}
