//! Groth16 (eprint 2016/260) over BLS12-381: making proofs, reading them, checking them.
//!
//! Owns the byte forms of proofs and verifying keys and the two operations on them, generic over the engine:
//! `blstrs` serves, `bls12_381` shares no arithmetic with it and checks it. Refuses, by name, every point that is off
//! the curve, outside the subgroup of order r or the identity, every input at or above the modulus, and any number of
//! inputs but the exact one. A false proof is `Ok(false)`; bytes that are no proof are an error; nothing panics.

use std::fmt;
use std::str::FromStr;

use bellman::groth16::{self, Parameters, PreparedVerifyingKey, Proof};
use bellman::{SynthesisError, VerificationError};
use ff::Field;
use group::prime::PrimeCurveAffine;
use group::{GroupEncoding, WnafGroup};
use pairing::{Engine, MultiMillerLoop};
use rand_core::{CryptoRng, RngCore};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::circuits::constraints::first_unsatisfied;
use super::circuits::{AnyCircuit, InputError};
use super::field::Bytes32;
use super::keys::VerifyingKey;
use super::poseidon::ProofField;

/// Bytes of a compressed point of G1.
const G1_BYTES: usize = 48;
/// Bytes of a proof: A (G1), B (G2), C (G1), compressed.
pub const PROOF_BYTES: usize = 4 * G1_BYTES;
/// Bytes of a verifying key before its `ic` points: three points of G1, three of G2, uncompressed, and a count.
const VK_FIXED_BYTES: usize = 3 * 96 + 3 * 192 + 4;
/// Bytes of each `ic` point.
const VK_IC_BYTES: usize = 96;

/// A pairing engine for BLS12-381 whose scalars this crate computes with.
pub trait ProofEngine: MultiMillerLoop + Engine<Fr: ProofField, G1: WnafGroup, G2: WnafGroup> {}

impl ProofEngine for blstrs::Bls12 {}
impl ProofEngine for bls12_381::Bls12 {}

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

/// Why no proof was made.
#[derive(Debug, Error)]
pub enum ProveError {
    /// The circuit does not take the input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The witness breaks a constraint: a proof of it would be false.
    #[error("the witness does not satisfy constraint {constraint}")]
    Unsatisfied {
        /// Name of the first constraint that fails.
        constraint: String,
    },
    /// bellman could not make the proof, for instance because the key is for another circuit.
    #[error("the prover failed")]
    Synthesis(#[from] SynthesisError),
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

    fn from_proof<E: Engine>(proof: &Proof<E>) -> Result<ProofBytes, SynthesisError> {
        let mut bytes = [0u8; PROOF_BYTES];
        proof.write(&mut bytes[..])?;
        Ok(ProofBytes(bytes))
    }

    fn to_proof<E: Engine>(self) -> Result<Proof<E>, VerifyError> {
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
        let length = VerifyingKeyError::Length { got: bytes.len() };
        let ic_bytes = bytes.len().checked_sub(VK_FIXED_BYTES).ok_or(length)?;
        if ic_bytes == 0 || ic_bytes % VK_IC_BYTES != 0 {
            return Err(length);
        }
        let ic_count = ic_bytes / VK_IC_BYTES;
        let announced = &bytes[VK_FIXED_BYTES - 4..VK_FIXED_BYTES];
        if u32::try_from(ic_count).ok().map(u32::to_be_bytes).as_ref().map(|count| &count[..])
            != Some(announced)
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
            None => Ok(PreparedKey {
                prepared: groth16::prepare_verifying_key(&key),
                public_inputs: ic_count - 1,
            }),
        }
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
        if expected != got {
            return Err(VerifyError::InputCount { expected, got });
        }
        let inputs: Vec<E::Fr> = public_inputs
            .iter()
            .enumerate()
            .map(|(position, input)| {
                input.to_scalar().map_err(|_| VerifyError::InputNotCanonical { position })
            })
            .collect::<Result<_, _>>()?;
        let proof = proof.to_proof::<E>()?;
        match groth16::verify_proof(&self.prepared, &proof, &inputs) {
            Ok(()) => Ok(true),
            Err(VerificationError::InvalidProof) => Ok(false),
            // bellman says this of a wrong number of inputs only.
            Err(VerificationError::InvalidVerifyingKey) => Err(VerifyError::InputCount { expected, got }),
        }
    }
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

/// Makes a proof with fresh randomness, after checking the witness.
///
/// Runs to its end: bellman offers no point at which it could be interrupted. It spreads over the threads of the
/// process's rayon pool, and must not itself be called on one of them: bellman panics there rather than deadlock.
///
/// # Errors
/// The witness does not satisfy the circuit, or the parameters are not the circuit's.
pub fn prove<E: ProofEngine>(
    parameters: &Parameters<E>,
    circuit: AnyCircuit<E::Fr>,
    rng: &mut (impl RngCore + CryptoRng),
) -> Result<ProofBytes, ProveError> {
    let (r, s) = (E::Fr::random(&mut *rng), E::Fr::random(&mut *rng));
    prove_with(parameters, circuit, r, s)
}

/// As [`prove`], with the randomness given. Two proofs of different witnesses with the same `r` and `s` tell of
/// the witnesses, so this is not public.
fn prove_with<E: ProofEngine>(
    parameters: &Parameters<E>,
    circuit: AnyCircuit<E::Fr>,
    r: E::Fr,
    s: E::Fr,
) -> Result<ProofBytes, ProveError> {
    if let Some(constraint) = first_unsatisfied(&circuit)? {
        return Err(ProveError::Unsatisfied { constraint });
    }
    let proof = groth16::create_proof(circuit, parameters, r, s)?;
    Ok(ProofBytes::from_proof(&proof)?)
}

#[cfg(test)]
#[path = "groth16_tests.rs"]
mod tests;
