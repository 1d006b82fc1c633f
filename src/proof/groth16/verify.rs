//! Verification by bellman, generic over the engine, and how verifying keys, proofs and inputs are read for it and for
//! [`FastKey`](super::fast_key::FastKey), which serves.
//!
//! With `bls12_381`, which shares no arithmetic with `blst`, it is the independent check; with `blstrs` it is what tests
//! hold the fast one against. Refuses keys that are not canonically encoded or hold the identity, every input at or
//! above the modulus, and any number of inputs but the exact one. A false proof is `Ok(false)`; bytes that are no proof
//! are an error; nothing panics.

use bellman::VerificationError;
use bellman::groth16::{self, PreparedVerifyingKey, Proof};
use group::prime::PrimeCurveAffine;
use thiserror::Error;

use super::ProofEngine;
use super::encoding::ProofBytes;
use crate::proof::field::Bytes32;
use crate::proof::keys::VerifyingKey;

/// Bytes of a verifying key before its `ic` points: three points of G1, three of G2, uncompressed, and a count.
pub(super) const VK_FIXED_BYTES: usize = 3 * 96 + 3 * 192 + 4;
/// Bytes of each `ic` point.
pub(super) const VK_IC_BYTES: usize = 96;

/// Why bytes are no verifying key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyingKeyError {
    /// The length does not fit the number of inputs that the bytes announce.
    #[error("a verifying key of {got} bytes is truncated or has bytes left over")]
    Length {
        /// Number of bytes that came.
        got: usize,
    },
    /// A point is off the curve, outside the subgroup, or encoded in a second way.
    #[error(
        "a point of the verifying key is not on the curve, not in the subgroup, or not canonically encoded"
    )]
    Point,
    /// The text that should hold the key is not hex.
    #[error("the verifying key is not hex")]
    NotHex,
    /// The key is not the one that its digest names.
    #[error("the verifying key does not match its digest")]
    OtherDigest,
    /// A point is the identity, with which proofs could be forged.
    #[error("point {point} of the verifying key is the identity")]
    Identity {
        /// Name of the point.
        point: &'static str,
    },
}

/// Why something is not even a false proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// A point cannot be decoded.
    #[error("point {point} is not on the curve or not in the subgroup")]
    Point {
        /// `a`, `b` or `c`.
        point: &'static str,
    },
    /// A point is the identity, which no honest prover sends.
    #[error("point {point} is the identity")]
    Identity {
        /// `a`, `b` or `c`.
        point: &'static str,
    },
    /// The key is for another number of public inputs.
    #[error("expected {expected} public inputs, got {got}")]
    InputCount {
        /// Number that the key asks for.
        expected: usize,
        /// Number that came.
        got: usize,
    },
    /// A public input has no canonical element.
    #[error("public input {position} is not below the field's modulus")]
    InputNotCanonical {
        /// Place of the input, counted from 0.
        position: usize,
    },
    /// The verifying key itself is not one.
    #[error(transparent)]
    Key(#[from] VerifyingKeyError),
}

/// A verifying key made ready for an engine: its fixed pairing is computed and its points are prepared.
pub struct PreparedKey<E: ProofEngine> {
    prepared: PreparedVerifyingKey<E>,
    public_inputs: usize,
}

impl<E: ProofEngine> PreparedKey<E> {
    /// Reads and prepares a verifying key in bellman's byte form.
    ///
    /// # Errors
    /// Every point is checked; the encoding must be the canonical one, because a key is named by its digest and the
    /// decoder of `blst` by itself takes several spellings of a point.
    pub fn from_bytes(bytes: &[u8]) -> Result<PreparedKey<E>, VerifyingKeyError> {
        let key = read_key::<E>(bytes)?;
        let public_inputs = key.ic.len().saturating_sub(1);
        Ok(PreparedKey { prepared: groth16::prepare_verifying_key(&key), public_inputs })
    }

    /// Number of public inputs, without the constant 1.
    pub fn public_inputs(&self) -> usize {
        self.public_inputs
    }

