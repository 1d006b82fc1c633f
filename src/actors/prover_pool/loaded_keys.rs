//! The keys in memory: which stay, which go, and which have tables of multiples that make their proofs cheaper.
//!
//! The least recently used go first. Tables are the first to go when memory is short, since proofs do without them. A key gets them
//! when enough of the latest proofs were made with it that they will pay, one key at a time, within what is free of the
//! limits of tables and of keys; what it is to get counts as taken while they are made. For it others lose theirs only if less than half as
//! many of the latest proofs were theirs, so that two keys do not take turns in throwing out each other's; one that lost its tables has
//! to earn new ones.

use crate::ledger::{CircuitId, Digest};
use crate::proof::ProvingKey;
use crate::telemetry::table;
use metrics::Gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Proofs after which a key gets tables. They cost as much as some tens of proofs do.
const TABLES_AFTER_PROOFS: u64 = 8;
/// When so many proofs are counted, all counts are halved: what was long ago counts no more.
const COUNTED_PROOFS_MAX: u64 = 128;

/// See the file's head.
pub(super) struct LoadedKeys {
    keys: BTreeMap<Digest, Loaded>,
    /// Most bytes of keys, their tables included.
    pub(super) bytes_max: u64,
    /// Most bytes of tables; 0 for none.
    pub(super) tables_bytes_max: u64,
    /// Counts uses; the key with the smallest number was used least recently.
    uses: u64,
    /// The key whose tables are being made, and the bytes that they will take.
    being_made: Option<(Digest, u64)>,
    count_gauge: Gauge,
    bytes_gauge: Gauge,
}

struct Loaded {
    key: Arc<ProvingKey>,
    used: u64,
    /// Of the latest proofs, those that were made with it.
    proofs: u64,
    /// Bytes that gave no tables: so few need not be tried again.
    too_few_bytes: u64,
}

