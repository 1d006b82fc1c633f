//! Applying small entries on the thread that asks for it. Most entries carry a command or two, which take microseconds; handing
//! them to a blocking thread and being woken by it takes longer, twice for every task while somebody waits.
//!
//! Refused, and left to a blocking thread: whatever could wait for a file or for a reader of the ledger, and commands that touch
//! more than one task.

use super::super::error::StoreError;
use super::super::types::{Applied, Entry};
use super::{Core, RUN_BYTES_MAX, WRITE_AFTER_ENTRIES};
use crate::ledger::Command;
use openraft::EntryPayload;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Commands that are applied at once, some ten microseconds each: far less than a heartbeat's room.
const COMMANDS_MAX: usize = 16;

/// Whether a command touches one task at most. What sweeps deadlines, takes all leases of a worker or begins an archive may touch
/// thousands.
const fn is_of_one_task(command: &Command) -> bool {
    match command {
        Command::SubmitTask(_)
        | Command::CancelTask { .. }
        | Command::GrantLease { .. }
        | Command::StartAttempt { .. }
        | Command::CompleteTask { .. }
        | Command::FailAttempt { .. }
        | Command::ReturnLease { .. }
        | Command::ExpireLease { .. } => true,
        Command::SetPolicy(_)
        | Command::RegisterCircuit(_)
        | Command::RegisterWorker { .. }
        | Command::DrainWorker { .. }
        | Command::LoseWorker { .. }
        | Command::AdvanceClock { .. }
        | Command::SetArchive(_)
        | Command::Archived { .. }
        | Command::Rearchive { .. } => false,
    }
}

fn is_small(entry: &Entry) -> bool {
    match &entry.payload {
        EntryPayload::Normal(batch) => {
            batch.commands.len() <= COMMANDS_MAX && batch.commands.iter().all(is_of_one_task)
        }
        EntryPayload::Blank | EntryPayload::Membership(_) => true,
    }
}

impl Core {
    /// Applies the entry, if it is one and that waits for nothing; none if it could.
    pub(super) fn apply_at_once(&self, entries: &[Entry]) -> Option<Result<Vec<Applied>, StoreError>> {
        let began = Instant::now();
        let [entry] = entries else { return None };
        if !is_small(entry) {
            return None;
        }
        // Whoever holds it may be writing the file. One that a panic has poisoned is the blocking thread's to tell of.
        let mut state = self.state.try_lock().ok()?;
        // The entry that fills a transaction has the file written, which is not done here. Its bodies may pass the
        // half by as much as one entry holds.
        if state.unwritten_entries + 1 >= WRITE_AFTER_ENTRIES || self.pending_bytes() >= RUN_BYTES_MAX / 2 {
            return None;
        }
        let ledger = self.ledger.try_write().ok()?;
        let apply = || {
            self.note_begin()?;
            let (events, applied) = self.apply_run(entries, &mut state, ledger)?;
            events.into_iter().for_each(|events| self.events.send(events));
            self.note_end();
            self.times.apply.record(began.elapsed());
            Ok(applied)
        };
        // As on a blocking thread a panic is an error, at which openraft stops.
        let failed = |_| Err(StoreError::Failed { file: self.store.file.path.clone() });
        Some(catch_unwind(AssertUnwindSafe(apply)).unwrap_or_else(failed))
    }
}
