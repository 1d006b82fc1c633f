//! The byte and text form of proofs.
//!
//! Owns [`ProofBytes`]. Refuses text that is not 384 hex digits, and, when a proof is read as points, by name every one
//! that is off the curve, outside the subgroup of order r or the identity.

use std::fmt;
use std::str::FromStr;

use bellman::SynthesisError;
use bellman::groth16::Proof;
use group::GroupEncoding;
use group::prime::PrimeCurveAffine;
use pairing::Engine;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::verify::VerifyError;

/// Bytes of a compressed point of G1.
pub(super) const G1_BYTES: usize = 48;
/// Bytes of a proof: A (G1), B (G2), C (G1), compressed.
pub const PROOF_BYTES: usize = 4 * G1_BYTES;
/// A proof as it travels: 192 bytes, or 384 hex digits in text. Not yet known to be points, let alone true.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProofBytes([u8; PROOF_BYTES]);

/// The text or the bytes have not the size or the letters of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofFormatError {
    /// Not 192 bytes.
    #[error("a proof has {PROOF_BYTES} bytes, got {got}")]
    Length {
        /// Number of bytes that came.
        got: usize,
    },
    /// The text is not hex.
    #[error("a proof is {} hex digits without 0x, got {got} characters that are not that", 2 * PROOF_BYTES)]
    NotHex {
        /// Number of bytes of text that came.
        got: usize,
    },
}

impl ProofBytes {
    /// Wraps the bytes of a proof.
    pub const fn new(bytes: [u8; PROOF_BYTES]) -> ProofBytes {
        ProofBytes(bytes)
    }

    /// The bytes: A, B, C, compressed.
    pub const fn as_bytes(&self) -> &[u8; PROOF_BYTES] {
        &self.0
    }

    pub(in crate::proof) fn from_proof<E: Engine>(proof: &Proof<E>) -> Result<ProofBytes, SynthesisError> {
        let mut bytes = [0u8; PROOF_BYTES];
        proof.write(&mut bytes[..])?;
        Ok(ProofBytes(bytes))
    }

    pub(super) fn to_proof<E: Engine>(self) -> Result<Proof<E>, VerifyError> {
        Ok(Proof {
            a: point(&self.0[..G1_BYTES], "a")?,
            b: point(&self.0[G1_BYTES..3 * G1_BYTES], "b")?,
            c: point(&self.0[3 * G1_BYTES..], "c")?,
        })
    }
}

/// Decodes a compressed point; both engines check curve and subgroup here.
fn point<P: PrimeCurveAffine + GroupEncoding>(bytes: &[u8], name: &'static str) -> Result<P, VerifyError> {
    let mut repr = <P as GroupEncoding>::Repr::default();
    if repr.as_mut().len() != bytes.len() {
        return Err(VerifyError::Point { point: name });
    }
    repr.as_mut().copy_from_slice(bytes);
    let decoded: Option<P> = Option::from(P::from_bytes(&repr));
    let decoded = decoded.ok_or(VerifyError::Point { point: name })?;
    if bool::from(decoded.is_identity()) {
        return Err(VerifyError::Identity { point: name });
    }
    Ok(decoded)
}

impl TryFrom<&[u8]> for ProofBytes {
    type Error = ProofFormatError;

    fn try_from(bytes: &[u8]) -> Result<Self, ProofFormatError> {
        bytes.try_into().map(ProofBytes).map_err(|_| ProofFormatError::Length { got: bytes.len() })
    }
}

impl FromStr for ProofBytes {
    type Err = ProofFormatError;

    fn from_str(text: &str) -> Result<Self, ProofFormatError> {
        let mut bytes = [0u8; PROOF_BYTES];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ProofFormatError::NotHex { got: text.len() })?;
        Ok(ProofBytes(bytes))
    }
}

impl fmt::Display for ProofBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ProofBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProofBytes({self})")
    }
}

impl Serialize for ProofBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0[..].serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ProofBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            let bytes = Vec::<u8>::deserialize(deserializer)?;
            ProofBytes::try_from(bytes.as_slice()).map_err(de::Error::custom)
        }
    }
}
