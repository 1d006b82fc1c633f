//! What PostgreSQL has, in the words of the API, so that the two can be compared field by field.
//!
//! The statements make of every row what the API would make of the ledger's record. What the API tells besides is taken out by
//! name, so that a new field of the API has to be thought of here.

use super::LIMIT;
use super::cluster::Cluster;
use super::database::Database;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is of the answer and not of the task, what repeats another field, and texts that are made for people.
const NOT_ARCHIVED: [&str; 6] = ["success", "request_id", "circuit_type", "merkle_root", "as_of", "error"];

const TIME: &str = "CREATE OR REPLACE FUNCTION pg_temp.told(ms bigint) RETURNS text LANGUAGE sql AS $$ \
    SELECT to_char(to_timestamp(ms / 1000.0) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') $$;";

const TASKS: &str = "SELECT jsonb_strip_nulls(jsonb_build_object( \
    'task_id', t.id, 'status', t.status, 'circuit', t.circuit, 'proof', encode(t.proof, 'hex'), \
    'public_inputs', (SELECT jsonb_agg('0x' || encode(i, 'hex') ORDER BY i) FROM unnest(t.public_inputs) AS i), \
    'verifying_key', encode(t.verifying_key, 'hex'), 'attempts', t.latest_attempt, 'max_attempts', t.max_attempts, \
    'attempt_history', a.history, 'worker_id', t.worker, 'priority', t.priority, 'summary', t.summary, \
    'error_code', CASE t.failure_reason WHEN 'permanent' THEN t.failure_kind ELSE t.failure_reason END, \
    'created_at', pg_temp.told(t.created_ms), 'started_at', pg_temp.told(a.started_ms), \
    'completed_at', pg_temp.told(t.finished_ms), 'deadline', pg_temp.told(t.deadline_ms), \
    'timings_ms', CASE t.status WHEN 'completed' THEN jsonb_build_object( \
        'queued', t.queued_ms, 'proving', t.proving_ms, 'verifying', t.verifying_ms) END)) \
    FROM tasks AS t, LATERAL (SELECT \
        (array_agg(started_ms ORDER BY attempt DESC))[1] AS started_ms, \
        CASE WHEN bool_or(outcome <> 'completed') THEN jsonb_agg(jsonb_build_object( \
            'attempt', attempt, 'worker_id', worker, 'outcome', coalesce(outcome, 'running'), \
            'granted_at', pg_temp.told(granted_ms), 'started_at', pg_temp.told(started_ms), \
            'ended_at', pg_temp.told(ended_ms), 'cause', failure_kind, 'message', failure_message) \
            ORDER BY attempt) END AS history \
        FROM attempts WHERE task_id = t.id) AS a";

const WORKERS: &str = "SELECT jsonb_strip_nulls(jsonb_build_object('worker_id', id, 'state', state, \
    'capacity', capacity, 'circuits', circuits, 'version', version, \
    'registered_at', pg_temp.told(registered_ms), 'lost_at', pg_temp.told(lost_ms))) FROM workers";

const CIRCUITS: &str = "SELECT jsonb_build_object('circuit', id, 'public_inputs', public_inputs, \
    'constraint_digest', encode(constraint_digest, 'hex'), 'proving_key', encode(proving_key, 'hex'), \
    'verifying_key', encode(verifying_key, 'hex'), 'key_origin', key_origin) FROM circuits";

/// The rows that a statement makes, by their names.
fn rows(database: &Database, statement: &str, name: &str) -> BTreeMap<String, Value> {
    let lines = database.sql(&format!("{TIME} {statement}"));
    let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let by_name: Vec<(String, Value)> =
        rows.map(|row| (row[name].as_str().unwrap().to_owned(), row)).collect();
    let count = by_name.len();
    let rows: BTreeMap<String, Value> = by_name.into_iter().collect();
    assert_eq!(rows.len(), count, "a {name} appears twice");
    rows
}

/// Every task that was archived, by its id.
pub(super) fn tasks(database: &Database) -> BTreeMap<String, Value> {
    rows(database, TASKS, "task_id")
}

/// A task that has ended, as the API tells of it, without what the archive does not have.
pub(super) fn task_told(mut told: Value) -> Value {
    let fields = told.as_object_mut().unwrap();
    NOT_ARCHIVED.iter().for_each(|field| drop(fields.remove(*field)));
    // By name in the answer, by place in the row.
    let inputs = fields["public_inputs"].as_object().unwrap();
    let mut inputs: Vec<&str> = inputs.values().map(|input| input.as_str().unwrap()).collect();
    inputs.sort_unstable();
    let inputs = json!(inputs);
    fields.insert("public_inputs".to_owned(), inputs);
    told
}

/// Every worker and circuit that the leader tells of is in the archive as it tells it; what it has forgotten is lost.
pub(super) fn workers_and_circuits_agree(cluster: &Cluster, leader: &str, database: &Database) {
    let client = cluster.client(leader, LIMIT);
    let mut archived = rows(database, WORKERS, "worker_id");
    let told = client.get("/api/v1/workers").unwrap().body["workers"].clone();
    for mut worker in told.as_array().unwrap().clone() {
        // What it holds right now.
        worker.as_object_mut().unwrap().remove("held");
        let name = worker["worker_id"].as_str().unwrap().to_owned();
        assert_eq!(archived.remove(&name), Some(worker), "worker {name}: the row, and what is told");
    }
    assert!(
        archived.values().all(|worker| worker["state"] == "lost"),
        "the ledger knows nothing of {archived:?}"
    );

    let archived = rows(database, CIRCUITS, "circuit");
    let told = client.get("/api/v1/circuits").unwrap().body["circuits"].clone();
    let told = told.as_array().unwrap().iter().filter(|circuit| circuit["has_key"] == true);
    let told = told.map(|circuit| {
        let fields = ["circuit", "constraint_digest", "proving_key", "verifying_key", "key_origin"];
        let mut kept: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), circuit[*field].clone())).collect();
        kept.insert("public_inputs".to_owned(), json!(circuit["public_inputs"].as_array().unwrap().len()));
        (circuit["circuit"].as_str().unwrap().to_owned(), Value::Object(kept))
    });
    assert_eq!(archived, told.collect(), "circuits: the rows, and what is told");
}
