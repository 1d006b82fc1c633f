//! Every metric there is. `docs/metrics.md` is generated from this, and tests hold `/metrics`, the alerts and the dashboard
//! to it.
//!
//! A name that has been published stays: somebody's alert rests on it. What changes its meaning gets another name.

use super::metric::{Buckets, Kind, Metric, On};

/// Metrics of one subject, with its title.
pub type Section = (&'static str, &'static [Metric]);

/// Every metric.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    SECTIONS.iter().flat_map(|(_, metrics)| metrics.iter())
}

/// Declares the metrics, section by section: a constant for each, and the table of all.
macro_rules! metrics {
    ($(section $title:literal {
        $($id:ident: $kind:expr, $name:literal $([$($label:literal),+])?, $on:expr $(, only with $only:literal)?;
            $help:literal)*
    })*) => {
        $($(
            #[doc = $help]
            pub const $id: Metric = Metric {
                name: $name,
                kind: $kind,
                labels: &[$($($label),+)?],
                help: $help,
                on: $on,
                only_with: metrics!(@only $($only)?),
            };
        )*)*
        /// The metrics by subject.
        pub const SECTIONS: &[Section] = &[$(($title, &[$($id),*])),*];
    };
    (@only) => { None };
    (@only $only:literal) => { Some($only) };
}

const COUNTER: Kind = Kind::Counter;
const GAUGE: Kind = Kind::Gauge;
const DISK_TIMES: Kind = Kind::Histogram(Buckets::DISK);
const REQUEST_TIMES: Kind = Kind::Histogram(Buckets::REQUEST);
const PROOF_TIMES: Kind = Kind::Histogram(Buckets::PROOF);
const ALL: &[On] = On::ALL;
const COORDINATOR: &[On] = &[On::Coordinator];
const WORKER: &[On] = &[On::Worker];
const GATEWAY: &[On] = &[On::Gateway];
const WITH_DATA: &[On] = &[On::Coordinator, On::Worker];

