//! Who wins an election, and who never can.

use little_raft_evidence::World;

#[test]
fn two_of_four_votes_win_and_one_term_has_two_leaders_without_any_fault() {
    let mut world = World::new(4);
    world.elect(1, 1, &[2]);
    world.elect(3, 1, &[4]);
    assert_eq!((world.leads_in(1), world.leads_in(3)), (Some(1), Some(1)));
}

/// 1 holds `tail` entries of term 1 that nobody else has, 2 holds three of term 2 that 3 has too. Then 3 is down.
fn older_and_longer_against_newer_and_shorter(tail: &[usize]) -> World {
    let mut world = World::new(3);
    world.elect(1, 1, &[3]);
    world.propose(1, tail);
    world.lose_all();
    world.elect(2, 2, &[3]);
    world.propose(2, &[21, 22, 23]);
    world.replicate(2, &[3]);
    assert_eq!(world.applied(2), [21, 22, 23]);
    world.lose_all();
    // 1 hears of term 2 from 3 and stands in term 3; 2 hears of term 3 from 1.
    world.beat(1);
    world.deliver(1, 3);
    world.deliver(3, 1);
    world.crash(3);
    world.stand(1, 3);
    world.lose_all();
    world.beat(2);
    world.deliver(2, 1);
    world.deliver(1, 2);
    assert!(!world.is_leader(1) && !world.is_leader(2));
    world
}

/// Both stand in turn, and everything they say arrives. Says after how many elections one of them led.
fn elections_until_a_leader(world: &mut World) -> Option<usize> {
    (1..=200).find(|election| {
        let (candidate, voter) = if election % 2 == 1 { (2, 1) } else { (1, 2) };
        world.time_out(candidate);
        world.deliver(candidate, voter);
        world.deliver(voter, candidate);
        world.is_leader(candidate)
    })
}

#[test]
fn an_older_longer_log_and_a_newer_shorter_one_elect_nobody_for_ever() {
    // Index 5 of term 1 against index 4 of term 2. Raft lets 2 win, since the later term decides and the length does not.
    let mut world = older_and_longer_against_newer_and_shorter(&[1, 2, 3, 4]);
    assert_eq!(elections_until_a_leader(&mut world), None);
}

#[test]
fn the_same_schedule_without_the_longer_tail_elects_a_leader() {
    let mut world = older_and_longer_against_newer_and_shorter(&[]);
    assert!(elections_until_a_leader(&mut world).is_some());
}
