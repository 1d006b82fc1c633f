//! Groth16 (eprint 2016/260) over BLS12-381: making proofs, reading them, checking them.
//!
//! In reading order: [`encoding`] (the bytes of a proof), [`verify`] (what holds), [`fast_key`] and [`batch`] (the same, fast,
//! and many at once, over [`miller`]); [`prover`] (how a proof is made), which uses [`matrices`] (the constraints, from
//! the [`recorder`]), [`witness`] (the values) and [`domain`] (the quotient polynomial); [`generator`] (how a key is made,
//! over [`assembly`] and [`fixed_base`]).

mod assembly;
mod batch;
mod domain;
mod encoding;
mod errors;
mod fast_key;
mod fixed_base;
mod generator;
mod matrices;
mod miller;
mod progress;
mod prover;
mod recorder;
mod stop;
mod verify;
mod witness;

use group::WnafGroup;
use pairing::{Engine, MultiMillerLoop};

pub use self::encoding::{PROOF_BYTES, ProofBytes, ProofFormatError};
pub use self::errors::{PrepareError, ProveError};
pub use self::fast_key::FastKey;
pub(super) use self::generator::{ToxicValues, generate};
pub use self::progress::{KeygenPhase, KeygenProgress, KeygenStatus};
pub use self::prover::{PhaseTimes, Proven, Prover};
pub use self::stop::Stop;
pub use self::verify::{PreparedKey, VerifyError, VerifyingKeyError, verify_independently};
pub use super::msm::Instructions;
use super::poseidon::ProofField;

/// A pairing engine for BLS12-381 whose scalars this crate computes with.
pub trait ProofEngine: MultiMillerLoop + Engine<Fr: ProofField, G1: WnafGroup, G2: WnafGroup> {}

impl ProofEngine for blstrs::Bls12 {}
impl ProofEngine for bls12_381::Bls12 {}

#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
