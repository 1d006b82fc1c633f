//! `docker/compose.yml`: one node and PostgreSQL.

use crate::project::{Project, healthy, inspect};
use crate::shell::{json, line, poll_until};

const FILE: &str = "compose.yml";

#[test]
fn one_container_proves_and_keeps_what_it_has_proved() {
    let project = Project::new(&[8080, 8090]);
    project.compose(FILE, &["up", "-d"]);
    healthy("coordinator-local");
    let health = json(&project, "curl -s http://localhost:8090/health").unwrap();
    assert_eq!(health["coordinator_id"], "coordinator-local", "{health}");
    assert_eq!(health["raft"]["is_leader"], true, "{health}");

    let submit = r#"curl -s -X POST http://localhost:8080/api/v1/tasks/merkle -H "Content-Type: application/json" \
        -d '{"leaves":["0x1","0x2"],"leaf_index":0}' | jq -r .task_id"#;
    let task = line(&project, submit);
    let look = format!("curl -s 'http://localhost:8080/api/v1/tasks/{task}?wait=30s'");
    let first =
        poll_until("the proof", || json(&project, &look).filter(|task| task["status"] == "completed"));

    project.compose(FILE, &["down"]);
    project.compose(FILE, &["up", "-d"]);
    let again = poll_until("the task after all containers were made anew", || json(&project, &look));
    assert_eq!(again["proof"], first["proof"]);
    project.compose(FILE, &["stop", "coordinator-local"]);
    assert_eq!(inspect("coordinator-local")["State"]["ExitCode"], 0, "it did not end in order");
}
