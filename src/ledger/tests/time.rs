//! What time alone brings about: back-offs, deadlines, retention.

use super::*;

#[test]
fn a_clock_that_goes_back_does_not_take_the_ledgers_with_it() {
    let mut world = World::with_worker(1);
    world.now(1_000);
    world.sweep();
    world.done(Command::AdvanceClock { at: START });
    assert_eq!(world.ledger.now(), START.plus(1_000));
    world.now = START;
    let task = world.submit();
    assert_eq!(world.task(task).created_at, START.plus(1_000));
}

#[test]
fn the_end_of_time_is_survived() {
    let mut world = World::with_worker(1);
    let task = world.submit_with(|new| new.deadline_ms = Some(u64::MAX));
    world.grant(task);
    world.now = UnixMillis(u64::MAX);
    world.fail(task, FailureKind::ProverError);
    let late = world.submit_with(|new| new.priority = Priority::Low);
    assert_eq!(world.ledger.place(&world.fleet(), world.now, 9).len(), 1, "the other one is overdue");
    assert_eq!(world.ledger.queue_position(world.task(late)), Some(1));
    world.sweep();
    assert!(!world.ledger.task(task).is_some_and(Task::is_open));
    assert!(world.task(late).is_open());
}

#[test]
fn an_overdue_task_fails_with_the_next_sweep_and_its_holder_is_told() {
    let mut world = World::with_worker(1);
    let task = world.submit_with(|new| new.deadline_ms = Some(10));
    let attempt = world.grant(task);
    world.now(9);
    assert!(world.sweep().events.is_empty());
    world.now(1);
    let outcome = world.sweep();
    assert_eq!(
        outcome.events,
        [
            Event::LeaseRevoked { task, attempt, worker: worker() },
            Event::TaskFailed { task, reason: FailureReason::DeadlinePassed },
        ]
    );
    assert_eq!(world.task(task).attempts_used, 0);
}

#[test]
fn finished_tasks_are_forgotten_by_age_with_everything_that_is_theirs() {
    let mut world = World::with_worker(1);
    let done = world.completed();
    let keyed = world.submit_with(|new| new.idempotency_key = Some(key("a")));
    world.cancel(keyed);
    let age_ms = Policy::default().retention_age_ms;
    world.now(age_ms - 1);
    assert!(world.sweep().events.is_empty());
    let open = world.submit_with(|new| new.cache = CacheUse::Bypassed);
    world.now(1);
    let outcome = world.sweep();
    let mut forgotten = outcome.events.clone();
    forgotten.sort_by_key(|event| format!("{event:?}"));
    assert_eq!(forgotten, [Event::TaskForgotten(done), Event::TaskForgotten(keyed)]);
    assert!(outcome.bodies.contains(&BodyOp::Drop(BodyKey::Proof(done))));
    assert!(
        outcome.touched.contains(&RecordKey::Task(done))
            && world.ledger.record(&RecordKey::Task(done)).is_none()
    );
    assert!(world.ledger.task(open).is_some());
    let id = world.fresh_id();
    let new = NewTask { idempotency_key: Some(key("a")), fingerprint: Digest([8; 32]), ..world.new_task(id) };
    assert_eq!(world.apply_submit(new).reply, Ok(Reply::Submitted { task: id }), "the key is free again");
}

#[test]
fn a_failed_tasks_input_is_dropped_when_it_is_forgotten() {
    let mut world = World::with_worker(1);
    let task = world.submit_with(|new| new.deadline_ms = Some(1));
    world.now(1);
    assert!(world.sweep().bodies.is_empty());
    world.now(Policy::default().retention_age_ms);
    assert!(world.sweep().bodies.contains(&BodyOp::Drop(BodyKey::Input(task))));
}

#[test]
fn finished_tasks_beyond_the_count_are_forgotten_oldest_first() {
    let mut world = World::with_worker(1);
    world.set_policy(|policy| policy.retention_count = 2);
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(world.completed());
        world.now(1);
    }
    world.sweep();
    let kept: Vec<TaskId> = tasks.iter().copied().filter(|task| world.ledger.task(*task).is_some()).collect();
    assert_eq!(kept, tasks[2..]);
    assert_eq!(world.ledger.counters().tasks_forgotten, 2);
}

#[test]
fn a_sweep_does_a_bounded_part_and_says_that_there_is_more() {
    let mut world = World::with_worker(1);
    let some_more = Policy::SWEEP_MAX + 10;
    for _ in 0..some_more {
        world.submit_with(|new| new.deadline_ms = Some(1));
    }
    world.now(1);
    let failed = |outcome: &Outcome| {
        outcome.events.iter().filter(|event| matches!(event, Event::TaskFailed { .. })).count()
    };
    assert_eq!(failed(&world.sweep()), Policy::SWEEP_MAX);
    assert!(world.ledger.next_sweep_at().unwrap() <= world.now);
    assert_eq!(failed(&world.sweep()), 10);
    world.set_policy(|policy| policy.retention_count = 0);
    let forgotten = |outcome: &Outcome| {
        outcome.events.iter().filter(|event| matches!(event, Event::TaskForgotten(_))).count()
    };
    assert_eq!(forgotten(&world.sweep()), Policy::SWEEP_MAX);
    assert!(world.ledger.next_sweep_at().unwrap() <= world.now);
    assert_eq!(forgotten(&world.sweep()), 10);
    assert_eq!(world.ledger.next_sweep_at(), None);
}

#[test]
fn any_command_that_carries_the_time_ends_back_offs() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    world.grant(task);
    world.fail(task, FailureKind::ProverError);
    assert_eq!(world.ledger.queue_position(world.task(task)), None);
    let end = world.ledger.next_backoff_end().unwrap();
    world.now(end.0 - world.now.0);
    let refused = Command::CancelTask { tenant: TenantId(9), task, at: world.now };
    assert!(world.apply(refused).reply.is_err());
    assert_eq!(world.ledger.next_backoff_end(), None);
    assert_eq!(world.ledger.queue_position(world.task(task)), Some(0));
}

#[test]
fn a_sweep_that_is_due_by_the_ledgers_clock_is_due_at_once() {
    let mut world = World::with_worker(1);
    world.submit_with(|new| new.deadline_ms = Some(10));
    assert_eq!(world.ledger.next_sweep_at(), Some(START.plus(10)));
    world.now(10);
    world.submit();
    assert_eq!(world.ledger.next_sweep_at(), Some(UnixMillis(0)), "a leader's clock may be behind");
    world.sweep();
    assert_eq!(world.ledger.next_sweep_at(), Some(START.plus(10 + Policy::default().retention_age_ms)));
}

#[test]
fn a_lost_worker_asks_for_a_sweep() {
    let mut world = World::with_worker(1);
    assert_eq!(world.ledger.next_sweep_at(), None);
    world.lose(1);
    assert_eq!(world.ledger.next_sweep_at(), Some(START.plus(Policy::default().retention_age_ms)));
}
