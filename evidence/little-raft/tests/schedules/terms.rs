//! Messages of earlier terms, which a replica must not act on, and terms that must reach everybody.

use little_raft::message::Message;
use little_raft::state_machine::{TransitionAbandonedReason, TransitionState};
use little_raft_evidence::World;

#[test]
fn a_vote_of_an_earlier_term_counts_and_one_term_has_two_leaders() {
    let mut world = World::new(3);
    world.stand(1, 1);
    world.deliver(1, 2);
    let late_vote = world.keep(2, 1);
    world.stand(1, 2);
    // Nobody is asked for a vote in term 2.
    world.lose_all();
    world.give(&late_vote[0]);
    world.elect(3, 2, &[2]);
    assert_eq!((world.leads_in(1), world.leads_in(3)), (Some(2), Some(2)));
}

#[test]
fn a_follower_keeps_its_term_and_a_deposed_leader_takes_an_applied_entry_from_it() {
    let mut world = World::new(5);
    world.elect(1, 1, &[2, 3]);
    world.propose(1, &[11]);
    let delayed = world.keep(1, 5);
    world.lose_all();
    world.elect(2, 2, &[3, 4]);
    world.propose(2, &[22]);
    world.replicate(2, &[3, 5]);
    for id in [2, 3, 5] {
        assert_eq!(world.applied(id), [22]);
    }
    world.give(&delayed[0]);
    let told = world.told(5, 22);
    let abandoned = TransitionState::Abandoned(TransitionAbandonedReason::ConflictWithLeader);
    assert!(told.contains(&TransitionState::Applied), "{told:?}");
    assert_eq!(told.last(), Some(&abandoned), "what was applied is reported abandoned");
}

#[test]
fn leaders_of_two_terms_that_reach_each_other_both_go_on_and_nothing_commits() {
    let mut world = World::new(3);
    world.elect(1, 1, &[3]);
    world.elect(2, 2, &[3]);
    world.crash(3);
    world.propose(2, &[99]);
    for _ in 0..100 {
        world.beat(1);
        world.beat(2);
        world.deliver(1, 2);
        world.deliver(2, 1);
    }
    assert_eq!((world.leads_in(1), world.leads_in(2)), (Some(1), Some(2)));
    assert!(world.applied(1).is_empty() && world.applied(2).is_empty(), "two of three are up");
}

#[test]
fn a_deposed_leader_learns_from_its_heartbeat_of_entries_it_never_had_and_panics() {
    let mut world = World::new(5);
    world.elect(1, 1, &[2, 5]);
    world.replicate(1, &[2, 5]);
    world.lose_all();
    world.elect(2, 2, &[3, 4]);
    world.propose(2, &[22]);
    world.replicate(2, &[5]);
    // The old leader reaches 5 again. 5 never raised its term, so it agrees, and names its last index.
    world.beat(1);
    world.deliver(1, 5);
    world.deliver(5, 1);
    world.beat(1);
    let said = world.panic_of(1).expect("it reads beyond its log");
    assert!(said.contains("out of bounds"), "{said}");
}

#[test]
fn an_acknowledgement_of_an_earlier_term_makes_a_new_leader_read_beyond_its_log() {
    let mut world = World::new(5);
    world.elect(1, 1, &[2, 4]);
    world.propose(1, &[1, 2, 3, 4, 5]);
    world.deliver(1, 3);
    let late_acknowledgement = world.keep(3, 1);
    world.lose_all();
    world.elect(2, 2, &[4, 5]);
    // 1 hears of term 2, and stands in term 3 where nobody hears it.
    world.beat(1);
    world.deliver(1, 4);
    world.deliver(4, 1);
    world.stand(1, 3);
    world.lose_all();
    // 2 hears of term 3, is elected again in term 4, and replaces the five commands in 1's log by two no-ops.
    world.beat(2);
    world.deliver(2, 1);
    world.deliver(1, 2);
    world.elect(2, 4, &[4, 5]);
    world.replicate(2, &[1]);
    world.lose_all();
    world.elect(1, 5, &[4, 5]);
    assert_eq!(world.leads_in(1), Some(5));
    world.give(&late_acknowledgement[0]);
    world.beat(1);
    let said = world.panic_of(1).expect("it reads beyond its log");
    assert!(said.contains("out of bounds"), "{said}");
}

#[test]
fn a_follower_answers_a_leader_of_term_2_in_term_0() {
    let mut world = World::new(5);
    world.elect(1, 2, &[2, 3]);
    world.beat(1);
    world.deliver(1, 5);
    let answered = world.under_way(|envelope| match envelope.message {
        Message::AppendEntryResponse { term, success: true, .. } if envelope.from == 5 => Some(term),
        _ => None,
    });
    assert_eq!(answered, Some(0));
}
