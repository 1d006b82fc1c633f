//! Clients repeat what was acknowledged, with the same idempotency key, after the leader is another one and after everybody was down.

use crate::history::{Call, Reply};
use crate::support::{Cluster, Plan, checks};
use std::time::{Duration, Instant};

const SUBMISSIONS: u64 = 9;

/// Sends every submission again to this coordinator and demands the first answer.
fn repeat_all(cluster: &Cluster, host: &str) {
    let client = cluster.client(host, Duration::from_secs(10));
    for (key, submission) in cluster.book.submissions() {
        let again = cluster.book.try_submit("again", &client, &key, submission.number);
        assert_eq!(again, submission.task, "{key} is another task at {host}, or was not taken again");
    }
}

#[test]
fn an_idempotency_key_means_the_same_task_after_a_failover_and_after_a_restart_of_all() {
    let mut cluster = Cluster::start(&Plan::default());
    let first = cluster.leader();
    let client = cluster.client(&first, Duration::from_secs(10));
    for number in 1..=SUBMISSIONS {
        let (key, number) = (format!("request-{number}"), cluster.book.new_number());
        let task = cluster.book.try_submit("first", &client, &key, number).expect("the leader takes it");
        // Some end in each way: a key means the same whatever became of its task.
        if number.is_multiple_of(2) {
            let invoked = Instant::now();
            let reply = client.cancel(&task);
            assert!(matches!(reply, Reply::Withdrawn | Reply::TooLate), "{reply:?}");
            cluster.book.recorder.note("first", &key, Call::Cancel, reply, invoked);
        }
    }
    cluster.kill(&first);
    let second = cluster.leader_among(&cluster.others(&first));
    repeat_all(&cluster, &second);
    cluster.start_host(&first);
    cluster.caught_up(&first);

    let hosts = cluster.coordinators.clone();
    hosts.iter().for_each(|host| cluster.kill(host));
    hosts.iter().for_each(|host| cluster.start_host(host));
    let third = cluster.leader_among(&hosts);
    repeat_all(&cluster, &third);
    checks::conclude(&mut cluster);
}
