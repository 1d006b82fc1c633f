//! Many proofs of one key at once: a random combination of them holds if all hold, and hardly ever if one does not.
//!
//! Owns the combination (small exponents: Bellare, Garay, Rabin, EUROCRYPT '98; for Groth16: the Zcash protocol
//! specification, appendix B.2) and the search for those that do not hold. With random r_i of 128 bits that the proofs'
//! makers cannot know, the product over i of
//!
//! `e(r_i A_i, B_i) · e(sum r_i inputs_i, -gamma) · e(sum r_i C_i, -delta) · e((sum r_i) alpha, -beta)`
//!
//! is 1 if every proof holds; if one does not, it is 1 for at most one in 2^128 choices of that proof's r_i. So a false
//! proof is accepted with probability 2^-128, and no true one is refused. Points are decoded and checked one by one:
//! outside the subgroups the argument does not hold.
//!
//! Refuses nothing beyond what a single check refuses; what comes back says it of each proof by its place.

use bellman::groth16::Proof;
use blstrs::{G1Affine, Scalar};
use ff::Field;
use group::Curve;
use rand_core::{CryptoRng, RngCore};
use rayon::prelude::*;

use super::encoding::ProofBytes;
use super::fast_key::{Claim, FastKey};
use super::miller::{
    Lines, MillerValue, Target, miller_loop, miller_loop_of_lines, short_multiple, sum_of_short_multiples,
};
use super::verify::VerifyError;
use crate::proof::field::Bytes32;

/// As many of a batch that does not hold are checked one by one: to halve it further takes as long, and longer if most
/// of them are false.
const SEARCHED_ALONE_MAX: usize = 4;
/// Pairs whose Miller loops share their squarings; also what one thread takes at a time.
const LOOPS_SHARED: usize = 16;

/// What is known of some claims before they are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    None,
    OneIsFalse,
}

impl FastKey {
    /// Whether each proof holds for the public inputs beside it, in the order given. On the threads of the rayon pool
    /// that the caller is in, or on the caller's own if it is in none.
    ///
    /// Proofs that cannot be decoded are left out of the combination. If that fails, halves are tried, and the last few
    /// one by one, so that a batch with a false proof takes longer than one without, and one of only false proofs about
    /// twice as long as checking them one by one.
    pub fn verify_batch(
        &self,
        proofs: &[(ProofBytes, Vec<Bytes32>)],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> Vec<Result<bool, VerifyError>> {
        let read = |(proof, inputs): &(ProofBytes, Vec<Bytes32>)| self.read(proof, inputs);
        let claims: Vec<Result<Claim, VerifyError>> = if is_in_pool() {
            proofs.par_iter().map(read).collect()
        } else {
            proofs.iter().map(read).collect()
        };
        let (readable, mut verdicts): (Vec<_>, Vec<_>) = claims
            .into_iter()
            .map(|claim| claim.map_or_else(|error| (None, Err(error)), |claim| (Some(claim), Ok(false))))
            .unzip();
        let waiting: Vec<(usize, Claim)> =
            readable.into_iter().enumerate().filter_map(|(place, claim)| Some((place, claim?))).collect();
        self.settle(&waiting, Suspicion::None, &mut verdicts, rng);
        verdicts
    }

    /// Writes the verdicts of these claims, each at its place. Returns whether all hold.
    fn settle(
        &self,
        claims: &[(usize, Claim)],
        suspicion: Suspicion,
        verdicts: &mut [Result<bool, VerifyError>],
        rng: &mut (impl RngCore + CryptoRng),
    ) -> bool {
        if claims.len() > 1 && suspicion == Suspicion::None && self.all_hold(claims, rng) {
            for (place, _) in claims {
                verdicts[*place] = Ok(true);
            }
            return true;
        }
        if claims.len() <= SEARCHED_ALONE_MAX {
            let mut all_hold = true;
            for (place, claim) in claims {
                let holds = self.holds(claim);
                verdicts[*place] = Ok(holds);
                all_hold &= holds;
            }
            return all_hold;
        }
        let (left, right) = claims.split_at(claims.len() / 2);
        // If the left half holds it is the right one that does not: its combination would say so again.
        let suspicion = match self.settle(left, Suspicion::None, verdicts, rng) {
            true => Suspicion::OneIsFalse,
            false => Suspicion::None,
        };
        self.settle(right, suspicion, verdicts, rng);
        false
    }

    /// Whether a random combination of the claims holds.
    fn all_hold(&self, claims: &[(usize, Claim)], rng: &mut (impl RngCore + CryptoRng)) -> bool {
        let factors: Vec<u128> = claims.iter().map(|_| factor(rng)).collect();
        let scalars: Vec<Scalar> = factors.iter().map(|factor| to_scalar(*factor)).collect();
        let total: Scalar = scalars.iter().sum();
        let mut inputs = vec![Scalar::ZERO; self.public_inputs()];
        for ((_, claim), factor) in claims.iter().zip(&scalars) {
            for (sum, input) in inputs.iter_mut().zip(&claim.inputs) {
                *sum += factor * input;
            }
        }
        let own = |(claims, factors): (&[(usize, Claim)], &[u128])| {
            let scaled = |((_, claim), factor): (&(usize, Claim), &u128)| {
                let Proof { a, b, .. } = &claim.proof;
                (short_multiple(a, *factor), *b)
            };
            miller_loop(&claims.iter().zip(factors).map(scaled).collect::<Vec<_>>())
        };
        let fixed = || {
            let c: Vec<G1Affine> = claims.iter().map(|(_, claim)| claim.proof.c).collect();
            let pairs: [(G1Affine, &Lines); 3] = [
                (self.combine_inputs(total, &inputs).to_affine(), &self.neg_gamma),
                (sum_of_short_multiples(&c, &factors), &self.neg_delta),
                ((self.alpha * total).to_affine(), &self.neg_beta),
            ];
            miller_loop_of_lines(&pairs)
        };
        let (own, fixed) = if is_in_pool() {
            let chunks = claims.par_chunks(LOOPS_SHARED).zip(factors.par_chunks(LOOPS_SHARED));
            rayon::join(|| chunks.map(own).reduce(MillerValue::one, |left, right| left.times(&right)), fixed)
        } else {
            (own((claims, &factors)), fixed())
        };
        own.times(&fixed).exponentiate() == Target::one()
    }
}

/// Whether the caller is on a thread of a rayon pool, whose other threads may then help. Elsewhere they would be the
/// process's, which may be busy with a proof for seconds.
fn is_in_pool() -> bool {
    rayon::current_thread_index().is_some()
}

/// A random number of 128 bits, not 0, so that no proof is left out.
fn factor(rng: &mut (impl RngCore + CryptoRng)) -> u128 {
    loop {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        match u128::from_le_bytes(bytes) {
            0 => {}
            factor => return factor,
        }
    }
}

fn to_scalar(factor: u128) -> Scalar {
    let high = Scalar::from((factor >> 64) as u64);
    let shift = Scalar::from(1 << 32).square();
    high * shift + Scalar::from(factor as u64)
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
