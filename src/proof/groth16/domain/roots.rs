//! The table of the tree: the t of every node, and 1/t.

use blstrs::Scalar;
use ff::{Field, PrimeField};

/// The t of the nodes of the trees of X^n − 1 and X^n + 1, n = 2^log.
pub(super) struct Roots(Vec<Scalar>);

impl Roots {
    pub(super) fn new(log: u32) -> Roots {
        let psi = psi(log);
        let mut roots = vec![Scalar::ONE; 1 << log];
        let mut power = Scalar::ONE;
        for e in 0..roots.len() {
            // Reversing bits is its own inverse, so this is the node with exponent e.
            roots[exponent(e, log)] = power;
            power *= psi;
        }
        Roots(roots)
    }

    pub(super) fn bytes(&self) -> u64 {
        32 * self.0.len() as u64
    }

    /// The node's t.
    pub(super) fn of(&self, node: usize) -> Scalar {
        self.0[node]
    }

    /// −1/t, which is the t of the node opposite in its layer: 1/ψ^e = −ψ^(n − e), and the reversed bits of the nodes m to 2m of
    /// a layer run symmetrically about n/2. Node 0 has t = 1 and no opposite.
    pub(super) fn negated_inverse(&self, node: usize) -> Scalar {
        node.checked_ilog2().map_or(-Scalar::ONE, |layer| self.0[(3 << layer) - 1 - node])
    }
}

/// The exponent e of node k's t = ψ^e, for a domain of 2^log: the bits of k reversed. For if t = ψ^e, the children's
/// are √t = ψ^(e/2) and √−t = ψ^(e/2 + n/2).
pub(super) fn exponent(node: usize, log: u32) -> usize {
    if log == 0 { 0 } else { node.reverse_bits() >> (usize::BITS - log) }
}

/// A primitive root of unity of order 2^(log + 1).
pub(super) fn psi(log: u32) -> Scalar {
    (log + 1..Scalar::S).fold(Scalar::ROOT_OF_UNITY, |root, _| root.square())
}
