//! The verifying key that serves: everything that depends on the key alone is computed once.
//!
//! Owns the key's lines, the pairing of alpha and beta, and tables of the input points' multiples, so that a proof costs
//! its decoding, one Miller loop of three pairs and one final exponentiation. Refuses exactly what
//! [`PreparedKey`](super::verify::PreparedKey) refuses, by the same errors.

use bellman::groth16::Proof;
use blstrs::{Bls12, G1Affine, G1Projective, Scalar};
use group::Curve;

use super::encoding::ProofBytes;
use super::fixed_base::FixedBase;
use super::miller::{Lines, Target, miller_loop, miller_loop_of_lines};
use super::verify::{VerifyError, VerifyingKeyError, read_claim, read_key};
use crate::proof::arith::curve::G1;
use crate::proof::field::Bytes32;

/// Bits of a window of the input points' tables: 49 kB a point for 64 additions.
const INPUT_WINDOW_BITS: usize = 4;
/// Inputs that get tables. A key of more would take much memory, and a node keeps many keys.
const INPUT_TABLES_MAX: usize = 4;

/// A verifying key made ready for `blst`.
pub struct FastKey {
    /// The pairing of alpha and beta.
    alpha_beta: Target,
    pub(super) alpha: G1Affine,
    pub(super) neg_beta: Lines,
    pub(super) neg_gamma: Lines,
    pub(super) neg_delta: Lines,
    /// One point for the constant 1, and one for each input.
    pub(super) ic: Vec<G1Affine>,
    /// Tables of the points of the inputs, if these are few.
    tables: Vec<FixedBase<G1>>,
}

/// A proof and its inputs, decoded, and known to be of the right groups and number.
pub(super) struct Claim {
    pub(super) proof: Proof<Bls12>,
    pub(super) inputs: Vec<Scalar>,
}

impl FastKey {
    /// Reads and prepares a verifying key in bellman's byte form. A few milliseconds.
    ///
    /// # Errors
    /// As [`PreparedKey::from_bytes`](super::verify::PreparedKey::from_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<FastKey, VerifyingKeyError> {
        let key = read_key::<Bls12>(bytes)?;
        let of_inputs = key.ic.get(1..).unwrap_or_default();
        let tables = if of_inputs.len() <= INPUT_TABLES_MAX {
            let table = |point: &G1Affine| FixedBase::with_window(&point.into(), INPUT_WINDOW_BITS);
            of_inputs.iter().map(table).collect()
        } else {
            Vec::new()
        };
        Ok(FastKey {
            alpha_beta: miller_loop(&[(key.alpha_g1, key.beta_g2)]).exponentiate(),
            alpha: key.alpha_g1,
            neg_beta: Lines::of(&-key.beta_g2),
            neg_gamma: Lines::of(&-key.gamma_g2),
            neg_delta: Lines::of(&-key.delta_g2),
            ic: key.ic,
            tables,
        })
    }

    /// Number of public inputs, without the constant 1.
    pub fn public_inputs(&self) -> usize {
        self.ic.len().saturating_sub(1)
    }

    /// Whether the proof holds for these public inputs.
    ///
    /// # Errors
    /// The proof or an input cannot be decoded, or their number is not the key's.
    pub fn verify(&self, proof: &ProofBytes, public_inputs: &[Bytes32]) -> Result<bool, VerifyError> {
        Ok(self.holds(&self.read(proof, public_inputs)?))
    }

    pub(super) fn read(&self, proof: &ProofBytes, public_inputs: &[Bytes32]) -> Result<Claim, VerifyError> {
        let (proof, inputs) = read_claim::<Bls12>(proof, public_inputs, self.public_inputs())?;
        Ok(Claim { proof, inputs })
    }

    /// A · B + inputs · (-gamma) + C · (-delta) = alpha · beta, the pairings written as products.
    pub(super) fn holds(&self, claim: &Claim) -> bool {
        let Proof { a, b, c } = claim.proof;
        let inputs = self.combine_inputs(Scalar::from(1), &claim.inputs).to_affine();
        let own = Lines::of(&b);
        let pairs: [(G1Affine, &Lines); 3] = [(a, &own), (inputs, &self.neg_gamma), (c, &self.neg_delta)];
        miller_loop_of_lines(&pairs).exponentiate() == self.alpha_beta
    }

    /// The key's point of the inputs: `one` times the constant's, plus each input times its own.
    pub(super) fn combine_inputs(&self, one: Scalar, inputs: &[Scalar]) -> G1Projective {
        let (constant, of_inputs) =
            self.ic.split_first().map_or((G1Affine::default(), &[][..]), |(first, rest)| (*first, rest));
        let mut sum = G1Projective::from(constant);
        if one != Scalar::from(1) {
            sum *= one;
        }
        for (place, (point, input)) in of_inputs.iter().zip(inputs).enumerate() {
            sum += match self.tables.get(place) {
                Some(table) => table.multiply_one(input),
                None => point * input,
            };
        }
        sum
    }
}
