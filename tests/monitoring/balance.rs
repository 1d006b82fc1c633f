//! `docker/haproxy.cfg` and `docker/nginx.conf` before servers that come and go, with the real programs.

use crate::backend::Backend;
use crate::files::{self, run, said};
use crate::support::{Answer, Client, free_port, poll_until};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Requests in a row that show where requests go.
const IN_A_ROW: usize = 30;

struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // Its own processes end with it; a SIGKILL would leave nginx's.
        let _ = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status();
        let _ = self.0.wait();
    }
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("balance").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "there is no {from:?}");
    text.replace(from, to)
}

fn spawn(command: &mut Command, folder: &Path, package: &str) -> Program {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let program = command.get_program().to_string_lossy().into_owned();
    let command = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let child = command.spawn();
    Program(child.unwrap_or_else(|error| panic!("{program}: {error}; it is in the Debian package {package}")))
}

/// Waits until requests are answered; a program that has ended instead says why in its log.
fn until_it_serves(program: &mut Program, folder: &Path, client: &Client) {
    poll_until("the load balancer serves", || {
        if let Some(status) = program.0.try_wait().unwrap() {
            panic!("it ended with {status}: {}", std::fs::read_to_string(folder.join("log")).unwrap());
        }
        client.get("/").ok().filter(|answer| answer.status == 200)
    });
}

fn at(port: u16) -> Client {
    Client::new(&format!("127.0.0.1:{port}"))
}

struct Haproxy {
    api: Client,
    coordinators: Client,
    leader: Client,
    own: Client,
    _program: Program,
}

/// HAProxy as it is configured, on other ports and before other servers.
fn haproxy(name: &str, gateways: &[&Backend], coordinators: &[&Backend]) -> Haproxy {
    let mut text = files::text("docker/haproxy.cfg");
    let ports: [u16; 4] = std::array::from_fn(|_| free_port());
    for (from, port) in [8000, 8001, 8002, 8404].iter().zip(ports) {
        text = replaced(&text, &format!("bind :{from}\n"), &format!("bind 127.0.0.1:{port}\n"));
    }
    let servers: Vec<String> = gateways
        .iter()
        .enumerate()
        .map(|(n, gateway)| format!("server gateway-{n} {}", gateway.addr))
        .collect();
    text = replaced(&text, "server gateway gateway:8080", &servers.join("\n    "));
    for (n, coordinator) in coordinators.iter().enumerate() {
        let from = format!("coordinator-{0} coordinator-{0}:8090", n + 1);
        text = replaced(&text, &from, &format!("coordinator-{} {}", n + 1, coordinator.addr));
    }
    let folder = folder(name);
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, text).unwrap();
    let checked = run(Command::new("haproxy").arg("-c").arg("-f").arg(&path), "haproxy");
    assert!(checked.status.success(), "{}", said(&checked));
    let mut program = spawn(Command::new("haproxy").arg("-db").arg("-f").arg(&path), &folder, "haproxy");
    let [api, coordinators, leader, own] = ports.map(at);
    until_it_serves(&mut program, &folder, &api);
    Haproxy { api, coordinators, leader, own, _program: program }
}

/// Who answers a read.
fn read(client: &Client) -> String {
    let answer = client.get("/api/v1/tasks").unwrap();
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body.as_str().unwrap().to_owned()
}

/// The answer to a submission.
fn submit(client: &Client) -> Answer {
    client.post("/api/v1/tasks/merkle", &[], &json!({"leaves": ["0x1"]})).unwrap()
}

/// Who answers a write.
fn write(client: &Client) -> String {
    let answer = submit(client);
    assert_eq!(answer.status, 200, "{:?}", answer.body);
    answer.body.as_str().unwrap().to_owned()
}

