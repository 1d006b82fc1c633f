//! What people read: running totals and the views.

use crate::support::{Database, completed, ended, items};
use zkpnet::ledger::{
    Attempt, AttemptEnd, AttemptRecord, FailureReason, TaskState, TaskStatus, Term, UnixMillis, WorkerId,
};

#[tokio::test]
async fn totals_are_right_whoever_changes_the_tasks() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut tasks: Vec<_> = (1..=5).map(completed).collect();
    tasks.push(ended(6, TaskStatus::Failed, 1_770_000_000_000));
    let claim = store.write_batch(&claim, 0, &items(0, &tasks)).await.unwrap();
    // Task 1 was failed after all, task 2 is written once more.
    let again = [ended(1, TaskStatus::Failed, 1_770_000_000_000), completed(2)];
    store.write_batch(&claim, 6, &items(6, &again)).await.unwrap();
    database.sql("DELETE FROM tasks WHERE sequence = 3");
    database.sql("UPDATE tasks SET status = 'cancelled', failure_reason = NULL WHERE sequence = 6");
    let counted = "SELECT tenant, circuit, status, count(*), sum(attempts_used), coalesce(sum(queued_ms), 0), \
        coalesce(sum(proving_ms), 0), coalesce(sum(verifying_ms), 0) FROM tasks GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";
    let kept = "SELECT tenant, circuit, status, tasks, attempts_used, queued_ms, proving_ms, verifying_ms \
        FROM task_counts WHERE tasks <> 0 ORDER BY 1, 2, 3";
    assert_eq!(database.sql(kept), database.sql(counted));
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.completed, counts.failed, counts.cancelled), (3, 1, 1));
    let stats = "SELECT tasks, round(queued_ms_mean), round(proving_ms_mean), round(verifying_ms_mean) \
        FROM task_stats WHERE status = 'completed'";
    assert_eq!(database.sql(stats), "3|100|700|3");
    database.sql("TRUNCATE tasks CASCADE");
    assert_eq!(store.counts().await.unwrap().total(), 0);
}

fn attempt(number: u32, worker: &str, granted: u64, end: u64, how: AttemptEnd) -> AttemptRecord {
    AttemptRecord {
        attempt: Attempt(number),
        worker: WorkerId::new(worker).unwrap(),
        granted_at: UnixMillis(granted),
        started_at: Some(UnixMillis(granted + 5)),
        end: Some((UnixMillis(end), how)),
    }
}

#[tokio::test]
async fn workers_are_judged_by_what_became_of_their_leases() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let mut task = completed(1);
    task.attempts = vec![
        attempt(1, "slow", 1_000, 9_000, AttemptEnd::LeaseExpired),
        attempt(2, "slow", 9_000, 9_100, AttemptEnd::Returned),
        attempt(3, "good", 9_200, 9_405, AttemptEnd::Completed),
    ];
    store.write_batch(&claim, 0, &items(0, &[task])).await.unwrap();
    let columns = "worker, attempts, completed, silent, returned, success_ratio, round(run_ms_mean)";
    let shown = database.sql(&format!("SELECT {columns} FROM worker_performance ORDER BY worker"));
    assert_eq!(shown, "good|1|1|0|0|1.0000|200\nslow|2|0|1|1|0.0000|");
}

#[tokio::test]
async fn stale_tasks_are_those_that_stood_still() {
    let (database, store) = Database::migrated().await;
    let claim = store.claim("cluster", Term(1), "coordinator-1").await.unwrap();
    let quick = completed(1);
    let start = completed(2).created_at.0;
    let mut silent = completed(2);
    silent.attempts = vec![
        attempt(1, "worker-9", start + 100, start + 30_100, AttemptEnd::WorkerLost),
        attempt(2, "worker-1", start + 30_200, start + 31_000, AttemptEnd::Completed),
    ];
    let mut waited = completed(3);
    waited.created_at.0 -= 70_000;
    let mut late = ended(4, TaskStatus::Failed, completed(4).created_at.0 + 1_000);
    late.state = TaskState::Failed { at: late.finished_at().unwrap(), reason: FailureReason::DeadlinePassed };
    let mut never_begun = ended(5, TaskStatus::Cancelled, completed(5).created_at.0 + 61_000);
    never_begun.attempts.clear();
    let tasks = [quick, silent, waited, late, never_begun];
    store.write_batch(&claim, 0, &items(0, &tasks)).await.unwrap();
    let shown = database.sql(
        "SELECT t.sequence, s.first_wait_ms, s.silent_leases, s.silent_ms, s.silent_workers, s.deadline_passed \
         FROM stale_tasks s JOIN tasks t USING (id) ORDER BY 1",
    );
    assert_eq!(shown, "2|100|1|30000|{worker-9}|f\n3|70100|0|0||f\n4|100|0|0||t\n5|61000|0|0||f");
}
