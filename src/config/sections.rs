//! Every key that exists, with its default and what it means: the typed `Config`.
//!
//! Rules that need more than one key live in `rules.rs`.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::BuiltIn::{Derived, PerRole, Same, Unset};
use super::keys::Limits::{Between, Type};
use super::keys::{KeySpec, Source, section};
use super::roles::Roles;
use super::secret::Secret;
use super::values::{Address, ByteSize, CircuitName, Host, HttpUrl, Id, LogFormat, LogLevel, Peer, SslMode};

section! {
    /// Who this coordinator is.
    CoordinatorConfig = "coordinator"
    /// Name shown in `/health` as `coordinator_id` and in the logs; different on every coordinator.
    id: Id = Derived("`coordinator-local` for demo and dev, else the host's name"), Type, Roles::LEDGER;
}

section! {
    /// Who may speak: what every process of a cluster shares.
    ClusterConfig = "cluster"
    /// File with the cluster's token, at least 16 characters: who knows it may speak Raft, work as a worker, and use the
    /// admin routes. Certificates (`raft.tls_enabled`, `worker.tls_enabled`) are the other way.
    token_file: Option<PathBuf> = Unset, Type, Roles::ALL;
    /// Start though others on the network could speak to this process without token or certificate.
    insecure: bool = Same("false"), Type, Roles::ALL;
}

section! {
    /// The HTTP server: API, health and metrics.
    HttpConfig = "http"
    /// Host name or IP address to listen on.
    host: Host = PerRole { demo: "127.0.0.1", dev: "127.0.0.1", coordinator: "0.0.0.0", worker: "0.0.0.0", gateway: "0.0.0.0" }, Type, Roles::ALL;
    /// Port to listen on; 0 takes any free one.
    port: u16 = PerRole { demo: "0", dev: "8080", coordinator: "8090", worker: "8070", gateway: "8080" }, Type, Roles::ALL;
    /// Where clients and the other coordinators reach a coordinator's HTTP, as `host:port`.
    advertise_address: Address = Derived("the host of `raft.advertise_address` with `http.port`"), Type, Roles::CLUSTER;
    /// Threads that serve HTTP; not set: one per core.
    workers: Option<u32> = Unset, Between("1", "256"), Roles::ALL;
    /// Largest request body. 100,000 leaves of 66 characters are about 7 MB.
    body_limit_bytes: ByteSize = Same("10MiB"), Between("1KiB", "1GiB"), Roles::API;
    /// Longest time from a request's first byte to its answer, without the time that `wait` asks for.
    request_timeout: Duration = Same("30s"), Between("100ms", "1h"), Roles::ALL;
    /// Longest `?wait=` that is granted; more is cut to this.
    wait_max: Duration = Same("1m"), Between("0ms", "1h"), Roles::API;
}

section! {
    /// The port that workers connect to.
    GrpcConfig = "grpc"
    /// Host name or IP address to listen on.
    host: Host = Same("0.0.0.0"), Type, Roles::CLUSTER;
    /// Port to listen on.
    port: u16 = Same("9090"), Between("1", "65535"), Roles::CLUSTER;
    /// Where workers reach this coordinator, as `host:port`; the other coordinators tell it to them.
    advertise_address: Address = Derived("the host of `raft.advertise_address` with `grpc.port`"), Type, Roles::CLUSTER;
}

