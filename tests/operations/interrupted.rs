//! Backups and restores that do not come to their end.

use crate::lab::{Entrance, Lab, Place, field, inspected, said_with, submit_until_taken};
use crate::support::{poll_until, zkpnet};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zkpnet::raft::Refounding;

/// Answers one request with `answer`, and gives the connection.
fn answer_once(listener: &TcpListener, answer: &[u8]) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = [0; 4096];
    let mut read = 0;
    while !head[..read].windows(4).any(|end| end == b"\r\n\r\n") {
        read += stream.read(&mut head[read..]).unwrap();
    }
    stream.write_all(answer).unwrap();
    stream
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// When the coordinator says that a backup was last taken from it, in seconds since 1970.
fn taken_at(place: &Place) -> f64 {
    let page = place.client().get("/metrics").unwrap().body;
    let lines = page.as_str().unwrap().lines();
    let value =
        lines.filter_map(|line| line.strip_prefix("zkpnet_backup_taken_timestamp_seconds ")).next_back();
    value.unwrap_or_else(|| panic!("it does not say: {page}")).parse().unwrap()
}

const HEAD: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn an_interrupted_backup_leaves_no_file_of_its_name_and_a_later_one_takes_it() {
    let lab = Lab::new();
    let place = lab.place("coordinator-1", "one");
    let _process = lab.coordinator(&place, &Entrance::Founds(std::slice::from_ref(&place)));
    lab.ready(&place);
    submit_until_taken(&place.client(), 1);
    let whole = lab.path("whole.zkpbak");
    assert_eq!(taken_at(&place), 0.0);
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    said_with(0, &lab.backup(&place, &whole));
    assert!(taken_at(&place) >= before as f64, "a whole backup was taken");
    let bytes = std::fs::read(&whole).unwrap();
    let (file, part) = (lab.path("cluster.zkpbak"), lab.path("cluster.zkpbak.part"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    let backup = || {
        let mut command = zkpnet();
        command.args(["cluster", "backup", "--server", &server, "--out"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };

    // Killed in the middle.
    let mut child = backup();
    let half = [HEAD, &chunk(&bytes[..bytes.len() / 2])].concat();
    let held = answer_once(&listener, &half);
    poll_until("half of it on the disk", || part.metadata().ok().filter(|found| found.len() > 0));
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);
    assert!(!file.exists());

    // The coordinator goes away in the middle.
    let child = backup();
    drop(answer_once(&listener, &half));
    said_with(3, &child.wait_with_output().unwrap());
    assert!(!file.exists());

    // The stream ends in order, and the file in it does not.
    let child = backup();
    let ended = [HEAD, &chunk(&bytes[..bytes.len() / 2]), b"0\r\n\r\n"].concat();
    drop(answer_once(&listener, &ended));
    let said = said_with(2, &child.wait_with_output().unwrap());
    assert!(said.contains("got no name") && said.contains("is cut short"), "{said}");
    assert!(!file.exists());

    said_with(0, &lab.backup(&place, &file));
    assert!(file.exists() && !part.exists());
    let again = said_with(2, &lab.backup(&place, &file));
    assert!(again.contains("exists already"), "{again}");
}

/// The keys of these have about twenty megabytes.
const PRELOAD: [&str; 5] = [
    "merkle-poseidon-12",
    "merkle-poseidon-16",
    "merkle-poseidon-20",
    "merkle-poseidon-24",
    "merkle-poseidon-32",
];

/// Sets how much the system takes in advance of the reader.
fn take_at_once(stream: &TcpStream, bytes: libc::c_int) {
    let (value, length) =
        (std::ptr::from_ref(&bytes).cast(), std::mem::size_of_val(&bytes) as libc::socklen_t);
    // SAFETY: the socket is open, and the value is an int of the length that is given.
    #[allow(unsafe_code)]
    let done =
        unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, value, length) };
    assert_eq!(done, 0);
}

#[test]
fn one_backup_is_taken_at_a_time_and_a_reader_who_stalls_loses_it() {
    let lab = Lab::new();
    let place = lab.place("coordinator-1", "one");
    // Keys make it larger than what sockets and queues hold.
    let preload = ("ZKPNET_PROVER__PRELOAD", PRELOAD.join(","));
    let founds = Entrance::Founds(std::slice::from_ref(&place));
    let process = lab.coordinator_with(&place, &founds, &[preload]);
    lab.ready(&place);
    let token = std::fs::read_to_string(lab.path("token")).unwrap();
    poll_until("the keys", || {
        let circuits = place.client().get("/api/v1/circuits").ok()?.body;
        let keyed = circuits["circuits"].as_array()?.iter().filter(|one| one["has_key"] == true).count();
        (keyed == PRELOAD.len()).then_some(())
    });
    let mut stalled = TcpStream::connect(place.server().trim_start_matches("http://")).unwrap();
    take_at_once(&stalled, 4096);
    let request = format!(
        "GET /api/v1/cluster/backup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        token.trim()
    );
    stalled.write_all(request.as_bytes()).unwrap();
    let mut begun = [0; 1];
    stalled.read_exact(&mut begun).unwrap();
    let said = said_with(3, &lab.backup(&place, &lab.path("second.zkpbak")));
    assert!(said.contains("another backup of this node is under way"), "{said}");
    // Nobody reads on. The node gives the backup up, and takes the next.
    poll_until("the stalled backup to be given up", || {
        process.said().contains("a backup was given up").then_some(())
    });
    assert_eq!(taken_at(&place), 0.0, "none of them was whole");
    let file = lab.path("third.zkpbak");
    poll_until("the next to be taken", || lab.backup(&place, &file).status.success().then_some(()));
    assert!(taken_at(&place) > 0.0);
}

#[test]
fn an_interrupted_restore_leaves_a_folder_on_which_no_node_starts_and_a_second_try_does() {
    let lab = Lab::new();
    let place = lab.place("coordinator-1", "one");
    let process = lab.coordinator(&place, &Entrance::Founds(std::slice::from_ref(&place)));
    lab.ready(&place);
    let task = submit_until_taken(&place.client(), 1);
    let file = lab.path("cluster.zkpbak");
    let args = ["backup", "--without-keys", "--output", "json", "--out", file.to_str().unwrap()];
    let taken = lab.operate(&place, &args);
    said_with(0, &taken);
    process.stop();

    let new = lab.place("coordinator-1", "new");
    drop(Refounding::begin(&new.raft_dir()).unwrap());
    std::fs::write(new.raft_dir().join("ledger.redb"), "half of it").unwrap();
    let said = lab.coordinator(&new, &Entrance::Has).said_at_its_end();
    assert!(said.contains("has begun and has not ended: run `zkpnet cluster restore` again"), "{said}");

    for pause_ms in [1, 3, 8, 15, 25, 40, 60, 90] {
        let mut child =
            lab.restore_command(&file, &new).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Not a wait for a condition: the moment is what is being varied.
        std::thread::sleep(Duration::from_millis(pause_ms));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            break;
        }
    }
    if new.raft_dir().join("restore.unfinished").exists() || !new.raft_dir().join("raft.redb").exists() {
        said_with(0, &lab.restore(&file, &new));
    }
    assert_eq!(inspected(&new.raft_dir())["state_hash"], field(&taken, "state_hash"));
    let _one = lab.coordinator(&new, &Entrance::Has);
    lab.ready(&new);
    assert_eq!(new.client().get(&format!("/api/v1/tasks/{task}")).unwrap().status, 200);
}
