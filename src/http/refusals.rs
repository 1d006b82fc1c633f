//! What the front desk refuses, as the problem that a client is told.

use super::problem::{Problem, ProblemCode};
use crate::actors::tasks::messages::TaskError;

impl From<TaskError> for Problem {
    fn from(error: TaskError) -> Self {
        let text = error.to_string();
        match error {
            TaskError::Invalid { field, reason } => Self::field(field, reason),
            TaskError::UnknownTask(_) => Self::new(ProblemCode::UnknownTask, text),
            TaskError::UnknownCircuit(_) => Self::new(ProblemCode::UnknownCircuit, text),
            TaskError::NoKeyYet(_) => Self::new(ProblemCode::NoKeyYet, text),
            TaskError::Finished { task, .. } => {
                Self { task: Some(task), ..Self::new(ProblemCode::TaskFinished, text) }
            }
            TaskError::IdempotencyConflict => Self {
                field: Some("Idempotency-Key".to_owned()),
                ..Self::new(ProblemCode::IdempotencyConflict, text)
            },
            TaskError::BadProof(_) => Self::new(ProblemCode::InvalidProof, text),
            TaskError::LimitReached(_) => Self::new(ProblemCode::LimitReached, text),
            TaskError::ArchiveBehind(_) => Self::new(ProblemCode::ArchiveBehind, text),
            TaskError::StorageLow(_) => Self::new(ProblemCode::StorageLow, text),
            TaskError::ArchiveUnavailable(_) => Self::new(ProblemCode::ArchiveUnavailable, text),
            TaskError::Overloaded(_) => Self::new(ProblemCode::Overloaded, text),
            TaskError::NoLeader { .. } => Self::new(ProblemCode::NoLeader, text),
            TaskError::Unavailable(_) => Self::new(ProblemCode::Unavailable, text),
            TaskError::OutcomeUnknown { task, .. } => {
                let detail =
                    format!("{text}; ask for the task, or repeat the request with the same Idempotency-Key");
                Self { task, ..Self::new(ProblemCode::OutcomeUnknown, detail) }
            }
            TaskError::Internal(cause) => Self::internal(cause),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::actors::disk_room::Shortage;
    use crate::ledger::{CircuitId, TaskId, TaskStatus};
    use actix_web::body::to_bytes;

    async fn told(error: TaskError) -> (u16, Option<String>, serde_json::Value) {
        let answer = Problem::from(error).render();
        let status = answer.status().as_u16();
        let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let body = to_bytes(answer.into_body()).await.unwrap();
        (status, retry, serde_json::from_slice(&body).unwrap())
    }

    #[actix_rt::test]
    async fn every_refusal_has_its_status_and_code() {
        let task = TaskId(uuid::Uuid::from_u128(7));
        let circuit = CircuitId::new("c").unwrap();
        let cases = [
            (TaskError::Invalid { field: "path".into(), reason: "no".into() }, 400, "invalid_field"),
            (TaskError::UnknownTask(task), 404, "unknown_task"),
            (TaskError::UnknownCircuit("c".into()), 404, "unknown_circuit"),
            (TaskError::NoKeyYet(circuit), 409, "no_key_yet"),
            (TaskError::Finished { task, status: TaskStatus::Completed }, 409, "task_finished"),
            (TaskError::IdempotencyConflict, 422, "idempotency_conflict"),
            (TaskError::LimitReached("full".into()), 429, "limit_reached"),
            (TaskError::ArchiveBehind("full".into()), 503, "archive_behind"),
            (TaskError::StorageLow(Shortage { free_bytes: 1, free_bytes_min: 2 }), 503, "storage_low"),
            (TaskError::ArchiveUnavailable("down".into()), 503, "archive_unavailable"),
            (TaskError::Overloaded("busy".into()), 503, "overloaded"),
            (TaskError::NoLeader { leader_address: None }, 503, "no_leader"),
            (TaskError::Unavailable("starting".into()), 503, "unavailable"),
            (TaskError::OutcomeUnknown { task: Some(task), reason: "r".into() }, 503, "outcome_unknown"),
            (TaskError::Internal("secret path /x".into()), 500, "internal"),
        ];
        for (error, expected_status, expected_code) in cases {
            let (status, retry, body) = told(error).await;
            assert_eq!((status, body["code"].as_str().unwrap()), (expected_status, expected_code));
            assert_eq!(retry.is_some(), matches!(status, 429 | 503), "{expected_code}");
            assert_eq!(body["status"], status);
            assert_eq!(body["success"], false);
            assert_eq!(body["type"], format!("urn:zkpnet:problem:{expected_code}"));
            assert_eq!(body["error"], body["detail"]);
        }
    }

    #[actix_rt::test]
    async fn a_defect_is_not_described_to_the_client() {
        let (_, _, body) = told(TaskError::Internal("secret path /x".into())).await;
        assert!(!body.to_string().contains("/x"));
    }

    #[actix_rt::test]
    async fn an_unknown_outcome_names_the_task_that_may_exist() {
        let task = TaskId(uuid::Uuid::from_u128(7));
        let error = TaskError::OutcomeUnknown { task: Some(task), reason: "r".into() };
        assert_eq!(told(error).await.2["task_id"], task.to_string());
    }
}
