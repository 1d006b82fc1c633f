//! The metrics of running processes agree with the table, and the alerts and the dashboard ask for nothing else.

use crate::cluster::Pages;
use crate::exposition::parse;
use crate::files::{self, metrics_in, run, said};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use zkpnet::telemetry::{Metric, On, table};

/// The names on these pages.
fn names<'a>(pages: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    pages.into_iter().flat_map(|page| parse(page).into_keys()).collect()
}

#[test]
fn each_role_shows_the_metrics_that_the_table_says_and_no_others() {
    let pages = Pages::get();
    let shown = [
        (On::Coordinator, names(pages.coordinators.iter().map(String::as_str))),
        (On::Worker, names([pages.worker.as_str()])),
        (On::Gateway, names([pages.gateway.as_str()])),
    ];
    for (role, shown) in shown {
        let listed = |metric: &&Metric| metric.on.contains(&role);
        let expected: BTreeSet<String> =
            table::all().filter(listed).map(|metric| metric.name.to_owned()).collect();
        assert_eq!(shown, expected, "shown by the {} on the left, in the table on the right", role.as_str());
    }
}

#[test]
fn every_metric_has_the_form_the_labels_and_the_help_of_the_table() {
    let listed: BTreeMap<&str, &Metric> = table::all().map(|metric| (metric.name, metric)).collect();
    for page in Pages::get().all() {
        for (name, family) in parse(page) {
            let metric = listed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in the table"));
            assert_eq!(family.kind, metric.kind.as_str(), "{name}");
            assert_eq!(family.help, metric.help, "{name}");
            let labels: BTreeSet<String> = metric.labels.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(family.labels, labels, "{name}");
        }
    }
}

#[test]
fn the_page_of_metrics_lists_what_is_shown() {
    let page = files::text("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    let shown = names(Pages::get().all());
    assert!(shown.is_subset(&documented), "{:?}", shown.difference(&documented));
}

#[test]
fn a_proof_leaves_its_traces_everywhere() {
    let pages = Pages::get();
    let value = |page: &str, series: &str| -> Option<f64> {
        let line = page.lines().find(|line| line.starts_with(series))?;
        line.rsplit_once(' ')?.1.parse().ok()
    };
    let on_any = |series: &str| pages.all().filter_map(|page| value(page, series)).fold(0.0, f64::max);
    for series in [
        "zkpnet_scheduler_tasks_assigned_total ",
        "zkpnet_tasks_total{outcome=\"completed\"}",
        "zkpnet_raft_is_leader ",
        "zkpnet_raft_leader_changes_total ",
        "zkpnet_raft_commands_total{outcome=\"committed\"}",
        "zkpnet_raft_commit_duration_seconds_count ",
        "zkpnet_raft_apply_duration_seconds_count ",
        "zkpnet_raft_log_fsync_duration_seconds_count ",
        "zkpnet_queue_head_age_seconds{circuit=\"merkle-poseidon-",
        "zkpnet_task_queue_seconds_count{",
        "zkpnet_task_duration_seconds_count{",
        "zkpnet_ledger_rejections_total{kind=\"idempotency_conflict\"}",
        "zkpnet_scheduler_round_duration_seconds_count ",
        "zkpnet_registry_reports_total{news=\"proven\"}",
        "zkpnet_verifier_checks_total{verdict=\"valid\"}",
        "zkpnet_verifier_check_duration_seconds_sum ",
        "zkpnet_prover_proof_duration_seconds_sum{",
        "zkpnet_raft_peer_up{peer=\"coordinator-",
        "zkpnet_worker_registered ",
        "zkpnet_archive_up ",
        "zkpnet_archive_batches_total ",
        "zkpnet_archive_batch_duration_seconds_count ",
        "zkpnet_storage_free_bytes ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
    ] {
        assert!(on_any(series) > 0.0, "{series} is nowhere above zero");
    }
    for phase in ["synthesis", "products", "fft", "msm", "check"] {
        let sums = pages.worker.lines().filter(|line| {
            line.starts_with("zkpnet_prover_phase_duration_seconds_sum{")
                && line.contains(&format!("phase=\"{phase}\""))
        });
        let sum: f64 = sums.map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum();
        assert!(sum > 0.0, "{phase} took no time");
    }
}

#[test]
fn no_label_holds_an_id_or_a_clients_path() {
    for page in Pages::get().all() {
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            let is_id =
                |word: &str| word.len() >= 32 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            assert!(!line.split(['"', '/', ' ']).any(is_id), "{line}");
        }
    }
}

#[test]
fn every_metric_of_an_alert_is_shown() {
    let known = names(Pages::get().all());
    let asked = metrics_in(&files::code("docker/prometheus/alerts.yml"));
    assert!(!asked.is_empty() && asked.is_subset(&known), "{:?}", asked.difference(&known));
}

#[test]
fn every_metric_of_the_dashboard_is_shown() {
    let known = names(Pages::get().all());
    let dashboard: Value =
        serde_json::from_str(&files::text("docker/grafana/dashboards/zkpnet.json")).unwrap();
    let mut asked = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels have the id {}", panel["id"]);
        for target in panel["targets"].as_array().into_iter().flatten() {
            let found = metrics_in(target["expr"].as_str().unwrap());
            assert!(!found.is_empty(), "{} asks for nothing", panel["title"]);
            asked.extend(found);
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        asked.extend(metrics_in(variable["query"]["query"].as_str().unwrap()));
    }
    assert!(asked.len() > 40, "the dashboard asks for {} metrics", asked.len());
    assert!(asked.is_subset(&known), "{:?}", asked.difference(&known));
}

#[test]
fn prometheus_finds_nothing_to_mend_in_what_is_shown() {
    for page in Pages::get().all() {
        let mut check = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is in the Debian package prometheus");
        check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let checked = check.wait_with_output().unwrap();
        assert!(checked.status.success(), "{}", said(&checked));
    }
}

#[test]
fn grafana_is_given_the_source_that_the_dashboard_names() {
    let sources = files::code("docker/grafana/provisioning/datasources/prometheus.yml");
    let dashboard: Value =
        serde_json::from_str(&files::text("docker/grafana/dashboards/zkpnet.json")).unwrap();
    for panel in dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row") {
        let uid = panel["datasource"]["uid"].as_str().unwrap();
        assert!(sources.contains(&format!("uid: {uid}\n")), "{uid}");
    }
    let jobs = files::code("docker/prometheus/prometheus.yml");
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().unwrap();
            if let Some((_, rest)) = expression.split_once("{job=\"") {
                let job = rest.split('"').next().unwrap();
                assert!(jobs.contains(&format!("job_name: {job}\n")), "{job}");
            }
        }
    }
    // Only that the program is there; what it checks is checked above and in alerts.rs.
    assert!(run(Command::new("promtool").arg("--version"), "prometheus").status.success());
}
