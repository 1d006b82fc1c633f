//! PostgreSQL is lost for good, and its stand-by takes its place under the same name.

use crate::postgres::Stop;
use crate::support::{Cluster, Load, Plan, checks, poll_until, rounds};
use std::time::Duration;

#[test]
fn a_synchronous_stand_by_that_takes_over_has_everything_that_the_ledger_has_forgotten() {
    let mut cluster = Cluster::start(&Plan::archived());
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(120), 5);
    for round in 0..rounds(2, 6) {
        let Cluster { database: Some(database), lab, .. } = &mut cluster else { panic!("no archive") };
        database.add_standby(lab, true);
        let before = database.tasks();
        poll_until("rows that two servers have", || (database.tasks() > before + 5).then_some(()));
        // At another moment each time, with batches under way.
        std::thread::sleep(Duration::from_millis(17 * round as u64));
        database.fail_over(lab);
        let before = database.tasks();
        poll_until("rows of the one that took over", || (database.tasks() > before + 5).then_some(()));
        println!("round {round}: {before} tasks were there");
    }
    load.stop();
    checks::conclude(&mut cluster);
}

#[test]
fn what_an_asynchronous_stand_by_lacks_it_gets_from_the_ledger_as_far_as_that_still_has_it() {
    // It still has everything.
    let variables = vec![("ZKPNET_TASKS__RETENTION_COUNT", "100000".to_owned())];
    let mut cluster = Cluster::start(&Plan { coordinator_variables: variables, ..Plan::archived() });
    let load = Load::start(&cluster.book, &cluster.apis(), 3, Duration::from_millis(120), 5);
    let Cluster { database: Some(database), lab, .. } = &mut cluster else { panic!("no archive") };
    database.add_standby(lab, false);
    database.standby().stop(Stop::Fast);
    let before = database.tasks();
    poll_until("rows that the stand-by lacks", || (database.tasks() > before + 20).then_some(()));
    let before = database.tasks();
    database.fail_over(lab);
    let after = database.tasks();
    println!("{before} tasks were there, {after} after the failover");
    assert!(after + 20 <= before, "the stand-by lacks nothing");
    poll_until("all of them, and more", || (database.tasks() > before + 20).then_some(()));
    load.stop();
    checks::conclude(&mut cluster);
}
