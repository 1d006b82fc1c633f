//! When it is told that this node itself keeps the archive from being written: a proof that its store lacks or cannot read, a
//! ledger that refuses, a barrier that is not committed. One such round may come of an election; many in a row do not.

use super::batches::End;

/// Rounds in a row before it is told: some seconds, with the pauses between them.
const ROUNDS_BEFORE_TOLD: u32 = 5;

/// Rounds of one term that the archive was not asked in.
#[derive(Debug, Default)]
pub(super) struct Hindrance {
    rounds: u32,
    reason: Option<String>,
}

/// What a round changes of what is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// At most the reason.
    None,
    /// It is told from now on, and why.
    Begun(&'a str),
    /// It is over.
    Ended,
}

impl Hindrance {
    /// Takes note of a round of this term.
    pub(super) fn after(&mut self, end: &End) -> Change<'_> {
        match end {
            End::Hindered(reason) => {
                self.rounds = self.rounds.saturating_add(1);
                if self.rounds < ROUNDS_BEFORE_TOLD {
                    return Change::None;
                }
                let is_new = self.reason.is_none();
                let reason = self.reason.insert(reason.clone());
                if is_new { Change::Begun(reason) } else { Change::None }
            }
            // The archive may be away at the same time, and then says nothing of this node.
            End::Failed(_) => Change::None,
            End::Good | End::Idle | End::Quiet => {
                self.rounds = 0;
                if self.reason.take().is_some() { Change::Ended } else { Change::None }
            }
        }
    }

    /// What is told.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_when_it_lasts_and_taken_back_when_it_is_over() {
        let mut hindrance = Hindrance::default();
        let hindered = End::Hindered("no proof".into());
        for _ in 0..20 {
            for _ in 1..ROUNDS_BEFORE_TOLD {
                assert_eq!(hindrance.after(&hindered), Change::None);
            }
            assert_eq!(hindrance.after(&End::Good), Change::None, "nothing had been told");
        }
        for _ in 1..ROUNDS_BEFORE_TOLD {
            assert_eq!(hindrance.after(&hindered), Change::None);
            assert_eq!(hindrance.after(&End::Failed("away".into())), Change::None);
        }
        assert_eq!(hindrance.after(&hindered), Change::Begun("no proof"));
        assert_eq!(hindrance.after(&End::Hindered("another".into())), Change::None, "it is logged once");
        assert_eq!(hindrance.reason(), Some("another"));
        assert_eq!(hindrance.after(&End::Good), Change::Ended);
        assert_eq!(hindrance.after(&End::Good), Change::None);
        assert_eq!(hindrance.reason(), None);
    }
}
