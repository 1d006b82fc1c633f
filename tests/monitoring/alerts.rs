//! The rules of the alerts, on synthetic series: each of them fires, and each keeps quiet.

use crate::files::{self, code, path, run, said};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const TESTS: &str = "docker/prometheus/tests";

fn alerts() -> BTreeSet<String> {
    let rules = code("docker/prometheus/alerts.yml");
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

fn test_files() -> Vec<String> {
    let entries = std::fs::read_dir(path(TESTS)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

#[test]
fn every_rule_does_on_synthetic_series_what_its_tests_say() {
    let mut command = Command::new("promtool");
    command.current_dir(path(TESTS)).args(["test", "rules"]).args(test_files());
    let tested = run(&mut command, "prometheus");
    assert!(tested.status.success(), "{}", said(&tested));
}

#[test]
fn prometheus_takes_the_configuration_and_the_rules() {
    let mut command = Command::new("promtool");
    let folder = path("docker/prometheus");
    let checked = run(command.current_dir(folder).args(["check", "config", "prometheus.yml"]), "prometheus");
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(said(&checked).contains("1 rule files found"), "{}", said(&checked));
}

#[test]
fn every_alert_is_tested_firing_and_quiet() {
    // By alert: whether it was expected to fire, and to keep quiet.
    let mut tested: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for file in test_files() {
        let text = code(&format!("{TESTS}/{file}"));
        for part in text.split("alertname: ").skip(1) {
            let (name, rest) = part.split_once('\n').unwrap();
            let found = tested.entry(name.trim().to_owned()).or_default();
            let expected = rest.trim_start();
            if expected.starts_with("exp_alerts: []") {
                found.1 = true;
            } else {
                assert!(expected.starts_with("exp_alerts:\n"), "{file}: {name}");
                found.0 = true;
            }
        }
    }
    assert_eq!(tested.keys().cloned().collect::<BTreeSet<_>>(), alerts(), "tested, and written");
    for (name, (fires, keeps_quiet)) in tested {
        assert!(fires && keeps_quiet, "{name}: fires {fires}, keeps quiet {keeps_quiet}");
    }
}

#[test]
fn every_alert_says_how_bad_it_is_and_is_explained() {
    let page = files::text("docs/monitoring.md");
    for name in alerts() {
        assert!(page.contains(&format!("`{name}`")), "docs/monitoring.md does not explain {name}");
    }
    let rules = code("docker/prometheus/alerts.yml");
    for rule in rules.split("- alert: ").skip(1) {
        let is_told = ["severity: critical", "severity: warning"].iter().any(|told| rule.contains(told));
        assert!(is_told && rule.contains("summary: "), "{rule}");
    }
}

#[test]
fn the_jobs_that_alerts_name_are_scraped() {
    let rules = code("docker/prometheus/alerts.yml");
    let scraped = code("docker/prometheus/prometheus.yml");
    let named: BTreeSet<&str> =
        rules.split("job=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(!named.is_empty());
    for job in named {
        assert!(scraped.contains(&format!("job_name: {job}\n")), "{job} is not scraped");
    }
}
