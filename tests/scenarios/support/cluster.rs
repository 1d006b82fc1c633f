//! A cluster as an operator runs it: coordinators, workers and a gateway, each a process on a host of its own.

use super::client::Client;
use super::configs::Configs;
use super::database::Database;
use super::disk::SmallDisk;
use super::lab::Lab;
use super::load::Book;
use super::process::Process;
use super::{poll_for, poll_until};
use crate::history::{Call, Reply};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// One cluster at a time: they would take each other's processor time, and then each other's leaders.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a cluster is made of.
pub(crate) struct Plan {
    pub(crate) coordinators: usize,
    pub(crate) workers: usize,
    /// How long a worker may be silent.
    pub(crate) lease: &'static str,
    /// Variables for every coordinator; `{host}` in a value is its name, `{folder}` the cluster's folder.
    pub(crate) coordinator_variables: Vec<(&'static str, String)>,
    /// Whether there is a PostgreSQL that it archives to.
    pub(crate) is_archived: bool,
    /// The size of a disk of PostgreSQL's own.
    pub(crate) database_disk_mebibytes: Option<u32>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            coordinators: 3,
            workers: 1,
            lease: "10s",
            coordinator_variables: Vec::new(),
            is_archived: std::env::var_os("ZKPNET_SCENARIO_ARCHIVE").is_some_and(|value| value == "1"),
            database_disk_mebibytes: None,
        }
    }
}

impl Plan {
    /// The default with an archive.
    pub(crate) fn archived() -> Self {
        Self { is_archived: true, ..Self::default() }
    }
}

/// What a coordinator says of itself and its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) is_leader: bool,
    pub(crate) term: u64,
    /// The leader's name; none when it knows of none.
    pub(crate) leader: Option<String>,
    pub(crate) applied: u64,
}

/// A running cluster; taken down when dropped. Its folder, logs included, is kept when the test fails.
pub(crate) struct Cluster {
    processes: BTreeMap<String, Process>,
    /// Ended before its network and its folder are gone.
    pub(crate) database: Option<Database>,
    variables: Vec<(&'static str, String)>,
    pub(crate) lab: Lab,
    pub(crate) coordinators: Vec<String>,
    founders: Vec<String>,
    lease: &'static str,
    /// Disks of their own that a scenario gave to hosts; unmounted after the processes have ended.
    pub(crate) disks: BTreeMap<String, SmallDisk>,
    folder: Option<tempfile::TempDir>,
    /// What its clients did.
    pub(crate) book: Book,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Starts the cluster of this plan and waits until it has proved a first task.
    pub(crate) fn start(plan: &Plan) -> Self {
        Self::start_prepared(plan, |_| {})
    }

    /// The same; `prepare` may change what lies on disk after it is made and before a process sees it.
    pub(crate) fn start_prepared(plan: &Plan, prepare: impl FnOnce(&mut Self)) -> Self {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let names = |role: &str, count: usize| (1..=count).map(|n| format!("{role}-{n}")).collect::<Vec<_>>();
        let (coordinators, workers) =
            (names("coordinator", plan.coordinators), names("worker", plan.workers));
        let mut cluster = Self {
            processes: BTreeMap::new(),
            database: None,
            variables: Vec::new(),
            lab: Lab::new(),
            founders: coordinators.clone(),
            coordinators,
            lease: plan.lease,
            disks: BTreeMap::new(),
            folder: Some(tempfile::tempdir().unwrap()),
            book: Book::new(),
            _turn: turn,
        };
        std::fs::create_dir(cluster.folder().join("logs")).unwrap();
        cluster.configs().write_data_key();
        if plan.is_archived {
            let folder = cluster.folder().join("postgres");
            let database = Database::start(&mut cluster.lab, &folder, plan.database_disk_mebibytes);
            cluster.database = Some(database);
            cluster.variables = Database::variables();
        }
        // After what an archive wants, so that a scenario may have it otherwise.
        cluster.variables.extend(plan.coordinator_variables.clone());
        for host in cluster.coordinators.clone() {
            let config = cluster.configs().founder(&host);
            cluster.add("coordinator", &host, &config, &cluster.variables.clone());
        }
        for host in &workers {
            let config = cluster.configs().worker(host);
            cluster.add("worker", host, &config, &[]);
        }
        let config = cluster.configs().gateway("gateway", &cluster.coordinators);
        cluster.add("gateway", "gateway", &config, &[]);
        prepare(&mut cluster);
        let hosts: Vec<String> = cluster.processes.keys().cloned().collect();
        hosts.iter().for_each(|host| cluster.start_host(host));
        cluster.leader();
        assert_eq!(cluster.fallen(), Vec::<String>::new(), "processes that ended at start");
        cluster.prove_one("first");
        cluster
    }

    fn add(&mut self, role: &str, host: &str, config: &Path, variables: &[(&str, String)]) {
        self.lab.add_host(host);
        let log = self.log(host);
        let folder = self.folder().display().to_string();
        let variables = variables.iter().map(|(name, value)| {
            ((*name).to_owned(), value.replace("{host}", host).replace("{folder}", &folder))
        });
        self.processes.insert(host.to_owned(), Process::new(role, config, &log, variables.collect()));
    }

    /// Adds and starts a coordinator that asks the others to let it join.
    pub(crate) fn join_coordinator(&mut self, host: &str) {
        let config = self.configs().joiner(host);
        self.add("coordinator", host, &config, &self.variables_of_later());
        self.coordinators.push(host.to_owned());
        self.start_host(host);
    }

    /// A coordinator that comes later knows of the archive, and of nothing that a scenario gave the first ones.
    fn variables_of_later(&self) -> Vec<(&'static str, String)> {
        if self.database.is_some() { Database::variables() } else { Vec::new() }
    }

    /// Adds and starts a coordinator that waits until an operator has it added.
    pub(crate) fn wait_coordinator(&mut self, host: &str) {
        let config = self.configs().waiter(host);
        self.add("coordinator", host, &config, &self.variables_of_later());
        self.coordinators.push(host.to_owned());
        self.start_host(host);
    }

    /// The archive of a cluster that has one.
    pub(crate) fn database(&mut self) -> &mut Database {
        self.database.as_mut().expect("a plan with an archive")
    }

    /// The folder that holds configurations, data and logs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// Where a host keeps its data.
    pub(crate) fn data(&self, host: &str) -> PathBuf {
        self.configs().data(host)
    }

    fn configs(&self) -> Configs<'_> {
        Configs { folder: self.folder(), founders: &self.founders, lease: self.lease }
    }

