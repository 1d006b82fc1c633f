//! Submission: repetitions, the cache, idempotency keys, limits.

use super::*;

#[test]
fn a_submission_puts_its_input_on_disk_and_waits_at_once() {
    let mut world = World::new();
    let id = world.fresh_id();
    let outcome = world.apply_submit(world.new_task(id));
    assert_eq!(outcome.reply, Ok(Reply::Submitted { task: id }));
    assert_eq!(outcome.bodies, [BodyOp::Put(BodyKey::Input(id), vec![6; 10])]);
    assert_eq!(outcome.events, [Event::TaskSubmitted { task: id, circuit: circuit().id }]);
    assert_eq!(outcome.touched, [RecordKey::Meta, RecordKey::Task(id)].into());
    assert_eq!(world.task(id).state, TaskState::Pending { not_before: START });
}

#[test]
fn the_same_proposal_twice_is_one_task() {
    let mut world = World::new();
    let id = world.fresh_id();
    let new = world.new_task(id);
    world.apply_submit(new.clone());
    let again = world.apply_submit(new);
    assert_eq!(again.reply, Ok(Reply::Submitted { task: id }));
    assert!(again.bodies.is_empty() && again.events.is_empty());
    assert_eq!(world.ledger.counters().tasks_submitted, 1);
}

#[test]
fn a_task_id_that_is_taken_by_another_request_or_tenant_is_refused() {
    let mut world = World::new();
    let id = world.submit();
    let other_request = NewTask { fingerprint: Digest([8; 32]), ..world.new_task(id) };
    let other_tenant = NewTask { tenant: TenantId(1), ..world.new_task(id) };
    for new in [other_request, other_tenant] {
        assert!(matches!(world.apply_submit(new).reply, Err(Rejection::Malformed(_))));
    }
}

#[test]
fn an_idempotency_key_gets_its_first_answer_again() {
    let mut world = World::with_worker(1);
    let first = world.submit_with(|new| new.idempotency_key = Some(key("a")));
    let id = world.fresh_id();
    let mut cached = world.new_task(id);
    cached.idempotency_key = Some(key("b"));
    assert_eq!(world.apply_submit(cached).reply, Ok(Reply::Cached { task: first }));
    for (text, answer) in [("a", KeyAnswer::Submitted), ("b", KeyAnswer::Cached)] {
        let id = world.fresh_id();
        let mut again = world.new_task(id);
        again.idempotency_key = Some(key(text));
        again.cache = CacheUse::Bypassed;
        assert_eq!(world.apply_submit(again).reply, Ok(Reply::Replayed { task: first, answer }));
    }
    world.cancel(first);
    let id = world.fresh_id();
    let mut after_the_end = world.new_task(id);
    after_the_end.idempotency_key = Some(key("a"));
    let replayed = Reply::Replayed { task: first, answer: KeyAnswer::Submitted };
    assert_eq!(
        world.apply_submit(after_the_end).reply,
        Ok(replayed),
        "the end of a task does not free its keys"
    );
}

#[test]
fn a_key_for_repetitions_names_its_task_and_takes_no_place_of_a_cached_one() {
    let mut world = World::new();
    let repeated = format!("{RETRY_KEY_PREFIX}1");
    let first = world.submit_with(|new| new.idempotency_key = Some(key(&repeated)));
    let id = world.fresh_id();
    let mut again = world.new_task(id);
    again.idempotency_key = Some(key(&repeated));
    again.cache = CacheUse::Bypassed;
    let replayed = Reply::Replayed { task: first, answer: KeyAnswer::Submitted };
    assert_eq!(world.apply_submit(again).reply, Ok(replayed));
    for number in 2..40 {
        let id = world.fresh_id();
        let mut equal = world.new_task(id);
        equal.idempotency_key = Some(key(&format!("{RETRY_KEY_PREFIX}{number}")));
        assert_eq!(world.apply_submit(equal).reply, Ok(Reply::Cached { task: first }), "{number}");
    }
    assert_eq!(world.task(first).idempotency_keys.len(), 1);
}

#[test]
fn an_idempotency_key_with_another_request_is_a_conflict() {
    let mut world = World::new();
    world.submit_with(|new| new.idempotency_key = Some(key("a")));
    let id = world.fresh_id();
    let other =
        NewTask { idempotency_key: Some(key("a")), fingerprint: Digest([8; 32]), ..world.new_task(id) };
    assert_eq!(world.apply_submit(other.clone()).reply, Err(Rejection::IdempotencyConflict));
    let of_another_tenant = NewTask { tenant: TenantId(1), ..other };
    assert_eq!(world.apply_submit(of_another_tenant).reply, Ok(Reply::Submitted { task: id }));
}

#[test]
fn a_task_answers_eight_keys_and_the_ninth_gets_a_task_of_its_own() {
    let mut world = World::new();
    let first = world.submit_with(|new| new.idempotency_key = Some(key("key 0")));
    for n in 1..=8 {
        let id = world.fresh_id();
        let new = NewTask { idempotency_key: Some(key(&format!("key {n}"))), ..world.new_task(id) };
        let expected = if n < 8 { Reply::Cached { task: first } } else { Reply::Submitted { task: id } };
        assert_eq!(world.apply_submit(new).reply, Ok(expected), "key {n}");
    }
}

#[test]
fn a_completed_task_answers_equal_requests_for_as_long_as_the_policy_says() {
    let mut world = World::with_worker(1);
    let done = world.completed();
    world.now(Policy::default().cache_ttl_ms - 1);
    let id = world.fresh_id();
    let outcome = world.apply_submit(world.new_task(id));
    assert_eq!(outcome.reply, Ok(Reply::Cached { task: done }));
    assert!(outcome.bodies.is_empty());
    world.now(1);
    let outcome = world.apply_submit(world.new_task(id));
    assert_eq!(outcome.reply, Ok(Reply::Submitted { task: id }));
    assert_eq!(world.ledger.counters().tasks_cached, 1);
}

