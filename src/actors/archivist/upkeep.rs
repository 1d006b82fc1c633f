//! What the leader does for the archive beside the batches: it records who the coordinators are, and has old tasks removed.
//!
//! Both can be refused or take long where batches are taken at once: the role may not delete, or the old rows are on a slow disk.
//! So they go on beside the rounds, over a connection of their own, with a pace and an error of their own; a batch neither waits
//! for them nor becomes smaller by their failure.

use super::{ArchiveParts, Parts};
use crate::archive::{ArchiveError, ArchiveStore, CoordinatorRow};
use crate::ledger::Term;
use crate::raft::Standing;
use std::time::{Duration, Instant};

/// How often they are done.
const EVERY: Duration = Duration::from_secs(10);
/// The same while there is more to remove than one call removes.
const AGAIN: Duration = Duration::from_millis(500);
/// The first pause after a failure; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// The longest pause: what was granted to the role shows within this time.
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// By how much the rows of one call grow with each that succeeds, after a server was too slow for more.
const ROWS_STEP: u32 = ArchiveStore::RETENTION_ROWS_MAX / 20;

/// When they are due next, and how much may be removed at once.
#[derive(Debug)]
pub(super) struct Pace {
    due_at: Instant,
    is_busy: bool,
    failures: u32,
    rows_max: u32,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { due_at: now, is_busy: false, failures: 0, rows_max: ArchiveStore::RETENTION_ROWS_MAX }
    }

    /// The rows that may be removed, when it is time to begin.
    pub(super) fn begin(&mut self, now: Instant) -> Option<u32> {
        let is_due = !self.is_busy && self.due_at <= now;
        self.is_busy |= is_due;
        is_due.then_some(self.rows_max)
    }

    pub(super) fn end(&mut self, now: Instant, result: &Result<u64, ArchiveError>) {
        self.is_busy = false;
        let pause = match result {
            Ok(removed) => {
                self.failures = 0;
                let grown = self.rows_max.saturating_add(ROWS_STEP);
                self.rows_max = grown.min(ArchiveStore::RETENTION_ROWS_MAX);
                if *removed > 0 { AGAIN } else { EVERY }
            }
            Err(error) => {
                if matches!(error, ArchiveError::TooSlow { .. }) {
                    self.rows_max = (self.rows_max / 2).max(1);
                }
                self.failures = self.failures.saturating_add(1);
                BACKOFF_MIN.saturating_mul(1 << self.failures.min(8).saturating_sub(1)).min(BACKOFF_MAX)
            }
        };
        self.due_at = now + pause;
    }

    /// What hindered it may be over.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.failures = 0;
        self.due_at = now;
    }

    /// The time until it is due; none while it goes on.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        (!self.is_busy).then(|| self.due_at.saturating_duration_since(now))
    }
}

impl Parts {
    /// Does both, the second also when the first fails. Says how many tasks were removed.
    pub(super) async fn keep_up(
        &self,
        archive: &ArchiveParts,
        term: Term,
        rows_max: u32,
    ) -> Result<u64, ArchiveError> {
        let recorded = match self.service.cluster_id() {
            Some(cluster) => {
                archive.store.record_coordinators(&cluster.to_string(), &self.coordinators(term)).await
            }
            None => Ok(()),
        };
        let removed = archive.store.enforce_retention(&archive.retention, self.raft.now(), rows_max).await?;
        if removed > 0 {
            tracing::info!(removed, "the archive forgot old tasks");
        }
        recorded.map(|()| removed)
    }

    /// The members, as they said of themselves.
    fn coordinators(&self, term: Term) -> Vec<CoordinatorRow> {
        let leader = self.service.status().leader.map(|leader| leader.id);
        let reports = self.service.reports();
        let rows = self.service.members().into_iter().map(|member| {
            let report = reports.get(&member.id).map(|(report, _)| report);
            CoordinatorRow {
                node: member.id.0,
                http_address: report.map(|report| report.http_address.clone()).unwrap_or_default(),
                version: report.map(|report| report.version.clone()).unwrap_or_default(),
                name: member.name,
                raft_address: member.address,
                role: if member.standing == Standing::Voter { "voter" } else { "learner" }.to_owned(),
                is_leader: leader == Some(member.id),
                term,
            }
        });
        rows.collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn too_slow() -> Result<u64, ArchiveError> {
        Err(ArchiveError::TooSlow { operation: "x", detail: String::new() })
    }

    #[test]
    fn a_server_that_is_too_slow_is_asked_for_fewer_rows_until_it_is_not() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let mut asked = Vec::new();
        let mut at = now;
        for _ in 0..12 {
            asked.push(pace.begin(at).unwrap());
            pace.end(at, &too_slow());
            at += BACKOFF_MAX;
        }
        assert_eq!(asked[..3], [1_000, 500, 250]);
        assert_eq!(asked.last(), Some(&1), "one row is always asked for");
        for _ in 0..25 {
            pace.begin(at).unwrap();
            pace.end(at, &Ok(1));
            at += EVERY;
        }
        assert_eq!(pace.begin(at), Some(1_000));
    }

    #[test]
    fn failures_make_the_pauses_longer_and_a_success_ends_that() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        let refused = Err(ArchiveError::Rejected { operation: "x", detail: String::new() });
        let mut pauses = Vec::new();
        for _ in 0..8 {
            pace.hurry_for_test(now);
            assert_eq!(pace.begin(now), Some(1_000), "a refusal says nothing of the number of rows");
            assert_eq!((pace.begin(now), pace.due_in(now)), (None, None), "one at a time");
            pace.end(now, &refused);
            pauses.push(pace.due_in(now).unwrap().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        for (removed, expected) in [(3, AGAIN), (0, EVERY)] {
            pace.hurry_for_test(now);
            pace.begin(now).unwrap();
            pace.end(now, &Ok(removed));
            assert_eq!(pace.due_in(now), Some(expected));
        }
        pace.hurry_for_test(now);
        pace.begin(now).unwrap();
        pace.end(now, &refused);
        assert_eq!(pace.due_in(now), Some(BACKOFF_MIN));
    }

    impl Pace {
        /// As if the pause had passed.
        fn hurry_for_test(&mut self, now: Instant) {
            self.due_at = now;
        }
    }
}
