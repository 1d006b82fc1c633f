//! Leases: granted, used up, given back, revoked, and proofs of older attempts.

use super::*;

#[test]
fn a_task_is_tried_as_often_as_it_may_be_and_keeps_every_cause() {
    let mut world = World::with_worker(1);
    let task = world.submit_with(|new| new.max_attempts = Some(3));
    for attempt in 1..=3 {
        assert_eq!(world.task(task).status(), TaskStatus::Pending);
        assert_eq!(world.grant(task), Attempt(attempt));
        world.fail(task, FailureKind::ProverError);
        world.now(Policy::default().retry_backoff_max_ms);
    }
    let record = world.task(task);
    let is_exhausted =
        matches!(record.state, TaskState::Failed { reason: FailureReason::AttemptsExhausted, .. });
    assert!(is_exhausted, "{:?}", record.state);
    assert_eq!(record.attempts_used, 3);
    let causes =
        record.attempts.iter().filter(|a| matches!(&a.end, Some((_, AttemptEnd::Failed(_))))).count();
    assert_eq!(causes, 3);
}

#[test]
fn a_cause_that_no_attempt_can_mend_fails_the_task_at_once_and_keeps_its_input() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    world.grant(task);
    let outcome = world.fail(task, FailureKind::WitnessUnsatisfied);
    assert!(outcome.bodies.is_empty());
    let cause = FailureCause::new(FailureKind::WitnessUnsatisfied, "because");
    let reason = FailureReason::Permanent(cause);
    assert_eq!(outcome.events, [Event::TaskFailed { task, reason: reason.clone() }]);
    assert_eq!(world.task(task).state, TaskState::Failed { at: START, reason });
    assert_eq!(world.task(task).attempts_used, 1);
}

#[test]
fn a_task_in_back_off_is_not_leased_before_its_end() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    world.grant(task);
    world.fail(task, FailureKind::ProverError);
    let TaskState::Pending { not_before } = world.task(task).state else { panic!("it does not wait") };
    world.now(not_before.0 - world.now.0 - 1);
    let refused = world.apply(world.grant_command(task, worker(), 1)).reply;
    assert_eq!(refused, Err(Rejection::TaskBackingOff { task, not_before }));
    world.now(1);
    world.grant(task);
}

#[test]
fn a_proof_of_an_older_attempt_completes_an_open_task_and_revokes_the_newer_lease() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let first = world.grant(task);
    world.done(Command::ExpireLease { term: TERM, task, attempt: first, at: world.now });
    world.now(60_000);
    let second = world.grant(task);
    let outcome = world.done(world.complete_command(task, first, 9));
    assert_eq!(
        outcome.events,
        [Event::LeaseRevoked { task, attempt: second, worker: worker() }, Event::TaskCompleted(task)]
    );
    let bodies = [BodyOp::Drop(BodyKey::Input(task)), BodyOp::Put(BodyKey::Proof(task), vec![9])];
    assert_eq!(outcome.bodies, bodies);
    assert_eq!(world.ledger.leases_of(&worker()), 0);
    let ends: Vec<_> = world.task(task).attempts.iter().map(|a| a.end.clone().unwrap().1).collect();
    assert_eq!(ends, [AttemptEnd::Completed, AttemptEnd::Superseded]);
}

#[test]
fn only_the_first_proof_counts() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let attempt = world.grant(task);
    world.complete(task);
    let before = world.task(task).clone();
    let finished = Err(Rejection::TaskFinished { task, status: TaskStatus::Completed });
    let second = world.apply(world.complete_command(task, attempt, 2));
    assert_eq!(second.reply, finished);
    assert!(second.bodies.is_empty());
    let cause = FailureCause::new(FailureKind::ProverError, "late");
    let late = Command::FailAttempt { task, attempt, worker: worker(), cause, at: world.now };
    assert_eq!(world.apply(late).reply, finished);
    assert_eq!(*world.task(task), before);
}

#[test]
fn a_proof_of_another_key_other_inputs_or_from_another_worker_is_refused() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let attempt = world.grant(task);
    let complete = |worker: WorkerId, result: ProvenResult| Command::CompleteTask {
        task,
        attempt,
        worker,
        result: Box::new(result),
        at: START,
    };
    let good = *world.proof(1);
    let other_key = ProvenResult { verifying_key: Digest([0; 32]), ..good.clone() };
    let other_inputs = ProvenResult { public_inputs: vec![Digest([0; 32])], ..good.clone() };
    for result in [other_key, other_inputs] {
        assert_eq!(world.apply(complete(worker(), result)).reply, Err(Rejection::ResultMismatch(task)));
    }
    let stranger = WorkerId::new("stranger").unwrap();
    assert_eq!(world.apply(complete(stranger, good)).reply, Err(Rejection::StaleAttempt { task, attempt }));
    assert_eq!(world.task(task).status(), TaskStatus::Assigned);
}

