//! `zkpnet bench` against a real node: what it says it did, was done.

use crate::fake::{Fake, problem};
use crate::support::{DevNode, zkpnet};
use serde_json::Value;
use std::path::PathBuf;

fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bench").join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn bench(args: &[&str]) -> (Value, i32) {
    let output = zkpnet().arg("bench").args(args).args(["--output", "json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)));
    (value, output.status.code().unwrap())
}

#[test]
fn every_acknowledged_submission_is_a_task_and_a_follower_is_left_for_the_leader() {
    let addr = Fake::nobody();
    let _node = DevNode::start(&folder("submit"), &[("ZKPNET_HTTP__PORT", &addr.port().to_string())]);
    let follower = Fake::start(false, |_| problem(503, "no_leader"));
    let (follower_url, node_url) = (format!("http://{}", follower.addr), format!("http://{addr}"));
    let servers = ["submit", "--server", &follower_url, "--server", &node_url];
    let (report, code) = bench(&[&servers[..], &["--concurrency", "4", "--duration", "1s"]].concat());
    assert_eq!(code, 0, "{report}");
    let acknowledged = report["acknowledged"].as_u64().unwrap();
    assert!(acknowledged > 4, "{report}");
    let refused = report["errors"]["no_leader"].as_u64().unwrap();
    assert!((1..=4).contains(&refused), "each client learns it once at most: {report}");
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() <= report["latency_ms"]["max"].as_f64().unwrap());

    let metrics =
        ureq::get(format!("{node_url}/metrics")).call().unwrap().body_mut().read_to_string().unwrap();
    let line = format!("zkpnet_tasks_total{{outcome=\"submitted\"}} {acknowledged}\n");
    assert!(metrics.contains(&line), "{line} is not in {metrics}");
}

#[test]
fn a_bench_of_tasks_tells_the_time_without_the_proving() {
    let addr = Fake::nobody();
    let _node = DevNode::start(&folder("tasks"), &[("ZKPNET_HTTP__PORT", &addr.port().to_string())]);
    let url = format!("http://{addr}");
    for statements in [&[][..], &["--circuit", "merkle-poseidon-4"]] {
        let arguments = ["tasks", "--server", &url, "--count", "3", "--concurrency", "1"];
        let (report, code) = bench(&[&arguments[..], statements].concat());
        assert_eq!((code, &report["completed"]), (0, &3.into()), "{report}");
        let p50 = |which: &str| report[which]["p50"].as_f64().unwrap();
        assert!(p50("without_proving_ms") < p50("whole_ms"), "{report}");
        let share = report["proving_share"].as_f64().unwrap();
        assert!(0.0 < share && share < 1.0, "{report}");
    }
}

#[test]
fn a_bench_of_the_service_divides_its_rate_by_the_provers_own() {
    let addr = Fake::nobody();
    let _node = DevNode::start(&folder("service"), &[("ZKPNET_HTTP__PORT", &addr.port().to_string())]);
    let url = format!("http://{addr}");
    let service = ["service", "--server", &url, "--circuit", "merkle-poseidon-4"];
    let load = ["--rounds", "2", "--duration", "4s", "--concurrency", "4"];
    let (report, code) = bench(&[&service[..], &load].concat());
    assert_eq!((code, &report["errors"]), (0, &serde_json::json!({})), "{report}");
    for round in 0..2 {
        let value = |which: &str| report[which][round].as_f64().unwrap();
        assert!(value("service_per_second") > 0.0, "{report}");
        let ratio = value("service_per_second") / value("prover_per_second");
        assert!((value("ratio") - ratio).abs() < 1e-9, "{report}");
    }
}

#[test]
fn a_bench_of_a_service_that_is_not_there_ends_before_its_first_round() {
    let url = format!("http://{}", Fake::nobody());
    let output = zkpnet()
        .args(["bench", "service", "--server", &url, "--circuit", "merkle-poseidon-4"])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not_connected"), "{said}");
}

#[test]
fn a_bench_of_nothing_says_so_by_its_exit_code() {
    let url = format!("http://{}", Fake::nobody());
    let (report, code) = bench(&["submit", "--server", &url, "--concurrency", "1", "--duration", "100ms"]);
    assert_eq!((code, &report["acknowledged"]), (3, &0.into()), "{report}");
    assert!(report["errors"]["not_connected"].as_u64().unwrap() > 0, "{report}");
}
