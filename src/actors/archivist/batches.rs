//! What the archivist does in one round: see to the ledger's policy, claim the cursor, bring the two together, and write one
//! batch.

use super::{ArchiveParts, Parts};
use crate::archive::{ArchiveError, ArchiveItem, Claim, ItemContent};
use crate::ledger::{ArchiveStanding, BodyKey, Command, Ledger, OutboxContent, TaskId, TaskState, Term};
use crate::telemetry::table;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Things that one transaction takes: some hundred kilobytes, and few enough that a failed one costs little.
pub(super) const BATCH_MAX: usize = 256;
/// How often an idle node looks whether PostgreSQL answers; the leader does so by claiming anew.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same for a node that belongs to no cluster yet, or has not heard that it does.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Proofs that are read from the store at once.
const READS_AT_ONCE: usize = 16;

/// A claim on the archive's cursor, good for one term.
pub(super) struct Claimed(Claim);

/// What a round begins with.
pub(super) struct Round {
    /// The term that this node leads, if it does.
    pub(super) term: Option<Term>,
    /// The claim to go on with; without one the round claims.
    pub(super) claimed: Option<Claimed>,
    /// Whether a node that does not lead is to look at the archive.
    pub(super) is_look_due: bool,
    pub(super) batch_max: usize,
}

/// What a round ends with.
#[derive(Default)]
pub(super) struct Rounded {
    pub(super) claimed: Option<Claimed>,
    /// When the archive is to be claimed anew or looked at next, where this round did so or could not.
    pub(super) look_in: Option<Duration>,
    /// Whether the archive was claimed, whatever became of the round then.
    pub(super) was_claimed: bool,
    /// Whether there is more to write.
    pub(super) has_more: bool,
    pub(super) end: End,
}

/// How a round went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// There was nothing to ask the archive for.
    #[default]
    Idle,
    /// The archive did what it was asked.
    Good,
    /// The archive could not be used, and why.
    Failed(String),
    /// This node does not lead any more, or not yet: nothing is known of the archive.
    Quiet,
    /// The archive was not asked, since this node's own ledger or store did not serve, and why.
    Hindered(String),
}

/// A round came to nothing.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the ledger: {0}")]
    Ledger(String),
    #[error("the proof of task {task}, at position {position} of the outbox: {reason}")]
    Proof { task: TaskId, position: u64, reason: String },
    /// Nothing is wrong: this node does not lead any more, or not yet.
    #[error("this node does not lead")]
    NotLeading,
    #[error(
        "the archive is at position {cursor} of this cluster and the ledger at {last}: the cluster's files are older than the \
         archive. Restore them as a new cluster"
    )]
    AheadOfLedger { cursor: u64, last: u64 },
}

impl Parts {
    /// One round; it never fails otherwise than by saying so.
    pub(super) async fn round(&self, round: Round) -> Rounded {
        let mut rounded = Rounded::default();
        match self.attempt(round, &mut rounded).await {
            Ok(()) => {}
            Err(RoundError::NotLeading) => rounded.end = End::Quiet,
            Err(error @ (RoundError::Ledger(_) | RoundError::Proof { .. })) => {
                tracing::debug!(%error, "the ledger did not serve the archivist");
                rounded.end = End::Hindered(error.to_string());
            }
            Err(error @ (RoundError::Archive(_) | RoundError::AheadOfLedger { .. })) => {
                table::ARCHIVE_ERRORS.counter(&[]).increment(1);
                self.is_migrated.store(false, Ordering::Relaxed);
                rounded.end = End::Failed(error.to_string());
            }
        }
        if !matches!(rounded.end, End::Good | End::Idle) {
            // Whatever was claimed may be gone: the next round asks anew.
            rounded.claimed = None;
        }
        rounded
    }

    async fn attempt(&self, round: Round, rounded: &mut Rounded) -> Result<(), RoundError> {
        let Some(term) = round.term else { return self.look(round.is_look_due, rounded).await };
        let standing = self.standing().await?;
        let Some(archive) = &self.archive else {
            rounded.look_in = Some(LOOK_EVERY);
            return self.do_without(standing).await;
        };
        let claimed = match round.claimed.filter(|_| standing.policy == Some(archive.policy)) {
            Some(claimed) => claimed,
            None => {
                rounded.look_in = Some(LOOK_EVERY);
                rounded.end = End::Good;
                let claimed = self.claim(archive, term).await?;
                rounded.was_claimed = true;
                claimed
            }
        };
        let (claimed, has_more) = self.write(archive, term, claimed, round.batch_max, rounded).await?;
        rounded.claimed = Some(claimed);
        rounded.has_more = has_more;
        Ok(())
    }

    /// Without a database nothing is kept for one.
    async fn do_without(&self, standing: ArchiveStanding) -> Result<(), RoundError> {
        if standing.policy.is_some() {
            self.propose(Command::SetArchive(None)).await?;
            tracing::warn!("no database is configured any more: finished tasks are no longer archived");
        }
        Ok(())
    }

    /// A node that does not lead only looks whether it could read.
    async fn look(&self, is_due: bool, rounded: &mut Rounded) -> Result<(), RoundError> {
        if is_due {
            if let (Some(archive), Some(cluster)) = (&self.archive, self.service.cluster_id()) {
                // Whoever is first makes the schema, so that reads find one.
                self.migrate(archive).await?;
                self.epoch.set(archive.store.look(&cluster.to_string()).await?);
                rounded.end = End::Good;
                rounded.look_in = Some(LOOK_EVERY);
            } else {
                rounded.look_in = Some(LOOK_AGAIN);
            }
        }
        Ok(())
    }

