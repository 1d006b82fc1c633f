//! A ledger from records, and records that make none.

use super::*;

/// With a task in every state.
fn busy_world() -> World {
    let mut world = World::with_worker(3);
    world.completed();
    let cancelled = world.submit_with(|new| new.idempotency_key = Some(key("a")));
    world.cancel(cancelled);
    let failed = world.submit_with(|new| new.deadline_ms = Some(1));
    world.now(1);
    world.sweep();
    assert_eq!(world.task(failed).status(), TaskStatus::Failed);
    let backing_off = world.submit();
    world.grant(backing_off);
    world.fail(backing_off, FailureKind::ProverError);
    let leased = world.submit();
    world.grant(leased);
    world.submit();
    world
}

fn restore_damaged(damage: impl FnMut(&mut Record)) -> RestoreError {
    let mut records: Vec<Record> = busy_world().ledger.records().collect();
    records.iter_mut().for_each(damage);
    Ledger::restore(records).unwrap_err()
}

#[test]
fn a_ledger_is_restored_from_its_records_in_any_order() {
    let ledger = busy_world().ledger;
    let mut records: Vec<Record> = ledger.records().collect();
    assert_eq!(Ledger::restore(records.clone()), Ok(ledger.clone()));
    records.reverse();
    assert_eq!(Ledger::restore(records), Ok(ledger));
}

#[test]
fn no_records_make_a_new_ledger() {
    assert_eq!(Ledger::restore([]), Ok(Ledger::default()));
}

#[test]
fn a_record_that_appears_twice_is_refused() {
    let ledger = busy_world().ledger;
    for twice in ledger.records() {
        let records = ledger.records().chain([twice.clone()]);
        assert_eq!(Ledger::restore(records), Err(RestoreError::Duplicate(twice.key())));
    }
}

#[test]
fn a_missing_task_is_noticed() {
    let ledger = busy_world().ledger;
    for missing in ledger.records().filter(|record| matches!(record, Record::Task(_))) {
        let records = ledger.records().filter(|record| *record != missing);
        assert!(matches!(Ledger::restore(records), Err(RestoreError::Inconsistent(_))));
    }
}

#[test]
fn a_lease_without_its_worker_is_noticed() {
    let ledger = busy_world().ledger;
    let records = ledger.records().filter(|record| !matches!(record, Record::Worker(_)));
    let error = Ledger::restore(records).unwrap_err();
    assert!(matches!(error, RestoreError::Inconsistent(InvariantViolation::OrphanedLease { .. })), "{error}");
}

#[test]
fn a_time_ahead_of_the_clock_is_noticed() {
    let error = restore_damaged(|record| {
        if let Record::Task(task) = record {
            task.created_at = UnixMillis(u64::MAX);
        }
    });
    assert!(matches!(error, RestoreError::Inconsistent(InvariantViolation::TimeAhead { .. })), "{error}");
}

#[test]
fn attempts_that_contradict_the_state_are_noticed() {
    let error = restore_damaged(|record| {
        if let Record::Task(task) = record {
            task.attempts.clear();
        }
    });
    assert!(matches!(error, RestoreError::Inconsistent(InvariantViolation::Attempts { .. })), "{error}");
}

#[test]
fn records_without_the_meta_record_are_refused() {
    let ledger = busy_world().ledger;
    let records = ledger.records().filter(|record| !matches!(record, Record::Meta(_)));
    assert_eq!(Ledger::restore(records), Err(RestoreError::MetaMissing));
    let only_a_circuit = [Record::Circuit(circuit())];
    assert_eq!(Ledger::restore(only_a_circuit), Err(RestoreError::MetaMissing));
}

#[test]
fn two_tasks_with_one_sequence_number_are_refused() {
    let error = restore_damaged(|record| {
        if let Record::Task(task) = record {
            task.sequence = 1;
        }
    });
    assert!(matches!(error, RestoreError::Inconsistent(InvariantViolation::Identity(_))), "{error}");
}

#[test]
fn a_sequence_number_that_was_never_given_out_is_refused() {
    let error = restore_damaged(|record| {
        if let Record::Task(task) = record {
            task.sequence += 1000;
        }
    });
    assert!(matches!(error, RestoreError::Inconsistent(InvariantViolation::Identity(_))), "{error}");
}

#[test]
fn one_idempotency_key_on_two_tasks_is_refused() {
    let error = restore_damaged(|record| {
        if let Record::Task(task) = record {
            task.idempotency_keys = vec![KeyUse { key: key("same"), answer: KeyAnswer::Submitted }];
        }
    });
    assert!(matches!(error, RestoreError::Inconsistent(InvariantViolation::Identity(_))), "{error}");
}

#[test]
fn totals_that_overflow_are_refused_and_do_not_panic() {
    let error = restore_damaged(|record| {
        if let Record::Meta(meta) = record {
            meta.counters.tasks_completed = u64::MAX;
            meta.counters.tasks_failed = u64::MAX;
            meta.counters.tasks_forgotten = u64::MAX;
        }
    });
    assert!(matches!(error, RestoreError::Inconsistent(InvariantViolation::Counters(_))), "{error}");
}