section! {
    /// Consensus: the replicated log and its members.
    RaftConfig = "raft"
    /// This node's name among the members; never given to another node, never reused after its disk is lost.
    node_id: Id = Derived("`coordinator.id`"), Type, Roles::LEDGER;
    /// Host name or IP address to listen on for the other members.
    host: Host = Same("0.0.0.0"), Type, Roles::CLUSTER;
    /// Port on which members speak Raft.
    raft_port: u16 = Same("7000"), Between("1", "65535"), Roles::LEDGER;
    /// Where the other members reach this node, as `host:port`; a wildcard such as 0.0.0.0 reaches nobody.
    advertise_address: Address = Derived("this node's entry in `raft.peers`, else `raft.node_id` for demo and dev or the host's name, with `raft.raft_port`"), Type, Roles::LEDGER;
    /// Directory of the log.
    data_dir: PathBuf = Derived("`raft` in `storage.data_dir`"), Type, Roles::LEDGER;
    /// Make a new cluster when the disk is empty; on one coordinator only. demo and dev always do.
    bootstrap: bool = PerRole { demo: "true", dev: "true", coordinator: "false", worker: "false", gateway: "false" }, Type, Roles::LEDGER;
    /// Addresses of members to ask for admission to a running cluster.
    join: Vec<Address> = Unset, Type, Roles::CLUSTER;
    /// The first members of the cluster, this node among them, the same list on all of them; in a variable `id=address,id=address`.
    peers: Vec<Peer> = Unset, Type, Roles::CLUSTER;
    /// How often a leader makes itself heard.
    heartbeat_interval: Duration = Same("100ms"), Between("10ms", "1m"), Roles::LEDGER;
    /// Shortest silence of the leader after which a member stands for election; more than twice the heartbeat.
    election_timeout_min: Duration = Same("400ms"), Between("50ms", "5m"), Roles::LEDGER;
    /// Longest such silence; each member draws its own between the two, so that not all stand at once.
    election_timeout_max: Duration = Same("700ms"), Between("100ms", "10m"), Roles::LEDGER;
    /// A snapshot is made after so many log entries.
    snapshot_entries: u64 = Same("10000"), Between("10", "10000000"), Roles::LEDGER;
    /// A snapshot is made after so many bytes of log.
    snapshot_log_bytes: ByteSize = Same("64MiB"), Between("1MiB", "16GiB"), Roles::LEDGER;
    /// Most commands in one log entry.
    batch_commands_max: u32 = Same("256"), Between("1", "65536"), Roles::LEDGER;
    /// Most bytes of commands in one log entry, unless a single command is larger.
    batch_bytes_max: ByteSize = Same("4MiB"), Between("64KiB", "16MiB"), Roles::LEDGER;
    /// Speak mutual TLS with the other members.
    tls_enabled: bool = Same("false"), Type, Roles::CLUSTER;
    /// This member's certificate chain, PEM.
    cert_file: Option<PathBuf> = Unset, Type, Roles::CLUSTER;
    /// The certificate's private key, PEM.
    key_file: Option<PathBuf> = Unset, Type, Roles::CLUSTER;
    /// Authorities whose certificates are trusted, PEM.
    ca_file: Option<PathBuf> = Unset, Type, Roles::CLUSTER;
}

section! {
    /// What lies on this machine's disk.
    StorageConfig = "storage"
    /// Directory of everything that is kept. One process at a time uses it.
    data_dir: PathBuf = PerRole { demo: "data/demo", dev: "data/dev", coordinator: "/var/lib/zkp", worker: "/var/lib/zkp", gateway: "/var/lib/zkp" }, Type, Roles::KEYS;
    /// Directory of proving and verifying keys.
    keys_dir: PathBuf = Derived("`keys` in `storage.data_dir`"), Type, Roles::KEYS;
    /// File of the key that encrypts tasks' inputs, the same on every coordinator; not set: a node that is alone makes
    /// `data.key` in `storage.data_dir`.
    key_file: Option<PathBuf> = Unset, Type, Roles::LEDGER;
    /// With less than this free on the disk of `raft.data_dir` a leader takes no task (503), so that those that are there can be
    /// finished, archived and forgotten; 0 turns it off.
    free_bytes_min: ByteSize = Same("256MiB"), Between("0", "1TiB"), Roles::LEDGER;
}

section! {
    /// The life of a task.
    TasksConfig = "tasks"
    /// Attempts before a task fails for good, when its submission does not say.
    max_attempts: u32 = Same("5"), Between("1", "16"), Roles::LEDGER;
    /// Wait before the second attempt; doubled before each further one.
    retry_backoff_base: Duration = Same("500ms"), Between("1ms", "1h"), Roles::LEDGER;
    /// Longest wait between two attempts.
    retry_backoff_max: Duration = Same("1m"), Between("1ms", "24h"), Roles::LEDGER;
    /// How long a worker may hold a task without a sign of life.
    lease_duration: Duration = Same("30s"), Between("1s", "1h"), Roles::LEDGER;
    /// Most tasks that wait; more are refused with 429.
    queued_tasks_max: u64 = Same("100000"), Between("1", "10000000"), Roles::LEDGER;
    /// Most bytes of inputs of tasks that wait or are being proved; more are refused with 429.
    queued_input_bytes_max: ByteSize = Same("1GiB"), Between("1MiB", "1TiB"), Roles::LEDGER;
    /// How long a completed task answers the same request again.
    cache_ttl: Duration = Same("10m"), Between("0ms", "30d"), Roles::LEDGER;
    /// How long a finished task is kept.
    retention_age: Duration = Same("7d"), Between("1m", "3650d"), Roles::LEDGER;
    /// Most finished tasks that are kept; the oldest go first.
    retention_count: u64 = Same("100000"), Between("1", "10000000"), Roles::LEDGER;
}