#[test]
fn failed_and_cancelled_tasks_and_those_of_other_tenants_answer_nobody() {
    let mut world = World::with_worker(1);
    let cancelled = world.submit();
    world.cancel(cancelled);
    let failed = world.submit();
    world.grant(failed);
    world.fail(failed, FailureKind::WitnessUnsatisfied);
    let id = world.fresh_id();
    assert_eq!(world.apply_submit(world.new_task(id)).reply, Ok(Reply::Submitted { task: id }));
    let id = world.fresh_id();
    let of_another = NewTask { tenant: TenantId(1), ..world.new_task(id) };
    assert_eq!(world.apply_submit(of_another).reply, Ok(Reply::Submitted { task: id }));
}

#[test]
fn the_latest_of_equal_tasks_answers() {
    let mut world = World::new();
    world.submit();
    let latest = world.submit();
    let id = world.fresh_id();
    assert_eq!(world.apply_submit(world.new_task(id)).reply, Ok(Reply::Cached { task: latest }));
}

#[test]
fn limits_count_what_is_open_and_nothing_else() {
    let mut world = World::with_worker(1);
    world.set_policy(|policy| (policy.open_tasks_max, policy.open_input_bytes_max) = (2, 25));
    let first = world.submit();
    world.submit();
    let id = world.fresh_id();
    let new = NewTask { cache: CacheUse::Bypassed, ..world.new_task(id) };
    let full = |what, limit| Err(Rejection::LimitReached { what, limit });
    assert_eq!(world.apply_submit(new.clone()).reply, full(LimitedResource::OpenTasks, 2));
    world.set_policy(|policy| policy.open_tasks_max = 3);
    assert_eq!(world.apply_submit(new.clone()).reply, full(LimitedResource::OpenInputBytes, 25));
    let fits = NewTask { sealed_input: vec![0; 5], ..new.clone() };
    assert_eq!(world.apply_submit(fits).reply, Ok(Reply::Submitted { task: id }));
    world.cancel(first);
    let id = world.fresh_id();
    assert_eq!(world.apply_submit(NewTask { id, ..new }).reply, Ok(Reply::Submitted { task: id }));
}

#[test]
fn a_full_ledger_still_repeats_its_answers() {
    let mut world = World::new();
    let first = world.submit_with(|new| new.idempotency_key = Some(key("a")));
    world.set_policy(|policy| policy.open_tasks_max = 0);
    let id = world.fresh_id();
    let again = NewTask { idempotency_key: Some(key("a")), ..world.new_task(id) };
    let replayed = Reply::Replayed { task: first, answer: KeyAnswer::Submitted };
    assert_eq!(world.apply_submit(again).reply, Ok(replayed));
    assert_eq!(world.apply_submit(world.new_task(id)).reply, Ok(Reply::Cached { task: first }));
}

#[test]
fn cancelling_is_for_the_tenant_drops_the_input_and_may_be_repeated() {
    let mut world = World::with_worker(1);
    let task = world.submit();
    let of_another = Command::CancelTask { tenant: TenantId(1), task, at: world.now };
    assert_eq!(world.apply(of_another).reply, Err(Rejection::UnknownTask(task)));
    let outcome = world.cancel(task);
    assert_eq!(outcome.bodies, [BodyOp::Drop(BodyKey::Input(task))]);
    assert_eq!(outcome.events, [Event::TaskCancelled(task)]);
    let again = world.cancel(task);
    assert!(again.events.is_empty() && again.bodies.is_empty());
    let done = world.completed();
    let late = Command::CancelTask { tenant: TenantId::DEFAULT, task: done, at: world.now };
    let finished = Rejection::TaskFinished { task: done, status: TaskStatus::Completed };
    assert_eq!(world.apply(late).reply, Err(finished));
}

#[test]
fn a_policy_whose_default_of_attempts_is_out_of_range_is_refused() {
    let mut world = World::with_worker(1);
    for max_attempts_default in [0, Policy::MAX_ATTEMPTS_LIMIT + 1, u32::MAX] {
        let policy = Policy { max_attempts_default, ..Policy::default() };
        assert!(matches!(world.apply(Command::SetPolicy(policy)).reply, Err(Rejection::Malformed(_))));
    }
    let task = world.submit();
    assert_eq!(world.task(task).max_attempts, Policy::default().max_attempts_default);
    world.ledger.check_invariants().unwrap();
}

#[test]
fn an_overdue_task_does_not_answer_an_equal_request() {
    let mut world = World::with_worker(1);
    let overdue = world.submit_with(|new| (new.cache, new.deadline_ms) = (CacheUse::Allowed, Some(10)));
    world.now(9);
    let id = world.fresh_id();
    let equal = world.new_task(id);
    assert_eq!(world.apply_submit(equal.clone()).reply, Ok(Reply::Cached { task: overdue }));
    world.now(1);
    let later = NewTask { at: world.now, ..equal };
    assert_eq!(world.apply_submit(later).reply, Ok(Reply::Submitted { task: id }));
}

#[test]
fn a_known_id_with_a_key_that_it_was_not_submitted_with_is_refused() {
    let mut world = World::with_worker(1);
    let id = world.submit();
    let mut again = world.new_task(id);
    again.idempotency_key = Some(key("other"));
    assert!(matches!(world.apply_submit(again).reply, Err(Rejection::Malformed(_))));
}
