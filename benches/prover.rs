//! What the prover costs: one proof by depth, one verification, a batch of them, one key, one tree; keys and
//! verifications beside bellman's, in one run, since only the ratio says something on a machine that others use.
//!
//! `cargo bench --bench prover` measures depths 4, 12, 20 and 32; `ZKPNET_BENCH_DEPTHS=8,16` others. Keys are made
//! first, so the first output takes a moment to come.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use bellman::groth16::generate_random_parameters;
use blstrs::Bls12;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand_core::OsRng;
use zkpnet::proof::circuits::AnyCircuit;
use zkpnet::proof::groth16::PreparedKey;
use zkpnet::proof::{
    Bytes32, CircuitInput, MerkleTree, MerkleWitness, ProvingKey, catalog, verify_independently,
};

/// Depths that are measured when the environment names no others.
const DEPTHS: &str = "4,12,20,32";

/// Proofs in a batch: as many as a coordinator checks together at most.
const BATCH: usize = 64;

fn depths() -> Vec<u32> {
    let wanted = std::env::var("ZKPNET_BENCH_DEPTHS").unwrap_or_else(|_| DEPTHS.to_owned());
    wanted.split(',').map(|depth| depth.trim().parse().expect("depths are numbers")).collect()
}

fn key(depth: u32) -> ProvingKey {
    let name = format!("merkle-poseidon-{depth}");
    let circuit = catalog::find(&name).expect("a supported depth");
    ProvingKey::generate(circuit, &mut OsRng).expect("a listed circuit has keys")
}

/// A path of the circuit's full length; any will do, for the prover's work does not depend on it.
fn input(depth: u32) -> CircuitInput {
    let path = (1..=depth as u8).map(|i| Bytes32::new([i; 32])).collect();
    CircuitInput::MerklePoseidon(MerkleWitness { leaf: Bytes32::new([0xff; 32]), index: 1, path })
}

fn prove(c: &mut Criterion) {
    let mut group = c.benchmark_group("prove");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    for depth in depths() {
        let (key, input) = (key(depth), input(depth));
        group.bench_function(BenchmarkId::from_parameter(depth), |b| b.iter(|| key.prove(&input).unwrap()));
    }
    group.finish();
}

fn verify(c: &mut Criterion) {
    let (key, input) = (key(4), input(4));
    let (proof, public) = (key.prove(&input).unwrap(), input.public_inputs().unwrap());
    let key = key.verifying_key();
    let bellman = PreparedKey::<Bls12>::from_bytes(key.as_bytes()).unwrap();
    let mut group = c.benchmark_group("verify");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.bench_function("ours", |b| b.iter(|| key.verify(black_box(&proof), &public).unwrap()));
    group.bench_function("bellman", |b| b.iter(|| bellman.verify(black_box(&proof), &public).unwrap()));
    group.sample_size(10);
    group.bench_function("bls12_381", |b| b.iter(|| verify_independently(key, &proof, &public).unwrap()));
    // The verifier does not look whether proofs are equal, so that one will do for all.
    let proofs = vec![(proof, public.clone()); BATCH];
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function(BenchmarkId::new("batch", BATCH), |b| {
        b.iter(|| assert!(key.verify_batch(black_box(&proofs)).iter().all(|verdict| *verdict == Ok(true))));
    });
    group.finish();
}

fn keygen(c: &mut Criterion) {
    let mut group = c.benchmark_group("keygen");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    for depth in depths() {
        group.bench_function(BenchmarkId::new("ours", depth), |b| b.iter(|| key(depth)));
        let circuit = catalog::find(&format!("merkle-poseidon-{depth}")).expect("a supported depth");
        let blank = || AnyCircuit::blank(circuit);
        group.bench_function(BenchmarkId::new("bellman", depth), |b| {
            b.iter(|| generate_random_parameters::<Bls12, _, _>(blank(), &mut OsRng).unwrap());
        });
    }
    group.finish();
}

fn tree(c: &mut Criterion) {
    let leaves: Vec<Bytes32> = (0..1000u16).map(|i| Bytes32::new([(i % 251) as u8; 32])).collect();
    let mut group = c.benchmark_group("tree");
    group.sample_size(10).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.bench_function("1000 leaves", |b| b.iter(|| MerkleTree::new(black_box(&leaves)).unwrap().root()));
    group.finish();
}

criterion_group!(benches, prove, verify, keygen, tree);
criterion_main!(benches);
