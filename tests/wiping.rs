//! What proofs and the making of keys leave in memory that they give back: nothing of the witness, and nothing of the toxic values. A
//! program of its own, since it looks into every block that is freed.

#![allow(clippy::unwrap_used, missing_docs)]

use bellman::groth16::{Parameters, generate_random_parameters};
use bellman::{Circuit, ConstraintSystem, SynthesisError};
use blst::blst_fr;
use blstrs::{Bls12, Scalar};
use ff::{Field, PrimeField};
use rand_chacha::ChaCha20Rng;
use rand_core::{OsRng, SeedableRng};
use rayon::ThreadPoolBuilder;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use zkpnet::proof::groth16::{Instructions, Stop};
use zkpnet::proof::{Bytes32, CircuitInput, MerkleWitness, Prover, ProvingKey, catalog};

/// The system's allocator, which gives memory that is all zeros, and looks at what comes back.
struct Looking;

/// Looks for values in all blocks, or for any at all in large ones.
static LOOKS_FOR_VALUES: AtomicBool = AtomicBool::new(false);
static LOOKS_FOR_ANYTHING: AtomicBool = AtomicBool::new(false);
/// Blocks in which something was found, and the size of one of them.
static FOUND: AtomicUsize = AtomicUsize::new(0);
static FOUND_BYTES: AtomicU64 = AtomicU64::new(0);
static VALUES: Values = Values(UnsafeCell::new(Wanted { values: Vec::new(), begins: [false; 1 << 16] }));

/// What is looked for. Written while nobody looks.
struct Values(UnsafeCell<Wanted>);

/// Some values of 16 bytes or more.
struct Wanted {
    values: Vec<Vec<u8>>,
    /// Whether any begins with these two bytes.
    begins: [bool; 1 << 16],
}

// SAFETY: written only under `serial` while `LOOKS_FOR_VALUES` is false, and read only while it is true.
#[allow(unsafe_code)]
unsafe impl Sync for Values {}

/// Large enough that what the libraries need for themselves is not among it.
const LARGE: usize = 1024;

/// Whether a block is full of something. Pointers and lengths that outlive what they led to are mostly zeros.
fn is_full(block: &[u8]) -> bool {
    block.iter().filter(|byte| **byte != 0).count() > block.len() / 8
}

fn holds_a_value(block: &[u8], wanted: &Wanted) -> bool {
    // No value begins at an odd place.
    let mut pairs = block.as_chunks::<2>().0.iter().enumerate();
    pairs.any(|(pair, bytes)| {
        let may_begin = wanted.begins[usize::from(u16::from_le_bytes(*bytes))];
        may_begin && wanted.values.iter().any(|value| block[2 * pair..].starts_with(value))
    })
}

// SAFETY: every call goes on to the system's allocator; what is looked at is a block that its owner has given up and nobody has yet.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Looking {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the block is as long as its layout says, and was all written when it was allocated.
        let block = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
        let is_found = LOOKS_FOR_ANYTHING.load(Ordering::SeqCst) && block.len() >= LARGE && is_full(block)
            // SAFETY: nobody writes while this is true.
            || LOOKS_FOR_VALUES.load(Ordering::SeqCst) && holds_a_value(block, unsafe { &*VALUES.0.get() });
        if is_found {
            FOUND.fetch_add(1, Ordering::SeqCst);
            FOUND_BYTES.store(layout.size() as u64, Ordering::SeqCst);
        }
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Looking = Looking;

/// One test looks at a time.
fn serial() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something, and says in how many blocks that were freed meanwhile something was found, and how large one of them was.
fn found_in(looks: &AtomicBool, work: impl FnOnce()) -> (usize, u64) {
    FOUND.store(0, Ordering::SeqCst);
    FOUND_BYTES.store(0, Ordering::SeqCst);
    looks.store(true, Ordering::SeqCst);
    work();
    looks.store(false, Ordering::SeqCst);
    (FOUND.load(Ordering::SeqCst), FOUND_BYTES.load(Ordering::SeqCst))
}

fn look_for(values: Vec<Vec<u8>>) {
    // SAFETY: under `serial`, while nobody looks.
    #[allow(unsafe_code)]
    let wanted = unsafe { &mut *VALUES.0.get() };
    wanted.begins.fill(false);
    for value in &values {
        wanted.begins[usize::from(u16::from_le_bytes([value[0], value[1]]))] = true;
    }
    wanted.values = values;
}

/// A scalar as it is in memory, as an integer and as it is written.
fn forms_of(scalar: &Scalar) -> Vec<Vec<u8>> {
    let in_memory = blst_fr::from(*scalar).l.iter().flat_map(|word| word.to_le_bytes()).collect();
    vec![in_memory, scalar.to_bytes_le().to_vec(), scalar.to_bytes_be().to_vec()]
}

/// Squares of squares, and bits between them; allocates nothing while it computes its witness.
#[derive(Clone)]
struct Squares {
    steps: usize,
    first: Option<Scalar>,
}

impl Circuit<Scalar> for Squares {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let given = |value: Option<Scalar>| move || value.ok_or(SynthesisError::AssignmentMissing);
        let mut value = self.first;
        let mut last = cs.alloc(|| "first", given(value))?;
        for step in 0..self.steps {
            let square = value.map(|value| value.square());
            let next = cs.alloc(|| "square", given(square))?;
            cs.enforce(|| "square", |lc| lc + last, |lc| lc + last, |lc| lc + next);
            let bit = cs.alloc(|| "bit", given(value.map(|_| Scalar::from(step as u64 % 2))))?;
            cs.enforce(|| "bit", |lc| lc + bit, |lc| lc + CS::one() - bit, |lc| lc);
            (last, value) = (next, square);
        }
        let output = cs.alloc_input(|| "output", given(value))?;
        cs.enforce(|| "output", |lc| lc + last, |lc| lc + CS::one(), |lc| lc + output);
        Ok(())
    }
}

