//! What was acknowledged before a backup is served by the new cluster that it is restored into.

use crate::lab::{
    Entrance, Lab, Load, field, inspected, proved, said_with, submit, submit_to_leader, submit_until_taken,
};
use crate::support::{poll_until, zkpnet};

#[test]
fn a_backup_under_load_is_restored_into_a_new_cluster_of_one_that_grows_to_three() {
    let lab = Lab::new();
    let old: Vec<_> = (1..=3).map(|n| lab.place(&format!("coordinator-{n}"), &format!("old-{n}"))).collect();
    let processes: Vec<_> = old.iter().map(|place| lab.coordinator(place, &Entrance::Founds(&old))).collect();
    let worker = lab.worker(&old);
    old.iter().for_each(|place| lab.ready(place));
    let first = submit_to_leader(&old, 1);
    let proof = proved(&old[0].client(), &first)["proof"].clone();

    // One worker with one slot proves more slowly than this submits: tasks are queued, leased and completed.
    let load = Load::start(old.iter().map(crate::lab::Place::client).collect());
    poll_until("tasks of all kinds", || (load.taken().len() >= 40).then_some(()));
    let mut before = load.taken();
    before.push((1, first.clone()));
    let file = lab.path("cluster.zkpbak");
    let refused =
        zkpnet().args(["cluster", "backup", "--server", &old[1].server(), "--out"]).arg(&file).output();
    assert!(said_with(1, &refused.unwrap()).contains("401 unauthorized"));
    assert!(!file.exists());
    // Any coordinator gives it; at most one of these three leads.
    let taken = lab.operate(&old[1], &["backup", "--output", "json", "--out", file.to_str().unwrap()]);
    assert!(said_with(0, &taken).contains("the data key (storage.key_file) is NOT in the backup"));
    let beyond = load.stop();
    assert!(beyond.len() > before.len(), "nothing was taken while the backup was");
    let verified = zkpnet().args(["cluster", "backup", "verify"]).arg(&file).output().unwrap();
    assert!(said_with(0, &verified).starts_with("the backup is whole"));
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&file.metadata().unwrap().permissions()) & 0o777,
        0o600
    );
    // The disks are gone.
    worker.kill();
    processes.into_iter().for_each(crate::lab::Process::kill);
    old.iter().for_each(|place| std::fs::remove_dir_all(&place.data).unwrap());

    let new: Vec<_> = (1..=3).map(|n| lab.place(&format!("coordinator-{n}"), &format!("new-{n}"))).collect();
    said_with(0, &lab.restore(&file, &new[0]));
    let found = inspected(&new[0].raft_dir());
    assert_eq!(found["state_hash"], field(&taken, "state_hash"), "{found}");
    assert_eq!(found["applied"]["index"], field(&taken, "applied_index"), "{found}");
    assert_ne!(found["cluster"], field(&taken, "cluster"), "a new cluster has a name of its own");
    assert_eq!(found["members"].as_array().unwrap().len(), 1, "{found}");
    assert!(found["tasks"]["pending"].as_u64().unwrap() > 0, "there is nothing left to prove: {found}");

    let one = lab.coordinator(&new[0], &Entrance::Has);
    lab.ready(&new[0]);
    // A worker of the same name, in a new life: the leases of the old one are returned to the queue.
    let _worker = lab.worker(&new);
    let client = new[0].client();
    for (number, task) in &before {
        assert_eq!(submit(&client, *number).as_ref(), Some(task), "the key of request {number} is forgotten");
    }
    assert_eq!(proved(&client, &first)["proof"], proof, "a finished task has its proof");
    for (_, task) in &before {
        proved(&client, task);
    }
    let later = submit_until_taken(&client, 2);
    proved(&client, &later);

    let _others: Vec<_> =
        new[1..].iter().map(|place| lab.coordinator(place, &Entrance::Joins(&new[0]))).collect();
    poll_until("three voters with one state", || {
        let status = lab.operate(&new[0], &["status", "--output", "json"]);
        let members = field(&status, "members");
        let voters = members.as_array()?.iter().filter(|member| member["kind"] == "voter").count();
        (voters == 3 && field(&status, "state_hashes") == "agree").then_some(())
    });
    one.kill();
    let last = submit_to_leader(&new[1..], 3);
    proved(&new[2].client(), &last);
    assert_eq!(proved(&new[1].client(), &first)["proof"], proof);
}