/// Puts requests, none of which may fail, until all of so many in a row are answered by these.
fn until_answered_by(client: &Client, names: &[&str]) {
    poll_until(&format!("requests are answered by {names:?}"), || {
        let mut answered: Vec<String> = (0..IN_A_ROW).map(|_| read(client)).collect();
        answered.extend((0..IN_A_ROW).map(|_| write(client)));
        answered.sort();
        answered.dedup();
        (answered == names).then_some(())
    });
}

#[test]
fn haproxy_takes_its_configuration_as_it_is() {
    let mut command = Command::new("haproxy");
    let checked = run(command.arg("-c").arg("-f").arg(files::path("docker/haproxy.cfg")), "haproxy");
    assert!(checked.status.success(), "{}", said(&checked));
    let trouble: Vec<String> = said(&checked)
        .lines()
        .filter(|line| line.contains("[WARNING]") && !line.contains("could not resolve address"))
        .map(str::to_owned)
        .collect();
    assert_eq!(trouble, Vec::<String>::new());
}

#[test]
fn haproxy_gives_a_gateway_that_is_not_ready_nothing_and_no_request_fails() {
    let (first, second) = (Backend::start("first"), Backend::start("second"));
    let haproxy = haproxy("ready", &[&first, &second], &[]);
    until_answered_by(&haproxy.api, &["first", "second"]);
    first.set_ready(false);
    until_answered_by(&haproxy.api, &["second"]);
    first.set_ready(true);
    until_answered_by(&haproxy.api, &["first", "second"]);
}

#[test]
fn haproxy_passes_over_a_gateway_that_is_gone_and_no_request_fails() {
    let (first, second) = (Backend::start("first"), Backend::start("second"));
    let haproxy = haproxy("gone", &[&first, &second], &[]);
    until_answered_by(&haproxy.api, &["first", "second"]);
    first.stop();
    until_answered_by(&haproxy.api, &["second"]);
}

/// Waits until so many writes in a row are taken by this one: HAProxy counts a server as good until its first check has failed.
fn until_written_to(client: &Client, name: &str) {
    poll_until(&format!("writes reach {name}"), || {
        let is_taken = |answer: Answer| answer.status == 200 && answer.body == name;
        (0..IN_A_ROW).all(|_| is_taken(submit(client))).then_some(())
    });
}

#[test]
fn haproxy_spreads_reads_over_ready_coordinators_and_brings_writes_and_operators_to_the_leader() {
    let gateway = Backend::start("gateway");
    let [one, two, three] = ["one", "two", "three"].map(Backend::start_coordinator);
    one.set_leading(true);
    let haproxy = haproxy("leader", &[&gateway], &[&one, &two, &three]);
    until_written_to(&haproxy.leader, "one");
    let distinct = |ask: &dyn Fn() -> String| {
        let answered: BTreeSet<String> = (0..IN_A_ROW).map(|_| ask()).collect();
        answered.into_iter().collect::<Vec<_>>()
    };
    let check = || {
        let answer = haproxy.coordinators.post("/api/v1/proofs/verify", &[], &json!({})).unwrap();
        answer.body.as_str().unwrap().to_owned()
    };
    assert_eq!(distinct(&|| write(&haproxy.coordinators)), ["one"]);
    assert_eq!(distinct(&|| read(&haproxy.coordinators)), ["one", "three", "two"]);
    assert_eq!(distinct(&check), ["one", "three", "two"]);
    two.set_ready(false);
    poll_until("the one that is not ready gets nothing", || {
        (distinct(&|| read(&haproxy.coordinators)) == ["one", "three"]).then_some(())
    });

    // Nobody leads: the client is told so by a coordinator, and not by HAProxy in words of its own.
    one.set_leading(false);
    poll_until("a write is refused", || {
        let answer = submit(&haproxy.coordinators);
        (answer.status != 200).then_some(answer)
    });
    for _ in 0..IN_A_ROW {
        let answer = submit(&haproxy.coordinators);
        assert_eq!((answer.status, &answer.body["code"]), (503, &json!("no_leader")), "{answer:?}");
    }
    three.set_leading(true);
    until_written_to(&haproxy.leader, "three");
    assert_eq!(distinct(&|| write(&haproxy.coordinators)), ["three"]);
    let own = haproxy.own.get("/metrics").unwrap();
    assert!(own.body.as_str().unwrap().contains("haproxy_server_status"), "{own:?}");
}

