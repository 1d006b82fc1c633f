//! A backup of the files of a coordinator that does not run: what is left when a majority is lost.

use crate::lab::{
    Entrance, Lab, Load, Place, inspected, proved, said_with, submit_to_leader, submit_until_taken,
};
use crate::support::{poll_until, zkpnet};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

fn from_files(folder: &Path, out: &Path) -> Output {
    let mut command = zkpnet();
    command.args(["cluster", "backup", "--from-data-dir"]).arg(folder).arg("--out").arg(out);
    command.output().unwrap()
}

fn hashes(folder: &Path, into: &mut BTreeMap<PathBuf, blake3::Hash>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hashes(&path, into);
        } else {
            into.insert(path.clone(), blake3::hash(&std::fs::read(&path).unwrap()));
        }
    }
}

#[test]
fn the_files_of_one_killed_coordinator_hold_every_task_that_it_had_to_confirm() {
    let lab = Lab::new();
    let old: Vec<_> = (1..=3).map(|n| lab.place(&format!("coordinator-{n}"), &format!("old-{n}"))).collect();
    let mut processes: Vec<_> =
        old.iter().map(|place| lab.coordinator(place, &Entrance::Founds(&old))).collect();
    let worker = lab.worker(&old);
    old.iter().for_each(|place| lab.ready(place));
    let first = submit_to_leader(&old, 1);
    proved(&old[0].client(), &first);
    // With one of three gone, each of the others had to store whatever is acknowledged from now on.
    processes.pop().unwrap().kill();
    let left: Vec<Place> = old[..2].to_vec();
    let load = Load::start(left.iter().map(Place::client).collect());
    poll_until("some tasks", || (load.taken().len() >= 30).then_some(()));
    let running = said_with(2, &from_files(&old[0].raft_dir(), &lab.path("running.zkpbak")));
    assert!(running.contains("another zkpnet process uses"), "{running}");
    worker.kill();
    processes.into_iter().for_each(crate::lab::Process::kill);
    let taken = load.stop();

    let mut before = BTreeMap::new();
    hashes(&old[1].data, &mut before);
    let file = lab.path("survivor.zkpbak");
    said_with(0, &from_files(&old[1].raft_dir(), &file));
    let mut after = BTreeMap::new();
    hashes(&old[1].data, &mut after);
    assert_eq!(before, after, "the survivor's files were changed");
    assert!(!lab.path("survivor.zkpbak.work").exists());

    let new = lab.place("coordinator-1", "new-1");
    said_with(0, &lab.restore(&file, &new));
    let _one = lab.coordinator(&new, &Entrance::Has);
    lab.ready(&new);
    let _worker = lab.worker(std::slice::from_ref(&new));
    proved(&new.client(), &first);
    for (_, task) in taken {
        proved(&new.client(), &task);
    }
}

#[test]
fn a_stopped_coordinator_gives_the_state_that_it_was_stopped_with() {
    let lab = Lab::new();
    let place = lab.place("coordinator-1", "one");
    let process = lab.coordinator(&place, &Entrance::Founds(std::slice::from_ref(&place)));
    lab.ready(&place);
    let task = submit_until_taken(&place.client(), 1);
    process.stop();
    let file = lab.path("stopped.zkpbak");
    let without = zkpnet()
        .args(["cluster", "backup", "--without-keys", "--from-data-dir"])
        .arg(place.raft_dir())
        .arg("--out")
        .arg(&file)
        .output()
        .unwrap();
    said_with(0, &without);
    let new = lab.place("coordinator-9", "nine");
    let said = said_with(0, &lab.restore(&file, &new));
    assert_eq!(
        inspected(&place.raft_dir())["state_hash"],
        inspected(&new.raft_dir())["state_hash"],
        "{said}"
    );
    let _one = lab.coordinator(&new, &Entrance::Has);
    lab.ready(&new);
    let answer = new.client().get(&format!("/api/v1/tasks/{task}")).unwrap();
    assert_eq!(answer.body["status"], "pending", "{answer:?}");
}
