//! Every key that exists, with its default and what it means: the typed `Config`.
//!
//! A key is here when it has a meaning now, or when the cluster's documents name it; the latter say `Effect::Later`
//! and give a notice when set. Rules that need more than one key live in `rules.rs`.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::BuiltIn::{Derived, PerRole, Same, Unset};
use super::keys::Effect::{self, Later, Now};
use super::keys::Limits::{Between, Type};
use super::keys::{KeySpec, Source, section};
use super::roles::Roles;
use super::secret::Secret;
use super::values::{Address, ByteSize, CircuitName, Host, HttpUrl, Id, LogFormat, LogLevel, Peer, SslMode};

const ARCHIVE: Effect = Later("the PostgreSQL archive");

section! {
    /// Who this coordinator is.
    CoordinatorConfig = "coordinator"
    /// Name shown in `/health` as `coordinator_id` and in the logs; different on every coordinator.
    id: Id = Derived("`coordinator-local` for demo and dev, else the host's name"), Type, Roles::LEDGER, Now;
}

section! {
    /// Who may speak: what every process of a cluster shares.
    ClusterConfig = "cluster"
    /// File with the cluster's token, at least 16 characters: who knows it may speak Raft, work as a worker, and use the
    /// admin routes. Certificates (`raft.tls_enabled`, `worker.tls_enabled`) are the other way.
    token_file: Option<PathBuf> = Unset, Type, Roles::ALL, Now;
    /// Start though others on the network could speak to this process without token or certificate.
    insecure: bool = Same("false"), Type, Roles::ALL, Now;
}

section! {
    /// The HTTP server: API, health and metrics.
    HttpConfig = "http"
    /// Host name or IP address to listen on.
    host: Host = PerRole { demo: "127.0.0.1", dev: "127.0.0.1", coordinator: "0.0.0.0", worker: "0.0.0.0", gateway: "0.0.0.0" }, Type, Roles::ALL, Now;
    /// Port to listen on; 0 takes any free one.
    port: u16 = PerRole { demo: "0", dev: "8080", coordinator: "8090", worker: "8070", gateway: "8080" }, Type, Roles::ALL, Now;
    /// Where clients and the other coordinators reach a coordinator's HTTP, as `host:port`.
    advertise_address: Address = Derived("the host of `raft.advertise_address` with `http.port`"), Type, Roles::CLUSTER, Now;
    /// Threads that serve HTTP; not set: one per core.
    workers: Option<u32> = Unset, Between("1", "256"), Roles::ALL, Now;
    /// Largest request body. 100,000 leaves of 66 characters are about 7 MB.
    body_limit_bytes: ByteSize = Same("10MiB"), Between("1KiB", "1GiB"), Roles::API, Now;
    /// Longest time from a request's first byte to its answer, without the time that `wait` asks for.
    request_timeout: Duration = Same("30s"), Between("100ms", "1h"), Roles::ALL, Now;
    /// Longest `?wait=` that is granted; more is cut to this.
    wait_max: Duration = Same("1m"), Between("0ms", "1h"), Roles::API, Now;
}

section! {
    /// The port that workers connect to.
    GrpcConfig = "grpc"
    /// Host name or IP address to listen on.
    host: Host = Same("0.0.0.0"), Type, Roles::CLUSTER, Now;
    /// Port to listen on.
    port: u16 = Same("9090"), Between("1", "65535"), Roles::CLUSTER, Now;
    /// Where workers reach this coordinator, as `host:port`; the other coordinators tell it to them.
    advertise_address: Address = Derived("the host of `raft.advertise_address` with `grpc.port`"), Type, Roles::CLUSTER, Now;
}

