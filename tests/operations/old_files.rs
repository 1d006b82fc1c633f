//! Files of earlier versions are opened by today's: a whole coordinator's folder and a backup, as version 0.1.0 wrote them
//! (`tests/fixtures/formats-0.1.0/`), with every kind of record and every command in them.
//!
//! The fixture of a version is written once, by that version, and stays:
//! `REGENERATE=1 cargo test --test operations -- --ignored writes_the_fixture`. A change that cannot read it needs a new format version,
//! not a new fixture.

use crate::lab::{Entrance, Lab, inspected, proved, said_with, submit_until_taken, succeeded};
use crate::support::{poll_until, zkpnet};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use zkpnet::ledger::{
    Attempt, CacheUse, Circuit, CircuitId, Command, Digest, FailureCause, FailureKind, IdempotencyKey,
    Incarnation, NewTask, Policy, Priority, ProvenResult, TaskId, TenantId, UnixMillis, WorkerId,
};
use zkpnet::proof::{Bytes32, CircuitInput, MerkleWitness, ProvingKey, catalog};
use zkpnet::raft::{InProcessNetwork, Member, NodeId, RaftConfig, RaftService};
use zkpnet::sealing::DataKey;

const AT: UnixMillis = UnixMillis(1_800_000_000_000);
const CIRCUIT: &str = "merkle-poseidon-4";
/// Longer than the fixture is wanted: a test must not find its tasks forgotten.
const RETENTION_MS: u64 = 3650 * 24 * 3600 * 1000;

pub(crate) fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats-0.1.0")
}

pub(crate) fn expected() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture().join("expected.json")).unwrap()).unwrap()
}

pub(crate) fn tar(args: &[&str], folder: &Path) {
    let done = Process::new("tar").args(args).current_dir(folder).status().unwrap();
    assert!(done.success(), "tar {args:?}");
}

#[test]
fn a_coordinators_folder_of_0_1_0_is_opened_and_worked_on() {
    let lab = Lab::new();
    let place = lab.place("coordinator-1", "old");
    std::fs::create_dir_all(&place.data).unwrap();
    let archive = fixture().join("coordinator.tar.gz");
    tar(&["xzf", archive.to_str().unwrap()], &place.data);
    std::fs::rename(place.data.join("data.key"), lab.path("data.key")).unwrap();
    let expected = expected();
    let found = inspected(&place.raft_dir());
    for name in ["state_hash", "applied", "tasks", "circuits", "workers", "cluster", "store"] {
        assert_eq!(found[name], expected[name], "{name} of {found}");
    }
    let [snapshot] = &found["snapshots"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!(snapshot["error"], Value::Null, "{found}");

    let _process = lab.coordinator(&place, &Entrance::Has);
    lab.ready(&place);
    let client = place.client();
    let done = expected["completed"].as_str().unwrap();
    assert_eq!(proved(&client, done)["proof"], expected["proof"], "the proof of an old task");
    for (task, status) in expected["ended"].as_object().unwrap() {
        let answer = client.get(&format!("/api/v1/tasks/{task}")).unwrap();
        assert_eq!(answer.body["status"], *status, "{answer:?}");
    }
    let _worker = lab.worker(std::slice::from_ref(&place));
    // Five levels: a circuit that the old ledger does not know, since its key is not in the fixture.
    let leaves: Vec<String> = (0..32).map(|leaf| format!("0x{leaf:x}")).collect();
    let new = poll_until("a submission to be taken", || {
        let body = json!({"leaves": leaves, "leaf_index": 7});
        let answer = client.post("/api/v1/tasks/merkle", &[("Idempotency-Key", "new")], &body).ok()?;
        answer.body["task_id"].as_str().map(str::to_owned)
    });
    proved(&client, &new);
}

#[test]
fn a_backup_of_0_1_0_is_whole_and_is_restored() {
    let lab = Lab::new();
    let file = fixture().join("cluster.zkpbak");
    let verified = zkpnet().args(["cluster", "backup", "verify"]).arg(&file).output().unwrap();
    said_with(0, &verified);
    tar(&["xzf", fixture().join("coordinator.tar.gz").to_str().unwrap(), "./data.key"], &lab.path(""));
    let new = lab.place("coordinator-1", "new");
    said_with(0, &lab.restore(&file, &new));
    let found = inspected(&new.raft_dir());
    let expected = expected();
    assert_eq!((&found["state_hash"], &found["tasks"]), (&expected["state_hash"], &expected["tasks"]));
    let _process = lab.coordinator(&new, &Entrance::Has);
    lab.ready(&new);
    let done = expected["completed"].as_str().unwrap();
    assert_eq!(proved(&new.client(), done)["proof"], expected["proof"]);
    submit_until_taken(&new.client(), 77);
}

fn task(number: u128) -> TaskId {
    TaskId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number))
}

