//! The settings of a node's Raft, and which of them make sense together.

use super::error::StartError;
use super::types::NodeId;
use openraft::{Config, SnapshotPolicy};
use std::path::PathBuf;
use std::time::Duration;

/// The settings. [`RaftConfig::new`] gives defaults that suit a cluster in one data centre.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This node's number.
    pub node: NodeId,
    /// Where its files are.
    pub directory: PathBuf,
    /// How often a leader is heard from.
    pub heartbeat: Duration,
    /// A follower stands for election after a random silence between this and [`Self::election_timeout_max`].
    pub election_timeout_min: Duration,
    /// See [`Self::election_timeout_min`]. A leader that fails is replaced after about twice this time.
    pub election_timeout_max: Duration,
    /// Within this time a proposal is committed, or its outcome is reported as unknown.
    pub proposal_time_limit: Duration,
    /// Within this time a read barrier is passed, or refused.
    pub read_time_limit: Duration,
    /// Within this time a piece of a snapshot is received, and the last one installed.
    pub snapshot_time_limit: Duration,
    /// Commands that one entry carries.
    pub entry_commands_max: u32,
    /// Bytes of commands that one entry carries; also the largest command.
    pub entry_bytes_max: u64,
    /// Entries proposed and not yet applied.
    pub entries_in_flight_max: u32,
    /// Commands that wait to become part of an entry.
    pub proposals_waiting_max: u32,
    /// Bytes of the commands that wait or are in flight.
    pub proposal_bytes_max: u64,
    /// Entries in one message to a follower.
    pub message_entries_max: u64,
    /// Bytes of entries in one message to a follower; one entry always goes.
    pub message_bytes_max: u64,
    /// Bytes of recent entries that are kept in memory.
    pub log_cache_bytes_max: u64,
    /// A snapshot is built after this many entries …
    pub snapshot_after_entries: u64,
    /// … or after this many bytes of log, whichever comes first.
    pub snapshot_after_bytes: u64,
    /// Entries that are kept though a snapshot covers them, for followers that lag a little.
    pub log_entries_kept: u64,
    /// Bytes of a snapshot in one message.
    pub snapshot_chunk_bytes: u64,
    /// The largest snapshot that is received.
    pub snapshot_bytes_max: u64,
    /// Entries whose events may wait for the reader of [`EventStream`](super::EventStream).
    pub events_waiting_max: u32,
    /// How long a shutdown may take.
    pub shutdown_time_limit: Duration,
    /// Before a leader shuts down it hands over to another voter, and waits for this long at most; zero for not at all.
    pub hand_over_time_limit: Duration,
}

impl RaftConfig {
    /// The defaults.
    #[must_use]
    pub fn new(node: NodeId, directory: impl Into<PathBuf>) -> Self {
        Self {
            node,
            directory: directory.into(),
            heartbeat: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(500),
            election_timeout_max: Duration::from_millis(1000),
            proposal_time_limit: Duration::from_secs(10),
            read_time_limit: Duration::from_secs(3),
            snapshot_time_limit: Duration::from_secs(60),
            entry_commands_max: 256,
            entry_bytes_max: 2 << 20,
            // What waits meanwhile shares the next entry: fewer entries cost less, and that gains more than two at a time do.
            entries_in_flight_max: 1,
            proposals_waiting_max: 4096,
            proposal_bytes_max: 64 << 20,
            message_entries_max: 128,
            message_bytes_max: 4 << 20,
            log_cache_bytes_max: 32 << 20,
            snapshot_after_entries: 20_000,
            snapshot_after_bytes: 128 << 20,
            log_entries_kept: 2_000,
            snapshot_chunk_bytes: 1 << 20,
            snapshot_bytes_max: 16 << 30,
            events_waiting_max: 8192,
            shutdown_time_limit: Duration::from_secs(10),
            hand_over_time_limit: Duration::from_secs(2),
        }
    }

    /// The same as openraft's configuration, checked.
    pub(super) fn to_openraft(&self) -> Result<Config, StartError> {
        let refuse = |reason: &str| Err(StartError::Config(reason.to_owned()));
        if self.heartbeat * 2 > self.election_timeout_min {
            return refuse("the election timeout must be at least twice the heartbeat interval");
        }
        if self.entry_bytes_max * 2 > crate::codec::DECODE_BYTES_MAX as u64 {
            return refuse("an entry must not be larger than half of what a record may be");
        }
        let counts = [self.entry_commands_max, self.entries_in_flight_max, self.proposals_waiting_max];
        if counts.contains(&0) || self.snapshot_after_entries == 0 || self.snapshot_chunk_bytes == 0 {
            return refuse("a limit of zero lets nothing pass");
        }
        let config = Config {
            cluster_name: "zkpnet".into(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election_timeout_min),
            election_timeout_max: millis(self.election_timeout_max),
            install_snapshot_timeout: millis(self.snapshot_time_limit),
            max_payload_entries: self.message_entries_max,
            // A follower that needs more than what is kept anyway is better served by a snapshot.
            replication_lag_threshold: self.snapshot_after_entries + self.log_entries_kept,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after_entries),
            snapshot_max_chunk_size: self.snapshot_chunk_bytes,
            max_in_snapshot_log_to_keep: self.log_entries_kept,
            // Whether it may stand is decided by the guard, and not before it has looked.
            enable_elect: false,
            ..Config::default()
        };
        config.validate().map_err(|error| StartError::Config(error.to_string()))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
