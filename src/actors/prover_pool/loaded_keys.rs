//! The keys in memory: which stay, which go, and which have tables of multiples that make their proofs cheaper.
//!
//! The least recently used go first. Tables are the first to go when memory is short, since proofs do without them; a key gets them
//! when enough proofs have asked for it that they will pay, and one that lost them does not get them again until it
//! is loaded anew, so that two keys do not take turns in throwing out each other's.

use crate::ledger::{CircuitId, Digest};
use crate::proof::ProvingKey;
use crate::telemetry::table;
use metrics::Gauge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Proofs after which a key gets tables. They cost as much as some tens of proofs do.
const TABLES_AFTER_PROOFS: u64 = 8;

/// See the file's head.
pub(super) struct LoadedKeys {
    keys: BTreeMap<Digest, Loaded>,
    /// Most bytes of keys, their tables included.
    pub(super) bytes_max: u64,
    /// Most bytes of tables; 0 for none.
    pub(super) tables_bytes_max: u64,
    /// Counts uses; the key with the smallest number was used least recently.
    uses: u64,
    count_gauge: Gauge,
    bytes_gauge: Gauge,
}

struct Loaded {
    key: Arc<ProvingKey>,
    used: u64,
    proofs: u64,
}

impl LoadedKeys {
    pub(super) fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            bytes_max: u64::MAX,
            tables_bytes_max: 0,
            uses: 0,
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
        self.keys.insert(digest, Loaded { key, used: self.uses, proofs: 0 });
        self.make_room();
    }

    /// Counts a proof. Says yes once for each key: when it is time for its tables.
    pub(super) fn is_time_for_tables(&mut self, digest: Digest) -> bool {
        let Some(loaded) = self.keys.get_mut(&digest) else { return false };
        loaded.proofs += 1;
        self.tables_bytes_max > 0 && loaded.proofs == TABLES_AFTER_PROOFS
    }

    /// A key has new tables: others lose theirs until all fit.
    pub(super) fn has_tables(&mut self) {
        while self.tables_bytes() > self.tables_bytes_max && self.drop_oldest_tables() {}
        self.make_room();
    }

    /// The circuits of the keys.
    pub(super) fn circuits(&self) -> BTreeSet<CircuitId> {
        let names = self.keys.values().map(|loaded| loaded.key.circuit().name);
        names.filter_map(|name| CircuitId::new(name).ok()).collect()
    }

    fn make_room(&mut self) {
        while self.bytes() > self.bytes_max && self.drop_oldest_tables() {}
        while self.bytes() > self.bytes_max && self.keys.len() > 1 {
            let Some(oldest) = self.oldest(|_| true) else { break };
            tracing::debug!(key = %oldest, "a proving key leaves the memory");
            self.keys.remove(&oldest);
        }
        self.count_gauge.set(self.keys.len() as f64);
        self.bytes_gauge.set(self.bytes() as f64);
    }

    /// Whether there were any.
    fn drop_oldest_tables(&self) -> bool {
        let oldest = self.oldest(|loaded| loaded.key.tables_bytes() > 0);
        let Some(loaded) = oldest.and_then(|oldest| self.keys.get(&oldest)) else { return false };
        tracing::debug!(key = %loaded.key.digest(), "a proving key loses its tables");
        loaded.key.drop_tables();
        true
    }

    fn oldest(&self, which: impl Fn(&Loaded) -> bool) -> Option<Digest> {
        let candidates = self.keys.iter().filter(|(_, loaded)| which(loaded));
        candidates.min_by_key(|(_, loaded)| loaded.used).map(|(digest, _)| *digest)
    }

    fn bytes(&self) -> u64 {
        self.keys.values().map(|loaded| loaded.key.memory_bytes()).sum()
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

    #[test]
    fn tables_go_before_keys_and_the_least_recently_used_first() {
        let (first, second) = (key("merkle-poseidon-4"), key("merkle-poseidon-8"));
        let mut loaded = LoadedKeys { tables_bytes_max: u64::MAX, ..LoadedKeys::new() };
        for (digest, key) in [&first, &second] {
            loaded.put(*digest, Arc::clone(key));
            key.make_tables(4 * key.memory_bytes()).unwrap();
            assert!(key.tables_bytes() > 0);
            loaded.has_tables();
        }
        assert!(loaded.get(first.0).is_some());

        loaded.tables_bytes_max = first.1.tables_bytes();
        loaded.has_tables();
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
    fn a_key_is_told_once_that_tables_pay() {
        let (digest, key) = key("merkle-poseidon-4");
        let mut loaded = LoadedKeys { tables_bytes_max: 1, ..LoadedKeys::new() };
        loaded.put(digest, key);
        let told = (1..100).filter(|_| loaded.is_time_for_tables(digest)).count();
        assert_eq!(told, 1);
        loaded.tables_bytes_max = 0;
        assert!((1..100).all(|_| !loaded.is_time_for_tables(digest)));
    }
}
