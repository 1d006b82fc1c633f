//! The configuration files of a cluster's processes, as an operator would write them: how soon a leader is missed is what it is by
//! default.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Which coordinators found the cluster, and where everything lies.
pub(crate) struct Configs<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) founders: &'a [String],
    pub(crate) lease: &'a str,
}

impl Configs<'_> {
    /// Where a host keeps its data.
    pub(crate) fn data(&self, host: &str) -> PathBuf {
        self.folder.join("data").join(host)
    }

    /// Makes the key that the coordinators encrypt inputs with.
    pub(crate) fn write_data_key(&self) {
        let path = self.folder.join("data.key");
        fs::write(&path, "42".repeat(32)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A first member of the cluster; the first of all founds it.
    pub(crate) fn founder(&self, host: &str) -> PathBuf {
        let bootstrap = self.founders.first().is_some_and(|first| first == host);
        let mut members = format!("  bootstrap: {bootstrap}\n  peers:\n");
        for founder in self.founders {
            members.push_str(&format!("    - id: \"{founder}\"\n      address: \"{founder}:7000\"\n"));
        }
        self.coordinator(host, &members)
    }

    /// A coordinator that joins a running cluster.
    pub(crate) fn joiner(&self, host: &str) -> PathBuf {
        let mut members = format!("  advertise_address: \"{host}:7000\"\n  join:\n");
        for founder in self.founders {
            members.push_str(&format!("    - \"{founder}:7000\"\n"));
        }
        self.coordinator(host, &members)
    }

    /// A coordinator that waits until an operator has it added.
    pub(crate) fn waiter(&self, host: &str) -> PathBuf {
        self.coordinator(host, &format!("  advertise_address: \"{host}:7000\"\n"))
    }

    fn coordinator(&self, host: &str, members: &str) -> PathBuf {
        let (data, key, lease) = (self.data(host), self.folder.join("data.key"), self.lease);
        fs::create_dir_all(&data).unwrap();
        let text = format!(
            "coordinator:
  id: \"{host}\"
cluster:
  insecure: true
http:
  workers: 2
raft:
  node_id: \"{host}\"
{members}storage:
  data_dir: \"{}\"
  key_file: \"{}\"
tasks:
  lease_duration: {lease}
  retry_backoff_base: 50ms
  retry_backoff_max: 1s
verifier:
  threads: 1
shutdown:
  grace: 5s
",
            data.display(),
            key.display(),
        );
        self.write(host, &text)
    }

    /// A worker that knows every coordinator; `preload` is the circuit whose key it wants at start.
    pub(crate) fn worker(&self, host: &str) -> PathBuf {
        let data = self.data(host);
        fs::create_dir_all(&data).unwrap();
        let coordinators: Vec<String> =
            self.founders.iter().map(|founder| format!("\"{founder}:9090\"")).collect();
        let text = format!(
            "worker:
  id: \"{host}\"
  coordinator_address: [{}]
cluster:
  insecure: true
storage:
  data_dir: \"{}\"
prover:
  slots: 1
  threads: 1
shutdown:
  grace: 10s
",
            coordinators.join(", "),
            data.display(),
        );
        self.write(host, &text)
    }

    /// The gateway in front of these coordinators.
    pub(crate) fn gateway(&self, host: &str, coordinators: &[String]) -> PathBuf {
        let coordinators: Vec<String> = coordinators.iter().map(|host| format!("\"{host}:8090\"")).collect();
        let text = format!(
            "gateway:
  coordinators: [{}]
cluster:
  insecure: true
shutdown:
  grace: 5s
",
            coordinators.join(", ")
        );
        self.write(host, &text)
    }

    fn write(&self, host: &str, text: &str) -> PathBuf {
        let path = self.folder.join(format!("{host}.yaml"));
        fs::write(&path, text).unwrap();
        path
    }
}
