//! One random fault after the other, of every kind that leaves the disks alone: processes die or stand still, cables are cut between
//! two or around one. `ZKPNET_TEST_SEED` replays the choices, though not the moments.

use crate::support::{Cluster, Load, Plan, checks, rounds};
use rand_core::{RngCore as _, SeedableRng as _};
use std::time::Duration;

/// What breaks, and is mended a moment later.
#[derive(Debug)]
enum Fault {
    Kill(String),
    Freeze(String),
    CutBetween(String, String),
    CutAround(String),
}

impl Fault {
    fn draw(rng: &mut rand_chacha::ChaCha8Rng, cluster: &Cluster) -> Self {
        let mut pick = |names: &[String]| names[rng.next_u64() as usize % names.len()].clone();
        let one = pick(&cluster.coordinators);
        let another = pick(&cluster.others(&one));
        let anybody =
            pick(&["worker-1", "worker-2", "gateway", "coordinator-1", "coordinator-2"].map(str::to_owned));
        match rng.next_u64() % 6 {
            0 | 1 => Self::Kill(one),
            2 => Self::Kill(anybody),
            3 => Self::Freeze(anybody),
            4 => Self::CutBetween(one, another),
            _ => Self::CutAround(one),
        }
    }

    fn strike(&self, cluster: &mut Cluster) {
        match self {
            Self::Kill(host) => cluster.kill(host),
            Self::Freeze(host) => cluster.process(host).signal("STOP"),
            Self::CutBetween(one, other) => cluster.lab.cut(one, other),
            Self::CutAround(host) => cluster.cut(host, &cluster.coordinators),
        }
    }

    fn mend(&self, cluster: &mut Cluster) {
        match self {
            Self::Kill(host) => cluster.start_host(host),
            Self::Freeze(host) => cluster.process(host).signal("CONT"),
            Self::CutBetween(one, other) => cluster.lab.heal(one, other),
            Self::CutAround(host) => cluster.heal(host, &cluster.coordinators),
        }
    }
}

#[test]
fn whatever_breaks_and_is_mended_no_client_is_told_anything_wrong() {
    let seed = std::env::var("ZKPNET_TEST_SEED").ok().map(|text| text.parse().unwrap());
    let seed = seed.unwrap_or_else(|| rand_core::OsRng.next_u64());
    println!("replay the faults with ZKPNET_TEST_SEED={seed}");
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut cluster = Cluster::start(&Plan { workers: 2, lease: "3s", ..Plan::default() });
    let mut servers = cluster.apis();
    servers.push(cluster.api("gateway"));
    let load = Load::start(&cluster.book, &servers, 3, Duration::from_millis(150), 5);
    for round in 0..rounds(6, 40) {
        let fault = Fault::draw(&mut rng, &cluster);
        println!("round {round}: {fault:?}");
        fault.strike(&mut cluster);
        // Not waits for a condition: how long something is broken, and how long it is whole, is what varies.
        std::thread::sleep(Duration::from_millis(200 + rng.next_u64() % 2500));
        fault.mend(&mut cluster);
        std::thread::sleep(Duration::from_millis(rng.next_u64() % 1500));
    }
    cluster.leader_among(&cluster.coordinators);
    load.stop();
    checks::conclude(&mut cluster);
}