fn worker() -> WorkerId {
    WorkerId::new("worker-1").unwrap()
}

/// A real key, a real proof, and what the ledger holds of both.
fn proof() -> (Circuit, ProvenResult) {
    let spec = catalog::find(CIRCUIT).unwrap();
    let key = ProvingKey::generate(spec, &mut rand_core::OsRng).unwrap();
    let leaves = [[1; 32], [2; 32]].map(Bytes32::new);
    let input = CircuitInput::MerklePoseidon(MerkleWitness::open(&leaves, 0).unwrap());
    let public_inputs: Vec<Digest> =
        input.public_inputs().unwrap().iter().map(|input| Digest(*input.as_bytes())).collect();
    let manifest = key.manifest();
    let circuit = Circuit {
        id: CircuitId::new(CIRCUIT).unwrap(),
        constraint_digest: Digest(*manifest.constraint_digest.as_bytes()),
        proving_key: Digest(*manifest.proving_key.as_bytes()),
        verifying_key: Digest(*manifest.verifying_key.as_bytes()),
        verifying_key_bytes: key.verifying_key().as_bytes().to_vec(),
        public_inputs: public_inputs.len() as u32,
        key_origin: "dev".into(),
    };
    let verifying_key = circuit.verifying_key;
    let proof = key.prove(&input).unwrap().as_bytes().to_vec();
    (circuit, ProvenResult { proof, public_inputs, verifying_key, proving_ms: 80, verifying_ms: 2 })
}

fn submit(key: &DataKey, number: u128, public_inputs: &[Digest]) -> Command {
    Command::SubmitTask(Box::new(NewTask {
        id: task(number),
        tenant: TenantId::DEFAULT,
        circuit: CircuitId::new(CIRCUIT).unwrap(),
        public_inputs: public_inputs.to_vec(),
        sealed_input: key.seal(task(number), b"what a later version is not asked to prove").unwrap(),
        fingerprint: key.fingerprint(TenantId::DEFAULT, &number.to_le_bytes()),
        idempotency_key: Some(IdempotencyKey::new(&format!("request-{number}")).unwrap()),
        cache: CacheUse::Bypassed,
        summary: Some("a summary".into()),
        priority: Priority::High,
        deadline_ms: None,
        max_attempts: Some(1),
        at: AT,
    }))
}

