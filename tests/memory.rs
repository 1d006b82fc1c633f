//! What a proof takes of memory against what is set aside for it: ten large ones wait for each other only if the bound is one, and
//! wait too long if it is far too high. A program of its own, since it counts every allocation.

#![allow(clippy::unwrap_used, missing_docs)]

use rand_core::OsRng;
use rayon::ThreadPoolBuilder;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use zkpnet::proof::circuits::AnyCircuit;
use zkpnet::proof::groth16::Stop;
use zkpnet::proof::{CircuitInput, MerkleWitness, ProvingKey, catalog};

/// The system's allocator with a count of the bytes that are in use, and of the most that ever were.
struct Counting;

static USED: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes on to the system's allocator as it came; counting touches no memory of the caller's.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let used = USED.fetch_add(layout.size() as u64, Ordering::Relaxed) + layout.size() as u64;
        PEAK.fetch_max(used, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        USED.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A path as long as the circuit is deep, of small siblings.
fn witness(depth: u32) -> CircuitInput {
    let sibling = |height: u32| {
        let mut sibling = [0_u8; 32];
        sibling[31] = height as u8 + 1;
        sibling.into()
    };
    CircuitInput::MerklePoseidon(MerkleWitness {
        leaf: [7; 32].into(),
        index: 0,
        path: (0..depth).map(sibling).collect(),
    })
}

/// The most bytes that one proof had in use at once, beyond what was in use before it.
fn bytes_of_a_proof(key: &ProvingKey, depth: u32) -> u64 {
    let input = witness(depth);
    let before = USED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let circuit = AnyCircuit::with_input(key.circuit(), &input).unwrap();
    key.prover().unwrap().prove(circuit, &mut OsRng, &Stop::new()).unwrap();
    PEAK.load(Ordering::Relaxed) - before
}

#[test]
fn a_proof_takes_no_more_memory_than_is_set_aside_for_it_and_not_much_less() {
    for name in ["merkle-poseidon-4", "merkle-poseidon-12", "merkle-poseidon-20"] {
        let circuit = catalog::find(name).unwrap();
        let key = ProvingKey::generate(circuit, &mut OsRng).unwrap();
        for tables in [false, true] {
            if tables {
                key.make_tables(64 << 20).unwrap();
            }
            let bound = key.prover().unwrap().proof_bound();
            for threads in [1, 2, 4] {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let used = pool.install(|| bytes_of_a_proof(&key, circuit.depth));
                let bound = bound.on(threads);
                println!("{name}, tables: {tables}, {threads} threads: {used} of {bound} bytes");
                assert!(used <= bound, "{name} took {used} bytes on {threads} threads, of {bound} set aside");
                assert!(used > bound / 16, "{name} took {used} bytes only, and {bound} are set aside");
            }
        }
    }
}
