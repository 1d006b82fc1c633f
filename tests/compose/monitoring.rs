//! What watches the cluster and stands before it, by profile: Prometheus and the load balancer. Grafana is no Debian package, and
//! stays out of the tests; its files are tested elsewhere.

use crate::project::{Project, healthy};
use crate::shell::{json, line, poll_until};
use crate::upkeep::{PORTS, proved, submit};

const FILE: &str = "compose.cluster.yml";

#[test]
fn by_its_profiles_the_cluster_is_watched_and_has_a_load_balancer() {
    let project = Project::new(&[&PORTS[..], &[8000, 8001, 8404, 9091]].concat());
    project.compose(FILE, &["--profile", "prometheus", "--profile", "haproxy", "up", "-d"]);
    healthy("prometheus");
    let task = submit(&project, 1);
    proved(&project, &task);

    for port in [8000, 8001] {
        let look = format!("curl -s http://localhost:{port}/api/v1/tasks/{task}");
        poll_until(&format!("the task by way of port {port}"), || {
            json(&project, &look).filter(|task| task["status"] == "completed")
        });
    }
    let leader = "curl -s 'http://localhost:8404/stats;csv' | grep '^leader,BACKEND,' | grep -c ',UP,'";
    poll_until("the load balancer to know who leads", || (line(&project, leader) == "1").then_some(()));
    // Two in three of them would meet a follower, which takes no writes.
    for number in 20..26 {
        let submit = format!(
            r#"curl -s -o /dev/null -w '%{{http_code}}' -X POST http://localhost:8001/api/v1/tasks/merkle \
            -H 'Content-Type: application/json' -d '{{"leaves":["0x{number}","0x2"],"leaf_index":0}}'"#
        );
        assert_eq!(line(&project, &submit), "202");
    }
    for path in ["metrics", "api/v1/cluster/backup"] {
        for port in [8000, 8001] {
            let look = format!("curl -s -o /dev/null -w '%{{http_code}}' http://localhost:{port}/{path}");
            assert_eq!(line(&project, &look), "404", "port {port}, {path}");
        }
    }
    let up = r#"curl -s http://localhost:9091/api/v1/targets | jq '[.data.activeTargets[] | select(.health == "up")] | length'"#;
    poll_until("all six processes to be scraped", || (line(&project, up) == "6").then_some(()));
    let rules = "curl -s http://localhost:9091/api/v1/rules | jq '.data.groups | length'";
    assert_ne!(line(&project, rules), "0", "no alert is loaded");
}
