//! What the prover costs: one proof by depth, one verification, one key, one tree.
//!
//! `cargo bench --bench prover` measures depths 4, 12, 20 and 32; `ZKPNET_BENCH_DEPTHS=8,16` others. Keys are made
//! first, and not measured but for depth 4, so the first output takes some seconds to come.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use rand_core::OsRng;
use zkpnet::proof::{
    Bytes32, CircuitInput, MerkleTree, MerkleWitness, ProvingKey, catalog, verify_independently,
};

/// Depths that are measured when the environment names no others.
const DEPTHS: &str = "4,12,20,32";

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
    let mut group = c.benchmark_group("verify");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300));
    group.bench_function("blstrs", |b| b.iter(|| key.verify(black_box(&proof), &public).unwrap()));
    group.sample_size(10);
    group.bench_function("bls12_381", |b| b.iter(|| verify_independently(key, &proof, &public).unwrap()));
    group.finish();
}

fn keygen(c: &mut Criterion) {
    let mut group = c.benchmark_group("keygen");
    group.sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    group.bench_function("4", |b| b.iter(|| key(4)));
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
