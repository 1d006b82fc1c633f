//! The Poseidon permutation x5_255_3 over the scalar field of BLS12-381, in the clear and as constraints.
//!
//! Owns the instance t = 3, α = 5, R_F = 8, R_P = 57 (Poseidon paper, eprint 2019/458; the names are those of the
//! reference implementation) and the one mode of use that zkpnet has: a tag and two elements go in, element 1 comes
//! out. Refuses variable-length hashing: trees need two-to-one, and a sponge that nothing uses is a sponge that
//! nothing tests.
//!
//! Generic over the field, because the same code must run on the scalars of `blstrs` (which proves) and of
//! `bls12_381` (which checks that engine). Trees, of which `blstrs`'s scalars are the nodes, are hashed by [`hash_pairs`]: eight
//! pairs at a time where the processor can.

pub mod gadget;
mod grain;
#[cfg(target_arch = "x86_64")]
mod lanes;
mod sparse;
#[cfg(target_arch = "x86_64")]
mod vector;

use std::sync::OnceLock;

use blstrs::Scalar;
use ff::PrimeFieldBits;

#[cfg(target_arch = "x86_64")]
use super::arith::ifma::Ifma;
use super::wiped::Wiped;

/// Elements of the state.
pub const WIDTH: usize = 3;
/// Rounds in which every element passes the S-box, half of them before and half after the partial rounds.
pub const FULL_ROUNDS: usize = 8;
/// Rounds in which only element 0 passes the S-box.
pub const PARTIAL_ROUNDS: usize = 57;

const ROUNDS: usize = FULL_ROUNDS + PARTIAL_ROUNDS;
const CONSTANTS: usize = ROUNDS * WIDTH;

/// A scalar field of BLS12-381, with its Poseidon constants.
///
/// The constants hang on the field because a generic function cannot have a static of its own.
pub trait ProofField: PrimeFieldBits<Repr = [u8; 32]> {
    /// The constants, computed at the first call.
    fn poseidon() -> &'static Constants<Self>;
}

impl ProofField for Scalar {
    fn poseidon() -> &'static Constants<Self> {
        static CONSTANTS: OnceLock<Constants<Scalar>> = OnceLock::new();
        CONSTANTS.get_or_init(Constants::generate)
    }
}

impl ProofField for bls12_381::Scalar {
    fn poseidon() -> &'static Constants<Self> {
        static CONSTANTS: OnceLock<Constants<bls12_381::Scalar>> = OnceLock::new();
        CONSTANTS.get_or_init(Constants::generate)
    }
}

/// Round constants, matrix, and what follows from them for the circuit.
#[derive(Debug)]
pub struct Constants<F> {
    round_constants: [[F; WIDTH]; ROUNDS],
    matrix: [[F; WIDTH]; WIDTH],
    /// The partial rounds as [`permute`] does them.
    sparse: sparse::SparseRounds<F>,
    /// The partial rounds as the circuit does them.
    partial: gadget::PartialRounds<F>,
}

impl<F: ProofField> Constants<F> {
    fn generate() -> Constants<F> {
        let (round_constants, matrix) = grain::generate();
        let sparse = sparse::SparseRounds::derive(&round_constants, &matrix);
        let partial = gadget::PartialRounds::derive(&round_constants, &matrix);
        Constants { round_constants, matrix, sparse, partial }
    }
}

/// x^5, the S-box.
fn quintic<F: ProofField>(x: F) -> F {
    x.square().square() * x
}

/// The matrix times the state.
fn mix<F: ProofField>(matrix: &[[F; WIDTH]; WIDTH], state: &[F; WIDTH]) -> [F; WIDTH] {
    matrix.map(|row| row[0] * state[0] + row[1] * state[1] + row[2] * state[2])
}

/// The permutation, in place.
pub fn permute<F: ProofField>(state: &mut [F; WIDTH]) {
    let constants = F::poseidon();
    let (first, rest) = constants.round_constants.split_at(FULL_ROUNDS / 2);
    full_rounds(first, &constants.matrix, state);
    constants.sparse.permute(state);
    full_rounds(&rest[PARTIAL_ROUNDS..], &constants.matrix, state);
}

/// A full round for each set of constants.
fn full_rounds<F: ProofField>(rounds: &[[F; WIDTH]], matrix: &[[F; WIDTH]; WIDTH], state: &mut [F; WIDTH]) {
    for added in rounds {
        for (element, constant) in state.iter_mut().zip(added) {
            *element = quintic(*element + constant);
        }
        *state = mix(matrix, state);
    }
}

/// Two elements to one: the permutation of `[tag, left, right]`, element 1.
///
/// The tag separates uses: with different tags the same pair never gives the same output on purpose.
pub fn hash_pair<F: ProofField>(tag: u64, left: F, right: F) -> F {
    let mut state = [F::from(tag), left, right];
    permute(&mut state);
    state[1]
}

/// [`hash_pair`] of every pair, several at a time where the processor can. One pair alone gains nothing by that.
pub(super) fn hash_pairs(tag: u64, pairs: &[[Scalar; 2]]) -> Wiped {
    let mut hashes = Wiped::zeros(pairs.len());
    #[cfg(target_arch = "x86_64")]
    if let Some(ifma) = Ifma::detect().filter(|_| pairs.len() > 1) {
        for (pairs, hashes) in pairs.chunks(vector::LANES).zip(hashes.chunks_mut(vector::LANES)) {
            vector::hash_pairs(ifma, tag, pairs, hashes);
        }
        return hashes;
    }
    for (hash, &[left, right]) in hashes.iter_mut().zip(pairs) {
        *hash = hash_pair(tag, left, right);
    }
    hashes
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
