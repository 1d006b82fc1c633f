//! A network for one cluster: a namespace per host and a switch between them, so that every host has its own address and all the
//! ports that the documents show, and so that a cable can be cut.
//!
//! The switch is a bridge in a namespace of its own: rules that the machine has for its own bridges (Docker drops what it does
//! not know) do not reach it. The test itself stands at `.1` and reaches every host, whatever is cut between them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;

/// Networks that can be used at once on one machine.
const NETWORKS: u8 = 64;

/// A network; taken down when dropped.
pub(crate) struct Lab {
    number: u8,
    hosts: Vec<String>,
    /// Names that were moved to another host.
    moved: BTreeMap<String, String>,
    /// Held locked while the network is in use; whoever gets the lock may clear away what a killed test left behind.
    _lock: File,
}

impl Lab {
    /// Builds a network without hosts.
    pub(crate) fn new() -> Self {
        let folder = PathBuf::from("/run/lock/zkpnet-scenarios");
        fs::create_dir_all(&folder).expect("scenarios need root, to make network namespaces");
        for number in 0..NETWORKS {
            let lock = File::create(folder.join(number.to_string())).unwrap();
            if lock.try_lock().is_err() {
                continue;
            }
            let lab = Self { number, hosts: Vec::new(), moved: BTreeMap::new(), _lock: lock };
            lab.clear();
            lab.build_switch();
            return lab;
        }
        panic!("all {NETWORKS} networks are in use");
    }

    /// Connects a host of this name, which every host can resolve.
    pub(crate) fn add_host(&mut self, name: &str) {
        self.hosts.push(name.to_owned());
        let (space, switch) = (self.namespace(name), self.switch());
        let port = format!("p{}", self.hosts.len());
        run("ip", &["netns", "add", &space]);
        run(
            "ip",
            &[
                "link", "add", &port, "netns", &switch, "type", "veth", "peer", "name", "eth0", "netns",
                &space,
            ],
        );
        run("ip", &["-n", &switch, "link", "set", &port, "master", "bridge", "up"]);
        run("ip", &["-n", &space, "address", "add", &format!("{}/24", self.address(name)), "dev", "eth0"]);
        run("ip", &["-n", &space, "link", "set", "eth0", "up"]);
        run("ip", &["-n", &space, "link", "set", "lo", "up"]);
        self.write_names();
    }

    /// Has a name resolve to another host from now on; connections that are open stay where they are.
    pub(crate) fn move_name(&mut self, name: &str, host: &str) {
        self.moved.insert(name.to_owned(), host.to_owned());
        self.write_names();
    }

    fn write_names(&self) {
        let mut names = "127.0.0.1 localhost\n".to_owned();
        for name in &self.hosts {
            let host = self.moved.get(name).unwrap_or(name);
            names.push_str(&format!("{} {name}\n", self.address(host)));
        }
        // `ip netns exec` lays this file over /etc/hosts; it is rewritten in place, so that running processes see new hosts.
        for host in &self.hosts {
            let folder = PathBuf::from("/etc/netns").join(self.namespace(host));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("hosts"), &names).unwrap();
        }
    }

    /// The host's IP address.
    pub(crate) fn address(&self, host: &str) -> String {
        let place =
            self.hosts.iter().position(|known| known == host).unwrap_or_else(|| panic!("no host {host}"));
        format!("10.231.{}.{}", self.number, place + 11)
    }

    /// A command that runs on the host; it is killed when the test's thread that started it ends.
    pub(crate) fn command(&self, host: &str, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "ip", "netns", "exec", &self.namespace(host), program]);
        command
    }

    /// What begins the command line of a program that is to run on the host.
    pub(crate) fn launcher(&self, host: &str) -> Vec<String> {
        ["ip", "netns", "exec", &self.namespace(host)].map(str::to_owned).to_vec()
    }

    /// Drops everything between two hosts, both ways; connections are not told.
    pub(crate) fn cut(&self, one: &str, other: &str) {
        for (here, there) in [(one, other), (other, one)] {
            self.firewall("-A", here, there);
        }
    }

    /// Undoes [`cut`](Self::cut).
    pub(crate) fn heal(&self, one: &str, other: &str) {
        for (here, there) in [(one, other), (other, one)] {
            self.firewall("-D", here, there);
        }
    }

    fn firewall(&self, action: &str, here: &str, there: &str) {
        let (space, address) = (self.namespace(here), self.address(there));
        run(
            "ip",
            &["netns", "exec", &space, "iptables", "-w", action, "INPUT", "-s", &address, "-j", "DROP"],
        );
    }

    fn build_switch(&self) {
        let (switch, cable, subnet) = (self.switch(), self.cable(), format!("10.231.{}.1/24", self.number));
        run("ip", &["netns", "add", &switch]);
        run("ip", &["-n", &switch, "link", "add", "bridge", "type", "bridge"]);
        run("ip", &["-n", &switch, "link", "set", "bridge", "up"]);
        run("ip", &["link", "add", &cable, "type", "veth", "peer", "name", "test", "netns", &switch]);
        run("ip", &["-n", &switch, "link", "set", "test", "master", "bridge", "up"]);
        run("ip", &["address", "add", &subnet, "dev", &cable]);
        run("ip", &["link", "set", &cable, "up"]);
    }

    /// Ends what runs in this network's namespaces and removes them.
    fn clear(&self) {
        let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
        let prefix = format!("zkpnet{}-", self.number);
        let spaces = String::from_utf8_lossy(&listed.stdout).into_owned();
        for space in
            spaces.lines().filter_map(|line| line.split(' ').next()).filter(|name| name.starts_with(&prefix))
        {
            let inside = Command::new("ip").args(["netns", "pids", space]).output().unwrap();
            for process in String::from_utf8_lossy(&inside.stdout).lines() {
                let _ = Command::new("kill").args(["-KILL", process]).status();
            }
            let _ = Command::new("ip").args(["netns", "delete", space]).status();
            let _ = fs::remove_dir_all(PathBuf::from("/etc/netns").join(space));
        }
        // The other end goes with the switch; this one may outlive it for a moment.
        let _ = Command::new("ip").args(["link", "delete", &self.cable()]).output();
    }

    fn namespace(&self, host: &str) -> String {
        format!("zkpnet{}-{host}", self.number)
    }

    fn switch(&self) -> String {
        self.namespace("switch")
    }

    fn cable(&self) -> String {
        format!("zkpnet{}", self.number)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
}
