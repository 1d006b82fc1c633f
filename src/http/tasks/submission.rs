//! The body of a Merkle submission, in both of its forms, as the front desk's message.
//!
//! Form is judged here: types, hex digits, counts, ranges. What needs hashing (whether a path leads to its root) is the
//! front desk's, on its bounded pool.

use super::super::fields::{
    FieldError, Fields, bytes32, bytes32_array, text, whole_number, whole_number_between,
};
use super::super::json::Json;
use crate::actors::tasks::messages::{Statement, TaskOptions};
use crate::ledger::{Policy, Priority};
use crate::proof::catalog;
use serde::Deserialize;
use std::time::Duration;
use utoipa::ToSchema;

/// Leaves of one submission: with 66 characters each they fit the default body limit; larger trees send a path.
pub(in crate::http) const LEAVES_MAX: usize = 100_000;
/// The longest deadline, in seconds: a year.
const DEADLINE_SECONDS_MAX: u64 = 31_536_000;
/// Characters of a summary.
const SUMMARY_LENGTH_MAX: usize = 200;

const LEAVES_FORM: &[&str] = &["leaves", "leaf_index", "hash"];
const PATH_FORM: &[&str] = &["leaf", "leaf_index", "path", "root", "hash"];
const OPTIONS: &[&str] = &["priority", "deadline_seconds", "max_attempts", "summary", "webhook_url"];

/// Knowledge of one leaf of the tree of all `leaves`, which the service builds.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // Bodies are decoded by hand, so that a refusal names the field; this is their description.
pub(in crate::http) struct MerkleLeavesRequest {
    /// All leaves of the tree, in order. Each is a big-endian number of at most 32 bytes: `0x` and 1 to 64 hex digits.
    /// Every 32-byte value is a valid leaf, those above the field's modulus included.
    #[schema(min_items = 1, max_items = 100_000, pattern = "^0x[0-9a-fA-F]{1,64}$", example = json!(["0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef", "0xfedcba0987654321fedcba0987654321fedcba0987654321fedcba0987654321"]))]
    leaves: Vec<String>,
    /// Which leaf the proof is to be about, from 0.
    #[schema(minimum = 0)]
    leaf_index: u64,
    #[serde(flatten)]
    common: CommonOptions,
}

/// Knowledge of a leaf of a tree that was built elsewhere, of any size.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // See above.
pub(in crate::http) struct MerklePathRequest {
    /// The leaf: `0x` and 1 to 64 hex digits.
    #[schema(pattern = "^0x[0-9a-fA-F]{1,64}$", example = "0x1234")]
    leaf: String,
    /// The leaf's place, from 0. Bit i says whether the node at height i is a right child.
    #[schema(minimum = 0)]
    leaf_index: u64,
    /// The siblings from the leaf's up to that below the root, each a field element.
    #[schema(max_items = 32, pattern = "^0x[0-9a-fA-F]{1,64}$")]
    path: Vec<String>,
    /// The root to which the path leads; another one is refused.
    #[schema(pattern = "^0x[0-9a-fA-F]{1,64}$")]
    root: String,
    #[serde(flatten)]
    common: CommonOptions,
}

/// What may be said of any task.
#[derive(Deserialize, ToSchema)]
#[allow(dead_code)] // See above.
pub(in crate::http) struct CommonOptions {
    /// The tree's hash. This version has `poseidon` only.
    #[schema(required = false, nullable = false, pattern = "^poseidon$", default = "poseidon")]
    hash: Option<String>,
    /// How urgent it is.
    #[schema(required = false, nullable = false)]
    priority: Option<PriorityName>,
    /// The task fails when it is not proved within so many seconds.
    #[schema(required = false, nullable = false, minimum = 1, maximum = 31_536_000)]
    deadline_seconds: Option<u64>,
    /// How many attempts may fail before the task does.
    #[schema(required = false, nullable = false, minimum = 1, maximum = 16)]
    max_attempts: Option<u64>,
    /// Shown to people; must not hold secrets.
    #[schema(required = false, nullable = false, max_length = 200)]
    summary: Option<String>,
}

/// How urgent a task is.
#[derive(Deserialize, serde::Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum PriorityName {
    /// After everything else of its time.
    Low,
    /// The default.
    Normal,
    /// Before everything else of its time.
    High,
}

impl From<Priority> for PriorityName {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
        }
    }
}

/// Either form of a Merkle submission.
#[derive(ToSchema)]
#[schema(as = MerkleRequest)]
#[serde(untagged)]
#[allow(dead_code)] // See above.
pub(in crate::http) enum MerkleRequest {
    /// All leaves.
    Leaves(MerkleLeavesRequest),
    /// One leaf and its path.
    Path(MerklePathRequest),
}

