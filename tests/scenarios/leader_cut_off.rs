//! The leader is cut off from the other coordinators while clients, gateway and workers still reach it.

use crate::support::{Cluster, Load, Plan, checks, poll_for, poll_until};
use std::time::{Duration, Instant};

#[test]
fn a_leader_that_is_cut_off_acknowledges_nothing_and_tells_no_old_news() {
    let mut cluster = Cluster::start(&Plan::default());
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(80), 5);
    let old = cluster.leader();
    let others = cluster.others(&old);
    let before = cluster.book.acknowledgements();
    poll_until("submissions under the old leader", || {
        (cluster.book.acknowledgements() > before + 10).then_some(())
    });
    cluster.cut(&old, &others);
    let cut = Instant::now();
    let new = cluster.leader_among(&others);
    let gap = poll_until("the next acknowledged submission", || cluster.book.acknowledged_after(cut));
    println!("{new} leads, acknowledged again {} ms after the cut", gap.as_millis());
    poll_for(Duration::from_secs(10), "the old leader to say that it does not lead", || {
        (!cluster.view(&old)?.is_leader).then_some(())
    });
    println!("{old} says so {} ms after the cut", cut.elapsed().as_millis());
    // Clients go on asking both sides; what they are told is judged at the end.
    let before = cluster.book.acknowledgements();
    poll_until("submissions under the new leader", || {
        (cluster.book.acknowledgements() > before + 30).then_some(())
    });
    cluster.heal(&old, &others);
    cluster.leader_among(&cluster.coordinators);
    cluster.caught_up(&old);
    load.stop();
    checks::conclude(&mut cluster);
}
