//! `POST /api/v1/proofs/verify`: true proofs, false ones, and what is no proof at all.

use crate::http::Answer;
use crate::service::Service;
use bls12_381::G1Affine;
use serde_json::{Value, json};

const MODULUS: &str = "0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001";

/// The request that verifies the shared completed task.
fn request() -> Value {
    let task = Service::shared().a_completed_task();
    json!({"circuit": task["circuit"], "proof": task["proof"], "public_inputs": task["public_inputs"]})
}

fn verify(request: &Value) -> Answer {
    Service::shared().post("/api/v1/proofs/verify", &[], &request.to_string())
}

fn proof() -> Vec<u8> {
    hex::decode(request()["proof"].as_str().unwrap()).unwrap()
}

fn verify_bytes(bytes: &[u8]) -> Answer {
    let mut request = request();
    request["proof"] = json!(hex::encode(bytes));
    verify(&request)
}

fn is_refused(answer: &Answer, code: &str) -> bool {
    answer.status == 400 && answer.problem()["code"] == code
}

#[test]
fn a_true_proof_is_valid_by_name_and_digest_with_inputs_as_object_and_array() {
    let mut request = request();
    let root = request["public_inputs"]["merkle_root"].clone();
    for circuit in [request["circuit"].clone(), Service::shared().a_completed_task()["verifying_key"].clone()]
    {
        for inputs in [json!({"merkle_root": root}), json!([root])] {
            (request["circuit"], request["public_inputs"]) = (circuit.clone(), inputs);
            let answer = verify(&request);
            assert_eq!((answer.status, &answer.json()["valid"]), (200, &json!(true)), "{}", answer.text);
        }
    }
}

#[test]
fn a_proof_with_one_flipped_bit_is_never_valid_and_never_a_crash() {
    let proof = proof();
    // Every byte is hit, each at another bit.
    for byte in 0..proof.len() {
        let mut flipped = proof.clone();
        flipped[byte] ^= 1 << (byte % 8);
        let answer = verify_bytes(&flipped);
        let is_false = answer.status == 200 && answer.json()["valid"] == false;
        assert!(
            is_false || is_refused(&answer, "invalid_proof"),
            "byte {byte}: {} {}",
            answer.status,
            answer.text
        );
    }
}

#[test]
fn a_point_off_the_curve_is_400() {
    let x = (0_u8..).find(|x| point(*x).is_none()).unwrap();
    let mut proof = proof();
    proof[..48].copy_from_slice(&compressed(x));
    assert!(is_refused(&verify_bytes(&proof), "invalid_proof"));
}

#[test]
fn a_point_outside_the_subgroup_is_400() {
    let outside = |x: &u8| point(*x).is_some_and(|point| !bool::from(point.is_torsion_free()));
    let x = (0_u8..).find(outside).unwrap();
    let mut proof = proof();
    proof[..48].copy_from_slice(&compressed(x));
    assert!(is_refused(&verify_bytes(&proof), "invalid_proof"));
}

/// The compressed form of a point with a small x, if there is one.
fn compressed(x: u8) -> [u8; 48] {
    let mut bytes = [0; 48];
    bytes[0] = 0x80;
    bytes[47] = x;
    bytes
}

fn point(x: u8) -> Option<G1Affine> {
    Option::from(G1Affine::from_compressed_unchecked(&compressed(x)))
}

#[test]
fn the_identity_is_400() {
    let mut proof = proof();
    proof[..48].copy_from_slice(&[&[0xc0][..], &[0; 47]].concat());
    assert!(is_refused(&verify_bytes(&proof), "invalid_proof"));
}

#[test]
fn an_input_at_or_above_the_modulus_is_400_and_another_root_is_false() {
    let with_root = |root: &str| {
        let mut request = request();
        request["public_inputs"]["merkle_root"] = json!(root);
        verify(&request)
    };
    for root in [MODULUS, &format!("0x{}", "f".repeat(64))] {
        assert!(is_refused(&with_root(root), "invalid_proof"), "{root}");
    }
    let other = with_root("0x1");
    assert_eq!((other.status, &other.json()["valid"]), (200, &json!(false)));
}

#[test]
fn one_input_too_many_or_too_few_is_400() {
    let mut request = request();
    let root = request["public_inputs"]["merkle_root"].clone();
    for inputs in [json!([root, root]), json!([])] {
        request["public_inputs"] = inputs;
        assert!(is_refused(&verify(&request), "invalid_proof"));
    }
    request["public_inputs"] = json!({"merkle_root": root, "nullifier": root});
    let answer = verify(&request);
    assert_eq!((answer.status, &answer.problem()["field"]), (400, &json!("public_inputs.nullifier")));
    request["public_inputs"] = json!({});
    let answer = verify(&request);
    assert_eq!((answer.status, &answer.problem()["field"]), (400, &json!("public_inputs.merkle_root")));
}

#[test]
fn what_is_no_proof_is_named() {
    for (name, value) in [
        ("proof", json!("ab")),
        ("proof", json!("zz".repeat(192))),
        ("proof", json!(7)),
        ("circuit", json!("")),
        ("public_inputs", json!("0x1")),
    ] {
        let mut request = request();
        request[name] = value;
        let answer = verify(&request);
        assert_eq!((answer.status, &answer.problem()["field"]), (400, &json!(name)), "{}", answer.text);
    }
}

#[test]
fn an_unknown_circuit_is_404_and_one_without_a_key_409() {
    let mut request = request();
    for (circuit, status, code) in
        [("sudoku", 404, "unknown_circuit"), ("merkle-poseidon-32", 409, "no_key_yet")]
    {
        request["circuit"] = json!(circuit);
        let answer = verify(&request);
        assert_eq!((answer.status, &answer.problem()["code"]), (status, &json!(code)));
    }
}
