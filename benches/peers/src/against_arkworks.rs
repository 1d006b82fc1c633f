//! The product's prover against arkworks': the same key, assignment and randomness give the same bytes.
//!
//! Both can agree because both reduce rows to polynomials alike: behind the circuit's rows comes one row `input · 0 = 0` for the
//! constant 1 and each public input, the domain is the next power of two, and its root of unity is the same power of 7.
//! What differs is the key's form: bellman leaves out points at infinity, arkworks has a point for every variable.

#![allow(clippy::unwrap_used)]

use ark_bls12_381::{Bls12_381, Fr, G1Affine as ArkG1, G2Affine as ArkG2};
use ark_ff::PrimeField;
use ark_groth16::{Groth16, Proof, ProvingKey, VerifyingKey, prepare_verifying_key};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use bellman::groth16::{Parameters, generate_random_parameters};
use blstrs::{Bls12, G1Affine, G2Affine, Scalar};
use ff::Field;
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Error, RngCore, SeedableRng};
use zkpnet::proof::groth16::{Instructions, Prover, Stop};

use crate::circuits::{AnyCircuit, Witness, boolean, field_heavy, merkle, sha256};
use crate::provers::{Matrices, Replay};
use crate::recording::{Recording, Wire};

/// A generator that says what it is told to, eight words: the two random scalars of a proof.
#[derive(Clone)]
struct Told {
    words: [u64; 8],
    place: usize,
}

impl Told {
    /// Two scalars as random as they get.
    fn random(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut told = Self { words: [0; 8].map(|_: u64| rng.next_u64()), place: 0 };
        // Below 2^254, so that none is refused and drawn anew.
        told.words[3] >>= 2;
        told.words[7] >>= 2;
        told
    }

    /// The same with zero for the first.
    fn without_r(mut self) -> Self {
        self.words[..4].fill(0);
        self
    }

    /// The same with zero for the second.
    fn without_s(mut self) -> Self {
        self.words[4..].fill(0);
        self
    }

    /// What provers that draw `r` and then `s` get.
    fn scalars(&self) -> [Scalar; 2] {
        let mut told = self.clone();
        [0; 2].map(|_: u8| Scalar::random(&mut told))
    }
}

impl RngCore for Told {
    fn next_u32(&mut self) -> u32 {
        unreachable!("scalars are drawn by words of 64 bits")
    }

    fn next_u64(&mut self) -> u64 {
        self.place += 1;
        self.words[self.place - 1]
    }

    fn fill_bytes(&mut self, _: &mut [u8]) {
        unreachable!("scalars are drawn by words of 64 bits")
    }

    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Error> {
        unreachable!("scalars are drawn by words of 64 bits")
    }
}

impl CryptoRng for Told {}

fn g1(point: &G1Affine) -> ArkG1 {
    ArkG1::deserialize_uncompressed(&point.to_uncompressed()[..]).unwrap()
}

fn g2(point: &G2Affine) -> ArkG2 {
    ArkG2::deserialize_uncompressed(&point.to_uncompressed()[..]).unwrap()
}

fn fr(scalar: &Scalar) -> Fr {
    Fr::from_le_bytes_mod_order(&scalar.to_bytes_le())
}

fn verifying_key(of: &Parameters<Bls12>) -> VerifyingKey<Bls12_381> {
    VerifyingKey {
        alpha_g1: g1(&of.vk.alpha_g1),
        beta_g2: g2(&of.vk.beta_g2),
        gamma_g2: g2(&of.vk.gamma_g2),
        delta_g2: g2(&of.vk.delta_g2),
        gamma_abc_g1: of.vk.ic.iter().map(g1).collect(),
    }
}

/// bellman's key as arkworks', which has a point for each variable in each query.
fn proving_key(of: &Parameters<Bls12>, recording: &Recording<Scalar>) -> ProvingKey<Bls12_381> {
    let (inputs, all) = (recording.inputs.len(), recording.inputs.len() + recording.aux.len());
    let place = |wire: Wire| match wire {
        Wire::Input(place) => place as usize,
        Wire::Aux(place) => inputs + place as usize,
    };
    let [mut in_a, mut in_b] = [vec![false; all], vec![false; all]];
    // The rows behind the circuit's have every input in A.
    in_a[..inputs].fill(true);
    for [a, b, _] in recording.rows() {
        a.iter().for_each(|(_, wire)| in_a[place(*wire)] = true);
        b.iter().for_each(|(_, wire)| in_b[place(*wire)] = true);
    }
    ProvingKey {
        vk: verifying_key(of),
        beta_g1: g1(&of.vk.beta_g1),
        delta_g1: g1(&of.vk.delta_g1),
        a_query: filled_up(&in_a, of.a.iter().map(g1)),
        b_g1_query: filled_up(&in_b, of.b_g1.iter().map(g1)),
        b_g2_query: filled_up(&in_b, of.b_g2.iter().map(g2)),
        h_query: of.h.iter().map(g1).collect(),
        l_query: of.l.iter().map(g1).collect(),
    }
}