    async fn migrate(&self, archive: &ArchiveParts) -> Result<(), RoundError> {
        if !self.is_migrated.load(Ordering::Relaxed) {
            archive.store.migrate().await?;
            self.is_migrated.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn standing(&self) -> Result<ArchiveStanding, RoundError> {
        let standing = self.raft.local(Ledger::archive).await;
        standing.map_err(|error| RoundError::Ledger(error.to_string()))
    }

    /// Takes the cursor over, and brings it and the ledger together where one step of an earlier leader's was lost.
    async fn claim(&self, archive: &ArchiveParts, term: Term) -> Result<Claimed, RoundError> {
        let Some(cluster) = self.service.cluster_id() else { return Err(RoundError::NotLeading) };
        // A barrier: an `Archived` of this node whose outcome was not known stands before it in the log, or nowhere. It could
        // otherwise be committed after the cursor was read, and speak of rows that a database put back has lost.
        self.propose(Command::SetArchive(Some(archive.policy))).await?;
        self.migrate(archive).await?;
        let claim = archive.store.claim(&cluster.to_string(), term, &self.coordinator).await?;
        self.epoch.set(Some(claim.epoch));
        // Linearizable: a leader that has just been elected may not have applied what its predecessor committed.
        let question = |ledger: &Ledger| (ledger.archive(), ledger.has_something_to_archive());
        let now = self.raft.query(question, Default::default()).await;
        let (now, has_something) = now.map_err(|error| RoundError::Ledger(error.to_string()))?.value;
        let cursor = claim.position;
        if cursor > now.last {
            return Err(RoundError::AheadOfLedger { cursor, last: now.last });
        }
        if cursor > now.archived {
            self.propose(Command::Archived { term, position: cursor }).await?;
        } else if cursor < now.archived && has_something {
            tracing::warn!(
                cursor,
                archived = now.archived,
                "the archive lacks what it once had, or is a new one: everything that the ledger still has is archived again"
            );
            self.propose(Command::Rearchive { term }).await?;
        }
        tracing::debug!(epoch = claim.epoch, cursor, "claimed the archive's cursor");
        Ok(Claimed(claim))
    }

    /// Writes what stands first in the outbox, and has the ledger told.
    async fn write(
        &self,
        archive: &ArchiveParts,
        term: Term,
        Claimed(claim): Claimed,
        batch_max: usize,
        rounded: &mut Rounded,
    ) -> Result<(Claimed, bool), RoundError> {
        let entries = self.raft.local(move |ledger: &Ledger| ledger.outbox(batch_max)).await;
        let entries = entries.map_err(|error| RoundError::Ledger(error.to_string()))?;
        let has_more = entries.len() == batch_max;
        let Some((position, _)) = entries.last() else { return Ok((Claimed(claim), false)) };
        let position = *position;
        let begun = Instant::now();
        let items = stream::iter(entries).map(|(position, content)| self.item(position, content));
        let items: Vec<ArchiveItem> = items.buffered(READS_AT_ONCE).try_collect().await?;
        let claim = archive.store.write_batch(&claim, claim.position, &items).await?;
        rounded.end = End::Good;
        table::ARCHIVE_BATCHES.counter(&[]).increment(1);
        table::ARCHIVE_BATCH_DURATION.histogram(&[]).record(begun.elapsed());
        self.propose(Command::Archived { term, position }).await?;
        Ok((Claimed(claim), has_more))
    }

    async fn item(&self, position: u64, content: OutboxContent) -> Result<ArchiveItem, RoundError> {
        let content = match content {
            OutboxContent::Circuit(circuit) => ItemContent::Circuit(*circuit),
            OutboxContent::Worker(worker) => ItemContent::Worker(*worker),
            OutboxContent::Task(task) => {
                let proof = match task.state {
                    TaskState::Completed { .. } => {
                        let failed = |reason| RoundError::Proof { task: task.id, position, reason };
                        let proof = self.raft.body(BodyKey::Proof(task.id)).await;
                        let proof = proof.map_err(|error| failed(error.to_string()))?;
                        // What stands in the leader's outbox is not forgotten: either this node was deposed meanwhile, or its
                        // store lacks what it should have.
                        Some(proof.ok_or_else(|| failed("this node's store does not have it".to_owned()))?)
                    }
                    _ => None,
                };
                ItemContent::Task { task, proof }
            }
        };
        Ok(ArchiveItem { position, content })
    }

    async fn propose(&self, command: Command) -> Result<(), RoundError> {
        use crate::raft::ProposeError;
        match self.raft.propose(command).await {
            Ok(decided) => match decided.reply {
                Ok(_) => Ok(()),
                Err(crate::ledger::Rejection::StaleTerm { .. }) => Err(RoundError::NotLeading),
                Err(rejection) => Err(RoundError::Ledger(rejection.to_string())),
            },
            Err(ProposeError::NotLeader { .. } | ProposeError::Stopped) => Err(RoundError::NotLeading),
            Err(error) => Err(RoundError::Ledger(error.to_string())),
        }
    }
}
