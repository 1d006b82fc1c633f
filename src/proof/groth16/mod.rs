//! Groth16 (eprint 2016/260) over BLS12-381: making proofs, reading them, checking them.
//!
//! In reading order: [`encoding`] (the bytes of a proof), [`verify`] (what holds), [`prover`] (how one is made), which
//! uses [`matrices`] (the constraints), [`witness`] (the values) and [`domain`] (the quotient polynomial).

mod domain;
mod encoding;
mod errors;
mod matrices;
mod prover;
mod stop;
mod verify;
mod wiped;
mod witness;

use group::WnafGroup;
use pairing::{Engine, MultiMillerLoop};

pub use self::encoding::{PROOF_BYTES, ProofBytes, ProofFormatError};
pub use self::errors::{PrepareError, ProveError};
pub use self::prover::{PhaseTimes, Proven, Prover};
pub use self::stop::Stop;
pub use self::verify::{PreparedKey, VerifyError, VerifyingKeyError, verify_independently};
use super::poseidon::ProofField;

/// A pairing engine for BLS12-381 whose scalars this crate computes with.
pub trait ProofEngine: MultiMillerLoop + Engine<Fr: ProofField, G1: WnafGroup, G2: WnafGroup> {}

impl ProofEngine for blstrs::Bls12 {}
impl ProofEngine for bls12_381::Bls12 {}

#[cfg(test)]
mod tests;