/// The points at the marked places, the point at infinity elsewhere.
fn filled_up<P: Default>(marked: &[bool], mut points: impl Iterator<Item = P>) -> Vec<P> {
    let filled =
        marked.iter().map(|marked| if *marked { points.next().unwrap() } else { P::default() }).collect();
    assert!(points.next().is_none(), "the key has points of variables that are in no row");
    filled
}

fn arkworks_bytes(proof: &Proof<Bls12_381>) -> Vec<u8> {
    let mut bytes = Vec::new();
    proof.serialize_compressed(&mut bytes).unwrap();
    bytes
}

/// Panics unless our proofs are arkworks' and hold for its verifier, for their inputs alone.
fn assert_arkworks(name: &str, circuit: &AnyCircuit<Scalar>, blank: AnyCircuit<Scalar>) {
    let parameters: Parameters<Bls12> =
        generate_random_parameters(blank.clone(), &mut ChaCha20Rng::seed_from_u64(1)).unwrap();
    let recording = Recording::of(circuit.clone()).unwrap();
    let key = proving_key(&parameters, &recording);
    let verifier = prepare_verifying_key(&key.vk);
    let replay = Replay::new(&recording);
    let matrices = Matrices::of(&replay).unwrap();
    let inputs: Vec<Fr> = recording.inputs[1..].iter().map(fr).collect();
    let [best, avx2, portable] = [Instructions::Best, Instructions::Avx2, Instructions::Portable]
        .map(|instructions| Prover::with_instructions(blank.clone(), &parameters, instructions).unwrap());
    for (prover, tables, random) in [
        (&best, false, Told::random(2)),
        (&best, true, Told::random(3)),
        (&best, false, Told::random(4).without_r()),
        (&best, false, Told::random(5).without_s()),
        (&avx2, false, Told::random(8)),
        (&avx2, true, Told::random(9)),
        (&portable, false, Told::random(6)),
        (&portable, true, Told::random(7).without_r().without_s()),
    ] {
        if tables {
            prover.make_tables(&parameters, 16 << 20);
        } else {
            prover.drop_tables();
        }
        let [r, s] = random.scalars().each_ref().map(fr);
        let proof = prover.prove(circuit.clone(), &mut random.clone(), &Stop::new()).unwrap();
        let mut ours = Vec::new();
        proof.write(&mut ours).unwrap();
        let synthesised = Groth16::<Bls12_381>::create_proof_with_reduction(&replay, &key, r, s).unwrap();
        assert_eq!(ours, arkworks_bytes(&synthesised), "{name}, tables {tables}, r {r}, s {s}");
        assert_eq!(
            ours,
            arkworks_bytes(&matrices.prove(&key, r, s).unwrap()),
            "{name}, tables {tables}, r {r}, s {s}"
        );

        let read = Proof::deserialize_compressed(&ours[..]).unwrap();
        let verify = |inputs: &[Fr]| Groth16::<Bls12_381>::verify_proof(&verifier, &read, inputs).unwrap();
        assert!(verify(&inputs), "{name}: arkworks refuses a proof of ours");
        for place in 0..inputs.len() {
            let mut other = inputs.clone();
            other[place] += Fr::from(1);
            assert!(!verify(&other), "{name}: the proof holds for another input {place} too");
        }
    }
}

#[test]
fn field_heavy_proofs_are_arkworks() {
    // With one public input and the constant 1 these are 6 to 1,026 rows; 20 and 340 rounds leave one root of unity without a row.
    for rounds in [1, 4, 20, 21, 340, 341] {
        let circuit = |witness| field_heavy(rounds, witness);
        assert_arkworks(&format!("{rounds} rounds"), &circuit(Witness::Known), circuit(Witness::Blank));
    }
}

#[test]
fn boolean_proofs_are_arkworks() {
    for groups in [1, 8, 24] {
        let circuit = |witness| boolean(groups, witness);
        assert_arkworks(&format!("{groups} groups"), &circuit(Witness::Known), circuit(Witness::Blank));
    }
}

#[test]
fn proofs_of_merkle_paths_are_arkworks() {
    for depth in [1, 4, 12] {
        let circuit = |witness| merkle(depth, witness).unwrap();
        assert_arkworks(&format!("depth {depth}"), &circuit(Witness::Known), circuit(Witness::Blank));
    }
}

#[test]
fn proofs_of_sha256_are_arkworks() {
    let circuit = |witness| sha256(1, witness);
    assert_arkworks("SHA-256 of one byte", &circuit(Witness::Known), circuit(Witness::Blank));
}
