//! Eight permutations at once, on processors with AVX512-IFMA: the same function as [`super::permute`], in a seventh of the time
//! for each when there are eight to do.
//!
//! Owns the rewriting of the partial rounds for which few reductions are needed. Elements 1 and 2 pass no S-box there, so
//! they are a linear system of two states with the S-box's outputs s for its input; by Cayley and Hamilton it is
//! q' = tr·q - det·q'' + s over the outputs' last two sums q and q'', with the trace and determinant of the matrix's lower right
//! corner. Element 0 becomes a combination of s, q and q''. Five products and two reductions a round, all of them with
//! the same factors; the round constants of all three elements come to one for element 0.

// The only entry into code that is compiled for AVX512-IFMA.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm256_extract_epi64, _mm512_castsi512_si256, _mm512_extracti64x4_epi64, _mm512_set_epi64,
};
use std::sync::OnceLock;

use blstrs::Scalar;
use ff::{Field, PrimeField};

use super::lanes::{self, LIMB_BITS, LIMBS, Lanes, Limbs, MODULUS};
use super::{FULL_ROUNDS, PARTIAL_ROUNDS, ProofField, WIDTH};
use crate::proof::arith::ifma::Ifma;

/// Pairs that are hashed at once.
pub(super) const LANES: usize = 8;
const HALF: usize = FULL_ROUNDS / 2;

/// [`super::hash_pair`] of up to [`LANES`] pairs; `hashes` is as long as `pairs`.
pub(super) fn hash_pairs(_: Ifma, tag: u64, pairs: &[[Scalar; 2]], hashes: &mut [Scalar]) {
    let mut inputs = [[[0; LIMBS]; LANES]; 2];
    for (lane, pair) in pairs.iter().take(LANES).enumerate() {
        for (side, element) in pair.iter().enumerate() {
            inputs[side][lane] = lanes::to_limbs(&words(&element.to_repr()));
        }
    }
    let tag = montgomery(Scalar::from(tag));
    // SAFETY: the evidence exists only where both features were found.
    let outputs = unsafe { hash(constants(), &tag, &inputs) };
    for (hash, output) in hashes.iter_mut().zip(outputs) {
        *hash = from_limbs(&output);
    }
}

/// What the permutation multiplies with and adds, in the form of [`lanes`].
struct VectorConstants {
    /// R² and 1, which bring numbers into Montgomery form and out of it.
    r_squared: Limbs,
    full: [[Limbs; WIDTH]; FULL_ROUNDS],
    matrix: [[Limbs; WIDTH]; WIDTH],
    /// The matrix of the last full round before the partial ones; gives element 0, q and q''.
    entry: [[Limbs; WIDTH]; WIDTH],
    /// What element 0 of each partial round gets, for all three elements' constants.
    partial: [Limbs; PARTIAL_ROUNDS],
    /// Element 0 of q, q'' and s, which is known last.
    output: [Limbs; 3],
    /// The next q of q and q''.
    next: [Limbs; 2],
    /// Elements 1 and 2 of q and q'' after the partial rounds, and what of the constants has come to them.
    exit: [[Limbs; 2]; 2],
    exit_added: [Limbs; WIDTH],
}

fn constants() -> &'static VectorConstants {
    static CONSTANTS: OnceLock<VectorConstants> = OnceLock::new();
    CONSTANTS.get_or_init(VectorConstants::derive)
}

type Vector2 = [Scalar; 2];

fn apply(matrix: &[Vector2; 2], vector: Vector2) -> Vector2 {
    matrix.map(|row| product(row, vector))
}

fn product(left: Vector2, right: Vector2) -> Scalar {
    left[0] * right[0] + left[1] * right[1]
}