    fn log(&self, host: &str) -> PathBuf {
        self.folder().join("logs").join(format!("{host}.log"))
    }

    /// Starts a host's process, for the first time or again.
    pub(crate) fn start_host(&mut self, host: &str) {
        let process = self.processes.get_mut(host).unwrap();
        process.start(&self.lab, host);
    }

    /// The host's process.
    pub(crate) fn process(&mut self, host: &str) -> &mut Process {
        self.processes.get_mut(host).unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, host: &str) {
        self.process(host).kill();
    }

    /// Cuts a host off from these, or undoes it.
    pub(crate) fn cut(&self, host: &str, others: &[String]) {
        others.iter().filter(|other| *other != host).for_each(|other| self.lab.cut(host, other));
    }

    /// See [`cut`](Self::cut).
    pub(crate) fn heal(&self, host: &str, others: &[String]) {
        others.iter().filter(|other| *other != host).for_each(|other| self.lab.heal(host, other));
    }

    /// The coordinators that are not `host`.
    pub(crate) fn others(&self, host: &str) -> Vec<String> {
        self.coordinators.iter().filter(|other| *other != host).cloned().collect()
    }

    /// Where the API of a host is.
    pub(crate) fn api(&self, host: &str) -> String {
        let port = if host == "gateway" { 8080 } else { 8090 };
        format!("{}:{port}", self.lab.address(host))
    }

    /// Where the APIs of all coordinators are.
    pub(crate) fn apis(&self) -> Vec<String> {
        self.coordinators.iter().map(|host| self.api(host)).collect()
    }

    /// The tasks that a worker holds a lease of, as the cluster believes.
    pub(crate) fn held_by(&self, worker: &str) -> Vec<String> {
        let client = self.client(&self.leader(), Duration::from_secs(5));
        let mut held = Vec::new();
        for status in ["assigned", "in_progress"] {
            let page = client.get(&format!("/api/v1/tasks?limit=500&status={status}")).unwrap();
            let tasks = page.body["tasks"].as_array().unwrap_or_else(|| panic!("{page:?}"));
            let of_worker = tasks.iter().filter(|task| task["worker_id"] == worker);
            held.extend(of_worker.map(|task| task["task_id"].as_str().unwrap().to_owned()));
        }
        held
    }

    /// Stops a worker's process (SIGSTOP) at a moment at which it holds a lease, and says of which task.
    pub(crate) fn freeze_at_work(&mut self, worker: &str) -> String {
        poll_until(&format!("{worker} to be caught at work"), || {
            if self.held_by(worker).is_empty() {
                return None;
            }
            self.process(worker).signal("STOP");
            // Reports that were under way have arrived when two looks in a row agree.
            let (first, second) = (self.held_by(worker), self.held_by(worker));
            if let Some(task) = first.iter().find(|task| second.contains(task)) {
                return Some(task.clone());
            }
            self.process(worker).signal("CONT");
            None
        })
    }

