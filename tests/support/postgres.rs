//! A PostgreSQL of a test's own: made by `initdb` in a temporary folder, listening on a Unix socket there and on one TCP
//! address, and gone with its value. Needs Debian's package `postgresql` (its programs, no running service); without it the
//! tests fail.
//!
//! PostgreSQL refuses to run as root: its processes run as `postgres`, else as `nobody`, when the test is root.

#![allow(dead_code, reason = "each test target uses its part of this")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use zkpnet::archive::{ArchiveSettings, ArchiveSslMode};

/// No wait is longer: crash recovery on a busy machine takes seconds.
const LIMIT: Duration = Duration::from_secs(120);
/// The superuser that every server has. Over TCP it must say [`PASSWORD`], on the socket nothing.
pub(crate) const USER: &str = "zkp_user";
pub(crate) const PASSWORD: &str = "zkp-p4ss 'word";
/// What a stand-by calls itself.
const STANDBY: &str = "standby";

/// How a server is to be.
pub(crate) struct PostgresOptions {
    /// Where it listens.
    pub(crate) listen: IpAddr,
    /// Its port; a free one when `None`, which is looked for on the test's own loopback.
    pub(crate) port: Option<u16>,
    /// Whether a commit waits for the disk.
    pub(crate) fsync: bool,
    /// Lines of `postgresql.conf`.
    pub(crate) settings: Vec<(String, String)>,
    /// Certificate chain and key, in PEM; TLS is off without.
    pub(crate) tls: Option<(String, String)>,
    /// A folder to make the temporary folder in: another file system.
    pub(crate) parent: Option<PathBuf>,
    /// Begins the server's command line: a program that runs what follows it, in another network for example.
    pub(crate) launcher: Vec<String>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: None,
            fsync: true,
            settings: Vec::new(),
            tls: None,
            parent: None,
            launcher: Vec::new(),
        }
    }
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It cuts its connections, writes everything and ends.
    Fast,
    /// It ends at once, and recovers at the next start.
    Immediate,
    /// SIGKILL to all of its processes at one moment.
    Kill,
}

/// The server.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: tempfile::TempDir,
    options: PostgresOptions,
    port: u16,
    account: Option<(u32, u32)>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    /// The thread that started it lives until this is dropped; the kernel kills the server with that thread.
    _keeper: mpsc::Sender<()>,
}

impl Postgres {
    /// Makes a server and starts it.
    pub(crate) fn start_new() -> Self {
        Self::start_with(PostgresOptions::default())
    }

    /// The same, otherwise.
    pub(crate) fn start_with(options: PostgresOptions) -> Self {
        let mut server = Self::placed(options);
        server.initialise();
        server.start();
        server
    }

    /// One that has nothing but its folder.
    fn placed(options: PostgresOptions) -> Self {
        let parent = options.parent.clone().unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new().prefix("zkpnet-pg-").tempdir_in(parent).unwrap();
        Self {
            programs: programs(),
            folder,
            port: options.port.unwrap_or(0),
            options,
            account: account(),
            running: None,
        }
    }

    /// Makes a stand-by of this server, which streams from it, and starts it. `options` say where; what is in the files is this one's.
    pub(crate) fn start_standby(&self, options: PostgresOptions) -> Self {
        let mut standby = Self::placed(options);
        standby.give(standby.folder.path(), 0o700);
        let mut copy = standby.command("pg_basebackup");
        copy.args([
            "--wal-method=stream",
            "--checkpoint=fast",
            "--write-recovery-conf",
            "--no-sync",
            "--pgdata",
        ]);
        copy.arg(standby.data()).arg("--dbname").arg(format!(
            "host={} port={} user={USER} application_name={STANDBY}",
            self.folder.path().display(),
            self.port
        ));
        succeed(&mut copy);
        // What this server was told later stands in a file that is read after the other, and was copied, too.
        let told = standby.data().join("postgresql.auto.conf");
        let lines = fs::read_to_string(&told).unwrap();
        let lines: Vec<&str> = lines.lines().filter(|line| !line.starts_with("synchronous_")).collect();
        let place = format!(
            "unix_socket_directories = '{}'\nlisten_addresses = '{}'\n",
            standby.folder.path().display(),
            standby.options.listen
        );
        fs::write(&told, format!("{}\n{place}", lines.join("\n"))).unwrap();
        standby.start();
        standby
    }