#[test]
fn a_proof_overwrites_all_memory_that_it_gives_back() {
    let _serial = serial();
    let blank = Squares { steps: 1000, first: None };
    let parameters: Parameters<Bls12> = generate_random_parameters(blank.clone(), &mut OsRng).unwrap();
    let circuit = Squares { first: Some(Scalar::random(&mut OsRng)), ..blank.clone() };
    // Kept to the end: a thread that ends leaves lists of functions to call, which are given back whenever another one comes by.
    let pools = [1, 2].map(|threads| ThreadPoolBuilder::new().num_threads(threads).build().unwrap());
    for instructions in [Instructions::Best, Instructions::Avx2, Instructions::Portable] {
        let prover = Prover::with_instructions(blank.clone(), &parameters, instructions).unwrap();
        for tables in [false, true] {
            if tables {
                prover.make_tables(&parameters, 8 << 20);
            }
            for pool in &pools {
                let prove = || prover.prove(circuit.clone(), &mut OsRng, &Stop::new()).map(|_| ()).unwrap();
                // What is made once for all proofs is no proof's.
                pool.install(prove);
                let found = pool.install(|| found_in(&LOOKS_FOR_ANYTHING, prove));
                let threads = pool.current_num_threads();
                let how = format!("{instructions:?}, tables: {tables}, {threads} threads");
                assert_eq!(found.0, 0, "{how}: blocks with something in them, one of {} bytes", found.1);
            }
        }
    }
}

#[test]
fn no_memory_that_is_given_back_holds_the_leaf_or_its_path() {
    let _serial = serial();
    let key = ProvingKey::generate(catalog::find("merkle-poseidon-4").unwrap(), &mut OsRng).unwrap();
    let mut leaves: Vec<Bytes32> =
        (0..9).map(|_| Bytes32::from_scalar(&Scalar::random(&mut OsRng))).collect();
    let witness = MerkleWitness::open(&leaves, 5).unwrap();
    let secrets = witness.path.iter().chain(&leaves).flat_map(|bytes| {
        forms_of(&bytes.to_scalar::<Scalar>().unwrap()).into_iter().chain([bytes.as_bytes().to_vec()])
    });
    let halves = leaves.iter().flat_map(|leaf| {
        let (high, low) = leaf.halves();
        // A short integer is no secret by its zeros alone: as it is in memory.
        [high, low].map(|half| forms_of(&Scalar::from_u128(half)).swap_remove(0))
    });
    look_for(secrets.chain(halves).collect());
    drop(witness);
    let (found, bytes) = found_in(&LOOKS_FOR_VALUES, || {
        let witness = MerkleWitness::open(&leaves, 5).unwrap();
        let root = witness.root().unwrap();
        let input = CircuitInput::MerklePoseidon(witness);
        input.check(key.circuit()).unwrap();
        let proof = key.prove(&input).unwrap();
        assert_eq!(key.verifying_key().verify(&proof, &[root]), Ok(true));
        // The leaves themselves are the caller's.
        leaves.fill(Bytes32::new([0; 32]));
        leaves = Vec::new();
    });
    assert_eq!(found, 0, "blocks with a value of the witness, one of {bytes} bytes");
    look_for(Vec::new());
}

/// The lowest eight digits of a scalar, or of its negative if that is smaller, in windows of so many bits.
fn lowest_digits(scalar: &Scalar, window_bits: u32) -> Vec<u8> {
    let negative = -*scalar;
    let is_negated = negative.to_bytes_be() < scalar.to_bytes_be();
    let smaller = if is_negated { negative } else { *scalar };
    let low = u128::from_le_bytes(smaller.to_bytes_le()[..16].try_into().unwrap());
    let mut carry = 0i32;
    (0..8)
        .flat_map(|window| {
            let digit = (low >> (window * window_bits)) as i32 & ((1 << window_bits) - 1);
            let mut digit = digit + carry;
            carry = i32::from(digit > 1 << (window_bits - 1));
            digit -= carry << window_bits;
            (if is_negated { -digit } else { digit } as i16).to_le_bytes()
        })
        .collect()
}

#[test]
fn no_memory_that_a_keys_making_gives_back_holds_a_toxic_value() {
    let _serial = serial();
    let circuit = catalog::find("merkle-poseidon-4").unwrap();
    let rng = || ChaCha20Rng::seed_from_u64(7);
    let toxic: Vec<Scalar> = {
        let mut rng = rng();
        (0..5).map(|_| Scalar::random(&mut rng)).collect()
    };
    let digits = toxic.iter().flat_map(|scalar| (6..=15).map(|bits| lowest_digits(scalar, bits)));
    look_for(toxic.iter().flat_map(forms_of).chain(digits).collect());
    let (found, bytes) = found_in(&LOOKS_FOR_VALUES, || {
        ProvingKey::generate(circuit, &mut rng()).unwrap();
    });
    assert_eq!(found, 0, "blocks with a toxic value, one of {bytes} bytes");
    look_for(Vec::new());
}