impl LoadedKeys {
    pub(super) fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            bytes_max: u64::MAX,
            tables_bytes_max: 0,
            uses: 0,
            being_made: None,
            count_gauge: table::PROVER_KEYS.gauge(&[]),
            bytes_gauge: table::PROVER_KEY_BYTES.gauge(&[]),
        }
    }

    pub(super) fn get(&mut self, digest: Digest) -> Option<Arc<ProvingKey>> {
        self.uses += 1;
        let loaded = self.keys.get_mut(&digest)?;
        loaded.used = self.uses;
        Some(Arc::clone(&loaded.key))
    }

    /// Keeps a key, and lets go of tables and keys until all fit; the new one stays, whatever its size.
    pub(super) fn put(&mut self, digest: Digest, key: Arc<ProvingKey>) {
        self.uses += 1;
        self.keys.insert(digest, Loaded { key, used: self.uses, proofs: 0, too_few_bytes: 0 });
        self.make_room();
    }

    /// Counts a proof. When it is time for the key's tables, makes room for them and sets it aside: this is the most bytes to make
    /// them with, and [`Self::tables_are_made`] must be told when they are made or will not be.
    pub(super) fn proved(&mut self, digest: Digest) -> Option<u64> {
        self.keys.get_mut(&digest)?.proofs += 1;
        if self.keys.values().map(|loaded| loaded.proofs).sum::<u64>() >= COUNTED_PROOFS_MAX {
            self.keys.values_mut().for_each(|loaded| loaded.proofs /= 2);
        }
        let Loaded { key, proofs, too_few_bytes, .. } = self.keys.get(&digest)?;
        let (key, proofs, too_few_bytes) = (Arc::clone(key), *proofs, *too_few_bytes);
        let has_time_come = proofs >= TABLES_AFTER_PROOFS && key.tables_bytes() == 0;
        if self.tables_bytes_max == 0 || self.being_made.is_some() || !has_time_come {
            return None;
        }
        // Others lose only what would be of use: if all that they may lose is not enough for any, they lose nothing.
        let may_lose = |loaded: &Loaded| 2 * loaded.proofs < proofs;
        let lost =
            self.keys.values().filter(|loaded| may_lose(loaded)).map(|loaded| loaded.key.tables_bytes());
        let wanted = key.tables_bytes_for(self.free_for_tables().saturating_add(lost.sum()));
        while key.tables_bytes_for(self.free_for_tables()) < wanted && self.drop_oldest_tables(may_lose) {}
        let bytes_max = self.free_for_tables();
        let bytes = key.tables_bytes_for(bytes_max);
        if bytes <= too_few_bytes {
            return None;
        }
        self.being_made = Some((digest, bytes));
        Some(bytes_max)
    }

    /// The tables for which room was set aside are made, or will not be.
    pub(super) fn tables_are_made(&mut self) {
        let Some((digest, bytes)) = self.being_made.take() else { return };
        if let Some(loaded) = self.keys.get_mut(&digest).filter(|loaded| loaded.key.tables_bytes() == 0) {
            loaded.too_few_bytes = bytes;
        }
        self.make_room();
    }

    /// Bytes that tables could still take.
    fn free_for_tables(&self) -> u64 {
        let of_tables = self.tables_bytes_max.saturating_sub(self.tables_bytes());
        of_tables.min(self.bytes_max.saturating_sub(self.bytes()))
    }

    /// The circuits of the keys.
    pub(super) fn circuits(&self) -> BTreeSet<CircuitId> {
        let names = self.keys.values().map(|loaded| loaded.key.circuit().name);
        names.filter_map(|name| CircuitId::new(name).ok()).collect()
    }

    fn make_room(&mut self) {
        while self.bytes() > self.bytes_max && self.drop_oldest_tables(|_| true) {}
        while self.bytes() > self.bytes_max && self.keys.len() > 1 {
            let Some(oldest) = self.oldest(|_| true) else { break };
            tracing::debug!(key = %oldest, "a proving key leaves the memory");
            self.keys.remove(&oldest);
        }
        self.count_gauge.set(self.keys.len() as f64);
        self.bytes_gauge.set(self.bytes() as f64);
    }

    /// The tables of the least recently used key of those that may lose them, which has to earn new ones. Whether there were any.
    fn drop_oldest_tables(&mut self, may_lose: impl Fn(&Loaded) -> bool) -> bool {
        let oldest = self.oldest(|loaded| loaded.key.tables_bytes() > 0 && may_lose(loaded));
        let Some(loaded) = oldest.and_then(|oldest| self.keys.get_mut(&oldest)) else { return false };
        tracing::debug!(key = %loaded.key.digest(), "a proving key loses its tables");
        loaded.key.drop_tables();
        loaded.proofs = 0;
        true
    }

    fn oldest(&self, which: impl Fn(&Loaded) -> bool) -> Option<Digest> {
        let candidates = self.keys.iter().filter(|(_, loaded)| which(loaded));
        candidates.min_by_key(|(_, loaded)| loaded.used).map(|(digest, _)| *digest)
    }

    /// What all take, and what is set aside.
    fn bytes(&self) -> u64 {
        let of_keys: u64 = self.keys.values().map(|loaded| loaded.key.memory_bytes()).sum();
        let to_be_made = self.being_made.map_or(0, |(digest, bytes)| {
            // Some of them may be there already.
            bytes.saturating_sub(self.keys.get(&digest).map_or(0, |loaded| loaded.key.tables_bytes()))
        });
        of_keys + to_be_made
    }

    fn tables_bytes(&self) -> u64 {
        self.keys.values().map(|loaded| loaded.key.tables_bytes()).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::proof::catalog;

    fn key(name: &str) -> (Digest, Arc<ProvingKey>) {
        let circuit = catalog::find(name).unwrap();
        let key = ProvingKey::generate(circuit, &mut rand_core::OsRng).unwrap();
        key.prover().unwrap();
        (Digest(*key.digest().as_bytes()), Arc::new(key))
    }

    fn loaded(keys: &[&(Digest, Arc<ProvingKey>)]) -> LoadedKeys {
        let mut loaded = LoadedKeys::new();
        keys.iter().for_each(|(digest, key)| loaded.put(*digest, Arc::clone(key)));
        loaded
    }

    /// As many proofs with the key, and tables for it if it is time.
    fn prove(loaded: &mut LoadedKeys, (digest, key): &(Digest, Arc<ProvingKey>), proofs: u64) -> u64 {
        let mut made = 0;
        for _ in 0..proofs {
            loaded.get(*digest);
            if let Some(bytes_max) = loaded.proved(*digest) {
                let (_, bytes) = loaded.being_made.unwrap();
                key.make_tables(bytes_max).unwrap();
                assert_eq!(key.tables_bytes(), bytes);
                loaded.tables_are_made();
                made += 1;
            }
            assert!(loaded.tables_bytes() <= loaded.tables_bytes_max);
            assert!(loaded.bytes() <= loaded.bytes_max);
        }
        made
    }

    #[test]
    fn tables_go_before_keys_and_the_least_recently_used_first() {
        let (first, second) = (key("merkle-poseidon-4"), key("merkle-poseidon-8"));
        let mut loaded = LoadedKeys { tables_bytes_max: u64::MAX, ..loaded(&[&first, &second]) };
        for (_, key) in [&first, &second] {
            key.make_tables(4 * key.memory_bytes()).unwrap();
            assert!(key.tables_bytes() > 0);
        }
        assert!(loaded.get(first.0).is_some());

        loaded.bytes_max = loaded.bytes() - 1;
        loaded.make_room();
        assert!(
            first.1.tables_bytes() > 0 && second.1.tables_bytes() == 0,
            "the second was used less recently"
        );

        loaded.bytes_max = loaded.bytes() - 1;
        loaded.make_room();
        assert_eq!((first.1.tables_bytes(), loaded.keys.len()), (0, 2));

        loaded.bytes_max = loaded.bytes() - 1;
        loaded.make_room();
        assert_eq!(loaded.keys.keys().collect::<Vec<_>>(), [&first.0]);
    }

    #[test]
    fn a_key_gets_tables_when_they_pay_and_not_while_others_are_made() {
        let (first, second) = (key("merkle-poseidon-4"), key("merkle-poseidon-8"));
        let mut loaded = loaded(&[&first, &second]);
        assert!((1..100).all(|_| loaded.proved(first.0).is_none()), "tables are switched off");
        loaded.keys.values_mut().for_each(|loaded| loaded.proofs = 0);

        loaded.tables_bytes_max = 64 << 20;
        assert!((1..TABLES_AFTER_PROOFS).all(|_| loaded.proved(first.0).is_none()));
        loaded.proved(first.0).unwrap();
        let bytes = first.1.tables_bytes_for(64 << 20);
        assert_eq!(loaded.bytes(), first.1.memory_bytes() + second.1.memory_bytes() + bytes);
        assert!((1..50).all(|_| loaded.proved(first.0).is_none() && loaded.proved(second.0).is_none()));
        // They came to nothing, and would again.
        loaded.tables_are_made();
        assert_eq!(loaded.proved(first.0), None);
        assert!(loaded.proved(second.0).is_some());
    }

    #[test]
    fn tables_are_made_within_what_other_tables_and_keys_leave() {
        let (first, second) = (key("merkle-poseidon-4"), key("merkle-poseidon-8"));
        let mut loaded = loaded(&[&first, &second]);
        // More than one of them would take by itself, and not what both would.
        let (of_first, of_second) = (first.1.tables_bytes_for(64 << 20), second.1.tables_bytes_for(64 << 20));
        loaded.tables_bytes_max = of_first + of_second / 2;
        assert_eq!((prove(&mut loaded, &first, 10), first.1.tables_bytes()), (1, of_first));
        assert_eq!(prove(&mut loaded, &second, 10), 1);
        assert!(first.1.tables_bytes() == of_first && second.1.tables_bytes() > 0, "both have some");

        [&first, &second].iter().for_each(|(_, key)| key.drop_tables());
        // The keys leave room for fewer bytes than tables may take.
        loaded.bytes_max = loaded.bytes() + of_first / 2;
        assert_eq!(prove(&mut loaded, &first, 10), 1);
        assert!((1..=of_first / 2).contains(&first.1.tables_bytes()));
        first.1.drop_tables();
        loaded.bytes_max = loaded.bytes();
        assert_eq!(prove(&mut loaded, &first, 10), 0, "no room is left");
    }

    #[test]
    fn tables_go_from_a_key_that_is_used_little_to_one_that_is_used_much_and_back() {
        let (first, second) = (key("merkle-poseidon-4"), key("merkle-poseidon-8"));
        let mut loaded = loaded(&[&first, &second]);
        // Enough for either, and nothing is left when the first has its tables.
        let (of_first, of_second) =
            (|max| first.1.tables_bytes_for(max), |max| second.1.tables_bytes_for(max));
        let fits_one = |max: &u64| of_second(*max) > 0 && of_second(max - of_first(*max)) == 0;
        loaded.tables_bytes_max = (1..64).map(|step| step << 18).find(fits_one).unwrap();
        assert!(of_first(loaded.tables_bytes_max) > 0);
        let have = || [&first, &second].map(|(_, key)| key.tables_bytes() > 0);
        prove(&mut loaded, &first, 20);
        assert_eq!(have(), [true, false]);
        let taking_turns: u64 =
            (0..300).map(|_| prove(&mut loaded, &first, 1) + prove(&mut loaded, &second, 1)).sum();
        assert_eq!((have(), taking_turns), ([true, false], 0), "they threw out each other's");
        prove(&mut loaded, &second, 200);
        assert_eq!(have(), [false, true]);
        prove(&mut loaded, &first, 200);
        assert_eq!(have(), [true, false], "what is used much again has tables again");
    }
}
