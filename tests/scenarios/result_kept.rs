//! The leader dies while a proof is being made: the worker has nobody to give it to for a while.

use crate::support::{Cluster, Plan, checks, poll_until};
use std::time::Duration;

#[test]
fn a_proof_that_is_finished_while_nobody_leads_is_kept_and_counts() {
    // The lease outlives the failover by far, so that a second attempt would mean that the first one's proof was lost.
    let mut cluster = Cluster::start(&Plan { lease: "60s", ..Plan::default() });
    for round in 0..3 {
        let key = format!("round-{round}");
        let (number, client) =
            (cluster.book.new_number(), cluster.client("gateway", Duration::from_secs(20)));
        let task = poll_until("the submission to be taken", || {
            cluster.book.try_submit("alone", &client, &key, number)
        });
        let leader = cluster.leader();
        let direct = cluster.client(&leader, Duration::from_secs(5));
        poll_until("the proof to be begun", || {
            let (_, now) = direct.look(&task, "");
            (now["status"] == "in_progress" || now["status"] == "completed").then_some(())
        });
        cluster.kill(&leader);
        let ended = poll_until("the task to end", || {
            let (_, now) = client.look(&task, "?wait=10s");
            (now["status"] == "completed").then_some(now)
        });
        assert_eq!(ended["attempts"], 1, "{ended}");
        cluster.start_host(&leader);
        cluster.caught_up(&leader);
    }
    checks::conclude(&mut cluster);
}