/// Decodes a submission of either form.
pub(in crate::http) fn decode_merkle(body: Json) -> Result<(Statement, TaskOptions), FieldError> {
    let mut fields = Fields::of_body(body, &[LEAVES_FORM, PATH_FORM, OPTIONS])?;
    let options = decode_options(&mut fields)?;
    check_hash(&mut fields)?;
    let statement = if fields.has("leaves") {
        if let Some(other) = ["leaf", "path", "root"].into_iter().find(|name| fields.has(name)) {
            let reason = "does not go with `leaves`: send either leaves and leaf_index, or leaf, leaf_index, path and root";
            return Err(FieldError::new(other, reason));
        }
        decode_leaves(&mut fields)?
    } else if ["leaf", "path", "root"].into_iter().any(|name| fields.has(name)) {
        decode_path(&mut fields)?
    } else {
        // Also when it is null: says of which type it must be.
        decode_leaves(&mut fields)?
    };
    Ok((statement, options))
}

fn decode_leaves(fields: &mut Fields) -> Result<Statement, FieldError> {
    let leaves = bytes32_array("leaves", fields.required("leaves")?, LEAVES_MAX)?;
    if leaves.is_empty() {
        return Err(FieldError::new("leaves", "must not be empty"));
    }
    let leaf_index = whole_number("leaf_index", &fields.required("leaf_index")?)?;
    if leaf_index >= leaves.len() as u64 {
        let reason = format!("must be below the number of leaves, {}", leaves.len());
        return Err(FieldError::new("leaf_index", reason));
    }
    Ok(Statement::MerkleLeaves { leaves, leaf_index })
}

fn decode_path(fields: &mut Fields) -> Result<Statement, FieldError> {
    let leaf = bytes32("leaf", &fields.required("leaf")?)?;
    let leaf_index = whole_number("leaf_index", &fields.required("leaf_index")?)?;
    let path = bytes32_array("path", fields.required("path")?, path_length_max())?;
    let root = bytes32("root", &fields.required("root")?)?;
    if u32::try_from(path.len()).is_ok_and(|length| leaf_index.checked_shr(length).unwrap_or(0) != 0) {
        let length = path.len();
        let reason = format!(
            "must be below 2^{length}: a path of {length} siblings leads to a tree of that many leaves"
        );
        return Err(FieldError::new("leaf_index", reason));
    }
    Ok(Statement::MerklePath { leaf, leaf_index, path, root })
}

/// Levels of the deepest circuit.
fn path_length_max() -> usize {
    catalog::all().iter().map(|circuit| circuit.depth as usize).max().unwrap_or(0)
}

fn check_hash(fields: &mut Fields) -> Result<(), FieldError> {
    let Some(json) = fields.optional("hash") else { return Ok(()) };
    match text("hash", json)?.as_str() {
        "poseidon" => Ok(()),
        "sha256" => Err(FieldError::unsupported(
            "hash",
            "sha256 trees are not supported by this version; use poseidon",
        )),
        _ => Err(FieldError::new("hash", "must be poseidon")),
    }
}

fn decode_options(fields: &mut Fields) -> Result<TaskOptions, FieldError> {
    if fields.optional("webhook_url").is_some() {
        let reason = "webhooks are not supported by this version; ask with GET and `wait`";
        return Err(FieldError::unsupported("webhook_url", reason));
    }
    let mut options = TaskOptions::default();
    if let Some(json) = fields.optional("priority") {
        options.priority = match text("priority", json)?.as_str() {
            "low" => Priority::Low,
            "normal" => Priority::Normal,
            "high" => Priority::High,
            _ => return Err(FieldError::new("priority", "must be low, normal or high")),
        };
    }
    if let Some(json) = fields.optional("deadline_seconds") {
        let seconds = whole_number_between("deadline_seconds", &json, 1, DEADLINE_SECONDS_MAX)?;
        options.deadline = Some(Duration::from_secs(seconds));
    }
    if let Some(json) = fields.optional("max_attempts") {
        let limit = u64::from(Policy::MAX_ATTEMPTS_LIMIT);
        let attempts = whole_number_between("max_attempts", &json, 1, limit)?;
        options.max_attempts = u32::try_from(attempts).ok();
    }
    options.summary = fields.optional("summary").map(decode_summary).transpose()?;
    Ok(options)
}

fn decode_summary(json: Json) -> Result<Box<str>, FieldError> {
    let summary = text("summary", json)?;
    let length = summary.chars().count();
    if length > SUMMARY_LENGTH_MAX {
        let reason = format!("must have at most {SUMMARY_LENGTH_MAX} characters, got {length}");
        return Err(FieldError::new("summary", reason));
    }
    if summary.chars().any(char::is_control) {
        return Err(FieldError::new("summary", "must not hold control characters"));
    }
    Ok(summary.into())
}

#[cfg(test)]
#[path = "submission_tests.rs"]
mod tests;
