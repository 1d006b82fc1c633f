//! What a proof takes of memory against what is set aside for it: ten large ones wait for each other only if the bound is one, and
//! wait too long if it is far too high. A program of its own, since it counts every allocation.

#![allow(clippy::unwrap_used, missing_docs)]

use bellman::groth16::{Parameters, generate_random_parameters};
use bellman::{Circuit, ConstraintSystem, SynthesisError};
use blstrs::{Bls12, Scalar};
use rand_core::OsRng;
use rayon::ThreadPoolBuilder;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use zkpnet::proof::circuits::AnyCircuit;
use zkpnet::proof::groth16::{Instructions, Stop};
use zkpnet::proof::{CircuitInput, MerkleWitness, Prover, ProvingKey, catalog};

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

/// A circuit of nothing but bits: most scalars of its sums are 0 or 1.
#[derive(Clone)]
struct Bits {
    count: usize,
    seed: Option<u64>,
}

impl Circuit<Scalar> for Bits {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        for place in 0..self.count as u64 {
            // Half of them, in no pattern.
            let is_set = |seed: u64| (seed ^ place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63;
            let value = self.seed.map(|seed| Scalar::from(is_set(seed)));
            let bit = cs.alloc(|| "bit", || value.ok_or(SynthesisError::AssignmentMissing))?;
            cs.enforce(|| "bit", |lc| lc + bit, |lc| lc + CS::one() - bit, |lc| lc);
        }
        Ok(())
    }
}

/// The most bytes that one proof had in use at once, beyond what was in use before it.
fn bytes_of_a_proof(prover: &Prover, circuit: impl Fn() -> AnyKind) -> u64 {
    let before = USED.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let (rng, stop) = (&mut OsRng, Stop::new());
    match circuit() {
        AnyKind::Merkle(circuit) => drop(prover.prove(circuit, rng, &stop).unwrap()),
        AnyKind::Bits(circuit) => drop(prover.prove(circuit, rng, &stop).unwrap()),
    }
    PEAK.load(Ordering::Relaxed) - before
}

enum AnyKind {
    Merkle(AnyCircuit<Scalar>),
    Bits(Bits),
}

/// Proofs of one circuit, in every way that they are made.
fn assert_bounds(
    name: &str,
    prover_with: impl Fn(Instructions) -> Prover,
    parameters: &Parameters<Bls12>,
    circuit: impl Fn() -> AnyKind + Sync,
    slack_max: u64,
) {
    for instructions in [Instructions::Best, Instructions::Avx2, Instructions::Portable] {
        let prover = prover_with(instructions);
        for tables in [false, true] {
            if tables {
                prover.make_tables(parameters, 32 << 20);
            }
            let bound = prover.proof_bound();
            for threads in [1, 2, 4] {
                let pool = ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let used = pool.install(|| bytes_of_a_proof(&prover, &circuit));
                let bound = bound.on(threads);
                let how = format!("{name}, {instructions:?}, tables: {tables}, {threads} threads");
                println!("{how}: {used} of {bound} bytes, {:.2}", bound as f64 / used as f64);
                assert!(used <= bound, "{how}: took {used} bytes, of {bound} set aside");
                assert!(used > bound / slack_max, "{how}: took {used} bytes only, and {bound} are set aside");
            }
        }
    }
}

/// Every allocation of the program is counted: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn a_proof_takes_no_more_memory_than_is_set_aside_for_it_and_not_much_less() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for name in ["merkle-poseidon-4", "merkle-poseidon-12", "merkle-poseidon-20"] {
        let spec = catalog::find(name).unwrap();
        let mut bytes = Vec::new();
        ProvingKey::generate(spec, &mut OsRng).unwrap().write(&mut bytes).unwrap();
        let parameters = Parameters::read(&bytes[..], false).unwrap();
        drop(bytes);
        let input = witness(spec.depth);
        assert_bounds(
            name,
            |instructions| {
                Prover::with_instructions(AnyCircuit::blank(spec), &parameters, instructions).unwrap()
            },
            &parameters,
            || AnyKind::Merkle(AnyCircuit::with_input(spec, &input).unwrap()),
            16,
        );
    }
}

#[test]
fn a_proof_about_bits_takes_no_more_memory_than_is_set_aside_for_it() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let circuit = Bits { count: 6000, seed: Some(3) };
    let blank = Bits { seed: None, ..circuit.clone() };
    let parameters: Parameters<Bls12> = generate_random_parameters(blank.clone(), &mut OsRng).unwrap();
    assert_bounds(
        "bits",
        |instructions| Prover::with_instructions(blank.clone(), &parameters, instructions).unwrap(),
        &parameters,
        || AnyKind::Bits(circuit.clone()),
        // The bound is for scalars of full length.
        64,
    );
}
