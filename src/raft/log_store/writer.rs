//! The one thread that writes `raft.redb`. It takes everything that waits, writes it in one transaction, fsyncs once, and
//! answers all of it; so a vote and an append keep their order, and neither waits for an fsync of its own.

use super::{Keep, LOG, META, meta};
use crate::codec;
use crate::planted::{Defect, is_planted};
use crate::raft::error::StoreError;
use crate::raft::files::{DatabaseFile, lock};
use crate::raft::types::{LogId, TypeConfig};
use metrics::Histogram;
use openraft::storage::LogFlushed;
use redb::Durability;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Jobs that may wait: openraft awaits each, so a handful suffices; the bound is there so that nothing can grow.
pub(super) const QUEUE_MAX: usize = 256;

pub(super) enum Job {
    /// Entries by index, encoded. The callback is openraft's; it is called once they are on disk.
    Append { entries: Vec<(u64, Vec<u8>)>, flushed: LogFlushed<TypeConfig> },
    /// Records of the meta table, by key.
    Meta { records: Vec<(&'static str, Vec<u8>)>, done: Done },
    /// Drop the entries from this index on.
    Truncate { from: u64, done: Done },
    /// Drop the entries up to this one, and remember it.
    Purge { upto: LogId, done: Done },
}

type Done = oneshot::Sender<Result<(), Arc<StoreError>>>;

pub(super) struct Writer {
    pub(super) file: Arc<DatabaseFile>,
    pub(super) keep: Arc<Mutex<Keep>>,
    pub(super) jobs: mpsc::Receiver<Job>,
    /// Of commits of the file.
    pub(super) fsync_seconds: Histogram,
}

/// What is acknowledged is on disk.
fn durability_of(jobs: &[Job]) -> Durability {
    let are_entries = jobs.iter().all(|job| matches!(job, Job::Append { .. }));
    if are_entries && is_planted(Defect::AcknowledgeBeforeDisk) {
        return Durability::None;
    }
    Durability::Immediate
}

impl Writer {
    /// Runs until every sender is gone.
    pub(super) fn run(mut self) {
        let mut waiting = Vec::with_capacity(QUEUE_MAX);
        let mut has_failed = false;
        while self.jobs.blocking_recv_many(&mut waiting, QUEUE_MAX) > 0 {
            let result = if has_failed {
                // After a failed write the file's state is unknown: nothing more may be acknowledged.
                Err(StoreError::Failed { file: self.file.path.clone() })
            } else {
                self.commit(&waiting)
            };
            if let Err(error) = &result {
                has_failed = true;
                lock(&self.keep).fail(error);
                tracing::error!(%error, "the Raft log cannot be written");
            }
            self.answer(waiting.drain(..), result.map_err(Arc::new));
        }
        // The committed index is only a hint that saves work after a restart, so it has no fsync of its own; but a
        // clean end leaves it exact.
        if !has_failed && let Err(error) = self.commit(&[]) {
            tracing::warn!(%error, "the committed index was not saved");
        }
    }

    fn commit(&self, jobs: &[Job]) -> Result<(), StoreError> {
        let file = &*self.file;
        let committed = lock(&self.keep).committed;
        let durability = durability_of(jobs);
        let transaction = file.begin_write(durability)?;
        {
            let mut log = transaction.open_table(LOG).map_err(file.failed("writing"))?;
            let mut records = transaction.open_table(META).map_err(file.failed("writing"))?;
            for job in jobs {
                match job {
                    Job::Append { entries, .. } => {
                        for (index, frame) in entries {
                            log.insert(*index, frame.as_slice()).map_err(file.failed("writing"))?;
                        }
                    }
                    Job::Meta { records: changed, .. } => {
                        for (key, value) in changed {
                            records.insert(*key, value.as_slice()).map_err(file.failed("writing"))?;
                        }
                    }
                    Job::Truncate { from, .. } => {
                        log.retain_in(*from.., |_, _| false).map_err(file.failed("writing"))?;
                    }
                    Job::Purge { upto, .. } => {
                        log.retain_in(..=upto.index, |_, _| false).map_err(file.failed("writing"))?;
                        let frame = codec::encode(upto)?;
                        records.insert(meta::PURGED, frame.as_slice()).map_err(file.failed("writing"))?;
                    }
                }
            }
            if let Some(committed) = committed {
                let frame = codec::encode(&committed)?;
                records.insert(meta::COMMITTED, frame.as_slice()).map_err(file.failed("writing"))?;
            }
        }
        let began = Instant::now();
        transaction.commit().map_err(file.failed("writing"))?;
        self.fsync_seconds.record(began.elapsed());
        Ok(())
    }

    fn answer(&self, jobs: impl Iterator<Item = Job>, result: Result<(), Arc<StoreError>>) {
        for job in jobs {
            match job {
                Job::Append { entries, flushed } => {
                    if let (Ok(()), Some((last, _))) = (&result, entries.last()) {
                        lock(&self.keep).tail.flushed(last + 1);
                    }
                    flushed.log_io_completed(result.clone().map_err(std::io::Error::other));
                }
                Job::Meta { done, .. } | Job::Truncate { done, .. } | Job::Purge { done, .. } => {
                    // Whoever asked may have been cancelled; the write stands.
                    let _ = done.send(result.clone());
                }
            }
        }
    }
}
