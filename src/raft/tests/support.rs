//! Entries to store, stores to put them in, and a crash.

use crate::ledger::{
    CacheUse, Circuit, CircuitId, Command, Digest, Ledger, NewTask, Priority, Record, TaskId, TenantId,
    UnixMillis,
};
use crate::raft::events::{self, EventStream};
use crate::raft::log_store::{LogLimits, LogStore};
use crate::raft::state_machine::StateMachine;
use crate::raft::types::{Batch, Entry, LogId, Member, NodeId, StoredMembership};
use openraft::storage::{RaftLogStorageExt as _, RaftStateMachine as _};
use openraft::{CommittedLeaderId, EntryPayload, Membership, RaftLogReader as _};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) const NODE: NodeId = NodeId(1);
pub(super) const SNAPSHOT_BYTES_MAX: u64 = 64 << 20;

pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, NODE), index)
}

pub(super) fn register() -> Command {
    Command::RegisterCircuit(Box::new(Circuit {
        id: CircuitId::new("test").unwrap(),
        constraint_digest: Digest([1; 32]),
        proving_key: Digest([2; 32]),
        verifying_key: Digest([3; 32]),
        verifying_key_bytes: vec![4; 48],
        public_inputs: 1,
        key_origin: "dev".into(),
    }))
}

/// A task of its own for each number, with an input that tells it.
pub(super) fn submit(number: u64, input_bytes: usize) -> Command {
    let mut fingerprint = [0; 32];
    fingerprint[..8].copy_from_slice(&number.to_le_bytes());
    Command::SubmitTask(Box::new(NewTask {
        id: task_id(number),
        tenant: TenantId::DEFAULT,
        circuit: CircuitId::new("test").unwrap(),
        public_inputs: vec![Digest([5; 32])],
        sealed_input: input(number, input_bytes),
        fingerprint: Digest(fingerprint),
        idempotency_key: None,
        cache: CacheUse::Bypassed,
        summary: None,
        priority: Priority::Normal,
        deadline_ms: None,
        max_attempts: None,
        at: UnixMillis(1_000 + number),
    }))
}

pub(super) fn task_id(number: u64) -> TaskId {
    TaskId(uuid::Uuid::from_u128(u128::from(number) + 1))
}

pub(super) fn input(number: u64, bytes: usize) -> Vec<u8> {
    number.to_le_bytes().iter().copied().cycle().take(bytes.max(1)).collect()
}

pub(super) fn normal(term: u64, index: u64, commands: Vec<Command>) -> Entry {
    Entry { log_id: log_id(term, index), payload: EntryPayload::Normal(Batch::new(commands)) }
}

/// Entries of term 1 with these indices: 0 is a membership, 1 registers the circuit, every other one submits a task.
pub(super) fn entries(indices: std::ops::RangeInclusive<u64>, input_bytes: usize) -> Vec<Entry> {
    indices
        .map(|index| match index {
            0 => Entry { log_id: log_id(1, 0), payload: EntryPayload::Membership(membership()) },
            1 => normal(1, 1, vec![register()]),
            _ => normal(1, index, vec![submit(index, input_bytes)]),
        })
        .collect()
}

pub(super) fn membership() -> Membership<NodeId, Member> {
    let members = BTreeMap::from([(NODE, Member::new("one", "127.0.0.1:7000"))]);
    Membership::new(vec![members.keys().copied().collect()], members)
}

pub(super) fn stored_membership() -> StoredMembership {
    StoredMembership::new(Some(log_id(1, 0)), membership())
}

pub(super) const LIMITS: LogLimits = LogLimits { cache_bytes_max: 1 << 20, message_bytes_max: 1 << 20 };

pub(super) fn open_log(directory: &Path) -> LogStore {
    LogStore::open(&directory.join("raft.redb"), NODE, LIMITS).unwrap()
}

pub(super) async fn append(log: &mut LogStore, entries: Vec<Entry>) {
    log.blocking_append(entries).await.unwrap();
}

pub(super) fn open_machine(directory: &Path) -> (StateMachine, EventStream) {
    let (sink, stream) = events::channel(1024);
    (StateMachine::open(directory, SNAPSHOT_BYTES_MAX, sink).unwrap(), stream)
}

pub(super) async fn apply(machine: &mut StateMachine, entries: Vec<Entry>) {
    let count = entries.len();
    let applied = machine.apply(entries).await.unwrap();
    assert_eq!(applied.len(), count, "one answer for each entry");
    assert!(applied.iter().flat_map(|applied| &applied.replies).all(Result::is_ok), "{applied:?}");
}

/// Applies what the log has after the machine's last applied entry, as openraft does after a restart.
pub(super) async fn replay(machine: &mut StateMachine, log: &mut LogStore) {
    let next = machine.applied().map_or(0, |id| id.index + 1);
    let entries = log.try_get_log_entries(next..).await.unwrap();
    apply(machine, entries).await;
}

pub(super) fn records(machine: &StateMachine) -> Vec<Record> {
    machine.reader().with(|ledger: &Ledger| ledger.records().collect())
}

/// The files as a crash at this moment would leave them, in another directory: nothing is closed or flushed.
pub(super) fn crash_copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_directory(from, to.path());
    to
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
