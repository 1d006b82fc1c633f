//! Placement: who gets what, and who must not.

use super::*;

fn named(text: &str) -> WorkerId {
    WorkerId::new(text).unwrap()
}

fn chosen(placements: &[Placement]) -> Vec<&str> {
    placements.iter().map(|placement| placement.worker.as_str()).collect()
}

#[test]
fn a_worker_that_holds_the_key_goes_first_then_the_least_loaded_then_the_first_by_name() {
    let mut world = World::with_worker(4);
    world.register(named("b"), 1, 1, 2);
    world.register(named("a"), 1, 1, 2);
    for _ in 0..8 {
        world.submit();
    }
    let mut fleet = world.fleet();
    let placed = world.ledger.place(&fleet, world.now, 20);
    assert_eq!(chosen(&placed), ["a", "b", "worker", "worker", "a", "b", "worker", "worker"]);
    fleet.iter_mut().find(|member| member.worker == named("b")).unwrap().held_keys.insert(circuit().id);
    let placed = world.ledger.place(&fleet, world.now, 4);
    assert_eq!(chosen(&placed), ["b", "b", "a", "worker"]);
    fleet.reverse();
    assert_eq!(world.ledger.place(&fleet, world.now, 4), placed, "the order of the fleet does not matter");
}

#[test]
fn a_circuit_that_no_worker_can_take_does_not_hold_up_the_others() {
    let mut world = World::with_worker(1);
    let other = Circuit { id: CircuitId::new("other").unwrap(), ..circuit() };
    world.done(Command::RegisterCircuit(Box::new(other.clone())));
    for _ in 0..3 {
        world.submit_with(|new| new.circuit = other.id.clone());
    }
    let fitting = world.submit();
    let placed = world.ledger.place(&world.fleet(), world.now, 9);
    assert_eq!(placed.iter().map(|placement| placement.task).collect::<Vec<_>>(), [fitting]);
}

#[test]
fn priority_is_a_head_start_and_no_more() {
    let head_start_ms = Policy::PRIORITY_HEAD_START_MS;
    for (later_by_ms, is_overtaken) in [(head_start_ms - 1, true), (head_start_ms, false)] {
        let mut world = World::with_worker(1);
        let normal = world.submit();
        world.now(later_by_ms);
        let high = world.submit_with(|new| new.priority = Priority::High);
        let first = world.ledger.place(&world.fleet(), world.now, 1)[0].task;
        assert_eq!(first, if is_overtaken { high } else { normal }, "{later_by_ms} ms later");
    }
}

#[test]
fn a_leader_whose_clock_is_behind_does_not_propose_a_task_that_is_overdue_by_the_ledgers_clock() {
    let mut world = World::with_worker(1);
    let overdue = world.submit_with(|new| new.deadline_ms = Some(10));
    world.now(50);
    let next = world.submit();
    let placed = world.ledger.place(&world.fleet(), UnixMillis(world.now.0 - 45), 10);
    assert_eq!(placed.iter().map(|placement| placement.task).collect::<Vec<_>>(), [next]);
    assert_ne!(next, overdue);
}

#[test]
fn a_back_off_that_ended_by_the_ledgers_clock_has_ended_for_a_leader_whose_clock_is_behind() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    world.grant(task);
    world.fail(task, FailureKind::ProverError);
    world.now(1_000_000);
    world.submit();
    let placed = world.ledger.place(&world.fleet(), START, 1);
    assert_eq!(placed.first().map(|placement| placement.task), Some(task));
}

#[test]
fn a_worker_that_the_fleet_names_twice_is_not_given_more_than_its_capacity() {
    let mut world = World::with_worker(1);
    world.submit();
    world.submit();
    let fleet = [world.fleet(), world.fleet()].concat();
    assert_eq!(world.ledger.place(&fleet, world.now, 10).len(), 1);
}

#[test]
fn a_task_back_from_its_back_off_is_not_held_up_by_one_of_a_circuit_that_nobody_can_take() {
    let mut world = World::with_worker(2);
    let other = Circuit { id: CircuitId::new("other").unwrap(), ..circuit() };
    world.done(Command::RegisterCircuit(Box::new(other.clone())));
    let mut registration = world.registration(named("gone"), 1, 1, 1);
    if let Command::RegisterWorker { circuits, .. } = &mut registration {
        *circuits = vec![other.id.clone()];
    }
    world.done(registration);
    let stuck = world.submit_with(|new| new.circuit = other.id.clone());
    let fitting = world.submit();
    world.done(world.grant_command(stuck, named("gone"), 1));
    world.grant(fitting);
    let (term, incarnation, at) = (TERM, Incarnation(1), world.now);
    world.done(Command::LoseWorker { term, worker: named("gone"), incarnation, at });
    world.fail(fitting, FailureKind::ProverError);
    // The ledger's clock has not moved since: both are found by the ends of their back-offs.
    let placed = world.ledger.place(&world.fleet(), world.now.plus(60_000), 9);
    assert_eq!(placed.iter().map(|placement| placement.task).collect::<Vec<_>>(), [fitting]);
}

#[test]
fn a_vacancy_is_of_who_would_be_given_the_next_task_and_there_is_none_while_one_waits() {
    let mut world = World::with_worker(1);
    world.register(named("a"), 1, 1, 1);
    let vacancies = |world: &World| world.ledger.vacancies(&world.fleet(), world.now);
    let first = vacancies(&world)[&circuit().id].worker.clone();
    world.submit();
    assert!(vacancies(&world).is_empty(), "the one that waits goes first");
    let placed = world.ledger.place(&world.fleet(), world.now, 9);
    assert_eq!(chosen(&placed), [first.as_str()]);
    world.done(world.grant_command(placed[0].task, placed[0].worker.clone(), 1));
    let second = vacancies(&world)[&circuit().id].worker.clone();
    assert_ne!(first, second, "its capacity is one");
    world.submit();
    let placed = world.ledger.place(&world.fleet(), world.now, 9);
    assert_eq!(chosen(&placed), [second.as_str()]);
    world.done(world.grant_command(placed[0].task, placed[0].worker.clone(), 1));
    assert!(vacancies(&world).is_empty(), "nobody has room");
}