#[test]
fn haproxy_keeps_what_is_for_operators_from_the_public() {
    let gateway = Backend::start("gateway");
    let one = Backend::start_coordinator("one");
    one.set_leading(true);
    let (two, three) = (Backend::start_coordinator("two"), Backend::start_coordinator("three"));
    let haproxy = haproxy("denied", &[&gateway], &[&one, &two, &three]);
    until_written_to(&haproxy.leader, "one");
    for public in [&haproxy.api, &haproxy.coordinators] {
        for path in
            ["/metrics", "/%6detrics", "/metrics?x", "/api/v1/cluster/backup", "/api/v1/%63luster/backup"]
        {
            assert_eq!(public.get(path).unwrap().status, 404, "{path}");
        }
        let body = json!({"member": "two"});
        for path in ["/api/v1/cluster/remove", "/api/v1/cluster%2fremove"] {
            assert_eq!(public.post(path, &[], &body).unwrap().status, 404, "{path}");
        }
        for path in ["/api/v1/cluster", "/health", "/openapi.json"] {
            assert_eq!(public.get(path).unwrap().status, 200, "{path}");
        }
    }
    for path in ["/metrics", "/api/v1/cluster/backup"] {
        assert_eq!(haproxy.leader.get(path).unwrap().status, 200, "{path}");
    }
    assert_eq!(haproxy.leader.post("/api/v1/cluster/remove", &[], &json!({})).unwrap().body, "one");
}

/// nginx as it is configured, on another port and before other servers.
fn nginx(name: &str, servers: &[&Backend]) -> (Client, Program) {
    let port = free_port();
    let text = files::text("docker/nginx.conf");
    let text = replaced(&text, "listen 8000;", &format!("listen 127.0.0.1:{port};"));
    let lines: Vec<String> =
        servers.iter().map(|server| format!("server {} max_fails=1 fail_timeout=2s;", server.addr)).collect();
    let text = replaced(&text, "server gateway:8080 max_fails=1 fail_timeout=2s;", &lines.join("\n"));
    let folder = folder(name);
    let path = folder.join("nginx.conf");
    std::fs::write(&path, text).unwrap();
    let own = format!("daemon off; pid {}/pid;", folder.display());
    let nginx = || {
        let mut command = Command::new("nginx");
        command.arg("-c").arg(&path).arg("-p").arg(&folder).args(["-g", &own]);
        command
    };
    let checked = run(nginx().arg("-t"), "nginx-light");
    assert!(checked.status.success(), "{}", said(&checked));
    let mut program = spawn(&mut nginx(), &folder, "nginx-light");
    let client = at(port);
    until_it_serves(&mut program, &folder, &client);
    (client, program)
}

#[test]
fn nginx_passes_over_a_server_that_is_gone_and_no_request_fails() {
    let (first, second) = (Backend::start("first"), Backend::start("second"));
    let (client, _program) = nginx("nginx-gone", &[&first, &second]);
    until_answered_by(&client, &["first", "second"]);
    first.stop();
    until_answered_by(&client, &["second"]);
}

#[test]
fn nginx_puts_a_read_that_a_server_is_not_ready_for_to_another_one() {
    let (first, second) = (Backend::start("first"), Backend::start("second"));
    let (client, _program) = nginx("nginx-unready", &[&first, &second]);
    until_answered_by(&client, &["first", "second"]);
    first.set_ready(false);
    for _ in 0..IN_A_ROW {
        let answer = client.get("/unless-unready").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, Some("second")));
    }
    assert_eq!(client.get("/metrics").unwrap().status, 404, "the public sees no metrics");
}
