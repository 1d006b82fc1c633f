//! Groth16 (eprint 2016/260) over BLS12-381: making proofs, reading them, checking them.
//!
//! In reading order: [`encoding`] (the bytes of a proof), [`verify`] (what holds), [`fast_key`] and [`batch`] (the same, fast,
//! and many at once, over [`miller`]), [`prove`] (how one is made), [`generator`] (how a key is made, over [`assembly`] and
//! [`fixed_base`]).

mod assembly;
mod batch;
mod encoding;
mod fast_key;
mod fixed_base;
mod generator;
mod miller;

mod progress;
mod prove;
mod verify;

use group::WnafGroup;
use pairing::{Engine, MultiMillerLoop};

pub use self::encoding::{PROOF_BYTES, ProofBytes, ProofFormatError};
pub use self::fast_key::FastKey;
pub(super) use self::generator::{ToxicValues, generate};
pub use self::progress::{KeygenPhase, KeygenProgress, KeygenStatus};
pub use self::prove::{ProveError, prove};
pub use self::verify::{PreparedKey, VerifyError, VerifyingKeyError, verify_independently};
use super::poseidon::ProofField;

/// A pairing engine for BLS12-381 whose scalars this crate computes with.
pub trait ProofEngine: MultiMillerLoop + Engine<Fr: ProofField, G1: WnafGroup, G2: WnafGroup> {}

impl ProofEngine for blstrs::Bls12 {}
impl ProofEngine for bls12_381::Bls12 {}

#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
