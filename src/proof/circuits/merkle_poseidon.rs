//! `merkle-poseidon-<depth>`: knowledge of some leaf of a Poseidon tree with a public root.
//!
//! Owns the constraints. Public: the root. Private: the leaf, its index, its path, and one bit a level that says
//! whether the level is present; an absent level passes its node on unchanged, so that a tree of any depth up to
//! the circuit's keeps its own root.
//!
//! | what | constraints |
//! |---|---|
//! | leaf: two halves of 128 bits each, so that what is opened is a 32-byte value | 256 |
//! | leaf node | 240 |
//! | each level: present bit, index bit, order of the children, inner node, passing | 1 + 1 + 1 + 240 + 1 |
//!
//! Present bits are a prefix and an index bit of an absent level is 0, at no extra cost: `p·(q − p) = 0`, where `q`
//! is a bit, makes `p` a bit that is set only where `q` is, in the one constraint that any bit needs. The sibling of
//! an absent level stays free, because it reaches no output.

use bellman::{Circuit, ConstraintSystem, SynthesisError, Variable};
use zeroize::Zeroize;

use super::MerkleWitness;
use crate::proof::field::Bytes32;
use crate::proof::merkle::{self, MerkleError, TAG_INNER, TAG_LEAF};
use crate::proof::poseidon::ProofField;
use crate::proof::poseidon::gadget::{self, Num};
use crate::proof::wiped::Wiped;

/// Bits of half a leaf.
const HALF_BITS: usize = 128;

/// The circuit for one depth.
#[derive(Clone)]
pub struct MerklePoseidon<F: ProofField> {
    depth: usize,
    witness: Option<Assignment<F>>,
}

/// A witness in the field's terms. Wiped on drop as far as the field's type lets us.
#[derive(Clone)]
struct Assignment<F: ProofField> {
    leaf: Bytes32,
    index: u64,
    siblings: Wiped<F>,
    root: F,
}

impl<F: ProofField> Drop for Assignment<F> {
    fn drop(&mut self) {
        self.leaf.zeroize();
        self.index.zeroize();
    }
}

impl<F: ProofField> MerklePoseidon<F> {
    /// The circuit without a witness.
    pub fn blank(depth: usize) -> MerklePoseidon<F> {
        MerklePoseidon { depth, witness: None }
    }

    /// The circuit with a witness.
    ///
    /// # Errors
    /// The opening is not well formed. A path longer than `depth` is the caller's check ([`super::CircuitInput`]).
    pub fn with_witness(depth: usize, witness: &MerkleWitness) -> Result<MerklePoseidon<F>, MerkleError> {
        let siblings = merkle::parse_path::<F>(witness.index, &witness.path)?;
        let mut node = merkle::leaf_node(&witness.leaf);
        for (height, sibling) in siblings.iter().enumerate() {
            let right = witness.index >> height & 1 == 1;
            node =
                if right { merkle::inner_node(*sibling, node) } else { merkle::inner_node(node, *sibling) };
        }
        let assignment = Assignment { leaf: witness.leaf, index: witness.index, siblings, root: node };
        Ok(MerklePoseidon { depth, witness: Some(assignment) })
    }

    /// The same witness under another root, which it does not lead to.
    #[cfg(test)]
    pub(crate) fn claiming_root(mut self, root: F) -> Self {
        if let Some(witness) = &mut self.witness {
            witness.root = root;
        }
        self
    }

    /// A value that depends on the witness.
    fn value<T>(&self, of: impl FnOnce(&Assignment<F>) -> T) -> Option<T> {
        self.witness.as_ref().map(of)
    }
}

impl<F: ProofField> Circuit<F> for MerklePoseidon<F> {
    fn synthesize<CS: ConstraintSystem<F>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let root_value = self.value(|w| w.root);
        let root = cs.alloc_input(|| "root", || root_value.ok_or(SynthesisError::AssignmentMissing))?;
        let root = Num::variable(root, root_value);

        let halves = self.value(|w| w.leaf.halves());
        let high = half(&mut cs.namespace(|| "high half"), halves.map(|(high, _)| high))?;
        let low = half(&mut cs.namespace(|| "low half"), halves.map(|(_, low)| low))?;
        let mut node = gadget::hash_pair(&mut cs.namespace(|| "leaf node"), TAG_LEAF, &high, &low)?;

