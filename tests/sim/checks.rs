//! What must be true of each step: what it left alone, who was told of a lost lease, and which ends were announced.

use crate::model::Checked;
use proptest::prelude::*;
use std::collections::BTreeSet;
use zkpnet::ledger::*;

/// The names of the variants, as `Debug` prints them.
pub(crate) fn kinds_of(outcome: &Outcome) -> BTreeSet<String> {
    let name = |text: String| text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
    let mut kinds: BTreeSet<String> = outcome.events.iter().map(|event| name(format!("{event:?}"))).collect();
    kinds.insert(match &outcome.reply {
        Ok(reply) => name(format!("{reply:?}")),
        Err(Rejection::LimitReached { what, .. }) => format!("{what:?}"),
        Err(rejection) => name(format!("{rejection:?}")),
    });
    for event in &outcome.events {
        if let Event::TaskFailed { reason, .. } = event {
            kinds.insert(name(format!("{reason:?}")));
        }
    }
    kinds
}

/// A refused command leaves everything but clock, applied index, and what follows from them, as it was.
pub(crate) fn check_nothing_changed(before: &Ledger, after: &Ledger, outcome: &Outcome) -> Checked {
    prop_assert_eq!(&outcome.events, &Vec::new());
    prop_assert_eq!(&outcome.bodies, &Vec::new());
    prop_assert_eq!(&outcome.touched, &BTreeSet::from([RecordKey::Meta]));
    let but_meta = |ledger: &Ledger| -> Vec<Record> {
        ledger.records().filter(|record| record.key() != RecordKey::Meta).collect()
    };
    prop_assert_eq!(but_meta(before), but_meta(after));
    prop_assert_eq!(before.policy(), after.policy());
    prop_assert_eq!(before.counters(), after.counters());
    Ok(())
}

/// Whoever loses a lease without having asked for it is told, exactly once, and nobody else is.
pub(crate) fn check_revocations(
    command: &Command,
    before: &Ledger,
    after: &Ledger,
    outcome: &Outcome,
) -> Checked {
    let leases = |ledger: &Ledger| -> BTreeSet<(TaskId, Attempt, WorkerId)> {
        ledger.leases().map(|(task, lease)| (task, lease.attempt, lease.worker.clone())).collect()
    };
    let by_its_holder = match command {
        Command::CompleteTask { task, attempt, worker, .. }
        | Command::FailAttempt { task, attempt, worker, .. }
        | Command::ReturnLease { task, attempt, worker, .. } => Some((*task, *attempt, worker.clone())),
        _ => None,
    };
    let mut gone: Vec<_> = leases(before).difference(&leases(after)).cloned().collect();
    gone.retain(|lease| Some(lease) != by_its_holder.as_ref());
    let mut told: Vec<_> = outcome
        .events
        .iter()
        .filter_map(|event| match event {
            Event::LeaseRevoked { task, attempt, worker } => Some((*task, *attempt, worker.clone())),
            _ => None,
        })
        .collect();
    told.sort();
    prop_assert_eq!(told, gone, "revocations");
    Ok(())
}

/// Each task that ended is announced once, and no task that had ended before is.
pub(crate) fn check_ends(before: &Ledger, after: &Ledger, outcome: &Outcome) -> Checked {
    for event in &outcome.events {
        let ended = match event {
            Event::TaskCompleted(id) | Event::TaskCancelled(id) | Event::TaskFailed { task: id, .. } => *id,
            Event::TaskForgotten(id) => {
                prop_assert!(after.task(*id).is_none());
                continue;
            }
            _ => continue,
        };
        prop_assert!(before.task(ended).is_some_and(Task::is_open), "{} ended twice", ended);
        let announced = outcome.events.iter().filter(|other| *other == event).count();
        prop_assert_eq!(announced, 1);
    }
    Ok(())
}