section! {
    /// The pool that makes proofs.
    ProverConfig = "prover"
    /// Proofs made at once; not set: `prover.threads`. A proof that is alone gets all threads, several share them.
    slots: Option<u32> = Unset, Between("1", "1024"), Roles::PROVING;
    /// Threads that all proofs together use; not set: one per core.
    threads: Option<u32> = Unset, Between("1", "1024"), Roles::PROVING;
    /// Most bytes of proving keys in memory, where each takes four to five times its file; the least recently used go first.
    keys_memory_bytes_max: ByteSize = Same("2GiB"), Between("16MiB", "1TiB"), Roles::PROVING;
    /// Most bytes of tables that make the proofs of keys used often cheaper, within `prover.keys_memory_bytes_max`; 0 for none.
    tables_memory_bytes_max: ByteSize = Same("512MiB"), Between("0B", "1TiB"), Roles::PROVING;
    /// Most bytes that proofs take while they are made, keys apart; a proof waits until there is room, and one that needs more is made alone.
    proofs_memory_bytes_max: ByteSize = Same("4GiB"), Between("16MiB", "1TiB"), Roles::PROVING;
    /// Circuits whose keys are loaded at start, made first when there are none.
    preload: Vec<CircuitName> = Same("merkle-poseidon-4"), Type, Roles::KEYS;
}

section! {
    /// The pool that checks what another process made before it counts, and what is given to `POST /verify`.
    VerifierConfig = "verifier"
    /// Threads that check.
    threads: u32 = Same("2"), Between("1", "256"), Roles::LEDGER;
    /// Proofs that wait to be checked; more are refused with 503.
    queue: u32 = Same("256"), Between("1", "65536"), Roles::LEDGER;
}

section! {
    /// Who this worker is and whom it serves.
    WorkerConfig = "worker"
    /// Name shown in tasks as `worker_id`; different on every worker.
    id: Id = Derived("`worker-1` for demo and dev, else the host's name"), Type, Roles::PROVING;
    /// Coordinators' worker ports, one or several; the worker finds the leader among them.
    coordinator_address: Vec<Address> = Same("127.0.0.1:9090"), Type, Roles::REMOTE_WORKER;
    /// Tasks held at once, those being proved included; not set: `prover.slots`, and twice that in demo and dev, where no other worker could begin them sooner.
    capacity: Option<u32> = Unset, Between("1", "1024"), Roles::PROVING;
    /// Speak mutual TLS with the coordinators.
    tls_enabled: bool = Same("false"), Type, Roles::REMOTE_WORKER;
    /// This worker's certificate chain, PEM.
    cert_file: Option<PathBuf> = Unset, Type, Roles::REMOTE_WORKER;
    /// The certificate's private key, PEM.
    key_file: Option<PathBuf> = Unset, Type, Roles::REMOTE_WORKER;
    /// Authorities whose certificates are trusted, PEM.
    ca_file: Option<PathBuf> = Unset, Type, Roles::REMOTE_WORKER;
}

section! {
    /// What the gateway stands in front of.
    GatewayConfig = "gateway"
    /// Coordinators' HTTP addresses, one or several; the gateway learns of the others and finds the leader.
    coordinators: Vec<Address> = Same("127.0.0.1:8090"), Type, Roles::DOOR;
    /// How long a request waits for a leader during a failover before it is answered 503.
    failover_wait: Duration = Same("10s"), Between("0ms", "1h"), Roles::DOOR;
}

