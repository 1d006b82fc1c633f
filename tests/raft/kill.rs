//! A node in a process of its own that is killed in the middle of its work, or runs out of disk. What it had
//! acknowledged by then is in its files.
#![cfg(unix)]

use crate::support::{assert_input, config, has_task, register, start_single, submit};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use zkpnet::raft::{NodeId, RaftConfig, Role};

const ONE: NodeId = NodeId(1);
const INPUT_BYTES: usize = 700;
/// Where the child's files are; without it the child does nothing.
const DIRECTORY: &str = "ZKPNET_TEST_RAFT_DIRECTORY";
/// The first number that the child may use for a task.
const FIRST: &str = "ZKPNET_TEST_RAFT_FIRST";

fn settings(directory: &Path) -> RaftConfig {
    // Small, so that kills also hit snapshots and purges.
    RaftConfig { snapshot_after_entries: 100, log_entries_kept: 20, ..config(ONE, directory) }
}

/// Not a test of its own: the process that the tests below start and kill.
#[tokio::test(flavor = "multi_thread")]
async fn child_process() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let (raft, _events) = start_single(settings(&PathBuf::from(directory))).await;
    raft.propose(register()).await.unwrap();
    let mut proposers = tokio::task::JoinSet::new();
    for proposer in 0..8_u64 {
        let raft = raft.clone();
        proposers.spawn(async move {
            for number in (first + proposer..).step_by(8) {
                match raft.propose(submit(number, INPUT_BYTES)).await {
                    // One write to the pipe: nothing of it stays in this process when it is killed.
                    Ok(committed) => say(&format!("acknowledged {number} {}", committed.index)),
                    Err(error) => {
                        say(&format!("refused {error}"));
                        return;
                    }
                }
            }
        });
    }
    proposers.join_all().await;
    let mut status = raft.watch_status();
    let stopped = status.wait_for(|status| status.role == Role::Stopped).await.unwrap().clone();
    say(&format!("fatal {}", stopped.fatal.unwrap_or_default()));
    std::process::exit(3);
}

fn say(line: &str) {
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

fn child(program: &mut Command, directory: &Path, first: u64) -> Child {
    program
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

const CHILD_ARGUMENTS: [&str; 4] = ["kill::child_process", "--exact", "--nocapture", "--test-threads=1"];

/// Reads what the child says until it ends, or `until` says to kill it; gives the acknowledged numbers and the last line.
fn listen(mut child: Child, mut until: impl FnMut(usize) -> bool) -> (Vec<u64>, u64, String) {
    let (mut numbers, mut index, mut last) = (Vec::new(), 0, String::new());
    let mut is_killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The harness writes its own words before the child's first, on the same line.
        let Some(at) =
            line.find("acknowledged ").or_else(|| line.find("refused ")).or_else(|| line.find("fatal "))
        else {
            continue;
        };
        let said = line[at..].to_owned();
        if let Some((number, position)) =
            said.strip_prefix("acknowledged ").and_then(|rest| rest.split_once(' '))
        {
            // What is still in the pipe when the child dies was acknowledged too.
            numbers.push(number.parse().unwrap());
            index = index.max(position.parse().unwrap());
        }
        last = said;
        if !is_killed && until(numbers.len()) {
            child.kill().unwrap();
            is_killed = true;
        }
    }
    child.wait().unwrap();
    (numbers, index, last)
}

async fn assert_all_there(directory: &Path, numbers: &[u64], index: u64) {
    let (raft, _events) = start_single(settings(directory)).await;
    assert!(raft.status().applied.is_some_and(|applied| applied.0 >= index));
    let lost: Vec<_> = numbers.iter().filter(|&&number| !has_task(&raft, number)).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    for &number in numbers.iter().rev().take(20) {
        assert_input(&raft, number, INPUT_BYTES).await;
    }
    raft.shutdown().await.unwrap();
}

#[tokio::test]
async fn no_acknowledged_task_is_lost_when_the_process_is_killed() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let directory = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 0..6_u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let kill_after = 1 + (random % 600) as usize;
        let mut program = Command::new(std::env::current_exe().unwrap());
        let child = child(program.args(CHILD_ARGUMENTS), directory.path(), round * 1_000_000);
        let (numbers, index, last) = listen(child, |count| count >= kill_after);
        assert!(numbers.len() >= kill_after, "round {round}: the child ended by itself: {last}");
        all.extend(numbers);
        assert_all_there(directory.path(), &all, index).await;
    }
}

#[tokio::test]
async fn a_full_disk_stops_the_node_with_an_error_and_takes_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    // A limit on the size of files stands for the full disk; ignoring signal 25 (SIGXFSZ) makes it an error of the write.
    let script = r#"trap '' 25; ulimit -f 12000; exec "$@""#;
    let mut program = Command::new("sh");
    program.args(["-c", script, "sh"]).arg(std::env::current_exe().unwrap()).args(CHILD_ARGUMENTS);
    let (numbers, index, last) = listen(child(&mut program, directory.path(), 0), |_| false);
    assert!(last.starts_with("fatal ") && last.contains(".redb"), "its last word: {last}");
    assert!(!numbers.is_empty());
    assert_all_there(directory.path(), &numbers, index).await;
}