        // The level below the first one counts as present, which makes the first one's constraint that of any bit.
        let mut below = Num::constant(F::ONE);
        for height in 0..self.depth {
            let values = self.value(|w| LevelValues {
                present: height < w.siblings.len(),
                right: w.index >> height & 1 == 1,
                sibling: w.siblings.get(height).copied().unwrap_or(F::ZERO),
            });
            // The last level's output is the root itself: no variable and no constraint to tie the two.
            let output = (height + 1 == self.depth).then_some(&root);
            let cs = &mut cs.namespace(|| format!("level {height}"));
            (node, below) = level(cs, &node, &below, values, output)?;
        }
        Ok(())
    }
}

/// What the witness says of one level.
struct LevelValues<F> {
    present: bool,
    right: bool,
    sibling: F,
}

/// One level: the node above `node`, or `node` itself where the level is absent, and the level's present bit.
fn level<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    node: &Num<F>,
    below: &Num<F>,
    values: Option<LevelValues<F>>,
    output: Option<&Num<F>>,
) -> Result<(Num<F>, Num<F>), SynthesisError> {
    let minus_one = -F::ONE;
    let bit = |set: bool| if set { F::ONE } else { F::ZERO };

    let present = alloc(cs, "present", values.as_ref().map(|v| bit(v.present)))?;
    let present = bit_under(cs, "present is a bit, set only above present levels", present, below);
    let right = alloc(cs, "right", values.as_ref().map(|v| bit(v.right)))?;
    let right = bit_under(cs, "right is a bit, set only in a present level", right, &present);
    let sibling_value = values.map(|v| v.sibling);
    let sibling = Num::variable(alloc(cs, "sibling", sibling_value)?.0, sibling_value);

    // A right child stands on the right: `moved` is what the two children differ by, or nothing.
    let moved = Num::product(cs, "order of the children", &right, &sibling.plus(minus_one, node))?;
    let left_child = node.plus(F::ONE, &moved);
    let right_child = sibling.plus(minus_one, &moved);
    let inner = gadget::hash_pair(&mut cs.namespace(|| "inner node"), TAG_INNER, &left_child, &right_child)?;

    let gain = inner.plus(minus_one, node);
    let above = match output {
        Some(output) => output.clone(),
        None => {
            let value = present
                .value()
                .zip(node.value())
                .zip(gain.value())
                .map(|((present, node), gain)| node + present * gain);
            Num::variable(alloc(cs, "above", value)?.0, value)
        }
    };
    let name = "a present level hashes and an absent one passes";
    Num::enforce_product(cs, name, &present, &gain, &above.plus(minus_one, node));
    Ok((above, present))
}

/// A private variable, with its value when there is one.
type Private<F> = (Variable, Option<F>);

fn alloc<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    name: &'static str,
    value: Option<F>,
) -> Result<Private<F>, SynthesisError> {
    Ok((cs.alloc(|| name, || value.ok_or(SynthesisError::AssignmentMissing))?, value))
}

/// Makes `variable` a bit that is set only where the bit `bound` is. One constraint.
fn bit_under<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    name: &'static str,
    (variable, value): Private<F>,
    bound: &Num<F>,
) -> Num<F> {
    let bit = Num::variable(variable, value);
    Num::enforce_product(cs, name, &bit, &bound.plus(-F::ONE, &bit), &Num::constant(F::ZERO));
    bit
}

/// A number of 128 bits, as a combination of its bits. 128 constraints.
fn half<F: ProofField, CS: ConstraintSystem<F>>(
    cs: &mut CS,
    value: Option<u128>,
) -> Result<Num<F>, SynthesisError> {
    let one = Num::constant(F::ONE);
    let mut terms = Vec::with_capacity(HALF_BITS);
    let mut weight = F::ONE;
    for place in 0..HALF_BITS {
        let cs = &mut cs.namespace(|| format!("bit {place}"));
        let bit_value = value.map(|v| if v >> place & 1 == 1 { F::ONE } else { F::ZERO });
        let bit = alloc(cs, "value", bit_value)?;
        bit_under(cs, "is a bit", bit, &one);
        terms.push((bit.0, weight));
        weight = weight.double();
    }
    Ok(Num::combination(terms, value.map(F::from_u128)))
}

#[cfg(test)]
#[path = "merkle_poseidon_tests.rs"]
mod tests;
