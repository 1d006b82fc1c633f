//! `POST /api/v1/proofs/verify`: is this a proof of that?

use super::body::read_json;
use super::fields::{FieldError, Fields, bytes32, bytes32_array, text};
use super::json::Json;
use super::problem::{Problem, ProblemBody, ProblemCode};
use super::request_id::RequestId;
use super::state::{AppState, Limits};
use crate::actors::tasks::messages::VerifyProof;
use crate::proof::{Bytes32, CircuitSpec, ProofBytes, catalog};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

const KNOWN: &[&str] = &["circuit", "proof", "public_inputs"];
/// Public inputs that are looked at; no circuit has more.
const PUBLIC_INPUTS_MAX: usize = 64;
/// Characters of a circuit's name or digest.
const CIRCUIT_LENGTH_MAX: usize = 64;

/// A proof and what it is said to prove.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // Bodies are decoded by hand, so that a refusal names the field; this is their description.
pub(super) struct VerifyRequest {
    /// The circuit's name, or the digest of its verifying key.
    #[schema(example = "merkle-poseidon-4")]
    circuit: String,
    /// The proof in hexadecimal, as a task shows it.
    #[schema(min_length = 384, max_length = 384, pattern = "^[0-9a-fA-F]{384}$")]
    proof: String,
    /// The public inputs: the object that a task shows, or an array in the circuit's order.
    public_inputs: PublicInputsRequest,
}

/// Public inputs, by name or in order.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = PublicInputs)]
#[allow(dead_code)] // See above.
pub(super) enum PublicInputsRequest {
    /// By name.
    Named(std::collections::HashMap<String, String>),
    /// In order.
    Ordered(Vec<String>),
}

/// Whether the proof is valid.
#[derive(Serialize, ToSchema)]
pub(super) struct VerifyAnswer {
    /// Always true: the question was answered.
    success: bool,
    /// The answer.
    valid: bool,
    /// The circuit, as it was asked for.
    circuit: String,
    /// The request's id.
    request_id: String,
}

struct Claim {
    circuit: String,
    proof: ProofBytes,
    public_inputs: PublicInputs,
}

enum PublicInputs {
    Named(BTreeMap<String, Bytes32>),
    Ordered(Vec<Bytes32>),
}

