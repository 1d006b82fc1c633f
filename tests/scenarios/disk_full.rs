//! The leader's disk is full.

use crate::support::disk::SmallDisk;
use crate::support::{Cluster, Load, Plan, checks, poll_until};
use std::time::Duration;
use std::time::Instant;

#[test]
fn a_leader_whose_disk_is_full_loses_nothing_and_the_others_go_on() {
    // With the floor for free bytes no task would be taken on disks so small, let alone fill them.
    let plan = Plan {
        coordinator_variables: vec![("ZKPNET_STORAGE__FREE_BYTES_MIN", "0".to_owned())],
        ..Plan::default()
    };
    let mut cluster = Cluster::start_prepared(&plan, |cluster| {
        for host in cluster.coordinators.clone() {
            let disk = SmallDisk::mount(&cluster.data(&host), 96);
            cluster.disks.insert(host, disk);
        }
    });
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(80), 5);
    let leader = cluster.leader_among(&cluster.coordinators);
    cluster.disks[&leader].fill();
    let full = Instant::now();
    let others = cluster.others(&leader);
    let new = poll_until("another leader", || {
        let leads = |host: &String| cluster.view(host).is_some_and(|view| view.is_leader);
        others.iter().find(|host| leads(host)).cloned()
    });
    println!("{new} leads {} ms after the disk was full", full.elapsed().as_millis());
    let before = cluster.book.acknowledgements();
    poll_until("submissions under the new leader", || {
        (cluster.book.acknowledgements() > before + 20).then_some(())
    });
    cluster.disks[&leader].empty();
    // A node that could not write has ended, since it cannot know what is on its disk; it starts again from there.
    let process = cluster.process(&leader);
    process.kill();
    let said = process.said();
    assert!(said.contains("No space left") || said.contains("no space"), "{leader} said:\n{said}");
    cluster.start_host(&leader);
    cluster.caught_up(&leader);
    load.stop();
    checks::conclude(&mut cluster);
}
