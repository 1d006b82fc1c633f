//! Every command of the quick start, as its document writes them, against the containers.
//!
//! `tests/fixtures/quickstart/raft-quickstart.md` is that document; `prelude.sh` says what differs. A block that this file does
//! not know is a failure, so that no command goes unnoticed. The document waits some seconds here and there for what may take
//! longer on a machine that is busy: what it shows after such a wait is waited for.

use crate::document::{Block, blocks};
use crate::project::{Project, healthy};
use crate::shell::{Told, json, line, poll_until, run};
use crate::upkeep::{PORTS, one_leader, raft};
use serde_json::{Value, json};

const DOCUMENT: &str = include_str!("../fixtures/quickstart/raft-quickstart.md");

/// The root of the two leaves of step 6, as another implementation computes it (tests/fixtures/merkle).
const ROOT: &str = "0x5b771c5b9cbcd829df4beff1124104d2b6f05906cb798475c0662658ddc68d18";

#[test]
fn every_command_of_the_quick_start_does_what_its_document_says() {
    // Beside the cluster's: the ports of the coordinator that step 3 runs without a container.
    let project = Project::new(&[&PORTS[..], &[7000, 9090]].concat());
    let mut last_leader = None::<String>;
    for block in blocks(DOCUMENT) {
        println!("--- {}", block.heading);
        let tell = |folder: &str| run(&project, folder, &block.commands);
        match block.heading.as_str() {
            "Prerequisites" => drop(tell(".")),
            "Step 2: Create Raft Data Directories" => {
                tell(".");
                assert!(project.tree().join("data/raft/coordinator-3").is_dir());
            }
            "Step 3: Test Single Node (Development)" => single_node(&project, &tell("docker")),
            "Step 4: Test 3-Node Cluster (Production)" => {
                assert_eq!(tell(".").len(), 5);
                last_leader = Some(one_leader(&project, &[0, 1, 2]));
            }
            "Step 5: Test Leader Failure" => {
                leader_failure(&project, &block, last_leader.as_deref().unwrap())
            }
            "Step 6: Verify Task Assignment Works" => task_assignment(&project, &tell(".")),
            "Issue: No leader elected" => no_leader(&tell(".")),
            "Issue: Split-brain (multiple leaders)" => {
                let leading: Vec<bool> =
                    tell(".").iter().map(|told| told.json().as_bool().unwrap()).collect();
                assert_eq!(leading.iter().filter(|leads| **leads).count(), 1, "{leading:?}");
            }
            "Issue: Tasks not being assigned" => {
                assert!(tell(".")[1].output.contains("zkpnet_scheduler_enabled"));
            }
            "Performance Testing" => hundred_tasks(&project, &block),
            "Useful Commands" => useful_commands(&project, &tell(".")),
            other => panic!("what is to be expected of the block `{other}`? {block:#?}"),
        }
    }
}