impl VectorConstants {
    fn derive() -> Self {
        let constants = Scalar::poseidon();
        let rounds = &constants.round_constants;
        let [[corner, v0, v1], [w0, a, b], [w1, c, d]] = constants.matrix;
        let (minor, v, w) = ([[a, b], [c, d]], [v0, v1], [w0, w1]);
        let (trace, determinant) = (a + d, a * d - b * c);
        // Elements 1 and 2 are `w·q + beta·q''`.
        let [n0, n1] = apply(&minor, w);
        let beta = [n0 - trace * w0, n1 - trace * w1];
        // Zero only if `w` and its image were parallel, and then the vectors of the tests would not come out.
        let inverse = (w0 * beta[1] - w1 * beta[0]).invert().unwrap_or(Scalar::ZERO);
        let to_q = [[beta[1] * inverse, -beta[0] * inverse], [-w1 * inverse, w0 * inverse]];
        let rows = constants.matrix;
        let column = |j: usize| apply(&to_q, [rows[1][j], rows[2][j]]);
        let columns = [column(0), column(1), column(2)];
        let entry = [rows[0], columns.map(|column| column[0]), columns.map(|column| column[1])];

        let mut partial = [[0; LIMBS]; PARTIAL_ROUNDS];
        // What the constants alone have made of elements 0, 1 and 2 so far.
        let (mut first, mut others) = (Scalar::ZERO, [Scalar::ZERO; 2]);
        for (round, added) in rounds[HALF..HALF + PARTIAL_ROUNDS].iter().enumerate() {
            partial[round] = montgomery(first + added[0]);
            others = [others[0] + added[1], others[1] + added[2]];
            first = product(v, others);
            others = apply(&minor, others);
        }
        let after = rounds[HALF + PARTIAL_ROUNDS];
        let mut full = [[[0; LIMBS]; WIDTH]; FULL_ROUNDS];
        for (place, round) in (0..HALF).chain(HALF + PARTIAL_ROUNDS..rounds.len()).enumerate() {
            full[place] = rounds[round].map(montgomery);
        }
        let two_to_260 = Scalar::from(2).pow_vartime([u64::from(LIMB_BITS) * LIMBS as u64]);
        Self {
            r_squared: montgomery(two_to_260),
            full,
            matrix: constants.matrix.map(|row| row.map(montgomery)),
            entry: entry.map(|row| row.map(montgomery)),
            partial,
            output: [product(v, w), product(v, beta), corner].map(montgomery),
            next: [trace, -determinant].map(montgomery),
            exit: [[w0, beta[0]], [w1, beta[1]]].map(|row| row.map(montgomery)),
            exit_added: [after[0] + first, after[1] + others[0], after[2] + others[1]].map(montgomery),
        }
    }
}

/// The permutation of `[tag, left, right]`, element 1, in each lane. Numbers go in and come out below 2^256, not in Montgomery
/// form; what comes out may be r in place of 0.
#[target_feature(enable = "avx512f,avx512ifma")]
fn hash(constants: &VectorConstants, tag: &Limbs, inputs: &[[Limbs; LANES]; 2]) -> [Limbs; LANES] {
    let r_squared = lanes::everywhere(&constants.r_squared);
    let [left, right] = inputs;
    let mut state = [
        lanes::everywhere(tag),
        lanes::mul(&gathered(left), &r_squared),
        lanes::mul(&gathered(right), &r_squared),
    ];
    for (element, constant) in state.iter_mut().zip(&constants.full[0]) {
        *element = lanes::add(element, &lanes::everywhere(constant));
    }
    // Each round's constants are added by the matrix of the round before.
    for round in 1..HALF {
        state = full_round(&constants.matrix, &constants.full[round], &state);
    }
    let zero = [0; LIMBS];
    state = full_round(&constants.entry, &[constants.partial[0], zero, zero], &state);
    state = partial_rounds(constants, &state);
    for round in HALF + 1..FULL_ROUNDS {
        state = full_round(&constants.matrix, &constants.full[round], &state);
    }
    let [a, b, c] = &state;
    let (a, b, c) = (lanes::quintic(a), lanes::quintic(b), lanes::quintic(c));
    let hash = lanes::dot(&constants.matrix[1], [&a, &b, &c], &lanes::everywhere(&zero));
    scattered(lanes::mul(&hash, &lanes::everywhere(&[1, 0, 0, 0, 0])))
}