section! {
    /// Consensus: the replicated log and its members.
    RaftConfig = "raft"
    /// This node's name among the members; never given to another node, never reused after its disk is lost.
    node_id: Id = Derived("`coordinator.id`"), Type, Roles::LEDGER, Now;
    /// Host name or IP address to listen on for the other members.
    host: Host = Same("0.0.0.0"), Type, Roles::CLUSTER, Now;
    /// Port on which members speak Raft.
    raft_port: u16 = Same("7000"), Between("1", "65535"), Roles::LEDGER, Now;
    /// Where the other members reach this node, as `host:port`; a wildcard such as 0.0.0.0 reaches nobody.
    advertise_address: Address = Derived("this node's entry in `raft.peers`, else `raft.node_id` for demo and dev or the host's name, with `raft.raft_port`"), Type, Roles::LEDGER, Now;
    /// Directory of the log.
    data_dir: PathBuf = Derived("`raft` in `storage.data_dir`"), Type, Roles::LEDGER, Now;
    /// Make a new cluster when the disk is empty; on one coordinator only. demo and dev always do.
    bootstrap: bool = PerRole { demo: "true", dev: "true", coordinator: "false", worker: "false", gateway: "false" }, Type, Roles::LEDGER, Now;
    /// Addresses of members to ask for admission to a running cluster.
    join: Vec<Address> = Unset, Type, Roles::CLUSTER, Now;
    /// The first members of the cluster, this node among them, the same list on all of them; in a variable `id=address,id=address`.
    peers: Vec<Peer> = Unset, Type, Roles::CLUSTER, Now;
    /// How often a leader makes itself heard.
    heartbeat_interval: Duration = Same("100ms"), Between("10ms", "1m"), Roles::LEDGER, Now;
    /// Shortest silence of the leader after which a member stands for election; more than twice the heartbeat.
    election_timeout_min: Duration = Same("400ms"), Between("50ms", "5m"), Roles::LEDGER, Now;
    /// Longest such silence; each member draws its own between the two, so that not all stand at once.
    election_timeout_max: Duration = Same("700ms"), Between("100ms", "10m"), Roles::LEDGER, Now;
    /// A snapshot is made after so many log entries.
    snapshot_entries: u64 = Same("10000"), Between("10", "10000000"), Roles::LEDGER, Now;
    /// A snapshot is made after so many bytes of log.
    snapshot_log_bytes: ByteSize = Same("64MiB"), Between("1MiB", "16GiB"), Roles::LEDGER, Now;
    /// Most commands in one log entry.
    batch_commands_max: u32 = Same("256"), Between("1", "65536"), Roles::LEDGER, Now;
    /// Most bytes of commands in one log entry, unless a single command is larger.
    batch_bytes_max: ByteSize = Same("4MiB"), Between("64KiB", "16MiB"), Roles::LEDGER, Now;
    /// Speak mutual TLS with the other members.
    tls_enabled: bool = Same("false"), Type, Roles::CLUSTER, Now;
    /// This member's certificate chain, PEM.
    cert_file: Option<PathBuf> = Unset, Type, Roles::CLUSTER, Now;
    /// The certificate's private key, PEM.
    key_file: Option<PathBuf> = Unset, Type, Roles::CLUSTER, Now;
    /// Authorities whose certificates are trusted, PEM.
    ca_file: Option<PathBuf> = Unset, Type, Roles::CLUSTER, Now;
}

section! {
    /// What lies on this machine's disk.
    StorageConfig = "storage"
    /// Directory of everything that is kept. One process at a time uses it.
    data_dir: PathBuf = PerRole { demo: "data/demo", dev: "data/dev", coordinator: "/var/lib/zkp", worker: "/var/lib/zkp", gateway: "/var/lib/zkp" }, Type, Roles::KEYS, Now;
    /// Directory of proving and verifying keys.
    keys_dir: PathBuf = Derived("`keys` in `storage.data_dir`"), Type, Roles::KEYS, Now;
    /// File of the key that encrypts tasks' inputs, the same on every coordinator; not set: a node that is alone makes
    /// `data.key` in `storage.data_dir`.
    key_file: Option<PathBuf> = Unset, Type, Roles::LEDGER, Now;
}

