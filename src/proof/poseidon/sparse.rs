//! The partial rounds with sparse matrices: the same function, a third fewer multiplications.
//!
//! Owns the rewriting of appendix B of the Poseidon paper. In a partial round elements 1 and 2 pass no S-box, so
//! whatever is linear in those two alone can be done in the next round instead. Doing so in every round leaves
//! matrices with five entries that are neither 0 nor 1, and one 2×2 matrix at the end. A tree of many leaves spends
//! nearly all of its time here.

use super::{FULL_ROUNDS, PARTIAL_ROUNDS, ProofField, ROUNDS, WIDTH, quintic};

type Matrix2<F> = [[F; 2]; 2];

/// One partial round.
#[derive(Debug)]
pub(super) struct Round<F> {
    /// What is added to the state first.
    added: [F; WIDTH],
    /// Row 0 of the matrix.
    row: [F; WIDTH],
    /// Column 0 below row 0; the rest of the matrix is the identity.
    column: [F; 2],
}

/// All partial rounds.
#[derive(Debug)]
pub(super) struct SparseRounds<F> {
    rounds: Vec<Round<F>>,
    /// What the rounds put off until after the last of them.
    rest: Matrix2<F>,
}

impl<F: ProofField> SparseRounds<F> {
    pub(super) fn derive(round_constants: &[[F; WIDTH]; ROUNDS], matrix: &[[F; WIDTH]; WIDTH]) -> Self {
        let [[corner, v0, v1], [w0, a, b], [w1, c, d]] = *matrix;
        let minor = [[a, b], [c, d]];
        let minor_inverse = invert(&minor);
        let one = [[F::ONE, F::ZERO], [F::ZERO, F::ONE]];
        // The true state is `diag(1, pending)` times the state that is kept.
        let (mut pending, mut pending_inverse) = (one, one);
        let mut rounds = Vec::with_capacity(PARTIAL_ROUNDS);
        for constants in &round_constants[FULL_ROUNDS / 2..FULL_ROUNDS / 2 + PARTIAL_ROUNDS] {
            let [c1, c2] = apply(&pending_inverse, [constants[1], constants[2]]);
            let row =
                [corner, v0 * pending[0][0] + v1 * pending[1][0], v0 * pending[0][1] + v1 * pending[1][1]];
            pending = multiply(&minor, &pending);
            pending_inverse = multiply(&pending_inverse, &minor_inverse);
            let column = apply(&pending_inverse, [w0, w1]);
            rounds.push(Round { added: [constants[0], c1, c2], row, column });
        }
        SparseRounds { rounds, rest: pending }
    }

    /// All partial rounds, in place.
    pub(super) fn permute(&self, state: &mut [F; WIDTH]) {
        for round in &self.rounds {
            let output = quintic(round.input(state));
            round.pass(state, output);
        }
        self.finish(state);
    }

    /// The rounds, for whoever has S-boxes of its own.
    pub(super) fn rounds(&self) -> &[Round<F>] {
        &self.rounds
    }

    /// What remains to be done after the last of them.
    pub(super) fn finish(&self, state: &mut [F; WIDTH]) {
        let [x, y, z] = *state;
        let [y, z] = apply(&self.rest, [y, z]);
        *state = [x, y, z];
    }
}

impl<F: ProofField> Round<F> {
    /// What enters the S-box.
    #[inline]
    pub(super) fn input(&self, state: &[F; WIDTH]) -> F {
        state[0] + self.added[0]
    }

    /// The round, given what the S-box made of that.
    #[inline]
    pub(super) fn pass(&self, state: &mut [F; WIDTH], output: F) {
        let Round { added, row, column } = self;
        let (y, z) = (state[1] + added[1], state[2] + added[2]);
        let x = row[0] * output + row[1] * y + row[2] * z;
        *state = [x, y + column[0] * output, z + column[1] * output];
    }
}

fn apply<F: ProofField>(matrix: &Matrix2<F>, vector: [F; 2]) -> [F; 2] {
    matrix.map(|row| row[0] * vector[0] + row[1] * vector[1])
}

fn multiply<F: ProofField>(left: &Matrix2<F>, right: &Matrix2<F>) -> Matrix2<F> {
    let columns = [[right[0][0], right[1][0]], [right[0][1], right[1][1]]];
    let [first, second] = columns.map(|column| apply(left, column));
    [[first[0], second[0]], [first[1], second[1]]]
}

/// The inverse. Every minor of an MDS matrix has one; were it not so, the published vector would not come out.
fn invert<F: ProofField>([[a, b], [c, d]]: &Matrix2<F>) -> Matrix2<F> {
    let inverse = (*a * d - *b * c).invert().unwrap_or(F::ZERO);
    [[*d * inverse, -*b * inverse], [-*c * inverse, *a * inverse]]
}
