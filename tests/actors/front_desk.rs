//! The front desk: submissions, reads, waiting.

use crate::support::{LIMIT, Rig, Worker, real_prover, submission};
use std::time::Duration;
use zkpnet::actors::tasks::messages::AwaitTask;
use zkpnet::ledger::{TaskStatus, TenantId};

#[actix_rt::test]
async fn a_submitted_task_is_proved_verified_and_shown_to_who_waits() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::single(folder.path(), Worker::Session(real_prover()), Duration::from_secs(10)).await;
    let accepted = rig.tasks.submit(submission(1)).await.unwrap();
    let request = AwaitTask { tenant: TenantId::DEFAULT, task: accepted.task, limit: LIMIT };
    let view = rig.tasks.wait(request).await.unwrap();
    assert_eq!(view.task.status(), TaskStatus::Completed, "{view:?}");
    assert_eq!(view.proof.unwrap().len(), 192);
    rig.stop().await;
}