    /// A client of a host that gives up after `limit`.
    pub(crate) fn client(&self, host: &str, limit: Duration) -> Client {
        Client::new(&self.api(host), limit)
    }

    /// What a coordinator says at the moment; `None` when it does not answer.
    pub(crate) fn view(&self, host: &str) -> Option<View> {
        let health = self.client(host, Duration::from_secs(1)).get("/health").ok()?.body;
        let raft = &health["raft"];
        let leader =
            raft["leader_address"].as_str().map(|address| address.split(':').next().unwrap().to_owned());
        Some(View {
            is_leader: raft["is_leader"].as_bool()?,
            term: raft["term"].as_u64()?,
            leader,
            applied: raft["applied_index"].as_u64()?,
        })
    }

    /// Waits until one coordinator leads and a majority says so of it, and names it.
    pub(crate) fn leader(&self) -> String {
        poll_until("a leader that a majority knows", || self.leader_now(&self.coordinators.clone()))
    }

    /// Waits until all of these coordinators agree on who leads.
    pub(crate) fn leader_among(&self, hosts: &[String]) -> String {
        poll_until("a leader that they all know", || {
            let leader = self.leader_now(hosts)?;
            let agree = hosts
                .iter()
                .all(|host| self.view(host).is_some_and(|view| view.leader.as_ref() == Some(&leader)));
            agree.then_some(leader)
        })
    }

    fn leader_now(&self, hosts: &[String]) -> Option<String> {
        let views: Vec<(&String, View)> =
            hosts.iter().filter_map(|host| Some((host, self.view(host)?))).collect();
        let (leader, told) =
            views.iter().filter(|(_, view)| view.is_leader).max_by_key(|(_, view)| view.term)?;
        let followed =
            views.iter().filter(|(_, view)| view.term == told.term && view.leader.as_ref() == Some(*leader));
        (followed.count() * 2 > self.founders.len()).then(|| (*leader).clone())
    }

    /// Waits until the coordinator has applied what the cluster has committed by now.
    pub(crate) fn caught_up(&self, host: &str) {
        let target = poll_until("an applied index", || Some(self.view(&self.leader())?.applied));
        poll_until(&format!("{host} to catch up to {target}"), || {
            (self.view(host)?.applied >= target).then_some(())
        });
    }

    /// Submits a task through the gateway and waits until it is proved.
    pub(crate) fn prove_one(&self, name: &str) -> Value {
        let key = format!("{name}-alone");
        let client = self.client("gateway", Duration::from_secs(40));
        let number = self.book.new_number();
        let task = poll_until("a submission to be taken", || {
            let invoked = Instant::now();
            let reply = client.submit(&key, number);
            self.book.recorder.note(name, &key, Call::Submit, reply.clone(), invoked);
            let Reply::Taken(task) = reply else { return None };
            Some(task)
        });
        self.book.taken(&key, number, &task);
        poll_for(Duration::from_secs(120), "the task to be proved", || {
            let (_, body) = client.look(&task, "?wait=30s");
            (body["status"] == "completed").then_some(body)
        })
    }

    /// The cluster's member of this name, as the leader lists it.
    pub(crate) fn member(&self, name: &str) -> Option<Value> {
        let answer = self.client(&self.leader(), Duration::from_secs(5)).get("/api/v1/cluster").ok()?;
        answer.body["members"].as_array()?.iter().find(|member| member["name"] == name).cloned()
    }

    /// Whether a process has ended without having been asked to.
    pub(crate) fn fallen(&mut self) -> Vec<String> {
        let started = self.processes.iter_mut().filter(|(_, process)| process.is_started());
        let fallen = started.filter_map(|(host, process)| Some(format!("{host}: {}", process.ended()?)));
        fallen.collect()
    }

    /// The coordinators that were started and not taken down by the test.
    pub(crate) fn running_coordinators(&self) -> Vec<String> {
        self.coordinators.iter().filter(|host| self.processes[*host].is_started()).cloned().collect()
    }

    /// A coordinator that is gone for good.
    pub(crate) fn forget_coordinator(&mut self, host: &str) {
        self.coordinators.retain(|known| known != host);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let folder = self.folder.take().unwrap().keep();
        eprintln!("configurations, data and logs of the cluster are kept in {}", folder.display());
        for (host, process) in &self.processes {
            let said = process.said();
            let lines: Vec<&str> = said.lines().collect();
            eprintln!(
                "-- the last that {host} said:\n{}",
                lines[lines.len().saturating_sub(12)..].join("\n")
            );
        }
    }
}