#[test]
fn commands_of_another_term_are_refused_and_do_not_move_the_clock() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let (term, worker, incarnation, attempt) = (Term(2), worker(), Incarnation(1), Attempt(1));
    let at = START.plus(5);
    for command in [
        Command::GrantLease { term, task, attempt, worker: worker.clone(), incarnation, at },
        Command::ExpireLease { term, task, attempt, at },
        Command::LoseWorker { term, worker, incarnation, at },
    ] {
        let stale = Rejection::StaleTerm { proposed: term, current: TERM };
        assert_eq!(world.apply(command).reply, Err(stale));
        assert_eq!(world.ledger.now(), START);
    }
}

#[test]
fn a_lease_is_granted_once_per_attempt_and_only_for_the_next_one() {
    let mut world = World::with_worker(9);
    let task = world.submit();
    let first = world.grant_command(task, worker(), 1);
    world.done(first.clone());
    let stale = |attempt| Err(Rejection::StaleAttempt { task, attempt });
    assert_eq!(world.apply(first).reply, stale(Attempt(1)));
    assert_eq!(
        world.apply(world.grant_command(task, worker(), 1)).reply,
        Err(Rejection::TaskNotPending(task))
    );
    world.give_back(task);
    let mut skips = world.grant_command(task, worker(), 1);
    if let Command::GrantLease { attempt, .. } = &mut skips {
        attempt.0 += 1;
    }
    assert_eq!(world.apply(skips).reply, stale(Attempt(3)));
}

#[test]
fn a_task_whose_deadline_has_passed_is_not_leased() {
    let mut world = World::with_worker(1);
    let task = world.submit_with(|new| new.deadline_ms = Some(10));
    world.now(10);
    let refused = world.apply(world.grant_command(task, worker(), 1)).reply;
    assert_eq!(refused, Err(Rejection::TaskNotPending(task)));
}

#[test]
fn a_task_whose_circuit_has_no_key_is_not_leased() {
    let mut world = World::new();
    world.register(worker(), 1, 11, 1);
    let task = world.submit();
    assert_eq!(world.apply(world.grant_command(task, worker(), 1)).reply, Err(Rejection::CircuitUnknown));
    assert_eq!(world.ledger.wanted_circuits().cloned().collect::<Vec<_>>(), [circuit().id]);
}

#[test]
fn the_first_key_of_a_circuit_wins() {
    let mut world = World::with_worker(1);
    let again = world.done(Command::RegisterCircuit(Box::new(circuit())));
    assert!(again.events.is_empty());
    let other = Circuit { verifying_key: Digest([0; 32]), ..circuit() };
    let refused = world.apply(Command::RegisterCircuit(Box::new(other))).reply;
    assert_eq!(refused, Err(Rejection::CircuitConflict));
    assert_eq!(world.ledger.circuit(&circuit().id), Some(&circuit()));
}

#[test]
fn a_worker_that_returns_for_ever_does_not_make_the_record_grow() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    for _ in 0..50 {
        world.grant(task);
        world.give_back(task);
        world.now(60_000);
    }
    assert!(world.task(task).attempts.len() <= 5, "{}", world.task(task).attempts.len());
    assert_eq!(world.task(task).latest_attempt, Attempt(50));
    assert_eq!(world.task(task).attempts_used, 0);
}

#[test]
fn starting_twice_tells_the_time_of_the_first_start() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let attempt = world.grant(task);
    let start = |at| Command::StartAttempt { task, attempt, worker: worker(), at };
    world.now(5);
    world.done(start(world.now));
    let again = world.done(start(world.now.plus(7)));
    assert!(again.events.is_empty());
    assert_eq!(world.task(task).lease().unwrap().started_at, Some(START.plus(5)));
    assert_eq!(world.task(task).status(), TaskStatus::InProgress);
}

#[test]
fn a_task_given_back_again_and_again_has_to_wait() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let mut waits = Vec::new();
    for _ in 0..6 {
        world.grant(task);
        world.give_back(task);
        let TaskState::Pending { not_before } = world.task(task).state else { panic!("it does not wait") };
        waits.push(not_before.0 - world.now.0);
        world.now(not_before.0 - world.now.0);
    }
    assert_eq!(waits[0], 0, "the first time costs nothing");
    assert!(waits[1..].iter().all(|wait| *wait >= Policy::default().retry_backoff_base_ms / 2), "{waits:?}");
    assert_eq!(world.task(task).attempts_used, 0);
}

#[test]
fn an_attempt_that_failed_in_between_ends_the_row_of_leases_given_back() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    world.grant(task);
    world.give_back(task);
    world.grant(task);
    world.fail(task, FailureKind::ProverError);
    world.now(60_000);
    world.grant(task);
    world.give_back(task);
    assert_eq!(world.task(task).state, TaskState::Pending { not_before: world.now });
}