section! {
    /// The life of a task.
    TasksConfig = "tasks"
    /// Attempts before a task fails for good, when its submission does not say.
    max_attempts: u32 = Same("5"), Between("1", "16"), Roles::LEDGER, Now;
    /// Wait before the second attempt; doubled before each further one.
    retry_backoff_base: Duration = Same("500ms"), Between("1ms", "1h"), Roles::LEDGER, Now;
    /// Longest wait between two attempts.
    retry_backoff_max: Duration = Same("1m"), Between("1ms", "24h"), Roles::LEDGER, Now;
    /// How long a worker may hold a task without a sign of life.
    lease_duration: Duration = Same("30s"), Between("1s", "1h"), Roles::LEDGER, Now;
    /// Most tasks that wait; more are refused with 429.
    queued_tasks_max: u64 = Same("100000"), Between("1", "10000000"), Roles::LEDGER, Now;
    /// Most bytes of inputs of tasks that wait or are being proved; more are refused with 429.
    queued_input_bytes_max: ByteSize = Same("1GiB"), Between("1MiB", "1TiB"), Roles::LEDGER, Now;
    /// How long a completed task answers the same request again.
    cache_ttl: Duration = Same("10m"), Between("0ms", "30d"), Roles::LEDGER, Now;
    /// How long a finished task is kept.
    retention_age: Duration = Same("7d"), Between("1m", "3650d"), Roles::LEDGER, Now;
    /// Most finished tasks that are kept; the oldest go first.
    retention_count: u64 = Same("100000"), Between("1", "10000000"), Roles::LEDGER, Now;
}

section! {
    /// The pool that makes proofs.
    ProverConfig = "prover"
    /// Proofs made at once; not set: `prover.threads`. A proof that is alone gets all threads, several share them.
    slots: Option<u32> = Unset, Between("1", "1024"), Roles::PROVING, Now;
    /// Threads that all proofs together use; not set: one per core.
    threads: Option<u32> = Unset, Between("1", "1024"), Roles::PROVING, Now;
    /// Most bytes of proving keys in memory; the least recently used go first.
    keys_memory_bytes_max: ByteSize = Same("2GiB"), Between("16MiB", "1TiB"), Roles::PROVING, Now;
    /// Most bytes of tables that make the proofs of keys used often cheaper, within `prover.keys_memory_bytes_max`; 0 for none.
    tables_memory_bytes_max: ByteSize = Same("512MiB"), Between("0B", "1TiB"), Roles::PROVING, Now;
    /// Most bytes that proofs take while they are made, keys apart; a proof waits until there is room, and one that needs more is made alone.
    proofs_memory_bytes_max: ByteSize = Same("4GiB"), Between("16MiB", "1TiB"), Roles::PROVING, Now;
    /// Circuits whose keys are loaded at start, made first when there are none.
    preload: Vec<CircuitName> = Same("merkle-poseidon-4"), Type, Roles::KEYS, Now;
}

section! {
    /// The pool that checks every proof before it counts.
    VerifierConfig = "verifier"
    /// Threads that check.
    threads: u32 = Same("2"), Between("1", "256"), Roles::LEDGER, Now;
    /// Proofs that wait to be checked; more are refused with 503.
    queue: u32 = Same("256"), Between("1", "65536"), Roles::LEDGER, Now;
}

section! {
    /// Who this worker is and whom it serves.
    WorkerConfig = "worker"
    /// Name shown in tasks as `worker_id`; different on every worker.
    id: Id = Derived("`worker-1` for demo and dev, else the host's name"), Type, Roles::PROVING, Now;
    /// Coordinators' worker ports, one or several; the worker finds the leader among them.
    coordinator_address: Vec<Address> = Same("127.0.0.1:9090"), Type, Roles::REMOTE_WORKER, Now;
    /// Tasks held at once, those being proved included; not set: `prover.slots`.
    capacity: Option<u32> = Unset, Between("1", "1024"), Roles::PROVING, Now;
    /// Speak mutual TLS with the coordinators.
    tls_enabled: bool = Same("false"), Type, Roles::REMOTE_WORKER, Now;
    /// This worker's certificate chain, PEM.
    cert_file: Option<PathBuf> = Unset, Type, Roles::REMOTE_WORKER, Now;
    /// The certificate's private key, PEM.
    key_file: Option<PathBuf> = Unset, Type, Roles::REMOTE_WORKER, Now;
    /// Authorities whose certificates are trusted, PEM.
    ca_file: Option<PathBuf> = Unset, Type, Roles::REMOTE_WORKER, Now;
}

section! {
    /// What the gateway stands in front of.
    GatewayConfig = "gateway"
    /// Coordinators' HTTP addresses, one or several; the gateway learns of the others and finds the leader.
    coordinators: Vec<Address> = Same("127.0.0.1:8090"), Type, Roles::DOOR, Now;
    /// How long a request waits for a leader during a failover before it is answered 503.
    failover_wait: Duration = Same("10s"), Between("0ms", "1h"), Roles::DOOR, Now;
}

