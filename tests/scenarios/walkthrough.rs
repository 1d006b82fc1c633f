//! The quick start of the cluster, command by command as its documents write them, against processes.
//!
//! Only the addresses differ: what the documents reach on the ports 8090, 8091 and 8092 of one machine are three hosts here, and
//! what a container's name stops and starts is a process.

use crate::support::{Cluster, Plan, checks, poll_for, poll_until};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const SUBMIT: &str = r#"curl -s -X POST http://localhost:8080/api/v1/tasks/merkle \
  -H "Content-Type: application/json" \
  -d '{
    "leaves": [
      "0x1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef",
      "0xfedcba0987654321fedcba0987654321fedcba0987654321fedcba0987654321"
    ],
    "leaf_index": 0
  }' | jq -r '.task_id'"#;

/// Runs a line of the documents in a shell, and gives what it prints.
fn shell(cluster: &Cluster, line: &str) -> String {
    let mut line = line.replace("localhost:8080", &cluster.api("gateway"));
    for (place, host) in ["coordinator-1", "coordinator-2", "coordinator-3"].iter().enumerate() {
        line = line.replace(&format!("localhost:{}", 8090 + place), &cluster.api(host));
    }
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &line]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn json(cluster: &Cluster, line: &str) -> Value {
    let told = shell(cluster, line);
    serde_json::from_str(&told).unwrap_or_else(|error| panic!("{line}\n{error}: {told}"))
}

/// `curl … | jq '.raft'` of one of the three coordinators; `None` while it does not serve.
fn raft(cluster: &Cluster, place: u16) -> Option<Value> {
    let told = shell(cluster, &format!("curl -s http://localhost:{}/health | jq '.raft'", 8090 + place));
    serde_json::from_str(&told).ok()
}

/// Waits for what the documents wait some seconds for: one leader whom these coordinators name, each saying who it is itself.
fn one_leader(cluster: &Cluster, places: &[u16]) -> String {
    poll_until("one leader and followers that name it", || {
        let views = places.iter().map(|place| raft(cluster, *place)).collect::<Option<Vec<Value>>>()?;
        let leading: Vec<&Value> = views.iter().filter(|view| view["is_leader"] == true).collect();
        let [leader] = leading[..] else { return None };
        for (place, view) in places.iter().zip(&views) {
            assert_eq!(view["node_id"], format!("coordinator-{}", place + 1), "{view}");
            let (state, address) =
                (if view == leader { "Leader" } else { "Follower" }, &leader["leader_address"]);
            if view["state"] != state || view["leader_address"] != *address {
                return None;
            }
        }
        assert_eq!(leader["leader_address"], format!("{}:7000", leader["node_id"].as_str().unwrap()));
        Some(leader["node_id"].as_str().unwrap().to_owned())
    })
}

fn submit_and_check(cluster: &Cluster) {
    let task = shell(cluster, SUBMIT);
    let done = poll_until("the task to be completed", || {
        let task = json(cluster, &format!("curl -s http://localhost:8080/api/v1/tasks/{task} | jq"));
        (task["status"] == "completed").then_some(task)
    });
    assert_eq!(done["task_id"], task);
    // The root of these two leaves, as another implementation computes it (tests/fixtures/merkle).
    assert_eq!(done["merkle_root"], "0x5b771c5b9cbcd829df4beff1124104d2b6f05906cb798475c0662658ddc68d18");
}

