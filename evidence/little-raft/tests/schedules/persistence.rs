//! What a restart takes from a replica: its vote, its log, and, with a snapshot, its life.

use little_raft::state_machine::TransitionState;
use little_raft_evidence::World;

#[test]
fn a_voter_that_restarts_votes_twice_and_one_term_has_two_leaders() {
    let mut world = World::new(3);
    world.elect(1, 1, &[3]);
    world.crash(3);
    world.start(3);
    world.elect(2, 1, &[3]);
    assert_eq!((world.leads_in(1), world.leads_in(2)), (Some(1), Some(1)));
}

#[test]
fn an_acknowledged_command_is_gone_after_one_restart_and_one_crash() {
    let mut world = World::new(3);
    world.elect(1, 1, &[3]);
    world.propose(1, &[77]);
    world.replicate(1, &[3]);
    assert_eq!((world.applied(1), world.applied(3)), (vec![77], vec![77]));
    assert!(world.told(1, 77).contains(&TransitionState::Applied), "its client was told so");
    world.crash(3);
    world.start(3);
    world.crash(1);
    world.lose_all();
    // Two of three are up, one of which had 77.
    world.elect(2, 1, &[3]);
    world.propose(2, &[88]);
    world.replicate(2, &[3]);
    assert_eq!((world.applied(2), world.applied(3)), (vec![88], vec![88]), "77 is in neither");
}

#[test]
fn a_single_replica_cannot_start_from_its_own_snapshot() {
    let mut world = World::compacting(1, 4);
    world.time_out(1);
    for command in 1..=10 {
        world.propose(1, &[command]);
    }
    assert_eq!(world.applied(1).len(), 10);
    assert!(world.compacted_to(1).is_some());
    world.crash(1);
    world.start(1);
    world.time_out(1);
    // An index below its offset: an overflow in debug builds, an index of 2^64 - n in release builds.
    assert!(world.panic_of(1).is_some());
}

#[test]
fn a_follower_that_starts_from_its_snapshot_dies_of_the_next_entry() {
    let mut world = World::compacting(3, 4);
    world.elect(1, 1, &[3]);
    for command in 1..=10 {
        world.propose(1, &[command]);
        world.replicate(1, &[2, 3]);
    }
    assert!(world.compacted_to(3).is_some());
    world.crash(3);
    world.start(3);
    world.propose(1, &[11]);
    world.replicate(1, &[3]);
    assert!(world.panic_of(3).is_some());
}
