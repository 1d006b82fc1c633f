//! Groth16 (eprint 2016/260) over BLS12-381: making proofs, reading them, checking them.
//!
//! In reading order: [`encoding`] (the bytes of a proof), [`verify`] (what holds), [`prove`] (how one is made).

mod encoding;
mod prove;
mod verify;

use group::WnafGroup;
use pairing::{Engine, MultiMillerLoop};

pub use self::encoding::{PROOF_BYTES, ProofBytes, ProofFormatError};
pub use self::prove::{ProveError, prove};
pub use self::verify::{PreparedKey, VerifyError, VerifyingKeyError, verify_independently};
use super::poseidon::ProofField;

/// A pairing engine for BLS12-381 whose scalars this crate computes with.
pub trait ProofEngine: MultiMillerLoop + Engine<Fr: ProofField, G1: WnafGroup, G2: WnafGroup> {}

impl ProofEngine for blstrs::Bls12 {}
impl ProofEngine for bls12_381::Bls12 {}

#[cfg(test)]
mod tests;
