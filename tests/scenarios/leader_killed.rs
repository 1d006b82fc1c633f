//! The leader dies while clients submit: how long nobody is acknowledged, and that nothing acknowledged is lost.

use crate::support::{Cluster, Load, Plan, checks, poll_until, rounds};
use std::time::{Duration, Instant};

/// What is measured is printed; this is what a busy machine must keep, too.
const LONGEST: Duration = Duration::from_secs(10);

#[test]
fn a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(&Plan::default());
    let addresses: Vec<String> = cluster.coordinators.iter().map(|host| cluster.api(host)).collect();
    let load = Load::start(&cluster.book, &addresses, 3, Duration::from_millis(60), 6);
    let mut gaps = Vec::new();
    for round in 0..rounds(5, 20) {
        let leader = cluster.leader_among(&cluster.coordinators);
        let before = cluster.book.acknowledgements();
        poll_until("submissions under this leader", || {
            (cluster.book.acknowledgements() > before + 5).then_some(())
        });
        cluster.kill(&leader);
        let killed = Instant::now();
        let gap = poll_until("the next acknowledged submission", || cluster.book.acknowledged_after(killed));
        println!("round {round}: acknowledged again after {} ms", gap.as_millis());
        gaps.push(gap);
        cluster.start_host(&leader);
        cluster.caught_up(&leader);
    }
    load.stop();
    gaps.sort();
    let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    println!("failover: median {} ms, longest {} ms", median.as_millis(), longest.as_millis());
    assert!(longest < LONGEST, "{gaps:?}");
    checks::conclude(&mut cluster);
}
