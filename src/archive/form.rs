//! How the ledger's values look in PostgreSQL. Every form is total and comes back as it was: a value that the server would
//! refuse would stop the archive for ever, since nothing behind it in the outbox may be written before it.

use crate::ledger::{AttemptEnd, FailureKind, Priority, TaskStatus, WorkerState};
use std::borrow::Cow;

/// Stands before a letter where the text has a character that PostgreSQL cannot hold, or this one itself. From a plane for
/// private use, so that it hardly ever occurs.
const ESCAPE: char = '\u{F0000}';

/// A number by its bits: those below 2^63, which are all that occur, look as they are.
pub(super) const fn number(value: u64) -> i64 {
    value.cast_signed()
}

/// The number of those bits.
pub(super) const fn from_number(value: i64) -> u64 {
    value.cast_unsigned()
}

/// A text without NUL, which PostgreSQL's texts cannot hold.
pub(super) fn text(text: &str) -> String {
    if !text.contains(['\0', ESCAPE]) {
        return text.to_owned();
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => escaped.extend([ESCAPE, '0']),
            ESCAPE => escaped.extend([ESCAPE, 'e']),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The text that [`text`] was given; `None` when it cannot have been written by it.
pub(super) fn from_text(stored: &str) -> Option<Cow<'_, str>> {
    if !stored.contains(ESCAPE) {
        return Some(Cow::Borrowed(stored));
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        match character {
            ESCAPE => text.push(match characters.next()? {
                '0' => '\0',
                'e' => ESCAPE,
                _ => return None,
            }),
            other => text.push(other),
        }
    }
    Some(Cow::Owned(text))
}

/// The word for a priority.
pub(super) const fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    }
}

/// The priority of that word.
pub(super) fn from_priority(word: &str) -> Option<Priority> {
    [Priority::Low, Priority::Normal, Priority::High].into_iter().find(|value| priority(*value) == word)
}

/// The word for a worker's state.
pub(super) const fn worker_state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Active => "active",
        WorkerState::Draining => "draining",
        WorkerState::Lost => "lost",
    }
}

/// The status of that word.
pub(super) fn from_status(word: &str) -> Option<TaskStatus> {
    TaskStatus::ALL.into_iter().find(|status| status.as_str() == word)
}

/// The kind of failure of that word.
pub(super) fn from_failure_kind(word: &str) -> Option<FailureKind> {
    const ALL: [FailureKind; 6] = [
        FailureKind::ProverPanicked,
        FailureKind::ProverError,
        FailureKind::InvalidProof,
        FailureKind::KeyUnavailable,
        FailureKind::InputUnreadable,
        FailureKind::WitnessUnsatisfied,
    ];
    ALL.into_iter().find(|kind| kind.as_str() == word)
}

/// The word for an attempt's end.
pub(super) const fn attempt_end(end: &AttemptEnd) -> &'static str {
    match end {
        AttemptEnd::Completed => "completed",
        AttemptEnd::Failed(_) => "failed",
        AttemptEnd::WorkerLost => "worker_lost",
        AttemptEnd::LeaseExpired => "lease_expired",
        AttemptEnd::Returned => "returned",
        AttemptEnd::Superseded => "superseded",
        AttemptEnd::WorkerRestarted => "worker_restarted",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_comes_back(value: u64) {
            prop_assert_eq!(from_number(number(value)), value);
        }

        #[test]
        fn every_text_comes_back_and_holds_no_nul(parts in proptest::collection::vec("[\0\u{F0000}0e a-f\u{2400}é]{0,4}", 0..6)) {
            let whole = parts.concat();
            let stored = text(&whole);
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(from_text(&stored).unwrap(), whole);
        }
    }

    #[test]
    fn a_text_that_was_never_written_is_noticed() {
        assert_eq!(from_text("a\u{F0000}"), None);
        assert_eq!(from_text("a\u{F0000}x"), None);
    }
}
