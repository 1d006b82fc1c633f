//! What must hold at the end of every scenario, whatever broke in it.

use super::cluster::Cluster;
use super::database;
use super::{LIMIT, poll_for, poll_maybe};
use crate::history::{self, Call, Phase, Reply};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The queue that a scenario leaves behind is proved in less.
const QUEUE_LIMIT: Duration = Duration::from_secs(180);

/// Lets the cluster come to rest and checks it. The load must have ended, and what the scenario broke must be mended, or taken out
/// of the cluster's list of coordinators.
pub(crate) fn conclude(cluster: &mut Cluster) {
    let began = Instant::now();
    let hosts = cluster.running_coordinators();
    let leader = cluster.leader();
    let servers: Vec<_> = hosts.iter().map(|host| cluster.client(host, LIMIT)).collect();
    cluster.book.settle(&servers);
    let completed = every_task_ended_as_its_client_was_told(cluster, &hosts);
    no_task_is_there_besides(cluster, &leader);
    each_was_completed_once(cluster, &hosts, completed);
    states_are_equal(cluster, &hosts);
    if let Some(database) = &cluster.database {
        database::agrees(cluster, database);
    }
    let operations = cluster.book.recorder.operations();
    let objects = history::check(&operations).unwrap_or_else(|wrong| panic!("not linearizable:\n{wrong}"));
    assert_eq!(cluster.fallen(), Vec::<String>::new(), "processes that ended by themselves");
    println!(
        "{} operations on {objects} tasks are linearizable, {completed} tasks proved once each; checked in {:.1} s",
        operations.len(),
        began.elapsed().as_secs_f64()
    );
}

/// Waits for each task's end: withdrawn if that was acknowledged; else proved, and the proof verifies at another coordinator;
/// or withdrawn, if the answer to its withdrawal was lost. Returns how many were completed.
fn every_task_ended_as_its_client_was_told(cluster: &Cluster, hosts: &[String]) -> usize {
    let withdrawn = cluster.book.withdrawn();
    let asked: BTreeSet<String> = (cluster.book.recorder.operations().into_iter())
        .filter(|operation| operation.call == Call::Cancel)
        .map(|operation| operation.object)
        .collect();
    let mut completed = 0;
    for (place, (key, submission)) in cluster.book.submissions().into_iter().enumerate() {
        let task = submission.task.expect("settled");
        let (reader, verifier) = (&hosts[place % hosts.len()], &hosts[(place + 1) % hosts.len()]);
        let client = cluster.client(reader, LIMIT);
        let mut last = Value::Null;
        let ended = poll_for(QUEUE_LIMIT, &format!("{key} ({task}) to end"), || {
            let invoked = Instant::now();
            let (reply, body) = client.look(&task, "?wait=20s");
            last = body;
            let ended =
                matches!(&reply, Reply::Seen(_, phase) if *phase != Phase::Open) || reply == Reply::NotThere;
            cluster.book.recorder.note("the end", &key, Call::Look, reply, invoked);
            ended.then(|| last.clone())
        });
        match ended["status"].as_str() {
            Some("cancelled") => assert!(asked.contains(&key), "{key} was withdrawn by nobody: {ended}"),
            Some("completed") => {
                assert!(!withdrawn.contains(&key), "{key} was proved after its withdrawal: {ended}");
                completed += 1;
                verify(cluster, verifier, &ended);
            }
            _ => panic!("{key} was acknowledged and came to this: {ended}"),
        }
    }
    completed
}

fn verify(cluster: &Cluster, host: &str, task: &Value) {
    let body =
        json!({"circuit": task["circuit"], "proof": task["proof"], "public_inputs": task["public_inputs"]});
    let answer = cluster.client(host, LIMIT).post("/api/v1/proofs/verify", &[], &body).unwrap();
    assert_eq!(answer.body["valid"], true, "{answer:?} for {task}");
}

/// No submission made two tasks, and none that was refused made one.
fn no_task_is_there_besides(cluster: &Cluster, host: &str) {
    let known: BTreeSet<String> =
        cluster.book.submissions().into_values().map(|submission| submission.task.unwrap()).collect();
    assert_eq!(known.len(), cluster.book.submissions().len(), "two submissions share a task");
    let (client, mut listed, mut cursor) = (cluster.client(host, LIMIT), BTreeSet::new(), String::new());
    loop {
        let page = client.get(&format!("/api/v1/tasks?limit=500{cursor}")).unwrap();
        let tasks = page.body["tasks"].as_array().unwrap_or_else(|| panic!("{page:?}"));
        listed.extend(tasks.iter().map(|task| task["task_id"].as_str().unwrap().to_owned()));
        let Some(next) = page.body["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, known, "tasks on the left are listed, those on the right were acknowledged");
}

/// The totals are part of the replicated state: a task that was completed twice would be counted twice.
fn each_was_completed_once(cluster: &Cluster, hosts: &[String], completed: usize) {
    for host in hosts {
        cluster.caught_up(host);
        let total = metric(cluster, host, "zkpnet_tasks_total{outcome=\"completed\"}");
        assert_eq!(total, completed as u64, "completions that {host} has counted, and completed tasks");
    }
}

/// A value of a host's metrics.
pub(crate) fn metric(cluster: &Cluster, host: &str, name: &str) -> u64 {
    let page = cluster.client(host, LIMIT).get("/metrics").unwrap();
    let page = page.body.as_str().unwrap();
    let line =
        page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
}

/// The coordinators compare their states themselves, after one entry; what they compare must be as new as the scenario's end.
fn states_are_equal(cluster: &Cluster, hosts: &[String]) {
    let end = cluster.view(&hosts[0]).unwrap().applied;
    let client = cluster.client(&hosts[0], LIMIT);
    let mut last = Value::Null;
    let compared = poll_maybe(LIMIT, || {
        last = client.get("/api/v1/cluster").ok()?.body;
        assert_ne!(last["state_hashes"], "differ", "{last}");
        let hashes = hosts.iter().map(|host| state_hash(&last, host)).collect::<Option<BTreeSet<&str>>>()?;
        let is_new = last["compared_at_index"].as_u64()? >= end;
        (is_new && hashes.len() == 1 && last["state_hashes"] == "agree").then_some(())
    });
    assert!(compared.is_some(), "the states after entry {end} were not found equal: {last}");
}

fn state_hash<'a>(cluster: &'a Value, host: &str) -> Option<&'a str> {
    let members = cluster["members"].as_array()?;
    members.iter().find(|member| member["name"] == host)?["state_hash"].as_str()
}
