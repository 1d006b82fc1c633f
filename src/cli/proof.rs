//! `zkpnet proof verify`: checks a proof from files alone, without the service that made it.
//!
//! It verifies with `bls12_381`, which shares no arithmetic with the engine that proves. The verifying key must come from
//! somewhere that the verifier trusts: who gives both key and proof can prove anything.

use super::output::{Format, Printer, member, printable};
use super::{Failure, Verdict};
use anyhow::{Context, anyhow, bail, ensure};
use serde_json::{Value, json};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::proof::{Bytes32, ProofBytes, VerifyError, VerifyingKey, catalog, verify_independently};

/// The largest file that is read; keys and proofs take a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Arguments of `zkpnet proof`.
#[derive(Debug, clap::Args)]
pub struct ProofArgs {
    #[command(subcommand)]
    command: ProofCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ProofCommand {
    /// Check a proof from files; exits 0 when it is valid and 1 when it is not
    Verify(VerifyArgs),
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// A completed task, as `task get --output json` printed it
    #[arg(long, value_name = "FILE")]
    task_file: PathBuf,
    /// The circuit's verifying key, as `circuit verifying-key --output json` printed it
    #[arg(long, value_name = "FILE")]
    verifying_key: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub(super) fn run(args: &ProofArgs) -> Result<Verdict, Failure> {
    let ProofCommand::Verify(args) = &args.command;
    let task = read_json(&args.task_file).map_err(Failure::Usage)?;
    let key = read_json(&args.verifying_key).map_err(Failure::Usage)?;
    let finding = check(&task, &key).map_err(Failure::Usage)?;
    let answer = json!({
        "valid": finding.refusal.is_none(),
        "circuit": finding.circuit,
        "public_inputs": task.get("public_inputs"),
        "verifying_key": finding.digest,
        "reason": finding.refusal,
    });
    Printer::new(args.output).print(&answer, |_| match &finding.refusal {
        None => format!(
            "valid: {} states {}\nverifying key {}",
            printable(&finding.circuit),
            printable(&task.get("public_inputs").map(Value::to_string).unwrap_or_default()),
            finding.digest
        ),
        Some(reason) => format!("not valid: {reason}"),
    })?;
    Ok(if finding.refusal.is_none() { Verdict::Done } else { Verdict::No })
}

#[derive(Debug)]
struct Finding {
    circuit: String,
    digest: String,
    /// Why the proof is not valid.
    refusal: Option<String>,
}

/// Checks the proof of a task against a key. Files that do not belong together are an error; a proof that does not hold,
/// or is no proof, is a finding.
fn check(task: &Value, key: &Value) -> anyhow::Result<Finding> {
    let circuit = member(task, "circuit");
    ensure!(
        !circuit.is_empty(),
        "the task file has no `circuit`: it must hold what GET /api/v1/tasks/{{id}} answers"
    );
    let status = member(task, "status");
    let proof = member(task, "proof");
    if proof.is_empty() {
        bail!(
            "the task file has no `proof`; the task is {}",
            if status.is_empty() { "of unknown status" } else { &status }
        );
    }
    let key_circuit = member(key, "circuit");
    ensure!(key_circuit == circuit, "the key is of circuit {key_circuit:?}, and the task of {circuit:?}");
    let bytes = hex::decode(member(key, "verifying_key"))
        .map_err(|_| anyhow!("`verifying_key` is not hexadecimal"))?;
    ensure!(!bytes.is_empty(), "the key file has no `verifying_key`");
    let verifying_key = VerifyingKey::from_bytes(&bytes).context("the key file holds no verifying key")?;
    let digest = verifying_key.digest().to_string();
    for (named, whose) in
        [(member(key, "digest"), "the key file"), (member(task, "verifying_key"), "the task")]
    {
        ensure!(
            named.is_empty() || named == digest,
            "{whose} names key {named}, and the bytes are those of {digest}"
        );
    }
    let refusal = match inputs_in_order(task, key, &circuit)? {
        Err(reason) => Some(reason),
        Ok(inputs) => refusal(&verifying_key, &proof, &inputs)?,
    };
    Ok(Finding { circuit, digest, refusal })
}

fn refusal(key: &VerifyingKey, proof: &str, inputs: &[Bytes32]) -> anyhow::Result<Option<String>> {
    let proof: ProofBytes = match proof.parse() {
        Ok(proof) => proof,
        Err(error) => return Ok(Some(format!("{error}"))),
    };
    match verify_independently(key, &proof, inputs) {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some("the proof does not hold for these public inputs".to_owned())),
        Err(VerifyError::Key(error)) => Err(error.into()),
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// The task's public inputs in the circuit's order; the inner error says why they are none.
fn inputs_in_order(task: &Value, key: &Value, circuit: &str) -> anyhow::Result<Result<Vec<Bytes32>, String>> {
    let inputs = task.get("public_inputs").context("the task file has no `public_inputs`")?;
    let texts: Vec<&Value> = match inputs {
        Value::Array(inputs) => inputs.iter().collect(),
        Value::Object(named) => {
            let names = input_names(key, circuit)?;
            if named.len() != names.len() {
                return Ok(Err(format!("expected {} public inputs, got {}", names.len(), named.len())));
            }
            let found: Option<Vec<&Value>> = names.iter().map(|name| named.get(name)).collect();
            match found {
                Some(found) => found,
                None => return Ok(Err(format!("the public inputs are not {}", names.join(", ")))),
            }
        }
        _ => bail!("`public_inputs` is neither an object nor an array"),
    };
    let parsed = texts.iter().enumerate().map(|(place, text)| {
        let text = text.as_str().ok_or_else(|| format!("public input {place} is not a string"))?;
        text.parse::<Bytes32>().map_err(|error| format!("public input {place} {error}"))
    });
    Ok(parsed.collect())
}

/// The names of the circuit's inputs: this version's, or the key file's for a circuit that it does not know.
fn input_names(key: &Value, circuit: &str) -> anyhow::Result<Vec<String>> {
    if let Some(spec) = catalog::find(circuit) {
        return Ok(spec.public_inputs.iter().map(|name| (*name).to_owned()).collect());
    }
    let names =
        key.get("public_inputs").and_then(Value::as_array).context("the key file has no `public_inputs`")?;
    names
        .iter()
        .map(|name| name.as_str().map(str::to_owned).context("an input's name is not a string"))
        .collect()
}

fn read_json(file: &Path) -> anyhow::Result<Value> {
    let open = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let mut bytes = Vec::new();
    open.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(bytes.len() as u64 <= FILE_BYTES_MAX, "{} is larger than {FILE_BYTES_MAX} bytes", file.display());
    serde_json::from_slice(&bytes).with_context(|| format!("{} is not JSON", file.display()))
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
