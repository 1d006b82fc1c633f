//! The circuits and their verifying keys.

use super::problem::{Problem, ProblemBody, ProblemCode};
use super::query::Query;
use super::request_id::RequestId;
use super::state::AppState;
use crate::actors::tasks::messages::CircuitView;
use crate::ledger::Circuit;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

/// The form of a verifying key: alpha, beta (G1 and G2), gamma, delta (G1 and G2) as uncompressed points, a big-endian
/// count, and the points of the public inputs, as bellman writes them.
const KEY_ENCODING: &str = "groth16-bls12-381-bellman";

/// A circuit of the catalogue.
#[derive(Serialize, ToSchema)]
#[schema(as = Circuit)]
pub(super) struct CircuitDocument {
    /// Its name.
    #[schema(example = "merkle-poseidon-4")]
    circuit: String,
    /// What it proves.
    #[schema(example = "merkle_proof")]
    circuit_type: &'static str,
    /// For people.
    description: &'static str,
    /// Levels of the deepest tree that it takes.
    depth: u32,
    /// The names of the public inputs, in order.
    public_inputs: Vec<&'static str>,
    /// Whether it has a key; one is made when the first task of it comes.
    has_key: bool,
    /// The digest of its constraints.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    constraint_digest: Option<String>,
    /// The digest of its proving key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    proving_key: Option<String>,
    /// The digest of its verifying key (BLAKE3 of its bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false)]
    verifying_key: Option<String>,
    /// Who made the key: `dev` for one machine's randomness, which is not for production.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, example = "dev")]
    key_origin: Option<String>,
}

/// All circuits.
#[derive(Serialize, ToSchema)]
pub(super) struct CircuitListAnswer {
    /// Always true.
    success: bool,
    /// The circuits of this version.
    circuits: Vec<CircuitDocument>,
    /// The request's id.
    request_id: String,
}

/// One circuit.
#[derive(Serialize, ToSchema)]
pub(super) struct CircuitAnswer {
    /// Always true.
    success: bool,
    #[serde(flatten)]
    circuit: CircuitDocument,
    /// The request's id.
    request_id: String,
}

/// A circuit's verifying key.
#[derive(Serialize, ToSchema)]
pub(super) struct VerifyingKeyAnswer {
    /// Always true.
    success: bool,
    /// The circuit's name.
    circuit: String,
    /// The names of the public inputs, in order.
    public_inputs: Vec<&'static str>,
    /// The form of `verifying_key`.
    encoding: &'static str,
    /// BLAKE3 of the key's bytes.
    digest: String,
    /// Who made the key.
    key_origin: String,
    /// The key in hexadecimal.
    verifying_key: String,
    /// The request's id.
    request_id: String,
}

/// List the circuits
#[utoipa::path(
    get, path = "/api/v1/circuits", tag = "circuits", operation_id = "listCircuits",
    responses(
        (status = 200, description = "The circuits of this version", body = CircuitListAnswer),
        (status = 503, description = "Too much at once", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn list(
    request: HttpRequest,
    id: RequestId,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    let circuits = state.tasks.circuits().await?.into_iter().map(CircuitDocument::from).collect();
    Ok(HttpResponse::Ok().json(CircuitListAnswer { success: true, circuits, request_id: id.0 }))
}

/// Get a circuit
#[utoipa::path(
    get, path = "/api/v1/circuits/{id}", tag = "circuits", operation_id = "getCircuit",
    params(("id" = String, Path, description = "The circuit's name, or the digest of its verifying key")),
    responses(
        (status = 200, description = "The circuit", body = CircuitAnswer),
        (status = 404, description = "There is no such circuit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too much at once", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn get(
    request: HttpRequest,
    path: web::Path<String>,
    id: RequestId,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &[])?;
    let circuit = found(&state, &path).await?.into();
    Ok(HttpResponse::Ok().json(CircuitAnswer { success: true, circuit, request_id: id.0 }))
}

/// Get a circuit's verifying key
///
/// What is needed to check proofs without this service; `zkpnet proof verify` takes it from a file.
#[utoipa::path(
    get, path = "/api/v1/circuits/{id}/verifying-key", tag = "circuits", operation_id = "getVerifyingKey",
    params(
        ("id" = String, Path, description = "The circuit's name, or the digest of its verifying key"),
        ("format" = Option<String>, Query, description = "`json`, the only one of this version")
    ),
    responses(
        (status = 200, description = "The key", body = VerifyingKeyAnswer),
        (status = 404, description = "There is no such circuit", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The circuit has no key yet", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "Too much at once", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn verifying_key(
    request: HttpRequest,
    path: web::Path<String>,
    id: RequestId,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    Query::of(&request, &["format"])?.take_as("format", |format| match format {
        "json" => Ok(()),
        _ => Err("must be json: this version has no other format"),
    })?;
    let view = found(&state, &path).await?;
    let Some(Circuit { verifying_key, verifying_key_bytes, key_origin, .. }) = view.registered else {
        let detail = format!("circuit {} has no key yet; one is made when its first task comes", view.id);
        return Err(Problem::new(ProblemCode::NoKeyYet, detail));
    };
    Ok(HttpResponse::Ok().json(VerifyingKeyAnswer {
        success: true,
        circuit: view.id.to_string(),
        public_inputs: view.spec.public_inputs.to_vec(),
        encoding: KEY_ENCODING,
        digest: verifying_key.to_string(),
        key_origin: key_origin.into(),
        verifying_key: hex::encode(verifying_key_bytes),
        request_id: id.0,
    }))
}

async fn found(state: &AppState, name: &str) -> Result<CircuitView, Problem> {
    let circuits = state.tasks.circuits().await?;
    find(circuits, name).ok_or_else(|| Problem::new(ProblemCode::UnknownCircuit, "the circuit is not known"))
}

/// The circuit of that name, or with a verifying key of that digest.
pub(super) fn find(circuits: Vec<CircuitView>, name: &str) -> Option<CircuitView> {
    circuits.into_iter().find(|circuit| {
        let has_digest = |registered: &Circuit| registered.verifying_key.to_string() == name;
        circuit.id.as_str() == name || circuit.registered.as_ref().is_some_and(has_digest)
    })
}

impl From<CircuitView> for CircuitDocument {
    fn from(view: CircuitView) -> Self {
        let registered = view.registered.as_ref();
        Self {
            circuit: view.id.to_string(),
            circuit_type: view.spec.kind.as_str(),
            description: view.spec.description,
            depth: view.spec.depth,
            public_inputs: view.spec.public_inputs.to_vec(),
            has_key: registered.is_some(),
            constraint_digest: registered.map(|circuit| circuit.constraint_digest.to_string()),
            proving_key: registered.map(|circuit| circuit.proving_key.to_string()),
            verifying_key: registered.map(|circuit| circuit.verifying_key.to_string()),
            key_origin: registered.map(|circuit| circuit.key_origin.to_string()),
        }
    }
}
