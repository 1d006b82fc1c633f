//! What works, in the harness that shows what does not.

use little_raft_evidence::World;

#[test]
fn without_faults_one_leader_is_elected_and_everybody_applies_its_commands() {
    let mut world = World::new(3);
    world.elect(1, 1, &[2, 3]);
    assert_eq!(world.leads_in(1), Some(1));
    world.propose(1, &[7, 8, 9]);
    world.replicate(1, &[2, 3]);
    for id in 1..=3 {
        assert_eq!(world.applied(id), [7, 8, 9]);
        assert_eq!(world.panic_of(id), None);
    }
    assert!(!world.is_leader(2) && !world.is_leader(3));
}

#[test]
fn a_voter_that_stays_up_votes_once_a_term() {
    let mut world = World::new(3);
    world.elect(1, 1, &[3]);
    world.elect(2, 1, &[3]);
    assert!(world.is_leader(1) && !world.is_leader(2));
}

#[test]
fn a_command_that_reached_one_of_three_is_not_applied() {
    let mut world = World::new(3);
    world.elect(1, 1, &[2]);
    world.propose(1, &[7]);
    world.lose_all();
    assert_eq!(world.applied(1), [0_usize; 0]);
}

#[test]
fn compaction_without_a_conflict_keeps_the_replicas_equal() {
    let mut world = World::compacting(3, 4);
    world.elect(1, 1, &[2]);
    for command in 1..=20 {
        world.propose(1, &[command]);
        world.replicate(1, &[2, 3]);
    }
    let expected: Vec<usize> = (1..=20).collect();
    for id in 1..=3 {
        assert_eq!(world.applied(id), expected);
        assert!(world.compacted_to(id).is_some_and(|index| index >= 16));
    }
}
