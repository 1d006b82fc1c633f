//! PostgreSQL on a host of its own, as the archive of a cluster, and what must be in it at the end.

use super::cluster::Cluster;
use super::disk::SmallDisk;
use super::lab::Lab;
use super::{LIMIT, archived, checks, poll_for, poll_until};
use crate::postgres::{PASSWORD, Postgres, PostgresOptions, Stop, USER};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The server's host.
pub(crate) const HOST: &str = "postgres";
const DATABASE: &str = "zkp_network";
/// Finished tasks that the ledgers keep: so few that most of a scenario's are answered from the archive, and so many that a
/// client's repetition within seconds still finds its key.
const LEDGER_KEEPS: &str = "60";
/// A backlog is archived in less.
const CATCH_UP: Duration = Duration::from_secs(90);

/// A running server. What it runs on is unmounted after it has ended.
pub(crate) struct Database {
    server: Postgres,
    standby: Option<(String, Postgres)>,
    standbys: usize,
    pub(crate) disk: Option<SmallDisk>,
}

impl Database {
    /// Makes one on a host of its own; with a disk of that many mebibytes, mounted on `folder`.
    pub(crate) fn start(lab: &mut Lab, folder: &Path, disk_mebibytes: Option<u32>) -> Self {
        lab.add_host(HOST);
        std::fs::create_dir_all(folder).unwrap();
        let disk = disk_mebibytes.map(|mebibytes| SmallDisk::mount(folder, mebibytes));
        // The account that the server runs as must reach its folder.
        super::lab::run("chmod", &["755", &folder.display().to_string()]);
        let options = PostgresOptions {
            listen: lab.address(HOST).parse().unwrap(),
            port: Some(5432),
            parent: disk.as_ref().map(|_| folder.to_owned()),
            launcher: lab.launcher(HOST),
            // A small disk is to be filled by rows, not by what is kept for recovery.
            settings: disk.iter().map(|_| ("max_wal_size".to_owned(), "32MB".to_owned())).collect(),
            ..PostgresOptions::default()
        };
        let server = Postgres::start_with(options);
        server.create_database(DATABASE);
        Self { server, standby: None, standbys: 0, disk }
    }

    /// Makes a stand-by on a host of its own. A commit waits for it if it is synchronous.
    pub(crate) fn add_standby(&mut self, lab: &mut Lab, is_synchronous: bool) {
        self.standbys += 1;
        let host = format!("{HOST}-{}", self.standbys + 1);
        lab.add_host(&host);
        let standby = self.server.start_standby(PostgresOptions {
            listen: lab.address(&host).parse().unwrap(),
            port: Some(5432),
            launcher: lab.launcher(&host),
            ..PostgresOptions::default()
        });
        if is_synchronous {
            self.server.wait_for_standby();
        }
        self.standby = Some((host, standby));
    }

    /// The stand-by.
    pub(crate) fn standby(&mut self) -> &mut Postgres {
        &mut self.standby.as_mut().expect("a stand-by").1
    }

    /// The server is killed, its stand-by takes its place, and its name.
    pub(crate) fn fail_over(&mut self, lab: &mut Lab) {
        self.server.stop(Stop::Kill);
        let (host, mut standby) = self.standby.take().expect("a stand-by");
        standby.start_if_stopped();
        standby.promote();
        self.server = standby;
        lab.move_name(HOST, &host);
    }

    /// What every coordinator is told.
    pub(crate) fn variables() -> Vec<(&'static str, String)> {
        [
            ("ZKPNET_DATABASE__HOST", HOST),
            ("ZKPNET_DATABASE__USER", USER),
            ("ZKPNET_DATABASE__PASSWORD", PASSWORD),
            ("ZKPNET_DATABASE__NAME", DATABASE),
            ("ZKPNET_DATABASE__SSL_MODE", "disable"),
            ("ZKPNET_TASKS__RETENTION_COUNT", LEDGER_KEEPS),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec()
    }

    pub(crate) fn stop(&mut self, how: Stop) {
        self.server.stop(how);
    }

    pub(crate) fn start_again(&mut self) {
        self.server.start();
    }

    /// Runs SQL as the superuser.
    pub(crate) fn sql(&self, sql: &str) -> String {
        self.server.sql(DATABASE, sql)
    }

    /// How many tasks are in it.
    pub(crate) fn tasks(&self) -> usize {
        self.sql("SELECT count(*) FROM tasks").parse().unwrap()
    }
}

/// What a coordinator says of its archive.
pub(crate) fn archive_of(cluster: &Cluster, host: &str) -> Option<Value> {
    let health = cluster.client(host, Duration::from_secs(3)).get("/health").ok()?;
    Some(health.body["archive"].clone())
}

/// Waits until the leader says that its archive does not work.
pub(crate) fn is_missed(cluster: &Cluster) {
    poll_until("the leader to miss its archive", || {
        let archive = archive_of(cluster, &cluster.leader())?;
        archive["error"].is_string().then_some(())
    });
}

/// The archive has every task that was submitted, once, as the API tells of it in every field, and so the workers and circuits;
/// each task that was proved has one attempt that proved it.
pub(crate) fn agrees(cluster: &Cluster, database: &Database) {
    let leader = cluster.leader();
    poll_for(CATCH_UP, "everything to be archived", || {
        let archive = archive_of(cluster, &leader)?;
        (archive["lag"] == 0 && archive["error"].is_null()).then_some(())
    });
    let rows = archived::tasks(database);
    let submissions = cluster.book.submissions();
    assert_eq!(rows.len(), submissions.len(), "rows, and tasks that were acknowledged");
    let proved = "SELECT count(*) FROM tasks AS t WHERE (t.status = 'completed')::int <> (SELECT count(*) FROM attempts \
                  WHERE task_id = t.id AND outcome = 'completed')";
    assert_eq!(database.sql(proved), "0", "completed tasks that no attempt proved, or several");
    let client = cluster.client(&leader, LIMIT);
    for (key, submission) in submissions {
        let id = submission.task.unwrap();
        let row = rows.get(&id).unwrap_or_else(|| panic!("{key} ({id}) is not in the archive"));
        let told = client.get(&format!("/api/v1/tasks/{id}")).unwrap().body;
        assert_eq!(row, &archived::task_told(told), "{key} ({id}): the row, and what is told");
    }
    archived::workers_and_circuits_agree(cluster, &leader, database);
    let forgotten = checks::metric(cluster, &leader, "zkpnet_tasks_total{outcome=\"forgotten\"}");
    println!("{} tasks are in the archive; the ledger has forgotten {forgotten} of them", rows.len());
}
