//! Poseidon's constants, generated as the paper's reference script `generate_parameters_grain.sage` does.
//!
//! Owns the Grain LFSR in self-shrinking mode (Poseidon paper, eprint 2019/458, appendix E), the sampling of round
//! constants (by rejection) and of the Cauchy matrix (reduced modulo r, drawn anew on a repeated value or a zero
//! sum). The constants are computed rather than pasted, so that there is nothing to mistype and nobody to trust;
//! the published permutation of `[0, 1, 2]` holds the result.

use std::collections::HashSet;

use ff::PrimeField;

use super::{CONSTANTS, FULL_ROUNDS, PARTIAL_ROUNDS, ROUNDS, WIDTH};
use crate::proof::field::Bytes32;

/// Bits of the modulus; also what the script calls `n`.
const FIELD_BITS: usize = 255;
/// Output bits that the script throws away before the first one it uses.
const WARM_UP: usize = 160;

/// The LFSR's 80 bits of state, the oldest at index 0.
struct Grain {
    state: [bool; 80],
    /// Index of the oldest bit: the state is a ring.
    oldest: usize,
}

impl Grain {
    fn new() -> Grain {
        // Descriptor of the instance, most significant bit first, then ones: field = 1 (prime), S-box = 0 (x^alpha).
        let fields: [(usize, usize); 6] =
            [(1, 2), (0, 4), (FIELD_BITS, 12), (WIDTH, 12), (FULL_ROUNDS, 10), (PARTIAL_ROUNDS, 10)];
        let mut state = [true; 80];
        let bits =
            fields.iter().flat_map(|&(value, width)| (0..width).rev().map(move |bit| value >> bit & 1 == 1));
        for (slot, bit) in state.iter_mut().zip(bits) {
            *slot = bit;
        }
        let mut grain = Grain { state, oldest: 0 };
        for _ in 0..WARM_UP {
            grain.step();
        }
        grain
    }

    /// Shifts the register once; returns the bit shifted in.
    fn step(&mut self) -> bool {
        let bit = [62, 51, 38, 23, 13, 0]
            .into_iter()
            .fold(false, |sum, tap| sum ^ self.state[(self.oldest + tap) % self.state.len()]);
        self.state[self.oldest] = bit;
        self.oldest = (self.oldest + 1) % self.state.len();
        bit
    }

    /// One output bit: bits are taken in pairs, and the second counts only when the first is set.
    fn bit(&mut self) -> bool {
        loop {
            let (keep, bit) = (self.step(), self.step());
            if keep {
                return bit;
            }
        }
    }

    /// The next number of `FIELD_BITS` bits, most significant first.
    fn number(&mut self) -> Bytes32 {
        let mut bytes = [0u8; 32];
        for place in (0..FIELD_BITS).rev() {
            bytes[31 - place / 8] |= u8::from(self.bit()) << (place % 8);
        }
        Bytes32::new(bytes)
    }

    /// A uniform field element: numbers at or above the modulus are passed over.
    fn element<F: PrimeField<Repr = [u8; 32]>>(&mut self) -> F {
        loop {
            if let Ok(element) = self.number().to_scalar() {
                return element;
            }
        }
    }

    /// A number reduced modulo r, as the script draws the matrix.
    fn reduced<F: PrimeField<Repr = [u8; 32]>>(&mut self) -> F {
        let (high, low) = self.number().halves();
        let two_to_128 = F::from_u128(1 << 127).double();
        F::from_u128(high) * two_to_128 + F::from_u128(low)
    }
}

/// Round constants and matrix of the instance.
pub(super) fn generate<F: PrimeField<Repr = [u8; 32]>>() -> ([[F; WIDTH]; ROUNDS], [[F; WIDTH]; WIDTH]) {
    let mut grain = Grain::new();
    let mut round_constants = [[F::ZERO; WIDTH]; ROUNDS];
    debug_assert_eq!(round_constants.as_flattened().len(), CONSTANTS);
    for constant in round_constants.as_flattened_mut() {
        *constant = grain.element();
    }
    loop {
        let drawn: [F; 2 * WIDTH] = std::array::from_fn(|_| grain.reduced());
        let distinct: HashSet<[u8; 32]> = drawn.iter().map(|x| x.to_repr()).collect();
        if distinct.len() == drawn.len()
            && let Some(matrix) = cauchy(&drawn)
        {
            return (round_constants, matrix);
        }
    }
}

/// `1 / (x_i + y_j)`, or nothing when a sum is zero.
fn cauchy<F: PrimeField>(drawn: &[F; 2 * WIDTH]) -> Option<[[F; WIDTH]; WIDTH]> {
    let mut matrix = [[F::ZERO; WIDTH]; WIDTH];
    for (i, row) in matrix.iter_mut().enumerate() {
        for (j, entry) in row.iter_mut().enumerate() {
            *entry = Option::from((drawn[i] + drawn[WIDTH + j]).invert())?;
        }
    }
    Some(matrix)
}