#[test]
fn the_quick_start_does_what_its_documents_say() {
    let mut cluster = Cluster::start(&Plan { workers: 2, ..Plan::default() });

    // Step 4: one leader, two followers.
    let first = one_leader(&cluster, &[0, 1, 2]);

    // Step 5: the leader stops, another leads, the system still works, the old one is back as a follower.
    let leader =
        shell(&cluster, "curl -s http://localhost:8090/health | jq -r '.raft.leader_address' | cut -d: -f1");
    assert_eq!(leader, first);
    cluster.process(&leader).signal("TERM");
    let status = cluster.process(&leader).wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0), "{}", cluster.process(&leader).said());
    let place: u16 = leader.strip_prefix("coordinator-").unwrap().parse::<u16>().unwrap() - 1;
    let others: Vec<u16> = (0..3).filter(|other| *other != place).collect();
    let second = one_leader(&cluster, &others);
    assert_ne!(second, first);
    // The documents' own placeholder is no hexadecimal number, and is told so.
    let placeholder = json(
        &cluster,
        r#"curl -s -X POST http://localhost:8080/api/v1/tasks/merkle \
  -H "Content-Type: application/json" \
  -d '{"leaves":["0x123..."], "leaf_index":0}'"#,
    );
    assert_eq!(
        (&placeholder["status"], &placeholder["code"]),
        (&400.into(), &"invalid_field".into()),
        "{placeholder}"
    );
    submit_and_check(&cluster);
    cluster.start_host(&leader);
    one_leader(&cluster, &[0, 1, 2]);
    assert_eq!(raft(&cluster, place).unwrap()["state"], "Follower");

    // Step 6: a task is assigned and proved, and all coordinators see the same workers.
    submit_and_check(&cluster);
    poll_until("all coordinators to see the same workers", || {
        let workers: Vec<Value> = (0..3)
            .map(|place| {
                json(&cluster, &format!("curl -s http://localhost:{}/health | jq '.workers'", 8090 + place))
            })
            .collect();
        (workers[0]["active"] == 2 && workers[1..].iter().all(|other| *other == workers[0])).then_some(())
    });

    troubleshooting(&cluster);
    hundred_tasks(&cluster);
    assert_eq!(cluster.fallen(), Vec::<String>::new());
}

/// The checks that the documents give to somebody who looks for a fault.
fn troubleshooting(cluster: &Cluster) {
    let leading: Vec<String> = (0..3)
        .map(|place| {
            shell(
                cluster,
                &format!("curl -s http://localhost:{}/health | jq '.raft.is_leader'", 8090 + place),
            )
        })
        .collect();
    assert_eq!(leading.iter().filter(|told| *told == "true").count(), 1, "{leading:?}");
    let port =
        shell(cluster, "curl -s http://localhost:8090/health | jq -r '.raft.leader_address' | cut -d: -f2");
    assert_eq!(port, "7000");
    let scheduler = shell(
        cluster,
        &format!("LEADER_PORT={port}; curl -s http://localhost:8090/metrics | grep scheduler"),
    );
    assert!(scheduler.contains("zkpnet_scheduler_enabled"), "{scheduler}");
    let bootstrap =
        shell(cluster, &format!("cat {}/coordinator-1.yaml | grep bootstrap", cluster.folder().display()));
    assert_eq!(bootstrap, "bootstrap: true");
    for host in &cluster.coordinators {
        let logs = cluster.folder().join("logs").join(format!("{host}.log"));
        let said = shell(cluster, &format!("cat {} | grep -i \"leader\"", logs.display()));
        assert!(!said.is_empty(), "{host} says nothing of a leader");
    }
}

/// The documents' performance test. Its leaves are `0x` and a number three times, one a task.
fn hundred_tasks(cluster: &Cluster) {
    let assigned = |cluster: &Cluster| {
        let line =
            shell(cluster, "curl -s http://localhost:8090/metrics | grep tasks_assigned | grep -v '#'");
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let before = assigned(cluster);
    shell(
        cluster,
        r#"for i in {1..100}; do
  curl -s -X POST http://localhost:8080/api/v1/tasks/merkle \
    -H "Content-Type: application/json" \
    -d "{\"leaves\":[\"0x${i}${i}${i}\"],\"leaf_index\":0}" &
done

wait"#,
    );
    let completed = || {
        ["coordinator-1", "coordinator-2", "coordinator-3"]
            .map(|host| checks::metric(cluster, host, "zkpnet_tasks_total{outcome=\"completed\"}"))
    };
    // The harness's own, one for the two equal submissions above, and a hundred.
    poll_for(Duration::from_secs(180), "a hundred more completed tasks on every coordinator", || {
        completed().iter().all(|count| *count >= 102).then_some(())
    });
    assert!(assigned(cluster) >= before + 100);
}