    /// Has commits wait from now on until the stand-by has stored them, too; the stand-by must be there.
    pub(crate) fn wait_for_standby(&self) {
        self.sql("postgres", &format!("ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        self.wait_for("SELECT coalesce(max(sync_state), 'none') FROM pg_stat_replication", "sync");
    }

    /// Makes a server of its own of a stand-by.
    pub(crate) fn promote(&self) {
        let mut promote = self.command("pg_ctl");
        succeed(promote.args(["promote", "--wait", "--pgdata"]).arg(self.data()));
        self.wait_for("SELECT pg_is_in_recovery()", "f");
    }

    fn wait_for(&self, sql: &str, answer: &str) {
        let deadline = Instant::now() + LIMIT;
        while self.sql_as_any("postgres", sql, "") != answer {
            assert!(Instant::now() < deadline, "not {answer}: {sql}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn initialise(&self) {
        let password = self.folder.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        self.give(&password, 0o600);
        self.give(self.folder.path(), 0o700);
        let mut initdb = self.command("initdb");
        initdb.args(["--encoding=UTF8", "--locale=C", "--no-sync", "--auth-local=trust"]);
        initdb.args(["--auth-host=scram-sha-256", "--username", USER, "--pgdata"]).arg(self.data());
        succeed(initdb.arg("--pwfile").arg(&password));
        let mut lines = vec![
            format!("unix_socket_directories = '{}'", self.folder.path().display()),
            format!("listen_addresses = '{}'", self.options.listen),
            format!("fsync = {}", if self.options.fsync { "on" } else { "off" }),
            // Small, since several run beside each other.
            "shared_buffers = 32MB\nmax_connections = 60\nlog_min_messages = warning".to_owned(),
        ];
        if let Some((certificate, key)) = &self.options.tls {
            for (name, text) in [("server.crt", certificate), ("server.key", key)] {
                fs::write(self.data().join(name), text).unwrap();
                self.give(&self.data().join(name), 0o600);
            }
            lines.push("ssl = on".to_owned());
        }
        lines.extend(self.options.settings.iter().map(|(name, value)| format!("{name} = '{value}'")));
        let file = self.data().join("postgresql.conf");
        let given = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{given}\n{}\n", lines.join("\n"))).unwrap();
        // From any address, so that the server may have its own network.
        let access = self.data().join("pg_hba.conf");
        let given = fs::read_to_string(&access).unwrap();
        fs::write(&access, format!("{given}\nhost all all all scram-sha-256\n")).unwrap();
    }

    /// Starts it and waits until it takes connections.
    pub(crate) fn start(&mut self) {
        assert!(self.running.is_none(), "it runs");
        let deadline = Instant::now() + LIMIT;
        loop {
            if self.options.port.is_none() && self.port == 0 {
                let free = TcpListener::bind((self.options.listen, 0)).unwrap();
                self.port = free.local_addr().unwrap().port();
            }
            self.running = Some(self.spawn());
            while !self.is_ready() {
                assert!(Instant::now() < deadline, "PostgreSQL does not start:\n{}", self.log());
                if self.running.as_mut().unwrap().child.try_wait().unwrap().is_some() {
                    self.running = None;
                    break;
                }
                std::thread::sleep(Duration::from_millis(30));
            }
            if self.running.is_some() {
                return;
            }
            // Somebody took the port first, or a process of the killed one is not quite gone.
            assert!(Instant::now() < deadline, "PostgreSQL does not start:\n{}", self.log());
        }
    }

    /// The same for one that may run.
    pub(crate) fn start_if_stopped(&mut self) {
        if self.running.is_none() {
            self.start();
        }
    }

    fn spawn(&self) -> Running {
        let mut words = self.options.launcher.clone();
        words.push("setpriv".to_owned());
        words.extend(["--pdeathsig".to_owned(), "KILL".to_owned()]);
        if let Some((user, group)) = self.account {
            words.extend([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
        }
        words.push(self.programs.join("postgres").display().to_string());
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let (keeper, parked) = mpsc::channel::<()>();
        let (sender, started) = mpsc::channel();
        std::thread::spawn(move || {
            sender.send(command.spawn().unwrap()).unwrap();
            let _ = parked.recv();
        });
        Running { child: started.recv().unwrap(), _keeper: keeper }
    }

    fn is_ready(&self) -> bool {
        let mut probe = self.command("pg_isready");
        probe.args(["--quiet", "--host"]).arg(self.folder.path()).args(["--port", &self.port.to_string()]);
        probe.status().unwrap().success()
    }

    /// Ends it and waits until it is gone; nothing when it does not run.
    pub(crate) fn stop(&mut self, how: Stop) {
        let Some(mut running) = self.running.take() else { return };
        let server = running.child.id();
        match how {
            Stop::Fast => signal("INT", server),
            Stop::Immediate => signal("QUIT", server),
            Stop::Kill => {
                // Stopped first, so that it does not answer its children's deaths with a recovery.
                signal("STOP", server);
                children_of(server).into_iter().for_each(|child| signal("KILL", child));
                signal("KILL", server);
            }
        }
        running.child.wait().unwrap();
    }

    /// Has it refuse every write of new transactions, as a stand-by does, or take them again.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        let value = if is_read_only { "on" } else { "off" };
        self.sql("postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        self.sql("postgres", "SELECT pg_reload_conf()");
        self.wait_for(
            "SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'",
            value,
        );
    }

    /// Makes a database.
    pub(crate) fn create_database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
    }

    /// Runs SQL as the superuser, on the socket; the rows, columns separated by `|`.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.sql_as_any(database, sql, "-c default_transaction_read_only=off")
    }

    fn sql_as_any(&self, database: &str, sql: &str, options: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.env("PGOPTIONS", options).args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h"]);
        psql.arg(self.folder.path()).args([
            "-p",
            &self.port.to_string(),
            "-U",
            USER,
            "-d",
            database,
            "-c",
            sql,
        ]);
        let output = succeed(&mut psql);
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// How a store finds it.
    pub(crate) fn settings(&self, database: &str) -> ArchiveSettings {
        ArchiveSettings {
            host: self.options.listen.to_string(),
            port: self.port,
            user: USER.to_owned(),
            password: Some(PASSWORD.to_owned()),
            database: database.to_owned(),
            ssl_mode: ArchiveSslMode::Prefer,
            ca_file: None,
            connections_max: ArchiveSettings::CONNECTIONS_MAX,
            connect_timeout: Duration::from_secs(20),
            statement_timeout: Duration::from_secs(60),
        }
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The folder of its socket.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of PostgreSQL, as its account.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match self.account {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command.args([format!("--reuid={user}"), format!("--regid={group}")]);
                command.arg("--clear-groups").arg(program);
                command
            }
            None => Command::new(program),
        };
        // The test's own folder may be closed to the account.
        command.current_dir("/");
        command
    }

    /// Makes a file the server's own.
    pub(crate) fn give(&self, path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        if let Some((user, group)) = self.account {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

/// The programs of the newest PostgreSQL of the machine.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = versions.filter_map(|entry| Some((number(&entry.path())?, entry.path()))).max();
    let folder = newest.map(|(_, path)| path.join("bin")).filter(|path| path.join("initdb").exists());
    folder.expect("PostgreSQL is not installed: apt-get install postgresql")
}

/// The account that the server runs as; `None` when it is that of the test.
fn account() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let of = |name: &str| Some((id(&["-u", name])?, id(&["-g", name])?));
    Some(of("postgres").or_else(|| of("nobody")).expect("neither postgres nor nobody is an account"))
}

fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
    output
}

fn signal(name: &str, process: u32) {
    // A child may be gone by itself.
    let _ = Command::new("kill").args(["-s", name, &process.to_string()]).stderr(Stdio::null()).status();
}

fn children_of(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let is_child = |process: &u32| {
        // The parent is the second word behind the name, which stands in parentheses.
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
        behind.split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child).collect()
}
