//! Workers: registration, lives, draining, loss.

use super::*;

#[test]
fn a_registration_of_the_same_process_may_be_repeated_and_keeps_its_leases() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    world.grant(task);
    let again = world.register(worker(), 1, 11, 1);
    assert!(again.events.is_empty());
    assert_eq!(world.ledger.leases_of(&worker()), 1);
}

#[test]
fn another_process_of_the_same_name_cannot_take_the_present_life() {
    let mut world = World::with_worker(1);
    let stale = Err(Rejection::StaleIncarnation(worker()));
    for (life, session) in [(1, 12), (0, 12), (3, 12), (u64::MAX, 12), (0, 11)] {
        assert_eq!(world.apply(world.registration(worker(), life, session, 1)).reply, stale);
    }
}

#[test]
fn a_task_that_is_there_whenever_its_worker_ends_comes_to_an_end_itself() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let max_attempts = u64::from(world.task(task).max_attempts);
    let mut lives = 1;
    while world.task(task).is_open() {
        assert!(lives <= 4 * max_attempts + 1, "it has ended {lives} processes");
        world.now(lives * 120_000);
        let grant = world.grant_command(task, worker(), lives);
        assert!(world.apply(grant).reply.is_ok());
        lives += 1;
        world.register(worker(), lives, 100 + lives, 1);
        world.ledger.check_invariants().unwrap();
    }
    assert_eq!(world.task(task).status(), TaskStatus::Failed);
    assert_eq!(u64::from(world.task(task).attempts_used), max_attempts);
}

#[test]
fn a_new_life_gives_the_leases_of_the_old_one_back_at_no_cost() {
    let mut world = World::with_worker(2);
    let task = world.submit();
    let attempt = world.grant(task);
    let outcome = world.register(worker(), 2, 12, 1);
    let not_before = match world.task(task).state {
        TaskState::Pending { not_before } => not_before,
        ref other => panic!("{other:?}"),
    };
    assert_eq!(
        outcome.events,
        [
            Event::LeaseRevoked { task, attempt, worker: worker() },
            Event::TaskRequeued { task, not_before },
            Event::WorkerRegistered(worker()),
        ]
    );
    assert_eq!(not_before, START);
    assert_eq!(world.task(task).attempts_used, 0);
    assert_eq!(world.task(task).attempts[0].end, Some((START, AttemptEnd::WorkerRestarted)));
    assert_eq!(world.ledger.counters().leases_lost, 1);
    world.now(60_000);
    let to_the_old_life = world.grant_command(task, worker(), 1);
    assert_eq!(world.apply(to_the_old_life).reply, Err(Rejection::StaleIncarnation(worker())));
}

#[test]
fn a_lost_worker_comes_back_in_its_next_life_only() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let attempt = world.grant(task);
    let outcome = world.lose(1);
    let lost = Event::WorkerLost { worker: worker(), incarnation: Incarnation(1) };
    assert_eq!(outcome.events[0], lost);
    assert_eq!(outcome.events[1], Event::LeaseRevoked { task, attempt, worker: worker() });
    assert!(world.lose(1).events.is_empty());
    let same = world.registration(worker(), 1, 11, 1);
    assert_eq!(world.apply(same).reply, Err(Rejection::StaleIncarnation(worker())));
    world.register(worker(), 2, 11, 1);
    let late =
        Command::LoseWorker { term: TERM, worker: worker(), incarnation: Incarnation(1), at: world.now };
    assert_eq!(world.apply(late).reply, Err(Rejection::StaleIncarnation(worker())));
    assert_eq!(world.ledger.worker(&worker()).unwrap().state, WorkerState::Active);
}

#[test]
fn a_draining_worker_finishes_what_it_holds_and_takes_nothing_new() {
    let mut world = World::with_worker(2);
    let (held, other) = (world.submit(), world.submit());
    world.grant(held);
    let drain = Command::DrainWorker { worker: worker(), incarnation: Incarnation(1) };
    assert_eq!(world.done(drain.clone()).events, [Event::WorkerDraining(worker())]);
    assert!(world.done(drain.clone()).events.is_empty());
    let refused = world.apply(world.grant_command(other, worker(), 1)).reply;
    assert_eq!(refused, Err(Rejection::WorkerUnavailable(worker())));
    world.complete(held);
    world.lose(1);
    assert_eq!(world.apply(drain).reply, Err(Rejection::WorkerUnavailable(worker())));
}

#[test]
fn a_worker_holds_at_most_its_capacity() {
    let mut world = World::with_worker(1);
    let (first, second) = (world.submit(), world.submit());
    world.grant(first);
    let refused = world.apply(world.grant_command(second, worker(), 1)).reply;
    assert_eq!(refused, Err(Rejection::WorkerFull(worker())));
    world.complete(first);
    world.grant(second);
}

#[test]
fn a_worker_is_given_only_circuits_that_it_names() {
    let mut world = World::with_worker(1);
    let other = WorkerId::new("other").unwrap();
    let mut registration = world.registration(other.clone(), 1, 1, 1);
    if let Command::RegisterWorker { circuits, .. } = &mut registration {
        circuits.clear();
    }
    world.done(registration);
    let task = world.submit();
    let refused = world.apply(world.grant_command(task, other.clone(), 1)).reply;
    assert_eq!(refused, Err(Rejection::WorkerUnsuited(other)));
}

#[test]
fn a_capacity_of_zero_or_beyond_the_limit_is_refused() {
    let mut world = World::with_worker(1);
    let other = WorkerId::new("other").unwrap();
    for capacity in [0, 1025, u32::MAX] {
        let reply = world.apply(world.registration(other.clone(), 1, 1, capacity)).reply;
        assert!(matches!(reply, Err(Rejection::Malformed(_))), "{capacity}: {reply:?}");
    }
}

#[test]
fn losing_a_worker_that_held_a_last_attempt_fails_the_task() {
    let mut world = World::with_worker(1);
    let task = world.submit_with(|new| new.max_attempts = Some(1));
    let attempt = world.grant(task);
    let outcome = world.lose(1);
    assert_eq!(
        outcome.events[1..],
        [
            Event::LeaseRevoked { task, attempt, worker: worker() },
            Event::TaskFailed { task, reason: FailureReason::AttemptsExhausted },
        ]
    );
}

#[test]
fn a_lost_worker_is_remembered_for_the_retention_time_from_its_loss_on() {
    let mut world = World::with_worker(1);
    let age_ms = world.ledger.policy().retention_age_ms;
    world.now(age_ms + 1);
    world.lose(1);
    world.sweep();
    assert!(
        world.ledger.worker(&worker()).is_some(),
        "its life must not be forgotten while its process may come back"
    );
    world.now(age_ms - 1);
    world.sweep();
    assert!(world.ledger.worker(&worker()).is_some());
    world.now(1);
    world.sweep();
    assert!(world.ledger.worker(&worker()).is_none());
}
