//! What is known of the log without touching the disk: its bounds, the size of every entry, and the newest entries
//! themselves, up to a number of bytes. An entry that is not flushed yet is always among them, because openraft may read
//! it as soon as `append` has returned.

use crate::raft::types::{Entry, LogId};
use std::collections::{BTreeMap, VecDeque};

/// The log's index of itself.
#[derive(Debug)]
pub(super) struct Tail {
    /// The index of the first entry that is kept; that of the next entry while there is none.
    first: u64,
    /// For each entry the sum of the sizes up to and including it; 8 bytes an entry.
    ends: VecDeque<u64>,
    /// The sum of the sizes of everything before `first`.
    base: u64,
    /// The newest entries, with their sizes.
    cached: BTreeMap<u64, (Entry, u64)>,
    cached_bytes: u64,
    cached_bytes_max: u64,
    /// Entries below this index are on disk.
    flushed_end: u64,
    last: Option<LogId>,
}

impl Tail {
    pub(super) fn new(cached_bytes_max: u64) -> Self {
        Self {
            first: 0,
            ends: VecDeque::new(),
            base: 0,
            cached: BTreeMap::new(),
            cached_bytes: 0,
            cached_bytes_max,
            flushed_end: 0,
            last: None,
        }
    }

    /// The index after the last entry.
    pub(super) fn end(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn last(&self) -> Option<LogId> {
        self.last
    }

    /// Whether an entry of this index may follow. An empty log may begin anywhere if it was never written to, and
    /// otherwise before its end, which leaves no hole (openraft's suite does so, openraft does not).
    pub(super) fn accepts(&self, index: u64) -> bool {
        index == self.end() || (self.ends.is_empty() && (self.first == 0 || index < self.first))
    }

    /// Takes the next entry; the caller has asked [`Self::accepts`].
    pub(super) fn push(&mut self, entry: Entry, bytes: u64) {
        if self.ends.is_empty() {
            self.first = entry.log_id.index;
            self.flushed_end = self.flushed_end.min(self.first);
        }
        self.last = Some(entry.log_id);
        self.ends.push_back(self.total() + bytes);
        self.cached_bytes += bytes;
        self.cached.insert(entry.log_id.index, (entry, bytes));
    }

    /// Everything below `end` has reached the disk: it need not be kept in memory any longer.
    pub(super) fn flushed(&mut self, end: u64) {
        self.flushed_end = self.flushed_end.max(end.min(self.end()));
        while self.cached_bytes > self.cached_bytes_max {
            match self.cached.first_key_value() {
                Some((&index, _)) if index < self.flushed_end => self.forget(index),
                _ => break,
            }
        }
    }

    /// Drops the entries from `index` on; `previous` is what is then the last one, if the cache holds it no longer.
    pub(super) fn truncate(&mut self, index: u64, previous: Option<LogId>) {
        while self.cached.last_key_value().is_some_and(|(&last, _)| last >= index) {
            if let Some((_, (_, bytes))) = self.cached.pop_last() {
                self.cached_bytes -= bytes;
            }
        }
        self.ends.truncate(usize::try_from(index.saturating_sub(self.first)).unwrap_or(usize::MAX));
        self.flushed_end = self.flushed_end.min(self.end());
        self.last = if self.ends.is_empty() {
            None
        } else {
            self.cached.last_key_value().map(|(_, (entry, _))| entry.log_id).or(previous)
        };
    }

    /// Drops the entries up to and including `index`.
    pub(super) fn purge(&mut self, index: u64) {
        while self.cached.first_key_value().is_some_and(|(&first, _)| first <= index) {
            if let Some((_, (_, bytes))) = self.cached.pop_first() {
                self.cached_bytes -= bytes;
            }
        }
        while self.first <= index {
            match self.ends.pop_front() {
                Some(end) => self.base = end,
                None => break,
            }
            self.first += 1;
        }
        self.first = self.first.max(index + 1);
        if self.ends.is_empty() {
            self.last = None;
        }
    }

    /// Bytes of the entries after `index`.
    pub(super) fn bytes_after(&self, index: Option<u64>) -> u64 {
        let end = index.map_or(self.base, |index| self.end_of(index));
        self.total() - end
    }

    /// See `LogProgress::purge_point`.
    pub(super) fn purge_point(&self, snapshot: u64, bytes_max: u64) -> Option<u64> {
        let covered = self.end_of(snapshot);
        if snapshot < self.first || covered - self.base <= bytes_max {
            return None;
        }
        // The first entry after which little enough remains.
        let at = self.ends.partition_point(|&end| covered.saturating_sub(end) > bytes_max) as u64;
        Some((self.first + at).min(snapshot))
    }

    /// Where a run from `start` must end (before `end`) to hold at most `bytes_max`, one entry at least.
    pub(super) fn limit(&self, start: u64, end: u64, bytes_max: u64) -> u64 {
        let end = end.min(self.end());
        if start < self.first || start >= end {
            return end;
        }
        let before = if start == self.first { self.base } else { self.end_of(start - 1) };
        let from = usize::try_from(start - self.first).unwrap_or(usize::MAX);
        let fitting =
            self.ends.iter().skip(from).take_while(|&&sum| sum - before <= bytes_max).count() as u64;
        end.min(start + fitting.max(1))
    }

    /// The entries of `[start, end)` that are in memory, if that includes the first of them.
    pub(super) fn cached(&self, start: u64, end: u64) -> Option<Vec<Entry>> {
        self.cached
            .contains_key(&start)
            .then(|| self.cached.range(start..end).map(|(_, (entry, _))| entry.clone()).collect())
    }

    /// The first index in memory.
    pub(super) fn cached_first(&self) -> u64 {
        self.cached.first_key_value().map_or_else(|| self.end(), |(&index, _)| index)
    }

    fn forget(&mut self, index: u64) {
        if let Some((_, bytes)) = self.cached.remove(&index) {
            self.cached_bytes -= bytes;
        }
    }

    fn total(&self) -> u64 {
        self.ends.back().copied().unwrap_or(self.base)
    }

    /// The sum of sizes up to and including `index`, clamped to what is kept.
    fn end_of(&self, index: u64) -> u64 {
        if index < self.first {
            return self.base;
        }
        let at = usize::try_from(index - self.first).unwrap_or(usize::MAX);
        self.ends.get(at).copied().unwrap_or_else(|| self.total())
    }
}