metrics! {
    section "HTTP" {
        HTTP_REQUESTS: COUNTER, "zkpnet_http_requests_total" ["method", "route", "status"], ALL;
            "Requests answered, by method, pattern of the route, and status."
        HTTP_DURATION: REQUEST_TIMES, "zkpnet_http_request_duration_seconds" ["method", "route"], ALL;
            "From a request's head to its answer, the wait that it asked for included."
        HTTP_IN_FLIGHT: GAUGE, "zkpnet_http_requests_in_flight", ALL;
            "Requests being served."
    }
    section "Gateway" {
        GATEWAY_HAS_LEADER: GAUGE, "zkpnet_gateway_has_leader", GATEWAY;
            "Whether a leader can be reached."
        GATEWAY_COORDINATOR_REACHABLE: GAUGE, "zkpnet_gateway_coordinator_reachable" ["coordinator"], GATEWAY;
            "Whether a coordinator answers its health, by its address."
        GATEWAY_REPETITIONS: COUNTER, "zkpnet_gateway_repetitions_total" ["kind"], GATEWAY;
            "Requests that were put to a coordinator again: kind is write, read or wait."
    }
    section "Raft" {
        RAFT_IS_LEADER: GAUGE, "zkpnet_raft_is_leader", COORDINATOR;
            "Whether this node leads."
        RAFT_HAS_LEADER: GAUGE, "zkpnet_raft_has_leader", COORDINATOR;
            "Whether this node knows a leader."
        RAFT_TERM: GAUGE, "zkpnet_raft_term", COORDINATOR;
            "The term."
        RAFT_LEADER_CHANGES: COUNTER, "zkpnet_raft_leader_changes_total", COORDINATOR;
            "How often this node came to know a leader that it did not know before, since it was started."
        RAFT_LEADER_LAST_CONTACT: GAUGE, "zkpnet_raft_leader_last_contact_seconds", COORDINATOR,
            only with "a leader that was heard";
            "Of a follower, the time since it heard its leader; of the leader, since a majority confirmed it."
        RAFT_PEER_UP: GAUGE, "zkpnet_raft_peer_up" ["peer"], COORDINATOR, only with "several members";
            "Whether another member answered this node within the last seconds, by its name."
        RAFT_PEER_LAST_CONTACT: GAUGE, "zkpnet_raft_peer_last_contact_seconds" ["peer"], COORDINATOR,
            only with "several members";
            "The age of the newest question that another member has answered, by its name."
        RAFT_MEMBERS: GAUGE, "zkpnet_raft_members" ["standing"], COORDINATOR;
            "Members of the cluster: standing is voter or learner."
        RAFT_COMMIT_INDEX: GAUGE, "zkpnet_raft_commit_index", COORDINATOR;
            "The last entry known to be committed."
        RAFT_APPLIED_INDEX: GAUGE, "zkpnet_raft_applied_index", COORDINATOR;
            "The last entry applied."
        RAFT_LAST_LOG_INDEX: GAUGE, "zkpnet_raft_last_log_index", COORDINATOR;
            "The newest entry of the log."
        RAFT_SNAPSHOT_INDEX: GAUGE, "zkpnet_raft_snapshot_index", COORDINATOR;
            "The newest entry in the snapshot; 0 without one."
        RAFT_COMMANDS: COUNTER, "zkpnet_raft_commands_total" ["outcome"], COORDINATOR;
            "Commands proposed here: outcome is committed, not_leader, overloaded, too_large, stopped or unknown."
        RAFT_COMMIT_DURATION: DISK_TIMES, "zkpnet_raft_commit_duration_seconds", COORDINATOR;
            "From handing an entry to Raft to its being stored by a majority and applied here; of the leader."
        RAFT_APPLY_DURATION: DISK_TIMES, "zkpnet_raft_apply_duration_seconds", COORDINATOR;
            "Applying a run of entries to the ledger, writing what is due included."
        RAFT_FSYNC_DURATION: DISK_TIMES, "zkpnet_raft_log_fsync_duration_seconds", COORDINATOR;
            "One commit of the log's file, fsync included."
        RAFT_SNAPSHOT_DURATION: PROOF_TIMES, "zkpnet_raft_snapshot_duration_seconds" ["kind"], COORDINATOR;
            "Making a snapshot (kind is build), or taking over one that was received (install)."
        RAFT_SNAPSHOT_BYTES: GAUGE, "zkpnet_raft_snapshot_bytes", COORDINATOR;
            "The size of the snapshot that was made last; 0 before the first."
        RAFT_STORE_BYTES: GAUGE, "zkpnet_raft_store_bytes", COORDINATOR;
            "The size of the files of Raft and of the ledger."
    }
    section "Ledger" {
        TASKS: GAUGE, "zkpnet_tasks" ["status"], COORDINATOR;
            "Tasks in the ledger by status."
        TASKS_TOTAL: COUNTER, "zkpnet_tasks_total" ["outcome"], COORDINATOR;
            "What became of submissions and tasks since the cluster began, the same on every coordinator."
        QUEUE_TASKS: GAUGE, "zkpnet_queue_tasks" ["circuit"], COORDINATOR;
            "Tasks that wait for a worker, by circuit; those in back-off are not counted."
        QUEUE_HEAD_AGE: GAUGE, "zkpnet_queue_head_age_seconds" ["circuit"], COORDINATOR,
            only with "tasks in the queue";
            "The time since the task was submitted that stands first in the circuit's queue."
        QUEUE_DELAYED: GAUGE, "zkpnet_queue_delayed_tasks", COORDINATOR;
            "Tasks in back-off after a failed attempt."
        QUEUE_LIMIT: GAUGE, "zkpnet_queue_limit_tasks", COORDINATOR;
            "Open tasks at which submissions are refused."
        OPEN_INPUT_BYTES: GAUGE, "zkpnet_open_input_bytes", COORDINATOR;
            "Bytes of the sealed inputs of open tasks."
        OPEN_INPUT_LIMIT: GAUGE, "zkpnet_open_input_limit_bytes", COORDINATOR;
            "Bytes of inputs of open tasks at which submissions are refused."
        TASK_QUEUE_TIME: PROOF_TIMES, "zkpnet_task_queue_seconds" ["circuit"], COORDINATOR;
            "From a task's submission to its first lease; on the leader that granted it."
        TASK_DURATION: PROOF_TIMES, "zkpnet_task_duration_seconds" ["circuit"], COORDINATOR;
            "From a task's submission to its verified proof; on the coordinator that verified it."
        LEDGER_REJECTIONS: COUNTER, "zkpnet_ledger_rejections_total" ["kind"], COORDINATOR,
            only with "a refusal since the process began";
            "Committed commands that the ledger refused, by the rule that said no; on the node that proposed them."
    }
    section "Scheduler" {
        SCHEDULER_ENABLED: GAUGE, "zkpnet_scheduler_enabled", COORDINATOR;
            "Whether this node schedules."
        SCHEDULER_TASKS_ASSIGNED: COUNTER, "zkpnet_scheduler_tasks_assigned_total", COORDINATOR;
            "Leases granted, the same on every coordinator."
        SCHEDULER_ENDED: COUNTER, "zkpnet_scheduler_assignments_ended_total" ["reason"], COORDINATOR;
            "Leases that ended without a proof: reason is failed, lost or returned."
        SCHEDULER_ROUND_DURATION: DISK_TIMES, "zkpnet_scheduler_round_duration_seconds", COORDINATOR;
            "One round of the scheduler, the commit of the leases that it grants included."
    }
    section "Workers, as the coordinators see them" {
        WORKERS: GAUGE, "zkpnet_workers" ["state"], COORDINATOR;
            "Workers: state is active, draining or dead; suspect ones are silent, count as active, and are known to the leader only."
        CIRCUIT_WORKERS: GAUGE, "zkpnet_circuit_workers" ["circuit"], COORDINATOR;
            "Active workers that prove a circuit."
        CAPACITY_LEASES: GAUGE, "zkpnet_capacity_leases", COORDINATOR;
            "Leases that active workers may hold."
        CAPACITY_LEASES_USED: GAUGE, "zkpnet_capacity_leases_used", COORDINATOR;
            "Leases held."
        REGISTRY_REPORTS: COUNTER, "zkpnet_registry_reports_total" ["news"], COORDINATOR;
            "Reports of workers: news is started, proven, failed or given_back."
    }
    section "Verifier" {
        VERIFIER_CHECKS: COUNTER, "zkpnet_verifier_checks_total" ["verdict"], COORDINATOR;
            "Proofs checked by the coordinator: verdict is valid, invalid, malformed, or not_checked for want of room. A worker of the same process checks its own."
        VERIFIER_DURATION: DISK_TIMES, "zkpnet_verifier_check_duration_seconds", COORDINATOR;
            "Checking a proof; of proofs that were checked together, each one's share."
    }
    section "Worker" {
        WORKER_REGISTERED: GAUGE, "zkpnet_worker_registered", WORKER;
            "Whether a coordinator hands it work."
        WORKER_CAPACITY: GAUGE, "zkpnet_worker_capacity", WORKER;
            "Tasks that it takes at once."
        WORKER_SLOTS: GAUGE, "zkpnet_worker_slots", WORKER;
            "Proofs that it makes at once."
        WORKER_LEASES: GAUGE, "zkpnet_worker_leases", WORKER;
            "Leases in hand."
        WORKER_UNACKNOWLEDGED: GAUGE, "zkpnet_worker_unacknowledged_results", WORKER;
            "Finished proofs that no coordinator has acknowledged yet."
    }
    section "Prover" {
        PROVER_PROOFS: COUNTER, "zkpnet_prover_proofs_total" ["circuit", "outcome"], WORKER;
            "Proofs asked for: outcome is proved, failed, stopped, or not_tried for want of a key or of room."
        PROVER_DURATION: PROOF_TIMES, "zkpnet_prover_proof_duration_seconds" ["circuit"], WORKER;
            "A proof, from its turn on a thread to its bytes, loading its key included."
        PROVER_PHASE_DURATION: PROOF_TIMES, "zkpnet_prover_phase_duration_seconds" ["circuit", "phase"], WORKER;
            "A phase of a proof: wait (for threads and memory), synthesis, products, fft, msm (its five sums), check. On several threads phases run beside each other."
        PROVER_RUNNING: GAUGE, "zkpnet_prover_proofs_running", WORKER;
            "Proofs being made, those that wait for threads and memory included."
        PROVER_KEYS: GAUGE, "zkpnet_prover_keys", WORKER;
            "Proving keys in memory."
        PROVER_KEY_BYTES: GAUGE, "zkpnet_prover_key_bytes", WORKER;
            "What the proving keys take in memory, their tables included, when the last one came or went."
    }
    section "Archive" {
        ARCHIVE_UP: GAUGE, "zkpnet_archive_up", COORDINATOR, only with "a database";
            "Whether the database answered when this node last spoke to it: the leader with every batch, all now and then."
        ARCHIVE_LAG: GAUGE, "zkpnet_archive_lag_items", COORDINATOR, only with "a database";
            "Finished tasks, circuits and workers that the archive has not been told of; the same on every coordinator."
        ARCHIVE_BATCHES: COUNTER, "zkpnet_archive_batches_total", COORDINATOR, only with "a database";
            "Batches that this node committed to the archive."
        ARCHIVE_ERRORS: COUNTER, "zkpnet_archive_errors_total", COORDINATOR, only with "a database";
            "Batches that failed and are tried again."
        ARCHIVE_UPKEEP_ERRORS: COUNTER, "zkpnet_archive_upkeep_errors_total", COORDINATOR, only with "a database";
            "Failures to remove old tasks from the database, or to record the coordinators in it; batches go on meanwhile."
        ARCHIVE_BATCH_DURATION: REQUEST_TIMES, "zkpnet_archive_batch_duration_seconds", COORDINATOR, only with "a database";
            "From reading a batch out of the ledger to its commit in the database."
    }
    section "Backups" {
        BACKUP_TAKEN: GAUGE, "zkpnet_backup_taken_timestamp_seconds", COORDINATOR;
            "When a backup was last taken from this node to its end, in seconds since 1970; 0 before the first since it was started."
    }
    section "Storage" {
        STORAGE_FREE: GAUGE, "zkpnet_storage_free_bytes", WITH_DATA;
            "Bytes that may still be written to the file system of the data folder."
        STORAGE_SIZE: GAUGE, "zkpnet_storage_size_bytes", WITH_DATA;
            "The size of the file system of the data folder."
        STORAGE_REFUSALS: COUNTER, "zkpnet_storage_refusals_total", COORDINATOR;
            "Submissions refused because the disk had less than `storage.free_bytes_min` left."
    }
    section "Process" {
        UP: GAUGE, "zkpnet_up", ALL;
            "Whether the process does its work: of a coordinator, whether its front desk answers."
        BUILD_INFO: GAUGE, "zkpnet_build_info" ["version"], ALL;
            "Always 1; the version is its label."
        TRACE_SPANS: COUNTER, "zkpnet_trace_spans_total" ["outcome"], ALL;
            "Spans that ended: outcome is exported, failed (the collector did not take them) or dropped (the queue was full); all 0 without tracing.otlp_endpoint."
        PROCESS_CPU: COUNTER, "process_cpu_seconds_total", ALL;
            "Processor time that the process has used."
        PROCESS_RESIDENT_MEMORY: GAUGE, "process_resident_memory_bytes", ALL;
            "Memory that the process occupies."
        PROCESS_VIRTUAL_MEMORY: GAUGE, "process_virtual_memory_bytes", ALL;
            "Address space that the process has asked for."
        PROCESS_THREADS: GAUGE, "process_threads", ALL;
            "Threads of the process."
        PROCESS_OPEN_FDS: GAUGE, "process_open_fds", ALL;
            "Open files and sockets."
        PROCESS_MAX_FDS: GAUGE, "process_max_fds", ALL;
            "Files and sockets that may be open."
        PROCESS_START_TIME: GAUGE, "process_start_time_seconds", ALL;
            "When the process was started, in seconds since 1970."
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_told_once_and_follows_the_naming_practice() {
        let mut seen = BTreeSet::new();
        for metric in all() {
            let name = metric.name;
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("zkpnet_") || name.starts_with("process_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            for unit in ["_ms", "_millis", "_milliseconds", "_kb", "_mb", "_percent"] {
                assert!(!name.ends_with(unit), "{name} is in no base unit");
            }
            if matches!(metric.kind, Kind::Histogram(_)) {
                assert_eq!(metric.unit(), "seconds", "{name}: its buckets are seconds");
            }
            assert!(metric.help.ends_with('.') && !metric.on.is_empty(), "{name}");
        }
    }

    #[test]
    fn buckets_rise() {
        for metric in all() {
            if let Kind::Histogram(Buckets(bounds)) = metric.kind {
                assert!(bounds.windows(2).all(|pair| matches!(pair, [a, b] if a < b)), "{}", metric.name);
            }
        }
    }
}
