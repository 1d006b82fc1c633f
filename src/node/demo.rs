//! `zkpnet demo`: one task from submission to a proof that somebody else checked, told in words.

use super::dev::start_node;
use super::process::{start_logging, within_system};
use crate::config::Loaded;
use crate::proof::{Bytes32, ProofBytes, VerifyingKey, verify_independently};
use anyhow::{Context as _, anyhow, ensure};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The leaves of the quick start. The second is above the scalar field's modulus, which is no obstacle: a leaf is hashed
/// in two halves.
const LEAVES: [&str; 2] = [
    "0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef",
    "0xfedcba0987654321fedcba0987654321fedcba0987654321fedcba0987654321",
];
/// A request may take this long; the server's own limits are shorter.
const REQUEST_LIMIT: Duration = Duration::from_secs(90);

/// Runs the demonstration.
///
/// # Errors
/// When any step of it does not do what it should.
pub fn run_demo(loaded: Loaded) -> anyhow::Result<ExitCode> {
    start_logging(&loaded);
    within_system(async move {
        let began = Instant::now();
        println!(
            "1. Starting a whole zkpnet in this process: a Raft node, its ledger, a scheduler, a prover, a verifier."
        );
        let node = start_node(&loaded).await?;
        let server = format!("http://{}", node.addr());
        println!("   It serves {server} and keeps its data in {}.", loaded.config.storage.data_dir.display());
        println!("   Ready after {} ms.\n", began.elapsed().as_millis());
        let told = actix_rt::task::spawn_blocking(move || tell(&server))
            .await
            .context("the demonstration was cut short");
        node.shutdown(loaded.config.shutdown.grace).await;
        told??;
        Ok(ExitCode::SUCCESS)
    })
}

fn tell(server: &str) -> anyhow::Result<()> {
    let client = Client::new(server);
    println!(
        "2. Waiting until the circuit merkle-poseidon-4 has its keys (made once per data folder, label dev) ..."
    );
    let verifying_key = client.verifying_key("merkle-poseidon-4")?;
    println!("   They are there: a verifying key of {} bytes.\n", verifying_key.as_bytes().len());

    println!(
        "3. Submitting a task: prove that I know leaf 0 of a Merkle tree with these two leaves, telling only the root."
    );
    LEAVES.iter().for_each(|leaf| println!("   {leaf}"));
    let began = Instant::now();
    let submitted = client.post("/api/v1/tasks/merkle", &json!({"leaves": LEAVES, "leaf_index": 0}))?;
    let task_id = text(&submitted, "task_id")?;
    println!("   Taken as task {task_id}: it is in the Raft log, fsynced.\n");

    println!("4. Waiting for the proof ...");
    let task = client.get(&format!("/api/v1/tasks/{task_id}?wait=60s"))?;
    let took = began.elapsed();
    ensure!(text(&task, "status")? == "completed", "the task did not complete: {task}");
    let (proof, root) = (text(&task, "proof")?, text(&task, "merkle_root")?);
    let proving_ms = task.pointer("/timings_ms/proving").and_then(Value::as_u64).unwrap_or_default();
    println!(
        "   Proved in {proving_ms} ms by {}, verified, answered {} ms after submission.",
        text(&task, "worker_id")?,
        took.as_millis()
    );
    println!("   proof  {}... ({} bytes)", proof.get(..32).unwrap_or(&proof), proof.len() / 2);
    println!("   root   {root}\n");

    println!(
        "5. Checking the proof again, here, with another implementation of the curve (bls12_381; blstrs proved it) ..."
    );
    let proof: ProofBytes = proof.parse().context("the answer's proof")?;
    let root: Bytes32 = root.parse().context("the answer's root")?;
    ensure!(verify_independently(&verifying_key, &proof, &[root])?, "the proof does not verify");
    println!(
        "   Valid: whoever made it knows a leaf of the tree with this root. Which leaf, the proof does not tell."
    );
    let mut other = *root.as_bytes();
    other[31] ^= 1;
    ensure!(
        !verify_independently(&verifying_key, &proof, &[Bytes32::new(other)])?,
        "a false statement verified"
    );
    println!(
        "   And for any other root it is worthless: with one bit of the root changed it does not verify."
    );
    Ok(())
}

/// The little of an HTTP client that the demonstration needs.
struct Client {
    agent: ureq::Agent,
    server: String,
}

impl Client {
    fn new(server: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(REQUEST_LIMIT))
            .http_status_as_error(false)
            .build();
        Self { agent: config.into(), server: server.to_owned() }
    }

    fn get(&self, path: &str) -> anyhow::Result<Value> {
        let mut answer =
            self.agent.get(format!("{}{path}", self.server)).call().with_context(|| format!("GET {path}"))?;
        let value: Value = answer.body_mut().read_json().with_context(|| format!("GET {path}"))?;
        ensure!(answer.status().is_success(), "GET {path}: {value}");
        Ok(value)
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.agent.post(format!("{}{path}", self.server));
        let mut answer = request.send_json(body).with_context(|| format!("POST {path}"))?;
        let value: Value = answer.body_mut().read_json().with_context(|| format!("POST {path}"))?;
        ensure!(answer.status().is_success(), "POST {path}: {value}");
        Ok(value)
    }

    /// The bytes of a circuit's verifying key, once there is one.
    fn verifying_key(&self, circuit: &str) -> anyhow::Result<VerifyingKey> {
        let deadline = Instant::now() + REQUEST_LIMIT;
        loop {
            match self.get(&format!("/api/v1/circuits/{circuit}/verifying-key")) {
                Ok(answer) => {
                    return Ok(VerifyingKey::from_bytes(&hex::decode(text(&answer, "verifying_key")?)?)?);
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

fn text(value: &Value, field: &str) -> anyhow::Result<String> {
    let text = value.get(field).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| anyhow!("the answer has no field {field}: {value}"))
}