section! {
    /// PostgreSQL, for finished tasks and the audit trail. Without `database.host` there is none and the ledger keeps them.
    DatabaseConfig = "database"
    /// Host name or IP address of the server; not set: no database.
    host: Option<Host> = Unset, Type, Roles::LEDGER, ARCHIVE;
    /// Port of the server.
    port: u16 = Same("5432"), Between("1", "65535"), Roles::LEDGER, ARCHIVE;
    /// Role to log in as.
    user: String = Same("zkp_user"), Type, Roles::LEDGER, ARCHIVE;
    /// Its password, as it is: never read as a number or a boolean.
    password: Option<Secret> = Unset, Type, Roles::LEDGER, ARCHIVE;
    /// Name of the database.
    name: String = Same("zkp_network"), Type, Roles::LEDGER, ARCHIVE;
    /// Protection of the connection: disable, prefer, require, verify-ca or verify-full.
    ssl_mode: SslMode = Same("prefer"), Type, Roles::LEDGER, ARCHIVE;
}

section! {
    /// What is written to standard error.
    LogConfig = "log"
    /// The least severe line that is written: error, warn, info, debug or trace.
    level: LogLevel = PerRole { demo: "warn", dev: "info", coordinator: "info", worker: "info", gateway: "info" }, Type, Roles::ALL, Now;
    /// console for people, json for log collectors.
    format: LogFormat = Same("console"), Type, Roles::ALL, Now;
}

section! {
    /// Where traces go. Log lines carry a trace's id with and without this.
    TracingConfig = "tracing"
    /// OpenTelemetry collector that spans are sent to over HTTP (OTLP, protobuf), with `/v1/traces` appended; not set: none.
    otlp_endpoint: Option<HttpUrl> = Unset, Type, Roles::ALL, Now;
    /// Of the traces that begin here, one in so many is sent. A trace that a client began is sent if the client says so.
    sample_one_in: u32 = Same("1"), Between("1", "1000000"), Roles::ALL, Now;
}

section! {
    /// How the process ends.
    ShutdownConfig = "shutdown"
    /// Time from SIGTERM until the process ends, whatever is still being proved then.
    grace: Duration = Same("20s"), Between("0ms", "1h"), Roles::ALL, Now;
}

macro_rules! config {
    ($($(#[doc = $doc:literal])+ $field:ident: $ty:ident,)+) => {
        /// The whole configuration of a process, every value present and checked.
        ///
        /// Sections that mean nothing for the role hold defaults.
        #[derive(Debug, Clone)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $ty,)+
        }

        impl Config {
            /// Every section is filled before giving up, so that the source sees all that is missing.
            pub(crate) fn fill(source: &mut impl Source) -> Option<Self> {
                $(let $field = $ty::fill(source);)+
                Some(Config { $($field: $field?,)+ })
            }
        }

        /// The sections in the order of the documentation: name, what it is about, keys.
        pub(crate) const SECTIONS: &[(&str, &str, &[KeySpec])] = &[$((stringify!($field), $ty::DOC, $ty::KEYS),)+];
    };
}

config! {
    /// Who this coordinator is.
    coordinator: CoordinatorConfig,
    /// Who may speak.
    cluster: ClusterConfig,
    /// The HTTP server.
    http: HttpConfig,
    /// The port for workers.
    grpc: GrpcConfig,
    /// Consensus.
    raft: RaftConfig,
    /// Files.
    storage: StorageConfig,
    /// The life of a task.
    tasks: TasksConfig,
    /// The pool that makes proofs.
    prover: ProverConfig,
    /// The pool that checks them.
    verifier: VerifierConfig,
    /// Who this worker is.
    worker: WorkerConfig,
    /// What a gateway stands in front of.
    gateway: GatewayConfig,
    /// PostgreSQL.
    database: DatabaseConfig,
    /// Logs.
    log: LogConfig,
    /// Traces.
    tracing: TracingConfig,
    /// The end.
    shutdown: ShutdownConfig,
}

/// Every key.
pub(crate) fn keys() -> impl Iterator<Item = &'static KeySpec> {
    SECTIONS.iter().flat_map(|(_, _, keys)| keys.iter())
}

/// The key of a path.
pub(crate) fn key(path: &str) -> Option<&'static KeySpec> {
    keys().find(|spec| spec.path == path)
}
