//! One hash over the whole applied ledger, kept up to date entry by entry, so that replicas can be compared at an index
//! without stopping any of them.
//!
//! It is the sum, modulo 2^256, of the BLAKE3 hashes of all records, each hashed with its key. A sum does not depend on the
//! order in which records came about, so a replica that restarted, or was given a snapshot, arrives at the same hash as one
//! that applied every entry; and a changed record costs one subtraction and one addition. It is made to find replicas that
//! diverged by a bug or a failing disk. Against somebody who can choose records at will such a sum is not collision-proof,
//! and nothing is authenticated by it.

use crate::codec::{self, CodecError};
use crate::ledger::{Digest, Ledger, LogIndex, Record, RecordKey};
use std::collections::{BTreeMap, VecDeque};

/// Entries whose hash is remembered: some seconds of a busy log, so that a replica that lags a little is still compared.
const REMEMBERED_MAX: usize = 4096;

/// The hash, its parts, and what it was.
#[derive(Debug, Default)]
pub(super) struct StateHash {
    sum: Sum,
    records: BTreeMap<RecordKey, Sum>,
    remembered: VecDeque<(LogIndex, Digest)>,
}

impl StateHash {
    /// The hash of a ledger that was read from a disk or a snapshot, after entry `index`.
    pub(super) fn of(ledger: &Ledger, index: Option<LogIndex>) -> Result<Self, CodecError> {
        let mut hash = Self::default();
        for record in ledger.records() {
            let frame = codec::encode(&record)?;
            hash.change(&record.key(), Some(&frame));
        }
        if let Some(index) = index {
            hash.remember(index);
        }
        Ok(hash)
    }

    /// Takes over a record's new content, encoded, or that it is gone.
    pub(super) fn change(&mut self, key: &RecordKey, frame: Option<&[u8]>) {
        let before = match frame {
            Some(frame) => {
                let part = Sum::of(key, frame);
                self.sum.add(part);
                self.records.insert(key.clone(), part)
            }
            None => self.records.remove(key),
        };
        if let Some(before) = before {
            self.sum.subtract(before);
        }
    }

    /// Remembers the present hash as the one after entry `index`.
    pub(super) fn remember(&mut self, index: LogIndex) {
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.pop_front();
        }
        self.remembered.push_back((index, self.sum.digest()));
    }

    /// The hash after the newest entry.
    pub(super) fn newest(&self) -> Option<(LogIndex, Digest)> {
        self.remembered.back().copied()
    }

    /// The hash after this entry, if it is remembered.
    pub(super) fn at(&self, index: LogIndex) -> Option<Digest> {
        let found = self.remembered.binary_search_by_key(&index, |(index, _)| *index).ok()?;
        self.remembered.get(found).map(|(_, digest)| *digest)
    }
}

/// The hash of records that pass by one after the other, in any order, as they are stored.
#[derive(Debug, Default)]
pub(super) struct PassingHash(Sum);

impl PassingHash {
    pub(super) fn add(&mut self, key: &[u8], frame: &[u8]) {
        self.0.add(Sum::of_stored(key, frame));
    }

    pub(super) fn digest(&self) -> Digest {
        self.0.digest()
    }
}

/// Encodes a record as it is stored and hashed.
pub(super) fn frame_of(record: Option<&Record>) -> Result<Option<Vec<u8>>, CodecError> {
    record.map(codec::encode).transpose()
}

/// A number of 256 bits, the lowest 64 first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum([u64; 4]);

impl Sum {
    fn of(key: &RecordKey, frame: &[u8]) -> Self {
        Self::of_stored(&super::ledger_store::record_key(key), frame)
    }

    fn of_stored(key: &[u8], frame: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        // The length keeps a key and the beginning of a value apart.
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key);
        hasher.update(frame);
        let hash = hasher.finalize();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(hash.as_bytes().as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Self(words)
    }

    fn add(&mut self, other: Self) {
        let mut carry = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (sum, first) = word.overflowing_add(other);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = first || second;
        }
    }

    fn subtract(&mut self, other: Self) {
        let mut borrow = false;
        for (word, other) in self.0.iter_mut().zip(other.0) {
            let (rest, first) = word.overflowing_sub(other);
            let (rest, second) = rest.overflowing_sub(u64::from(borrow));
            *word = rest;
            borrow = first || second;
        }
    }

    fn digest(self) -> Digest {
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *chunk = word.to_le_bytes();
        }
        Digest(bytes)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::ledger::TaskId;

    fn key(number: u128) -> RecordKey {
        RecordKey::Task(TaskId(uuid::Uuid::from_u128(number)))
    }

    #[test]
    fn the_order_of_changes_does_not_matter_and_their_content_does() {
        let (mut one, mut other) = (StateHash::default(), StateHash::default());
        for number in 0..200 {
            one.change(&key(number), Some(&number.to_le_bytes()));
        }
        for number in (0..300).rev() {
            other.change(&key(number), Some(b"what it was before"));
            other.change(&key(number), Some(&number.to_le_bytes()));
        }
        assert_ne!(one.sum, other.sum, "100 records more");
        for number in 200..300 {
            other.change(&key(number), None);
        }
        assert_eq!(one.sum, other.sum);
        other.change(&key(7), Some(&8_u128.to_le_bytes()));
        assert_ne!(one.sum, other.sum, "one record differs");
    }

    #[test]
    fn the_content_of_two_records_cannot_be_swapped_unseen() {
        let (mut one, mut other) = (StateHash::default(), StateHash::default());
        one.change(&key(1), Some(b"a"));
        one.change(&key(2), Some(b"b"));
        other.change(&key(1), Some(b"b"));
        other.change(&key(2), Some(b"a"));
        assert_ne!(one.sum, other.sum);
    }

    #[test]
    fn carries_and_borrows_run_through_all_words() {
        let one = Sum([1, 0, 0, 0]);
        let mut sum = Sum([u64::MAX; 4]);
        sum.add(one);
        assert_eq!(sum, Sum::default());
        sum.subtract(one);
        assert_eq!(sum, Sum([u64::MAX; 4]));
    }

    #[test]
    fn a_hash_is_remembered_for_as_many_entries_as_promised() {
        let mut hash = StateHash::default();
        for index in 0..=REMEMBERED_MAX as u64 {
            hash.change(&key(u128::from(index)), Some(b"x"));
            hash.remember(LogIndex(index));
        }
        assert_eq!(hash.at(LogIndex(0)), None);
        assert!(hash.at(LogIndex(1)).is_some());
        assert_eq!(hash.newest().map(|(_, digest)| digest), hash.at(LogIndex(REMEMBERED_MAX as u64)));
        assert_ne!(hash.at(LogIndex(1)), hash.at(LogIndex(2)));
    }
}
