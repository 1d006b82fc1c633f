//! Tasks over HTTP: submitted, looked at, listed, withdrawn.

pub(super) mod cancel;
pub(super) mod document;
pub(super) mod read;
pub(super) mod submission;
pub(super) mod submit;

use super::problem::Problem;
use crate::ledger::{LogIndex, TaskId};
use actix_web::http::header::{HeaderName, HeaderValue};

/// The header that carries the index of the entry that a write was committed in.
pub(super) const X_COMMIT_INDEX: HeaderName = HeaderName::from_static("x-commit-index");
/// The header that tells an answer from the result cache.
pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// Characters of a hyphenated UUID.
const UUID_LENGTH: usize = 36;

/// Reads a task's id from a path.
pub(crate) fn task_id(text: &str) -> Result<TaskId, Problem> {
    // The other spellings of a UUID are not taken: one task, one path.
    let parsed = (text.len() == UUID_LENGTH).then(|| uuid::Uuid::try_parse(text).ok()).flatten();
    parsed.map(TaskId).ok_or_else(|| Problem::field("id", "must be a UUID, as the submission answered it"))
}

fn commit_index_header(index: LogIndex) -> (HeaderName, HeaderValue) {
    (X_COMMIT_INDEX, HeaderValue::from(index.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_has_one_spelling_of_its_id() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(task_id(id).ok().map(|id| id.to_string()).as_deref(), Some(id));
        for wrong in
            ["", "1", "01890a5dac96774bbcceb302099a8057", "{01890a5d-ac96-774b-bcce-b302099a8057}", "é"]
        {
            assert!(task_id(wrong).is_err(), "{wrong:?}");
        }
    }
}