    /// Whether the proof holds for these public inputs.
    ///
    /// # Errors
    /// The proof or an input cannot be decoded, or their number is not the key's.
    pub fn verify(&self, proof: &ProofBytes, public_inputs: &[Bytes32]) -> Result<bool, VerifyError> {
        let (expected, got) = (self.public_inputs, public_inputs.len());
        let (proof, inputs) = read_claim::<E>(proof, public_inputs, expected)?;
        match groth16::verify_proof(&self.prepared, &proof, &inputs) {
            Ok(()) => Ok(true),
            Err(VerificationError::InvalidProof) => Ok(false),
            // bellman says this of a wrong number of inputs only.
            Err(VerificationError::InvalidVerifyingKey) => Err(VerifyError::InputCount { expected, got }),
        }
    }
}

/// Reads a verifying key in bellman's byte form and checks every point.
pub(super) fn read_key<E: ProofEngine>(bytes: &[u8]) -> Result<groth16::VerifyingKey<E>, VerifyingKeyError> {
    let length = VerifyingKeyError::Length { got: bytes.len() };
    let ic_bytes = bytes.len().checked_sub(VK_FIXED_BYTES).ok_or(length)?;
    if ic_bytes == 0 || ic_bytes % VK_IC_BYTES != 0 {
        return Err(length);
    }
    let ic_count = ic_bytes / VK_IC_BYTES;
    let announced = &bytes[VK_FIXED_BYTES - 4..VK_FIXED_BYTES];
    if u32::try_from(ic_count).ok().map(u32::to_be_bytes).as_ref().map(|count| &count[..]) != Some(announced)
    {
        return Err(length);
    }
    let key = groth16::VerifyingKey::<E>::read(bytes).map_err(|_| VerifyingKeyError::Point)?;
    let mut again = Vec::with_capacity(bytes.len());
    key.write(&mut again).map_err(|_| VerifyingKeyError::Point)?;
    if again != bytes {
        return Err(VerifyingKeyError::Point);
    }
    // bellman refuses the identity among the `ic` points only.
    let identities = [
        ("alpha_g1", key.alpha_g1.is_identity()),
        ("beta_g1", key.beta_g1.is_identity()),
        ("beta_g2", key.beta_g2.is_identity()),
        ("gamma_g2", key.gamma_g2.is_identity()),
        ("delta_g1", key.delta_g1.is_identity()),
        ("delta_g2", key.delta_g2.is_identity()),
    ];
    match identities.into_iter().find(|(_, identity)| bool::from(*identity)) {
        Some((point, _)) => Err(VerifyingKeyError::Identity { point }),
        None => Ok(key),
    }
}

/// Reads a proof and its public inputs, for a key of `expected` inputs.
pub(super) fn read_claim<E: ProofEngine>(
    proof: &ProofBytes,
    public_inputs: &[Bytes32],
    expected: usize,
) -> Result<(Proof<E>, Vec<E::Fr>), VerifyError> {
    let got = public_inputs.len();
    if expected != got {
        return Err(VerifyError::InputCount { expected, got });
    }
    let inputs = public_inputs
        .iter()
        .enumerate()
        .map(|(position, input)| input.to_scalar().map_err(|_| VerifyError::InputNotCanonical { position }))
        .collect::<Result<_, _>>()?;
    Ok((proof.to_proof::<E>()?, inputs))
}

/// Verifies with `bls12_381`, an implementation that shares no arithmetic with the one that proves.
///
/// # Errors
/// As [`PreparedKey::verify`]. Slower than [`VerifyingKey::verify`], and prepares the key at every call.
pub fn verify_independently(
    key: &VerifyingKey,
    proof: &ProofBytes,
    public_inputs: &[Bytes32],
) -> Result<bool, VerifyError> {
    PreparedKey::<bls12_381::Bls12>::from_bytes(key.as_bytes())?.verify(proof, public_inputs)
}
