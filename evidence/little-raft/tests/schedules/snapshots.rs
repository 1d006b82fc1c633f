//! Conflicts after a compaction, and snapshots of an older term.

use little_raft::message::Message;
use little_raft_evidence::World;

/// All five have compacted their logs at index 9. Then three commands of leader 1 reach only 5, and leader 2 of the next term
/// commits `commands` with 3 and 4, before it reaches 5.
fn conflict_beyond_a_snapshot(commands: &[usize]) -> World {
    let mut world = World::compacting(5, 10);
    world.elect(1, 1, &[2, 3]);
    for command in 1..=8 {
        world.propose(1, &[command]);
    }
    world.replicate(1, &[2, 3, 4, 5]);
    for id in 1..=5 {
        assert_eq!(world.compacted_to(id), Some(9));
    }
    world.lose_all();
    world.propose(1, &[101, 102, 103]);
    world.deliver(1, 5);
    world.lose_all();
    world.elect(2, 2, &[3, 4]);
    world.propose(2, commands);
    world.replicate(2, &[3, 4]);
    for id in [2, 3, 4] {
        assert_eq!(&world.applied(id)[8..], commands, "committed by three of five");
    }
    world.replicate(2, &[5]);
    world
}

#[test]
fn a_conflict_after_a_compaction_is_not_cut_and_a_replica_applies_what_was_never_committed() {
    let world = conflict_beyond_a_snapshot(&[201, 202]);
    assert_eq!(&world.applied(2)[8..], [201, 202]);
    assert_eq!(&world.applied(5)[8..], [101, 102, 103]);
}

#[test]
fn a_conflict_after_a_compaction_makes_the_leader_read_beyond_its_log() {
    let world = conflict_beyond_a_snapshot(&[201]);
    let said = world.panic_of(2).expect("5 acknowledges an index that the leader does not have");
    assert!(said.contains("out of bounds"), "{said}");
}

#[test]
fn a_snapshot_of_an_older_term_sets_the_term_back_and_one_term_has_two_leaders() {
    let mut world = World::compacting(5, 10);
    world.elect(1, 1, &[2, 4]);
    for command in 1..=8 {
        world.propose(1, &[command]);
    }
    world.replicate(1, &[2, 4, 5]);
    for id in [1, 2, 4, 5] {
        assert_eq!(world.compacted_to(id), Some(9));
    }
    world.lose_all();
    // 3 was cut off, and has stood in terms 1 and 2. 1 hears of it and is elected again in term 3, with the vote of 3.
    world.stand(3, 2);
    world.lose_all();
    world.beat(1);
    world.deliver(1, 3);
    world.deliver(3, 1);
    world.elect(1, 3, &[2, 3]);
    assert_eq!(world.leads_in(1), Some(3));
    world.lose_all();
    // 3 says that it has nothing, so it gets the snapshot, whose last entry is of term 1.
    world.beat(1);
    world.deliver(1, 3);
    world.deliver(3, 1);
    world.beat(1);
    world.deliver(1, 3);
    let answered = world.under_way(|envelope| match envelope.message {
        Message::AppendEntryResponse { term, .. } | Message::InstallSnapshotResponse { term, .. }
            if envelope.from == 3 =>
        {
            Some(term)
        }
        _ => None,
    });
    assert_eq!(answered, Some(1), "it has voted in term 3");
    world.lose_all();
    world.elect(4, 3, &[5, 3]);
    assert_eq!((world.leads_in(1), world.leads_in(4)), (Some(3), Some(3)));
}