fn single_node(project: &Project, told: &[Told]) {
    let [database, _node, health] = told else { panic!("{told:#?}") };
    assert!(database.output.is_empty(), "{database:?}");
    let health = health.json();
    assert_eq!(health["status"], "healthy", "{health}");
    assert_eq!(health["coordinator_id"], "coordinator-local", "{health}");
    let expected = json!({
        "state": "Leader", "is_leader": true, "leader_address": "coordinator-local:7000", "node_id": "coordinator-local"
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(health["raft"][key], *value, "{health}");
    }
    assert!(health["workers"].is_object() && health["scheduler"].is_object(), "{health}");
    healthy(&project.compose("compose.yml", &["ps", "-q", "postgres"]));
    project.compose("compose.yml", &["down", "-v"]);
}

fn leader_failure(project: &Project, block: &Block, leader: &str) {
    let told = run(project, ".", &block.commands);
    let position = |part: &str| {
        told.iter()
            .position(|told| told.command.contains(part))
            .unwrap_or_else(|| panic!("{part}: {told:#?}"))
    };
    assert_eq!(told[position("echo")].output, format!("Current leader: {leader}"));
    let place: u16 = leader.strip_prefix("coordinator-").unwrap().parse::<u16>().unwrap() - 1;

    // The three answers after the stop: none of the old leader, and nobody follows it any longer.
    let after = position("stop $LEADER") + 2;
    for (other, told) in (0..3).zip(&told[after..after + 3]) {
        if other == place {
            assert_eq!(told.output, "", "the leader was not stopped");
        } else {
            assert_ne!(told.json()["leader_address"], format!("{leader}:7000"));
        }
    }
    // The document's own placeholder is no hexadecimal number, and is told so.
    let placeholder = told[position("0x123...")].json();
    assert_eq!((&placeholder["status"], &placeholder["code"]), (&400.into(), &"invalid_field".into()));

    let now = one_leader(project, &[0, 1, 2]);
    assert_ne!(now, leader, "it was to rejoin as a follower");
    assert_eq!(raft(project, place).unwrap()["state"], "Follower");
}

fn task_assignment(project: &Project, told: &[Told]) {
    let task = told[1].output.strip_prefix("Task ID: ").unwrap();
    assert_eq!(told[2].json()["task_id"], task);
    let look = format!("curl -s http://localhost:8080/api/v1/tasks/{task} | jq");
    let done = poll_until("the task to be completed", || {
        json(project, &look).filter(|task| task["status"] == "completed")
    });
    assert_eq!(done["merkle_root"], ROOT);
    poll_until("all coordinators to see the same workers", || {
        let workers: Vec<Value> =
            told[3..].iter().map(|told| json(project, &told.command)).collect::<Option<_>>()?;
        assert_eq!(workers.len(), 3);
        (workers[0]["active"] == 2 && workers.iter().all(|other| *other == workers[0])).then_some(())
    });
}

fn no_leader(told: &[Told]) {
    let [logs @ .., bootstrap] = told else { panic!("{told:#?}") };
    assert_eq!(logs.len(), 3);
    for log in logs {
        let lines: Vec<&str> = log.output.lines().collect();
        assert!(!lines.is_empty(), "{log:?}");
        // The log is on standard output, or grep would have nothing to choose from.
        assert!(lines.iter().all(|line| line.to_lowercase().contains("leader")), "{log:?}");
    }
    assert_eq!(bootstrap.output.trim(), "bootstrap: true");
}

/// The document's leaves are `0x` and a number three times, one a task.
fn hundred_tasks(project: &Project, block: &Block) {
    let assigned = |text: &str| {
        let sample = text.lines().find(|line| !line.starts_with('#')).unwrap_or("none 0");
        sample.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let look = block.commands.last().unwrap();
    let before = assigned(&line(project, look));
    let told = run(project, ".", &block.commands);
    assert!(told.last().unwrap().output.contains("tasks_assigned"), "{told:?}");
    // In the background, so that an answer may come while a later command runs.
    let taken: usize = told.iter().map(|told| told.output.matches("\"task_id\"").count()).sum();
    assert_eq!(taken, 100, "{told:?}");
    poll_until("a hundred more assignments", || {
        (assigned(&line(project, look)) >= before + 100).then_some(())
    });
    let open = "curl -s http://localhost:8090/health | jq .capacity.used";
    poll_until("all of them to be proved", || (line(project, open) == "0").then_some(()));
}

fn useful_commands(project: &Project, told: &[Told]) {
    let [files, term, log, restart, states] = told else { panic!("{told:#?}") };
    assert!(files.output.contains("raft.redb"), "{files:?}");
    assert!(term.output.contains("term"), "{term:?}");
    assert!(log.output.lines().all(|line| line.to_lowercase().contains("raft")), "{log:?}");
    assert!(!log.output.is_empty());
    assert!(restart.output.is_empty(), "{restart:?}");
    assert!(states.output.contains("is_leader"), "{states:?}");
    one_leader(project, &[0, 1, 2]);
}