section! {
    /// PostgreSQL, for finished tasks and the audit trail. Without `database.host` there is none and the ledger keeps them.
    DatabaseConfig = "database"
    /// Host name or IP address of the server; not set: no database.
    host: Option<Host> = Unset, Type, Roles::LEDGER;
    /// Port of the server.
    port: u16 = Same("5432"), Between("1", "65535"), Roles::LEDGER;
    /// Role to log in as.
    user: String = Same("zkp_user"), Type, Roles::LEDGER;
    /// Its password, as it is: never read as a number or a boolean.
    password: Option<Secret> = Unset, Type, Roles::LEDGER;
    /// Name of the database.
    name: String = Same("zkp_network"), Type, Roles::LEDGER;
    /// Protection of the connection: disable, prefer, require, verify-ca or verify-full.
    ssl_mode: SslMode = Same("prefer"), Type, Roles::LEDGER;
    /// Authorities (PEM) that may have issued the server's certificate; `verify-ca` and `verify-full` need it.
    ca_file: Option<PathBuf> = Unset, Type, Roles::LEDGER;
    /// Connections to the server at most, from each coordinator. Archiving has two of them for itself (one of two), reading the others.
    connections_max: u32 = Same("8"), Between("2", "256"), Roles::LEDGER;
    /// How long making a connection may take, and waiting for a free one.
    connect_timeout: Duration = Same("3s"), Between("100ms", "1h"), Roles::LEDGER;
    /// How long the server may work on one statement.
    statement_timeout: Duration = Same("10s"), Between("100ms", "1h"), Roles::LEDGER;
    /// Finished tasks, circuits and workers that may wait for the database; with so many no task is taken (503). Each takes about two kilobytes
    /// of every coordinator's disk and memory.
    backlog_max: u64 = Same("200000"), Between("1", "10000000"), Roles::LEDGER;
    /// Completed tasks go from the database after this time.
    retention_completed: Duration = Same("365d"), Between("1m", "36500d"), Roles::LEDGER;
    /// Failed tasks go from the database after this time.
    retention_failed: Duration = Same("365d"), Between("1m", "36500d"), Roles::LEDGER;
    /// Cancelled tasks go from the database after this time.
    retention_cancelled: Duration = Same("90d"), Between("1m", "36500d"), Roles::LEDGER;
    /// Tasks of each of these statuses that the database keeps, where the following keys say nothing else; the oldest go first.
    retention_count: u64 = Same("100000000"), Between("1", "1000000000000"), Roles::LEDGER;
    /// Completed tasks that the database keeps; not set: `retention_count`.
    retention_count_completed: Option<u64> = Unset, Between("1", "1000000000000"), Roles::LEDGER;
    /// Failed tasks that the database keeps; not set: `retention_count`.
    retention_count_failed: Option<u64> = Unset, Between("1", "1000000000000"), Roles::LEDGER;
    /// Cancelled tasks that the database keeps; not set: `retention_count`.
    retention_count_cancelled: Option<u64> = Unset, Between("1", "1000000000000"), Roles::LEDGER;
}

section! {
    /// What is written to standard error.
    LogConfig = "log"
    /// The least severe line that is written: error, warn, info, debug or trace.
    level: LogLevel = PerRole { demo: "warn", dev: "info", coordinator: "info", worker: "info", gateway: "info" }, Type, Roles::ALL;
    /// console for people, json for log collectors.
    format: LogFormat = Same("console"), Type, Roles::ALL;
}

section! {
    /// Where traces go. Log lines carry a trace's id with and without this.
    TracingConfig = "tracing"
    /// OpenTelemetry collector that spans are sent to over HTTP (OTLP, protobuf), with `/v1/traces` appended; not set: none.
    otlp_endpoint: Option<HttpUrl> = Unset, Type, Roles::ALL;
    /// Of the traces that begin here, one in so many is sent. A trace that a client began is sent if the client says so.
    sample_one_in: u32 = Same("1"), Between("1", "1000000"), Roles::ALL;
}

section! {
    /// How the process ends.
    ShutdownConfig = "shutdown"
    /// Time from SIGTERM until the process ends, whatever is still being proved then.
    grace: Duration = Same("20s"), Between("0ms", "1h"), Roles::ALL;
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