/// The S-boxes of a full round, a matrix, and what the next round begins with. Numbers stay below 3 r.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn full_round(
    matrix: &[[Limbs; WIDTH]; WIDTH],
    added: &[Limbs; WIDTH],
    state: &[Lanes; WIDTH],
) -> [Lanes; WIDTH] {
    let [a, b, c] = state;
    let (a, b, c) = (lanes::quintic(a), lanes::quintic(b), lanes::quintic(c));
    let mut next = *state;
    for ((element, row), constant) in next.iter_mut().zip(matrix).zip(added) {
        *element = lanes::dot(row, [&a, &b, &c], &lanes::everywhere(constant));
    }
    next
}

/// From element 0, q and q'' to the state at the full round after the last partial one, its constants included. Numbers stay below 4 r.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn partial_rounds(constants: &VectorConstants, [x, q, before]: &[Lanes; WIDTH]) -> [Lanes; WIDTH] {
    let (mut x, mut q, mut before) = (*x, *q, *before);
    for round in 0..PARTIAL_ROUNDS {
        let s = lanes::quintic(&x);
        let added = constants.partial.get(round + 1).unwrap_or(&constants.exit_added[0]);
        x = lanes::dot(&constants.output, [&q, &before, &s], &lanes::everywhere(added));
        (q, before) = (lanes::dot(&constants.next, [&q, &before], &s), q);
    }
    let [first, second] = &constants.exit;
    let [_, added_1, added_2] = &constants.exit_added;
    [
        x,
        lanes::dot(first, [&q, &before], &lanes::everywhere(added_1)),
        lanes::dot(second, [&q, &before], &lanes::everywhere(added_2)),
    ]
}

/// Limbs of eight numbers, side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn gathered(numbers: &[Limbs; LANES]) -> Lanes {
    let [a, b, c, d, e, f, g, h] = numbers.map(|number| number.map(u64::cast_signed));
    let limb = |i: usize| _mm512_set_epi64(h[i], g[i], f[i], e[i], d[i], c[i], b[i], a[i]);
    [limb(0), limb(1), limb(2), limb(3), limb(4)]
}

/// The reverse.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn scattered([a, b, c, d, e]: Lanes) -> [Limbs; LANES] {
    let (a, b, c, d, e) = (lanes_of(a), lanes_of(b), lanes_of(c), lanes_of(d), lanes_of(e));
    let mut numbers = [[0; LIMBS]; LANES];
    for (lane, number) in numbers.iter_mut().enumerate() {
        *number = [a[lane], b[lane], c[lane], d[lane], e[lane]];
    }
    numbers
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn lanes_of(limb: __m512i) -> [u64; LANES] {
    let (low, high) = (_mm512_castsi512_si256(limb), _mm512_extracti64x4_epi64::<1>(limb));
    let lanes = [
        _mm256_extract_epi64::<0>(low),
        _mm256_extract_epi64::<1>(low),
        _mm256_extract_epi64::<2>(low),
        _mm256_extract_epi64::<3>(low),
        _mm256_extract_epi64::<0>(high),
        _mm256_extract_epi64::<1>(high),
        _mm256_extract_epi64::<2>(high),
        _mm256_extract_epi64::<3>(high),
    ];
    lanes.map(i64::cast_unsigned)
}

/// A number's Montgomery form.
fn montgomery(number: Scalar) -> Limbs {
    let two_to_260 = Scalar::from(2).pow_vartime([u64::from(LIMB_BITS) * LIMBS as u64]);
    lanes::to_limbs(&words(&(number * two_to_260).to_repr()))
}

/// A number of 256 bits as words, of bytes with the lowest first.
fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// The element that a number not above r stands for.
fn from_limbs([a, b, c, d, e]: &Limbs) -> Scalar {
    let number = [a | b << 52, b >> 12 | c << 40, c >> 24 | d << 28, d >> 36 | e << 16];
    let number = if number == MODULUS { [0; 4] } else { number };
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(number) {
        *bytes = word.to_le_bytes();
    }
    // Montgomery's reduction of a number below 2^260 gives at most r, and r is 0 by now.
    Option::from(Scalar::from_repr(bytes)).unwrap_or(Scalar::ZERO)
}
