//! What an operator does to a cluster of containers, and what happens to one.

use crate::project::{Project, healthy, inspect, succeeded};
use crate::shell::{json, line, poll_until};
use serde_json::Value;
use std::process::Command;

const FILE: &str = "compose.cluster.yml";
/// What `docker/compose.cluster.yml` publishes.
pub(crate) const PORTS: [u16; 4] = [8080, 8090, 8091, 8092];

/// Submits a tree of two leaves, a different one for each number.
pub(crate) fn submit(project: &Project, number: u32) -> String {
    let command = format!(
        r#"curl -s -X POST http://localhost:8080/api/v1/tasks/merkle -H "Content-Type: application/json" \
        -d '{{"leaves":["0x{number}","0x2"],"leaf_index":0}}' | jq -r .task_id"#
    );
    poll_until("a submission to be taken", || {
        Some(line(project, &command)).filter(|task| !task.is_empty() && task != "null")
    })
}

/// Waits for the proof.
pub(crate) fn proved(project: &Project, task: &str) -> Value {
    let command = format!("curl -s 'http://localhost:8080/api/v1/tasks/{task}?wait=30s'");
    poll_until("the task to be completed", || {
        json(project, &command).filter(|task| task["status"] == "completed")
    })
}

/// The `raft` part of a coordinator's health; `None` while it does not serve.
pub(crate) fn raft(project: &Project, place: u16) -> Option<Value> {
    json(project, &format!("curl -s http://localhost:{}/health | jq '.raft'", 8090 + place))
}

/// Waits for one leader whom all these coordinators name, each saying who it is itself.
pub(crate) fn one_leader(project: &Project, places: &[u16]) -> String {
    poll_until("one leader and followers that name it", || {
        let views: Vec<Value> = places.iter().map(|place| raft(project, *place)).collect::<Option<_>>()?;
        let leading: Vec<&Value> = views.iter().filter(|view| view["is_leader"] == true).collect();
        let [leader] = leading[..] else { return None };
        for (place, view) in places.iter().zip(&views) {
            assert_eq!(view["node_id"], format!("coordinator-{}", place + 1), "{view}");
            let state = if view == leader { "Leader" } else { "Follower" };
            if view["state"] != state || view["leader_address"] != leader["leader_address"] {
                return None;
            }
        }
        let name = leader["node_id"].as_str().unwrap().to_owned();
        assert_eq!(leader["leader_address"], format!("{name}:7000"));
        Some(name)
    })
}

#[test]
fn one_command_leads_to_a_proof_and_nothing_that_was_acknowledged_is_lost() {
    let project = Project::new(&PORTS);
    project.compose(FILE, &["up", "-d"]);
    let first = submit(&project, 1);
    let proof = proved(&project, &first)["proof"].take();
    let key = line(&project, "docker exec coordinator-1 sha256sum secrets/data.key");

    // A leader's process that is killed is started again by the engine, and follows.
    let leader = one_leader(&project, &[0, 1, 2]);
    let before = inspect(&leader);
    let tasks: Vec<String> = (10..20).map(|number| submit(&project, number)).collect();
    succeeded(Command::new("kill").args(["-9", &before["State"]["Pid"].to_string()]));
    poll_until("the engine to start it again", || {
        let now = inspect(&leader);
        (now["RestartCount"] == 1 && now["State"]["Running"] == true).then_some(())
    });
    tasks.iter().for_each(|task| drop(proved(&project, task)));
    one_leader(&project, &[0, 1, 2]);

    // New containers on the old volumes are the same cluster, with the same data key.
    project.compose(FILE, &["down"]);
    project.compose(FILE, &["up", "-d"]);
    healthy("gateway");
    assert_eq!(line(&project, "docker exec coordinator-1 sha256sum secrets/data.key"), key);
    assert_eq!(proved(&project, &first)["proof"], proof);
    proved(&project, &submit(&project, 2));

    // Everybody ends in order, within the time that compose gives.
    project.compose(FILE, &["stop"]);
    for name in ["gateway", "worker-1", "worker-2", "coordinator-1", "coordinator-2", "coordinator-3"] {
        assert_eq!(inspect(name)["State"]["ExitCode"], 0, "{name} did not end in order");
    }
}