/// Verify a proof
///
/// Against the circuit's registered key. A well-formed proof that does not hold is `"valid": false`; points that are not
/// on the curve or not in the subgroup, inputs at or above the modulus and wrong counts are 400.
#[utoipa::path(
    post, path = "/api/v1/proofs/verify", tag = "proofs", operation_id = "verifyProof",
    request_body = VerifyRequest,
    responses(
        (status = 200, description = "It was checked", body = VerifyAnswer),
        (status = 400, description = "It is no encoding of a proof or of its inputs", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "There is no such circuit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The circuit has no key yet, so that there can be no proof of it", body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, description = "The body is not application/json", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too much at once", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn verify(
    request: HttpRequest,
    payload: web::Payload,
    id: RequestId,
    state: web::Data<AppState>,
    limits: web::Data<Limits>,
) -> Result<HttpResponse, Problem> {
    let claim = read_json(&request, payload, &limits, |json| decode(json).map_err(Problem::from)).await?;
    let public_inputs = match claim.public_inputs {
        PublicInputs::Ordered(inputs) => inputs,
        PublicInputs::Named(inputs) => in_order(spec_of(&state, &claim.circuit).await?, inputs)?,
    };
    let circuit = claim.circuit;
    let proof = claim.proof.as_bytes().to_vec();
    let valid = state.tasks.verify(VerifyProof { circuit: circuit.clone(), proof, public_inputs }).await?;
    Ok(HttpResponse::Ok().json(VerifyAnswer { success: true, valid, circuit, request_id: id.0 }))
}

fn decode(body: Json) -> Result<Claim, FieldError> {
    let mut fields = Fields::of_body(body, &[KNOWN])?;
    let circuit = text("circuit", fields.required("circuit")?)?;
    if circuit.is_empty() || circuit.chars().count() > CIRCUIT_LENGTH_MAX {
        return Err(FieldError::new("circuit", format!("must have 1 to {CIRCUIT_LENGTH_MAX} characters")));
    }
    let proof = text("proof", fields.required("proof")?)?;
    let proof = proof.parse().map_err(|error| FieldError::new("proof", format!("{error}")))?;
    let public_inputs = match fields.required("public_inputs")? {
        Json::Object(inputs) => PublicInputs::Named(
            inputs
                .into_iter()
                .map(|(name, json)| {
                    let value = bytes32(&input_field(&name), &json)?;
                    Ok((name, value))
                })
                .collect::<Result<_, FieldError>>()?,
        ),
        json @ Json::Array(_) => {
            PublicInputs::Ordered(bytes32_array("public_inputs", json, PUBLIC_INPUTS_MAX)?)
        }
        other => {
            let reason = format!("expected an object or an array, got {}", other.kind());
            return Err(FieldError::new("public_inputs", reason));
        }
    };
    Ok(Claim { circuit, proof, public_inputs })
}

fn input_field(name: &str) -> String {
    match super::json::shown_key(name) {
        Some(name) => format!("public_inputs.{name}"),
        None => "public_inputs".to_owned(),
    }
}

/// The inputs in the circuit's order; each must be there, and no other.
fn in_order(spec: &CircuitSpec, mut named: BTreeMap<String, Bytes32>) -> Result<Vec<Bytes32>, FieldError> {
    let ordered = spec
        .public_inputs
        .iter()
        .map(|name| named.remove(*name).ok_or_else(|| FieldError::new(input_field(name), "is missing")))
        .collect::<Result<_, _>>()?;
    match named.keys().next() {
        None => Ok(ordered),
        Some(name) => {
            Err(FieldError::new(input_field(name), format!("is not a public input of {}", spec.name)))
        }
    }
}

async fn spec_of(state: &AppState, circuit: &str) -> Result<&'static CircuitSpec, Problem> {
    if let Some(spec) = catalog::find(circuit) {
        return Ok(spec);
    }
    let circuits = state.tasks.circuits().await?;
    super::circuits::find(circuits, circuit)
        .map(|found| found.spec)
        .ok_or_else(|| Problem::new(ProblemCode::UnknownCircuit, "the circuit is not known"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::json::parse;
    use super::*;

    fn refusal(body: &str) -> String {
        decode(parse(body.as_bytes()).unwrap()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn body(proof: &str, inputs: &str) -> String {
        format!(r#"{{"circuit":"merkle-poseidon-4","proof":"{proof}","public_inputs":{inputs}}}"#)
    }

    #[test]
    fn the_object_and_the_array_of_inputs_are_taken() {
        let proof = "ab".repeat(192);
        assert_eq!(refusal(&body(&proof, r#"{"merkle_root":"0x1"}"#)), "");
        assert_eq!(refusal(&body(&proof, r#"["0x1"]"#)), "");
    }

    #[test]
    fn each_wrong_part_is_named() {
        let proof = "ab".repeat(192);
        let with_inputs = |inputs: &str| refusal(&body(&proof, inputs));
        assert_eq!(with_inputs("7"), "public_inputs: expected an object or an array, got a number");
        assert_eq!(with_inputs("[\"1\"]"), "public_inputs[0]: must begin with 0x");
        assert_eq!(
            with_inputs(r#"{"merkle_root":"0xg"}"#),
            "public_inputs.merkle_root: character 1 after 0x is not a hex digit"
        );
        assert!(refusal(&body("ab", "[]")).starts_with("proof: "));
        assert!(refusal(&body(&"zz".repeat(192), "[]")).starts_with("proof: "));
        assert_eq!(refusal(r#"{"proof":"","public_inputs":[]}"#), "circuit: is missing");
        assert!(refusal(r#"{"circuit":"","proof":"","public_inputs":[]}"#).starts_with("circuit: must have"));
    }

    #[test]
    fn named_inputs_must_be_the_circuits_own() {
        let spec = catalog::find("merkle-poseidon-4").unwrap();
        let named = |names: &[&str]| {
            let inputs = names.iter().map(|name| ((*name).to_owned(), Bytes32::ZERO)).collect();
            in_order(spec, inputs).map(|inputs| inputs.len()).map_err(|error| error.to_string())
        };
        assert_eq!(named(&["merkle_root"]), Ok(1));
        assert_eq!(named(&[]), Err("public_inputs.merkle_root: is missing".into()));
        assert_eq!(
            named(&["merkle_root", "nullifier"]),
            Err("public_inputs.nullifier: is not a public input of merkle-poseidon-4".into())
        );
    }
}
