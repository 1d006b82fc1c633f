//! Proofs from files: true ones, false ones, and files that do not belong together.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::proof::{CircuitInput, MerkleWitness, ProvingKey};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use std::sync::LazyLock;

/// A task and a key, as the service answers them.
static FILES: LazyLock<(Value, Value)> = LazyLock::new(|| {
    let spec = catalog::find("merkle-poseidon-4").unwrap();
    let key = ProvingKey::generate(spec, &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let leaves = ["0x1".parse().unwrap(), "0x2".parse().unwrap()];
    let input = CircuitInput::MerklePoseidon(MerkleWitness::open(&leaves, 1).unwrap());
    let proof = key.prove(&input).unwrap();
    let root = input.public_inputs().unwrap()[0].to_string();
    let digest = key.verifying_key().digest().to_string();
    let task = json!({
        "status": "completed", "circuit": spec.name, "proof": proof.to_string(),
        "public_inputs": {"merkle_root": root}, "verifying_key": digest,
    });
    let key = json!({
        "circuit": spec.name, "public_inputs": ["merkle_root"], "digest": digest,
        "verifying_key": hex::encode(key.verifying_key().as_bytes()),
    });
    (task, key)
});

fn refusal_of(change: impl FnOnce(&mut Value)) -> Option<String> {
    let (mut task, key) = FILES.clone();
    change(&mut task);
    check(&task, &key).unwrap().refusal
}

fn error_of(change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let (mut task, mut key) = FILES.clone();
    change(&mut task, &mut key);
    format!("{:#}", check(&task, &key).unwrap_err())
}

#[test]
fn a_true_proof_is_valid_with_its_inputs_as_object_or_array() {
    assert_eq!(refusal_of(|_| ()), None);
    let in_order = |task: &mut Value| task["public_inputs"] = json!([task["public_inputs"]["merkle_root"]]);
    assert_eq!(refusal_of(in_order), None);
}

#[test]
fn a_flipped_bit_or_another_root_is_not_valid() {
    let proof = FILES.0["proof"].as_str().unwrap();
    let last = u8::from_str_radix(&proof[382..], 16).unwrap() ^ 1;
    let flipped = format!("{}{last:02x}", &proof[..382]);
    assert!(refusal_of(|task| task["proof"] = json!(flipped)).is_some());
    let other = refusal_of(|task| task["public_inputs"]["merkle_root"] = json!("0x5"));
    assert_eq!(other.as_deref(), Some("the proof does not hold for these public inputs"));
}

#[test]
fn what_is_no_proof_is_not_valid() {
    assert!(refusal_of(|task| task["proof"] = json!("ab")).is_some());
    assert!(refusal_of(|task| task["proof"] = json!("00".repeat(192))).unwrap().contains("not on the curve"));
    let above = format!("0x{}", "f".repeat(64));
    assert!(refusal_of(|task| task["public_inputs"] = json!([above])).unwrap().contains("modulus"));
    let two = refusal_of(|task| task["public_inputs"] = json!(["0x1", "0x2"]));
    assert!(two.unwrap().contains("expected 1"));
}

#[test]
fn files_that_do_not_belong_together_are_errors_and_not_findings() {
    assert!(error_of(|task, _| task["verifying_key"] = json!("00")).contains("the task names key 00"));
    assert!(error_of(|_, key| key["digest"] = json!("00")).contains("the key file names key 00"));
    assert!(error_of(|_, key| key["circuit"] = json!("merkle-poseidon-8")).contains("merkle-poseidon-8"));
    assert!(error_of(|_, key| key["verifying_key"] = json!("zz")).contains("hexadecimal"));
    assert!(error_of(|_, key| key["verifying_key"] = json!("00")).contains("no verifying key"));
    assert!(error_of(|task, _| task["proof"] = Value::Null).contains("no `proof`; the task is completed"));
}
