//! A proof that this process has found to hold. The type says so: nothing else makes one, and none comes over a network, so that
//! whoever is handed one within the process need not compute the pairing again.

use super::super::digest::Digest32;
use super::super::field::Bytes32;
use super::super::groth16::ProofBytes;
use std::time::Duration;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedProof {
    proof: ProofBytes,
    key: Digest32,
    public_inputs: Vec<Bytes32>,
    took: Duration,
}

impl CheckedProof {
    /// A proof that holds under the verifying key of this digest, for these public inputs; checking it took so long.
    pub(super) fn new(proof: ProofBytes, key: Digest32, public_inputs: Vec<Bytes32>, took: Duration) -> Self {
        Self { proof, key, public_inputs, took }
    }

    /// The proof.
    #[must_use]
    pub fn proof(&self) -> &ProofBytes {
        &self.proof
    }

    /// How long the check took, by the clock of whoever had the proof made.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.took
    }

    /// Whether what was found is that exactly these bytes prove exactly this statement.
    #[must_use]
    pub fn shows(&self, proof: &[u8], key: &Digest32, public_inputs: &[Bytes32]) -> bool {
        self.proof.as_bytes().as_slice() == proof && self.key == *key && self.public_inputs == public_inputs
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_check_shows_its_own_bytes_key_and_inputs_and_no_others() {
        let proof = ProofBytes::try_from([7u8; 192].as_slice()).unwrap();
        let (key, inputs) = (Digest32::of(b"key"), vec![Bytes32::new([1; 32]), Bytes32::new([2; 32])]);
        let checked = CheckedProof::new(proof, key, inputs.clone(), Duration::ZERO);
        assert!(checked.shows(proof.as_bytes(), &key, &inputs));
        let mut other = *proof.as_bytes();
        other[191] ^= 1;
        assert!(!checked.shows(&other, &key, &inputs));
        assert!(!checked.shows(&other[..191], &key, &inputs));
        assert!(!checked.shows(proof.as_bytes(), &Digest32::of(b"another key"), &inputs));
        assert!(!checked.shows(proof.as_bytes(), &key, &inputs[..1]));
        assert!(!checked.shows(proof.as_bytes(), &key, &[inputs[1], inputs[0]]));
    }
}
