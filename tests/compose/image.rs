//! What the image is, whoever runs it.

use crate::project::{healthy, images, inspect, succeeded};
use std::process::Command;

/// Runs a command in a container of the image that goes away.
fn within(arguments: &[&str]) -> String {
    let image = images();
    let mut command = Command::new("docker");
    command.args(["run", "--rm", "--network", "none", &image]).args(arguments);
    succeeded(&mut command).trim().to_owned()
}

#[test]
fn the_image_says_how_it_is_run_checked_and_stopped() {
    let config = inspect(&images())["Config"].take();
    assert_eq!(config["User"], "zkp");
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Healthcheck"]["Test"], serde_json::json!(["CMD", "zkpnet", "healthcheck"]));
    assert_eq!(config["Cmd"][0], "dev");
    assert!(config["Volumes"].is_null(), "a gateway would leave a volume behind: {config}");
}

#[test]
fn a_container_runs_without_rights_and_can_write_where_data_goes() {
    let script =
        "id -u; touch raft/x secrets/x && echo written; touch /app/configs/x 2>/dev/null || echo refused";
    assert_eq!(within(&["sh", "-c", script]), "10001\nwritten\nrefused");
}

#[test]
fn every_configuration_file_of_the_tree_is_in_the_image() {
    let listed = within(&["sh", "-c", "cd /app/configs && find . -type f | sort"]);
    let mut find = Command::new("sh");
    find.args(["-c", "cd config && find . -type f | sort"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(listed, succeeded(&mut find).trim());
}

#[test]
fn arguments_are_those_of_zkpnet() {
    assert_eq!(within(&["--version"]), format!("zkpnet {}", env!("CARGO_PKG_VERSION")));
    let told = within(&["config", "check", "--role", "gateway", "--config", "/app/configs/gateway.yaml"]);
    assert!(told.contains("coordinator-3:8090"), "{told}");
}

/// A container that is removed with its value.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", "-v", &self.0]).output();
    }
}

#[test]
fn the_health_check_of_the_image_finds_each_role_at_its_port() {
    let image = images();
    let alone = [
        ["-e", "ZKPNET_CLUSTER__INSECURE=true"],
        ["-e", "ZKPNET_COORDINATOR__ID=coordinator-1"],
        ["-e", "ZKPNET_RAFT__NODE_ID=coordinator-1"],
        ["-e", "ZKPNET_RAFT__PEERS=coordinator-1=127.0.0.1:7000"],
        ["-e", "ZKPNET_RAFT__BOOTSTRAP=true"],
    ]
    .concat();
    let roles: [(&[&str], &[&str]); 4] = [
        (&[], &[]),
        (&alone, &["coordinator"]),
        (&["-e", "ZKPNET_CLUSTER__INSECURE=true"], &["worker", "--config", "/app/configs/worker.yaml"]),
        (&[], &["gateway", "--coordinators", "127.0.0.1:8090"]),
    ];
    for (environment, arguments) in roles {
        let mut run = Command::new("docker");
        run.args(["run", "-d", "--network", "none", "--health-interval", "1s"]);
        run.args(environment).arg(&image).args(arguments);
        let container = Container(succeeded(&mut run).trim().to_owned());
        healthy(&container.0);
    }
}