/// Every command, each in a form that the ledger takes, and the tasks that have ended after it.
fn commands(key: &DataKey, raft: &RaftService) -> (Vec<Command>, BTreeMap<TaskId, &'static str>) {
    let (circuit, result) = proof();
    let (worker, at, attempt, incarnation) = (worker(), AT, Attempt(1), Incarnation(1));
    let term = raft.status().term;
    let policy = Policy { retention_age_ms: RETENTION_MS, retry_backoff_base_ms: 0, ..Policy::default() };
    let inputs = result.public_inputs.clone();
    let (id, result) = (circuit.id.clone(), Box::new(result));
    let grant_to = |worker: &WorkerId, number| {
        let (task, worker) = (task(number), worker.clone());
        Command::GrantLease { term, task, attempt, worker, incarnation, at }
    };
    let register = |worker: &WorkerId| Command::RegisterWorker {
        worker: worker.clone(),
        incarnation,
        session: 77,
        capacity: 4,
        circuits: vec![id.clone()],
        version: "0.1.0".into(),
        at,
    };
    let (first, second) = (worker.clone(), WorkerId::new("worker-2").unwrap());
    let grant = |number| grant_to(&first, number);
    let cause = FailureCause::new(FailureKind::ProverPanicked, "a prover job panicked");
    let mut all = vec![
        Command::SetPolicy(policy),
        Command::RegisterCircuit(Box::new(circuit)),
        register(&first),
        register(&second),
    ];
    all.extend((1..=9).map(|number| submit(key, number, &inputs)));
    all.extend([
        grant(1),
        Command::StartAttempt { task: task(1), attempt, worker: worker.clone(), at },
        Command::CompleteTask { task: task(1), attempt, worker: worker.clone(), result, at },
        grant(2),
        Command::FailAttempt { task: task(2), attempt, worker: worker.clone(), cause, at },
        grant(3),
        Command::ReturnLease { task: task(3), attempt, worker: worker.clone(), at },
        grant(4),
        Command::ExpireLease { term, task: task(4), attempt, at },
        Command::CancelTask { tenant: TenantId::DEFAULT, task: task(5), at },
        grant(6),
        Command::AdvanceClock { at },
        Command::DrainWorker { worker: worker.clone(), incarnation },
        Command::LoseWorker { term, worker, incarnation, at },
        // Leases that are held when the files are left: one begun, one not.
        grant_to(&second, 7),
        Command::StartAttempt { task: task(7), attempt, worker: second.clone(), at },
        grant_to(&second, 8),
    ]);
    let ended = [(1, "completed"), (2, "failed"), (4, "failed"), (5, "cancelled"), (6, "failed")];
    let ended = ended.into_iter().map(|(number, status)| (task(number), status)).collect();
    (all, ended)
}

#[test]
#[ignore = "writes the fixture of this version; only for a version that has none"]
fn writes_the_fixture() {
    // Who runs all ignored tests does not mean this.
    if std::env::var_os("REGENERATE").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let raft_dir = folder.path().join("raft");
    std::fs::create_dir_all(&raft_dir).unwrap();
    let key = DataKey::for_store(&folder.path().join("data.key"), &raft_dir.join("data-key.id")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (completed, proof, ended) = runtime.block_on(async {
        let (node, network) = (NodeId(1), InProcessNetwork::default());
        let config = RaftConfig::new(node, &raft_dir);
        let (raft, _events) = RaftService::start(config, network.transport(node)).await.unwrap();
        let member = Member::new("coordinator-1", "127.0.0.1:7000");
        raft.initialize(BTreeMap::from([(node, member)])).await.unwrap();
        let mut status = raft.watch_status();
        status.wait_for(zkpnet::raft::RaftStatus::is_leading).await.unwrap();
        let (commands, ended) = commands(&key, &raft);
        let middle = commands.len() / 2;
        for (place, command) in commands.into_iter().enumerate() {
            let name = format!("{command:?}");
            let committed = raft.propose(command).await.unwrap();
            assert!(committed.reply.is_ok(), "{name}: {:?}", committed.reply);
            if place == middle {
                raft.trigger_snapshot().await.unwrap();
                status.wait_for(|status| status.snapshot.is_some()).await.unwrap();
            }
        }
        let proof = raft.body(zkpnet::ledger::BodyKey::Proof(task(1))).await.unwrap().unwrap();
        raft.shutdown().await.unwrap();
        (task(1), proof, ended)
    });
    let out = fixture();
    std::fs::create_dir_all(&out).unwrap();
    let found = inspected(&raft_dir);
    let names = ["state_hash", "applied", "tasks", "circuits", "workers", "cluster", "store"];
    let mut expected: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), found[*name].clone())).collect();
    let ended: BTreeMap<String, &str> =
        ended.into_iter().map(|(task, status)| (task.0.to_string(), status)).collect();
    expected.insert("completed".into(), json!(completed.0.to_string()));
    expected.insert("proof".into(), json!(hex::encode(proof)));
    expected.insert("ended".into(), json!(ended));
    let text = format!("{:#}\n", Value::Object(expected));
    std::fs::write(out.join("expected.json"), text).unwrap();
    let backup = out.join("cluster.zkpbak");
    let _ = std::fs::remove_file(&backup);
    let mut command = zkpnet();
    command.args(["cluster", "backup", "--without-keys", "--from-data-dir"]).arg(&raft_dir);
    succeeded(command.arg("--out").arg(&backup));
    tar(&["czf", out.join("coordinator.tar.gz").to_str().unwrap(), "."], folder.path());
}
