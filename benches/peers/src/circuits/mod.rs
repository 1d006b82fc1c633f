//! What is proved: seven constraint systems, each written once, for any scalar field that bellman can prove over.
//!
//! Owns their names and sizes. The first three differ in what dominates a prover's work: a small and a large system
//! whose witness is random field elements, and a large one whose witness is nearly all bits. The other four are real.
//! All witnesses are fixed, so that every prover proves the same statement in every round.

mod boolean;
mod field_heavy;
mod sha256;

use anyhow::Context;
use bellman::{Circuit, ConstraintSystem, SynthesisError};
use zkpnet::proof::circuits::constraints::Shape;
use zkpnet::proof::circuits::merkle_poseidon::MerklePoseidon;
use zkpnet::proof::poseidon::ProofField;
use zkpnet::proof::{Bytes32, MerkleWitness};

use boolean::Boolean;
use field_heavy::FieldHeavy;
use sha256::Sha256;

/// One of the measured circuits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// Powers of five of mixed field elements, 8,190 rows
    #[value(name = "field-2^13")]
    Field13,
    /// The same with 65,535 rows
    #[value(name = "field-2^16")]
    Field16,
    /// NAND gates and packed products, 65,475 rows
    #[value(name = "boolean-2^16")]
    Boolean16,
    /// zkpnet's own circuit: a Poseidon tree of depth 12
    #[value(name = "merkle-12")]
    Merkle12,
    /// The same of depth 20
    #[value(name = "merkle-20")]
    Merkle20,
    /// The same of depth 32
    #[value(name = "merkle-32")]
    Merkle32,
    /// bellman's SHA-256 gadget over 240 bytes: four blocks
    #[value(name = "sha256-240")]
    Sha256,
}

/// A circuit of one of the kinds, with or without its witness.
#[derive(Clone)]
pub enum AnyCircuit<F: ProofField> {
    Field(FieldHeavy),
    Boolean(Boolean),
    Merkle(MerklePoseidon<F>),
    Sha256(Sha256),
}

/// Whether a circuit knows its witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// As key generation needs it.
    Blank,
    /// As a prover needs it.
    Known,
}

impl Workload {
    /// The name on the command line, in results and of key files.
    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// The circuit.
    ///
    /// # Errors
    /// The fixed witness of a Merkle circuit is not well formed, which is a mistake in this file.
    pub fn circuit<F: ProofField>(self, witness: Witness) -> anyhow::Result<AnyCircuit<F>> {
        Ok(match self {
            Workload::Field13 => field_heavy(2_729, witness),
            Workload::Field16 => field_heavy(21_844, witness),
            Workload::Boolean16 => boolean(1_015, witness),
            Workload::Merkle12 => merkle(12, witness)?,
            Workload::Merkle20 => merkle(20, witness)?,
            Workload::Merkle32 => merkle(32, witness)?,
            Workload::Sha256 => sha256(240, witness),
        })
    }

    /// Size and identity of the constraint system.
    ///
    /// # Errors
    /// As [`Workload::circuit`].
    pub fn shape(self) -> anyhow::Result<Shape> {
        Ok(Shape::of(self.circuit::<blstrs::Scalar>(Witness::Blank)?))
    }
}

/// Powers of five, `3 · rounds + 1` rows.
pub fn field_heavy<F: ProofField>(rounds: u64, witness: Witness) -> AnyCircuit<F> {
    AnyCircuit::Field(FieldHeavy { rounds, witness })
}

/// NAND gates, `64 · groups + 513` rows.
pub fn boolean<F: ProofField>(groups: usize, witness: Witness) -> AnyCircuit<F> {
    AnyCircuit::Boolean(Boolean { groups, witness })
}

/// bellman's SHA-256 gadget over so many bytes.
pub fn sha256<F: ProofField>(bytes: u64, witness: Witness) -> AnyCircuit<F> {
    AnyCircuit::Sha256(Sha256 { bytes, witness })
}

/// A full path, whose siblings and leaf are as random as those of a real tree.
///
/// # Errors
/// The fixed witness is not well formed, which is a mistake in this file.
pub fn merkle<F: ProofField>(depth: u8, witness: Witness) -> anyhow::Result<AnyCircuit<F>> {
    if witness == Witness::Blank {
        return Ok(AnyCircuit::Merkle(MerklePoseidon::blank(depth.into())));
    }
    let path =
        (0..depth).map(|height| Bytes32::from_scalar(&scrambled::<blstrs::Scalar>(height.into()))).collect();
    let leaf = Bytes32::from_scalar(&scrambled::<blstrs::Scalar>(u64::from(depth)));
    // Alternating bits: half of the nodes on the way are right children.
    let index = 0x5555_5555_5555_5555 & ((1 << depth) - 1);
    let opened = MerkleWitness { leaf, index, path };
    let circuit =
        MerklePoseidon::with_witness(depth.into(), &opened).context("the fixed opening is not one")?;
    Ok(AnyCircuit::Merkle(circuit))
}

/// An element that looks random, for a number: ten squarings carry it over the whole field.
fn scrambled<F: ff::PrimeField>(number: u64) -> F {
    let start = F::from(weyl(number));
    (0..10).fold(start, |x, _| x.square() + start)
}

/// The Weyl sequence of the golden ratio: distinct numbers of 64 bits without a pattern that matters here.
fn weyl(number: u64) -> u64 {
    (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl<F: ProofField> Circuit<F> for AnyCircuit<F> {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        match self {
            AnyCircuit::Field(circuit) => circuit.synthesize(cs),
            AnyCircuit::Boolean(circuit) => circuit.synthesize(cs),
            AnyCircuit::Merkle(circuit) => circuit.synthesize(cs),
            AnyCircuit::Sha256(circuit) => circuit.synthesize(cs),
        }
    }
}

impl Witness {
    /// The value when the witness is known.
    fn value<T>(self, value: T) -> Option<T> {
        (self == Witness::Known).then_some(value)
    }
}
